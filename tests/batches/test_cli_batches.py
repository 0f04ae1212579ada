"""`bulk --via batch` and `--via auto`: the command over the providers' batch APIs, interrupted and taken up again."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genops_helicone_async.cli import main
from genops_helicone_async.testing import Fault, SandboxGateway

ROWS = 5
LIVE_ROWS = 3


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SandboxGateway]:
    """A sandbox with keys for both in the environment, and rows in an otherwise empty folder."""
    with SandboxGateway.in_thread(latency_scale=0) as running:
        monkeypatch.setenv("HELICONE_API_KEY", running.api_key)
        for provider in ("openai", "anthropic", "groq"):
            monkeypatch.setenv(f"{provider.upper()}_API_KEY", running.provider_keys[provider])
        monkeypatch.chdir(tmp_path)
        rows = [{"custom_id": f"r{number}", "message": f"Question {number}"} for number in range(ROWS)]
        Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        yield running


def command(sandbox: SandboxGateway, *more: str, provider: str = "openai") -> list[str]:
    """The arguments of a run in batches."""
    places = [f"--provider-url={name}={sandbox.provider_urls[name]}" for name in ("openai", "anthropic", "groq")]
    target = ["--provider", provider, "--max-tokens", "20"]
    return ["bulk", "in.jsonl", "-o", "out.jsonl", *target, *places, "--poll-seconds", "0.05", *more]


def lines_of(path: str) -> list[Any]:
    """The values of a JSONL file."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_command_answers_all_rows_at_batch_prices(
    sandbox: SandboxGateway, provider: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row is in the output once, and the summary's cost is the provider's bill, to the pico-dollar."""
    assert main(command(sandbox, "--via", "batch", "--json", "-q", provider=provider)) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(line["custom_id"] for line in lines_of("out.jsonl")) == [f"r{number}" for number in range(ROWS)]
    assert {line["receipt"]["via"] for line in lines_of("out.jsonl")} == {"batch"}
    assert [billed.kind for billed in sandbox.bill] == ["batch"] * ROWS
    assert told["cost_pusd"] == sandbox.bill.total_pusd


def test_deadline_that_leaves_no_time_sends_rows_live(sandbox: SandboxGateway) -> None:
    """`--via auto` with a minute left has no use for a batch; with hours left for nothing else."""
    assert main(command(sandbox, "--via", "auto", "--finish-by", "1m", "-q")) == 0
    assert [billed.kind for billed in sandbox.bill] == ["chat"] * ROWS
    assert main(command(sandbox, "--via", "auto", "--finish-by", "10h", "-q", "--overwrite")) == 0
    assert [billed.kind for billed in sandbox.bill][ROWS:] == ["batch"] * ROWS


def test_failed_rows_are_sent_again_and_equal_rows_once(sandbox: SandboxGateway) -> None:
    """`--retry-failed` puts a failed row into a new batch; a row that equals another is in none."""
    with Path("in.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"custom_id": "same", "message": "Question 0"}) + "\n")
    sandbox.faults.add(Fault(kind="status", status=500, model="gpt-4o-mini", after=1, times=1))
    assert main(command(sandbox, "--via", "batch", "-q")) == 1
    (first,) = sandbox.batches.known.values()
    assert len(first.rows) == ROWS
    assert main(command(sandbox, "--via", "batch", "-q", "--retry-failed")) == 0
    told = {line["custom_id"]: line["error"] for line in lines_of("out.jsonl")}
    assert told == dict.fromkeys([*(f"r{number}" for number in range(ROWS)), "same"])
    assert [len(batch.rows) for batch in sandbox.batches.known.values()] == [ROWS, 1]
    assert len(sandbox.bill) == ROWS


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--via", "batch", "--finish-by", "2h"], "--via auto"),
        (["--cancel-batches"], "--via batch"),
        (["--via", "batch", "-o", "-"], "OUTPUT.jsonl"),
        (["--via", "auto", "--finish-by", "soon"], "06:30"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    sandbox: SandboxGateway, more: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is opened or sent, and the message names what to give."""
    assert main(command(sandbox, *more)) == 2
    assert named in capsys.readouterr().err
    assert not Path("out.jsonl").exists()
    assert sandbox.requests == ()


def test_provider_without_batches_is_refused_before_spending(
    sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says who has batches and what else can be done; no output is left behind."""
    assert main(command(sandbox, "--via", "batch", "-q", provider="groq")) == 2
    told = capsys.readouterr().err
    assert "groq has no batch API" in told
    assert "--via live" in told
    assert not Path("out.jsonl").exists()
    assert len(sandbox.bill) == 0


def interrupted(sandbox: SandboxGateway, *more: str) -> subprocess.CompletedProcess[str]:
    """A run that gets Ctrl-C once its batch is at the provider."""
    with subprocess.Popen(
        [sys.executable, "-m", "genops_helicone_async", *command(sandbox, "--via", "batch", *more)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        told = ""
        while " rows as batch " not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, told + err)


def test_interrupted_run_leaves_its_batch_and_a_later_one_fetches_or_ends_it(
    sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C says what goes on; going on live is refused; cancelling keeps what was done; the rest is done later."""
    sandbox.batches.stall()
    left = interrupted(sandbox)
    assert left.returncode == 130
    assert f"still to come, and billed: 1 batch of {ROWS} rows at openai" in left.stderr
    assert "--cancel-batches" in left.stderr
    assert "dropped" not in left.stderr

    assert main([*command(sandbox, "--via", "live"), "-q"]) == 2
    assert "billed twice" in capsys.readouterr().err

    for via in ("live", "batch"):
        assert main(command(sandbox, "--via", via, "--overwrite", "-q")) == 2
        assert capsys.readouterr().err == (
            f"error: the job of out.jsonl has 1 batch of {ROWS} rows at openai, which --overwrite would forget: they "
            "run on, and are billed. Give its command without --overwrite to fetch them, or with --cancel-batches to "
            "end them, before you start anew; or give another -o\n"
        )

    sandbox.batches.work(2)
    assert main(command(sandbox, "--via", "batch", "--cancel-batches", "-q")) == 1
    assert sorted(line["custom_id"] for line in lines_of("out.jsonl")) == ["r0", "r1"]

    sandbox.batches.resume()
    assert main(command(sandbox, "--via", "batch", "-q")) == 0
    assert sorted(line["custom_id"] for line in lines_of("out.jsonl")) == [f"r{number}" for number in range(ROWS)]
    assert [batch.fate for batch in sandbox.batches.known.values()] == ["cancelled", "completed"]
    assert len(sandbox.bill) == ROWS

    assert main(command(sandbox, "--via", "batch", "--overwrite", "-q")) == 0  # nothing runs any more
    assert len(sandbox.bill) == 2 * ROWS


def killed_while_live(sandbox: SandboxGateway, via: str) -> None:
    """A run that is killed while its live rows hang and its batch, if it has one, is with the provider."""
    sandbox.faults.add(Fault(kind="hang", provider="groq"))
    sandbox.batches.stall()
    argv = command(sandbox, "--via", via, "-q")
    child = subprocess.Popen([sys.executable, "-m", "genops_helicone_async", *argv], env=os.environ)
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the command ended with {child.wait(0.01)}")
        asked = sum(seen.path.endswith("/chat/completions") for seen in sandbox.requests)
        if asked == LIVE_ROWS and (sandbox.batches.known or via == "live"):
            break
    child.kill()
    child.wait()
    sandbox.faults.clear()
    sandbox.batches.resume()


def test_live_rows_of_a_split_job_are_named_after_a_kill(
    sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was sent live and not answered is named and counted, once; rows of a batch are in no doubt."""
    rows = [
        {"custom_id": f"live{number}", "message": f"Live {number}", "provider": "groq"} for number in range(LIVE_ROWS)
    ]
    with Path("in.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)
    killed_while_live(sandbox, "auto")
    capsys.readouterr()
    split = ["--via", "auto", "--finish-by", "10h", "--json"]
    assert main(command(sandbox, *split)) == 0
    out, err = capsys.readouterr()
    twice = json.loads(out)["perhaps_billed_twice"]
    assert twice["custom_ids"] == [f"live{number} (line {ROWS + 1 + number})" for number in range(LIVE_ROWS)]
    assert twice["most_cost_usd"] > 0
    assert f"going on with run 2: 0 rows done; {LIVE_ROWS} rows on the way when it ended, sent again" in err
    assert (len(lines_of("out.jsonl")), len(sandbox.batches.known)) == (ROWS + LIVE_ROWS, 1)
    assert main(command(sandbox, *split)) == 0
    assert json.loads(capsys.readouterr().out)["perhaps_billed_twice"] == twice


def test_rows_of_a_live_job_are_named_by_a_split_one(
    sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that was killed live may go on with `--via auto`: its rows on the way are named, and sent again."""
    rows = [{"custom_id": f"live{number}", "message": str(number), "provider": "groq"} for number in range(LIVE_ROWS)]
    Path("in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    killed_while_live(sandbox, "live")
    assert main(command(sandbox, "--via", "auto", "--json", "-q")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"]["ok"], told["perhaps_billed_twice"]["rows"]) == (LIVE_ROWS, LIVE_ROWS)
