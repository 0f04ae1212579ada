"""`bulk`: every row answered or accounted for, exact sums, and nothing overwritten or lost."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genops_helicone_async.cli import main
from genops_helicone_async.testing import Fault, SandboxGateway

ROWS = [
    {"message": "One", "provider": "groq", "custom_id": "a"},
    {"body": {"model": "gpt-4o-mini/openai", "messages": [{"role": "user", "content": "Two"}]}},
    {"messages": [{"role": "user", "content": "Three"}], "provider": "anthropic"},
]


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SandboxGateway]:
    """A sandbox that answers at once, set as the gateway of the environment; the folder is an empty one."""
    with SandboxGateway.in_thread(latency_scale=0) as running:
        monkeypatch.setenv("HELICONE_GATEWAY_URL", running.url)
        monkeypatch.setenv("HELICONE_API_KEY", running.api_key)
        monkeypatch.chdir(tmp_path)
        yield running


def write(rows: list[Any], path: str = "in.jsonl") -> None:
    """An input file; a text among the rows is a line as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def lines_of(path: str) -> list[Any]:
    """The values of a JSONL file."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def pico(rows: list[Any]) -> int:
    """Pico-dollars of all receipts."""
    return sum(round(row["receipt"]["cost_usd"] * 10**12) for row in rows)


def test_rows_become_openai_batch_output(gateway: SandboxGateway) -> None:
    """Each row has one line with the keys of OpenAI's batch output, a chat completion, and its receipt."""
    write(ROWS)
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", "--ordered"]) == 0
    rows = lines_of("out.jsonl")
    assert [list(row) for row in rows] == [["id", "custom_id", "response", "error", "receipt"]] * 3
    assert [(row["custom_id"], row["error"]) for row in rows] == [("a", None), ("line-2", None), ("line-3", None)]
    assert [row["response"]["status_code"] for row in rows] == [200, 200, 200]
    bodies = [row["response"]["body"] for row in rows]
    assert [body["object"] for body in bodies] == ["chat.completion"] * 3
    begun = [body["choices"][0]["message"]["content"].partition(":")[0] for body in bodies]
    assert begun == ["About 'One'", "About 'Two'", "About 'Three'"]


def test_receipts_add_up_to_the_bill(gateway: SandboxGateway) -> None:
    """Provider, tokens and cost of every row, to the pico-dollar."""
    write(ROWS)
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", "--ordered"]) == 0
    rows = lines_of("out.jsonl")
    assert [(row["receipt"]["provider"], row["receipt"]["line"]) for row in rows] == [
        ("groq", 1), ("openai", 2), ("anthropic", 3),
    ]  # fmt: skip
    assert pico(rows) == gateway.bill.total_pusd
    billed = {row.provider: (row.input_tokens, row.output_tokens) for row in gateway.bill.rows}
    counted = {r["receipt"]["provider"]: (r["receipt"]["input_tokens"], r["receipt"]["output_tokens"]) for r in rows}
    assert counted == billed


def test_native_answers_become_chat_completions(gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that speaks another shape still gives chat completions."""
    write([{"message": "Hi", "provider": "anthropic"}])
    url = f"anthropic={gateway.provider_urls['anthropic']}"
    monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", "--provider-url", url]) == 0
    (row,) = lines_of("out.jsonl")
    body, receipt = row["response"]["body"], row["receipt"]
    assert (body["object"], body["choices"][0]["finish_reason"]) == ("chat.completion", "stop")
    assert body["choices"][0]["message"]["content"].startswith("About 'Hi': ")
    assert body["usage"]["total_tokens"] == receipt["input_tokens"] + receipt["output_tokens"]


def test_a_bad_line_is_told_and_the_rest_is_done(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Bad lines are on standard error and in the errors file with number, reason and text; status 1."""
    write([ROWS[0], "{broken", "", {"message": ""}, ROWS[2], {**ROWS[0], "message": "again"}])
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl"]) == 1
    out, err = capsys.readouterr()
    told = [
        "not JSON: object keys must be strings (byte 1)",
        "`message` is empty: give the text to send",
        "`custom_id` 'a' is that of line 1 already",
    ]
    bad = lines_of("out.errors.jsonl")
    assert [(line["line"], line["reason"]) for line in bad] == [(2, told[0]), (4, told[1]), (6, told[2])]
    assert bad[0]["raw"] == "{broken"
    assert err.splitlines() == [f"line {number} skipped: {why}" for number, why in zip((2, 4, 6), told, strict=True)]
    assert sorted(row["custom_id"] for row in lines_of("out.jsonl")) == ["a", "line-5"]
    assert out.splitlines()[0].startswith("5 rows: 2 answered, 0 failed, 3 skipped; 0 failovers, 0 retries; ")
    assert out.splitlines()[-2:] == ["answers:   out.jsonl", "bad lines: out.errors.jsonl"]


def test_after_many_bad_lines_only_the_file_tells(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is wrong throughout does not flood the terminal, and no line of it is lost."""
    write(["oops"] * 50)
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl"]) == 1
    err = capsys.readouterr().err.splitlines()
    assert (len(err), err[20]) == (21, "further bad lines are told in the errors file only")
    assert [line["line"] for line in lines_of("out.errors.jsonl")] == list(range(1, 51))
    assert Path("out.jsonl").read_bytes() == b""


def test_a_failed_row_has_its_error(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that no provider answers is a line with its error and no response; status 1, and the summary says why."""
    gateway.faults.add(Fault(kind="status", provider="groq", status=400, body="no such thing"))
    write(ROWS[:2])
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", "--ordered"]) == 1
    failed, answered = lines_of("out.jsonl")
    assert (failed["custom_id"], failed["response"], answered["error"]) == ("a", None, None)
    assert (failed["error"]["type"], failed["error"]["status_code"]) == ("ProviderError", 400)
    assert (failed["receipt"]["cost_usd"], failed["receipt"]["attempts"]) == (0.0, 1)
    out = capsys.readouterr().out
    assert re.search(r"^Why rows failed\n.*\n.*\nProviderError +400 +1  no such thing", out, re.MULTILINE)


def test_the_summary_is_exact(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` sums up rows, tokens, failovers and money as the sandbox's bill has them."""
    gateway.faults.add(Fault(kind="status", provider="openai", status=503, times=2))
    write([{"message": f"Row {number}"} for number in range(5)])
    argv = ["--providers", "openai,groq", "--max-in-flight", "1", "--json"]
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", *argv]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == {"ok": 5, "failed": 0, "skipped": 0}
    assert told["cost_pusd"] == gateway.bill.total_pusd
    assert {name: one["cost_pusd"] for name, one in told["by_provider"].items()} == gateway.bill.by_provider
    assert {name: one["answered"] for name, one in told["by_provider"].items()} == {"groq": 2, "openai": 3}
    assert told["failovers"] == [{"from": "openai", "to": "groq", "error": "503", "count": 2}]
    assert (told["retries"], told["interrupted"], told["errors_file"]) == (0, False, None)
    assert told["output_tokens"] == sum(row.output_tokens for row in gateway.bill.rows)


def test_answers_on_standard_output(gateway: SandboxGateway) -> None:
    """`-o -` gives nothing but answers on standard output, and `-` takes the rows from standard input."""
    rows = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    argv = [sys.executable, "-m", "genops_helicone_async", "bulk", "-", "-o", "-", "--ordered"]
    done = subprocess.run(argv, input=rows, capture_output=True)
    assert done.returncode == 0
    assert [json.loads(line)["custom_id"] for line in done.stdout.splitlines()] == ["a", "line-2", "line-3"]
    assert done.stderr.startswith(b"3 rows: 3 answered, 0 failed; ")


def test_from_line_keeps_the_numbers(gateway: SandboxGateway) -> None:
    """`--from-line` passes over what is done already; lines keep their numbers, and so their names."""
    write(ROWS)
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", "--from-line", "2", "--ordered"]) == 0
    assert [row["custom_id"] for row in lines_of("out.jsonl")] == ["line-2", "line-3"]


def test_an_empty_file_is_done(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """No rows are no failure."""
    Path("in.jsonl").touch()
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl"]) == 0
    assert capsys.readouterr().out.startswith("0 rows: 0 answered, 0 failed; ")


class Terminal(io.StringIO):
    """Standard error as a terminal of 100 columns; `shown()` is what was written, colours taken away."""

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.getvalue())


def terminal_on(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Lets standard error be a terminal; in the test itself, since pytest changes it between fixtures and test."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    return made


def test_a_terminal_gets_a_bar(gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the progress is a bar with rows and cost; what is skipped is told above it."""
    write([*ROWS, "oops"])
    terminal = terminal_on(monkeypatch)
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl"]) == 1
    assert "line 4 skipped: not JSON: invalid character (byte 0)\n" in terminal.shown()
    told = r"bulk .*━.* 4/4 rows · \d+ rows/s · [\d,]+ tokens/min · \$0\.\d{4} · 1 skipped\s*\n"
    assert re.search(told, terminal.shown())


def test_without_rich_there_is_a_hint(gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rich a terminal gets plain lines, and is told where the bar comes from."""
    monkeypatch.setitem(sys.modules, "rich", None)
    write(ROWS)
    terminal = terminal_on(monkeypatch)
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl"]) == 0
    assert terminal.getvalue() == "(a progress bar comes with: pip install 'genops-helicone-async[cli]')\n"


def test_quiet_shows_no_progress(gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--quiet` leaves standard error to what is wrong."""
    write(ROWS)
    terminal = terminal_on(monkeypatch)
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", "--quiet"]) == 0
    assert terminal.getvalue() == ""
