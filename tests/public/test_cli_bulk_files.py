"""What `bulk` refuses before anything is sent, and what becomes of its files when something goes wrong later."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from genops_helicone_async.cli import main
from genops_helicone_async.testing import SandboxGateway

ROW = '{"message": "Hi", "provider": "groq"}\n'


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SandboxGateway]:
    """A sandbox set as the gateway of the environment, and a folder with a good input of one row."""
    with SandboxGateway.in_thread(latency_scale=0) as running:
        monkeypatch.setenv("HELICONE_GATEWAY_URL", running.url)
        monkeypatch.setenv("HELICONE_API_KEY", running.api_key)
        monkeypatch.chdir(tmp_path)
        Path("in.jsonl").write_text(ROW)
        Path("old.jsonl").write_text("precious\n")
        Path("folder").mkdir()
        Path("wide.jsonl").write_text(ROW, encoding="utf-16")
        yield running


@pytest.mark.parametrize(
    "argv, said",
    [
        (["missing.jsonl", "-o", "out.jsonl"], "cannot read missing.jsonl: No such file or directory"),
        (["folder", "-o", "out.jsonl"], "cannot read folder: it is a folder, give a file of rows"),
        (["wide.jsonl", "-o", "out.jsonl"], "wide.jsonl is UTF-16: convert it first (iconv -f utf-16 -t utf-8)"),
        (["in.jsonl", "-o", "old.jsonl"], "old.jsonl exists: give another name, or --overwrite to replace it"),
        (["in.jsonl", "-o", "in.jsonl", "--overwrite"], "in.jsonl is the input: give another file to write to"),
        (["in.jsonl", "-o", "folder"], "folder is a folder: give a file, such as folder/results.jsonl"),
        (["in.jsonl", "-o", "no/out.jsonl"], "no is no folder: create it first (mkdir -p)"),
        (["in.jsonl", "-o", "in.jsonl/out.jsonl"], "cannot write in.jsonl/out.jsonl: Not a directory"),
        (["in.jsonl", "-o", "out.jsonl", "--max-tokens", "-1"], "`max_tokens` is -1: it must be 1 or more"),
        (["in.jsonl", "-o", "out.jsonl", "--temperature", "3"], "`temperature` is 3.0: it must be between 0 and 2"),
    ],
)  # fmt: skip
def test_wrong_usage_sends_nothing(
    argv: list[str], said: str, gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot work is status 2 and one line with the remedy; no request, no file made or changed."""
    before = {path: path.read_bytes() for path in Path().glob("*.jsonl")}
    assert main(["bulk", *argv]) == 2
    assert capsys.readouterr() == ("", f"error: {said}\n")
    assert gateway.requests == ()
    assert {path: path.read_bytes() for path in Path().glob("*.jsonl")} == before


@pytest.mark.parametrize("target", [["--provider", "opnai"], ["--provider", "groq", "--dialect", "proxy"]])
def test_a_target_that_cannot_be_asked_is_wrong_usage(
    target: list[str], gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the command line names who cannot be asked, the job ends at once and what was to be replaced is kept."""
    Path("in.jsonl").write_text('{"message": "Hi"}\n' * 100)
    assert main(["bulk", "in.jsonl", "-o", "old.jsonl", "--overwrite", *target]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert Path("old.jsonl").read_text() == "precious\n"
    assert main(["bulk", "in.jsonl", "-o", "new.jsonl", *target]) == 2
    assert not Path("new.jsonl").exists()
    assert gateway.requests == ()


def test_overwrite_replaces_answers_and_old_bad_lines(gateway: SandboxGateway) -> None:
    """`--overwrite` leaves nothing of the earlier run, its errors file included."""
    Path("old.errors.jsonl").write_text("of an earlier run\n")
    assert main(["bulk", "in.jsonl", "-o", "old.jsonl", "--overwrite"]) == 0
    (row,) = map(json.loads, Path("old.jsonl").read_text().splitlines())
    assert row["custom_id"] == "line-1"
    assert not Path("old.errors.jsonl").exists()


def test_an_old_errors_file_is_not_overwritten_unasked(
    gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file of bad lines is as precious as that of the answers."""
    Path("out.errors.jsonl").write_text("of an earlier run\n")
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl"]) == 2
    assert capsys.readouterr().err.startswith("error: out.errors.jsonl exists: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_told(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Answers that cannot be written are a failure, not a loss in silence."""
    assert main(["bulk", "in.jsonl", "-o", "/dev/full"]) == 1
    assert capsys.readouterr() == (
        "",
        "error: cannot write /dev/full: No space left on device; the 0 rows in it are whole\n",
    )


def test_a_disk_that_fills_up_leaves_whole_lines(gateway: SandboxGateway) -> None:
    """When space ends in the middle of a line, the torn part is taken back; with room again, the job goes on."""
    rows = [{"message": f"Row {number} " + "words " * 200, "provider": "groq"} for number in range(150)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    program = (
        "import resource, sys\nfrom genops_helicone_async.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))\nsys.exit(main(sys.argv[1:]))"
    )
    argv = [sys.executable, "-c", program, "bulk", "in.jsonl", "-o", "out.jsonl", "--max-in-flight", "16"]
    done = subprocess.run(argv, capture_output=True, text=True)
    data = Path("out.jsonl").read_bytes()
    whole = [json.loads(line) for line in data.splitlines()]
    assert (done.returncode, data[-1:], 0 < len(whole) < 150) == (1, b"\n", True)
    said = "".join(line for line in done.stderr.splitlines(keepends=True) if not PROGRESS.match(line))
    assert said.startswith("error: cannot write out.jsonl: ")
    assert said.endswith(
        f"; the {len(whole)} rows in it are whole; make room and give the same command again to go on\n"
    )
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl"]) == 0
    lines = [json.loads(line)["receipt"]["line"] for line in Path("out.jsonl").read_text().splitlines()]
    assert sorted(lines) == list(range(1, 151))
    assert len(gateway.bill.rows) - 150 <= 16


def test_a_reader_that_goes_away_ends_the_job(gateway: SandboxGateway) -> None:
    """`bulk … -o - | head` ends with one line that says so."""
    argv = [sys.executable, "-m", "genops_helicone_async", "bulk", "in.jsonl", "-o", "-"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.close()
    _, err = child.communicate()
    assert child.returncode == 1
    assert err == b"error: cannot write standard output: Broken pipe; the 0 rows in it are whole\n"


def test_a_named_pipe_is_read_to_its_end(gateway: SandboxGateway) -> None:
    """Rows may come from a pipe, as `<(…)` of a shell makes one: nothing else reads from it."""
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_text(ROW * 50))
    writer.start()
    assert main(["bulk", "pipe", "-o", "out.jsonl"]) == 0
    writer.join()
    assert len(Path("out.jsonl").read_text().splitlines()) == 50


class Held:
    """An OpenAI-compatible endpoint that answers only when it is told to; `arrived` counts requests."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.released = threading.Event()
        held = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                held.arrived.release()
                held.released.wait(20)
                message = {"role": "assistant", "content": "done"}
                body = json.dumps({
                    "object": "chat.completion", "model": "gpt-4o-mini",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                }).encode()  # fmt: skip
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *args: object) -> None:
                """A client that hangs up is expected here."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def held() -> Iterator[Held]:
    """The endpoint, serving on a thread."""
    endpoint = Held()
    thread = threading.Thread(target=endpoint.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield endpoint
    endpoint.released.set()
    endpoint.server.shutdown()
    thread.join()
    endpoint.server.server_close()


PROGRESS = re.compile(r"\d+/\d+ rows · ")
"""The line that tells how far a job is, every few seconds where there is no terminal: a busy machine sees one."""


def interrupted(held: Held, times: int) -> tuple[int, str, list[str], list[dict[str, object]]]:
    """Status, output, later error lines and answers of a job of 9 rows, interrupted while its first two are out."""
    Path("nine.jsonl").write_text("".join(f'{{"message": "Hi {number}"}}\n' for number in range(9)))
    argv = ["bulk", "nine.jsonl", "-o", "out.jsonl", "--max-in-flight", "2", "--provider", "openai"]
    child = subprocess.Popen(
        [sys.executable, "-m", "genops_helicone_async", *argv, "--gateway-url", held.url, "--dialect", "openai"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    held.arrived.acquire()
    held.arrived.acquire()
    child.send_signal(signal.SIGINT)
    assert child.stderr is not None
    said = next(line for line in child.stderr if not PROGRESS.match(line))
    assert said == "stopping: 2 calls in flight are finished first; Ctrl-C again drops them\n"
    if times == 2:
        child.send_signal(signal.SIGINT)
    else:
        held.released.set()
    out, err = child.communicate()
    later = [line for line in err.splitlines() if not PROGRESS.match(line)]
    return child.returncode, out, later, [*map(json.loads, Path("out.jsonl").read_text().splitlines())]


def test_ctrl_c_finishes_what_is_in_flight(held: Held, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ctrl-C sends nothing more, saves what comes back, says how to go on, and ends with status 130."""
    monkeypatch.chdir(tmp_path)
    status, out, err, rows = interrupted(held, times=1)
    assert (status, [row["error"] for row in rows]) == (130, [None, None])
    assert out.startswith("2 rows: 2 answered, 0 failed; ")
    assert out.splitlines()[-1] == "to go on:  the same command"
    assert err == ["interrupted: every answer that came is in the output"]
    assert not held.arrived.acquire(blocking=False)


def test_a_second_ctrl_c_drops_it_and_says_so(held: Held, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A second Ctrl-C waits for nothing; the rows it gave up are named, and the same command sends them again."""
    monkeypatch.chdir(tmp_path)
    status, out, err, rows = interrupted(held, times=2)
    assert (status, rows) == (130, [])
    assert out.startswith("0 rows: 0 answered, 0 failed; ")
    assert err == [
        (
            "interrupted: every answer that came is in the output; "
            "2 rows dropped unanswered, perhaps billed: line-1 (line 1), line-2 (line 2)"
        )
    ]
    held.released.set()
    argv = ["bulk", "nine.jsonl", "-o", "out.jsonl", "--provider", "openai"]
    assert main([*argv, "--gateway-url", held.url, "--dialect", "openai"]) == 0
    rows = [*map(json.loads, Path("out.jsonl").read_text().splitlines())]
    assert sorted(row["custom_id"] for row in rows) == [f"line-{number}" for number in range(1, 10)]
