"""`bulk` given again: it goes on where it ended, and refuses, with the remedy, what it cannot go on with."""

import json
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from bulk_files import lines_of, numbered, numbers_of, pico, write

from genops_helicone_async.bulk.journal_file import close_journal, journal_path, open_journal
from genops_helicone_async.cli import main
from genops_helicone_async.testing import Fault, SandboxGateway

JOB = ["bulk", "in.jsonl", "-o", "out.jsonl"]


def refused(capsys: pytest.CaptureFixture[str], gateway: SandboxGateway, argv: list[str]) -> str:
    """What a run says that refuses: status 2, one line, nothing sent and nothing changed."""
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    calls = len(gateway.requests)
    capsys.readouterr()
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), len(gateway.requests)) == ("", 1, calls)
    assert {path: path.read_bytes() for path in before} == before
    return err.removeprefix("error: ").rstrip()


def test_a_finished_job_says_so_and_spends_nothing(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command again sends nothing, leaves the output as it is, and tells the whole job's figures."""
    write([*numbered(5), "oops"])
    assert main(JOB) == 1
    before = Path("out.jsonl").read_bytes()
    capsys.readouterr()
    assert main([*JOB, "--json"]) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err == "this job is finished already: nothing was sent\n"
    assert (told["rows"]["ok"], told["rows"]["skipped"], told["runs"]) == (5, 1, 2)
    assert told["cost_pusd"] == sandbox.bill.total_pusd == pico()
    assert (len(sandbox.requests), Path("out.jsonl").read_bytes()) == (5, before)


def test_a_changed_input_is_refused(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of another file would get the names of the first one's: it is refused, and the remedies are named."""
    write(numbered(3))
    assert main(JOB) == 0
    write(numbered(4))
    said = refused(capsys, sandbox, JOB)
    assert said.startswith("the input is not the one this job began with (it had 123 bytes, now it has 164, or others)")
    assert said.endswith(": restore it, give another -o, or start anew with --overwrite")
    assert main([*JOB, "--overwrite"]) == 0
    assert sorted(numbers_of()) == [1, 2, 3, 4]


def test_a_moved_input_is_the_same(sandbox: SandboxGateway) -> None:
    """What counts is what is in the file, not its name."""
    write(numbered(3))
    assert main(JOB) == 0
    Path("in.jsonl").rename("moved.jsonl")
    assert main(["bulk", "moved.jsonl", "-o", "out.jsonl"]) == 0
    assert len(sandbox.requests) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[: data.rfind(b"\n", 0, -1) + 1], "is shorter than this job left it"),
        (lambda data: b"", "is shorter than this job left it"),
        (lambda data: data.replace(b'"custom_id":"line-3"', b'"custom_id":"line-9"'), "is not what this job wrote"),
        (lambda data: data + b"hello\n", "has a line of somebody else's at byte"),
        (lambda data: data + data.splitlines(keepends=True)[0], "that this job did not write"),
    ],
)
def test_a_changed_output_is_refused(
    change: object, said: str, sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """Going on in a file that is not what the job left would lose rows or double them."""
    write(numbered(3))
    assert main(JOB) == 0
    path = Path("out.jsonl")
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    assert said in refused(capsys, sandbox, JOB)


def test_a_torn_last_line_is_taken_away(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a line at the end, as a power failure leaves it, harms nothing."""
    write(numbered(3))
    assert main(JOB) == 0
    before = Path("out.jsonl").read_bytes()
    Path("out.jsonl").write_bytes(before + b'{"id":"batch_req_x","custom_id":"li')
    assert main(JOB) == 0
    assert Path("out.jsonl").read_bytes() == before


def test_other_options_are_named(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Options that decide answers stay the same over a job, unless one says that they are new."""
    write([{"message": "One"}, {"message": "Two"}])
    assert main([*JOB, "--provider", "groq"]) == 0
    said = refused(capsys, sandbox, [*JOB, "--provider", "openai", "--max-tokens", "5"])
    assert said == (
        "this job was begun with other options (--max-tokens was not given, now it is 5; --provider was groq, now it "
        "is openai): give the same, or --new-options to send the rows that are left with these, or --overwrite to "
        "start anew"
    )
    assert main([*JOB, "--provider", "openai", "--new-options"]) == 0
    assert len(sandbox.requests) == 2


def test_options_of_the_way_may_change(sandbox: SandboxGateway) -> None:
    """How fast, how long and how much is each run's own business."""
    write(numbered(2))
    assert main(JOB) == 0
    assert main([*JOB, "--max-in-flight", "3", "--timeout", "9", "--max-cost", "1", "--ordered", "--no-dedupe"]) == 0


def test_a_second_run_is_refused(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs of one job would pay twice: the second says which process has it, and touches nothing."""
    write(numbered(2))
    assert main(JOB) == 0
    path = journal_path(Path("out.jsonl"))
    held = open_journal(path)
    for argv in (JOB, [*JOB, "--overwrite"]):
        assert f"out.jsonl.journal is in use by process {os.getpid()}: " in refused(capsys, sandbox, argv)
    close_journal(held, path)
    assert main(JOB) == 0


def test_foreign_journals_are_refused(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no journal, or one of a newer version, is left alone; `--overwrite` starts anew."""
    write(numbered(2))
    journal = Path("out.jsonl.journal")
    journal.write_bytes(b"notes of mine, rather long ones\n")
    assert refused(capsys, sandbox, JOB).endswith(
        "out.jsonl.journal is no journal of a bulk job: move it away, or start anew with --overwrite"
    )
    journal.unlink()
    with sqlite3.connect(journal) as other:
        other.execute("CREATE TABLE recipes (name)")
    other.close()
    assert "is no journal of a bulk job" in refused(capsys, sandbox, JOB)
    assert main([*JOB, "--overwrite"]) == 0
    newer = sqlite3.connect(journal)
    newer.execute("PRAGMA user_version=99")
    newer.close()
    assert "was written by another version of this program (journal 99, " in refused(capsys, sandbox, JOB)


def test_an_output_without_its_journal_is_refused(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the journal nobody knows what is done: the output is not appended to, nor replaced unasked."""
    write(numbered(2))
    assert main(JOB) == 0
    Path("out.jsonl.journal").unlink()
    assert refused(capsys, sandbox, JOB) == "out.jsonl exists: give another name, or --overwrite to replace it"


def test_failed_rows_are_sent_again_on_request(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """`--retry-failed` sends the failed rows of earlier runs again; the output has each row once, in order if asked."""
    sandbox.faults.add(Fault(kind="status", provider="groq", status=400, body="no", times=3))
    write(numbered(8))
    argv = [*JOB, "--max-in-flight", "1", "--ordered"]
    assert main(argv) == 1
    assert [line["error"] is None for line in lines_of("out.jsonl")] == [False] * 3 + [True] * 5
    assert main(argv) == 1
    assert "3 rows failed: --retry-failed sends them again\n" in capsys.readouterr().err
    assert main([*argv, "--retry-failed", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"]["ok"], told["rows"]["failed"], told["failures"]) == (8, 0, [])
    assert [(line["receipt"]["line"], line["error"]) for line in lines_of("out.jsonl")] == [
        (number, None) for number in range(1, 9)
    ]
    assert (len(sandbox.requests), told["cost_pusd"]) == (11, sandbox.bill.total_pusd)


def test_names_that_come_twice_are_found_over_runs(sandbox: SandboxGateway) -> None:
    """A `custom_id` is one row's over the whole job, given or by default, however far apart and in whichever run."""
    rows = numbered(700)
    rows[649]["custom_id"] = "line-3"
    rows[650]["custom_id"] = rows[9]["custom_id"] = "mine"
    write(rows)
    assert main([*JOB, "--from-line", "1"]) == 1
    bad = lines_of("out.errors.jsonl")
    assert [(line["line"], line["reason"]) for line in bad] == [
        (650, "`custom_id` 'line-3' is that of line 3 already"), (651, "`custom_id` 'mine' is that of line 10 already"),
    ]  # fmt: skip
    assert main(JOB) == 1
    assert (len(sandbox.requests), lines_of("out.errors.jsonl")) == (698, bad)


def piped(rows: list[dict[str, object]], *options: str) -> int:
    """A run whose rows come through a named pipe."""
    Path("pipe").unlink(missing_ok=True)
    os.mkfifo("pipe")
    writer = threading.Thread(target=write, args=(rows, "pipe"))
    writer.start()
    status = main(["bulk", "pipe", "-o", "out.jsonl", "--max-in-flight", "1", *options])
    writer.join()
    return status


def test_a_pipe_may_bring_more_rows_than_before(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A job from a pipe is never taken for finished before the pipe was read: further rows are sent, others refused."""
    assert piped(numbered(2)) == 0
    assert piped(numbered(5)) == 0
    assert (sorted(numbers_of()), len(sandbox.requests)) == ([1, 2, 3, 4, 5], 5)
    assert piped(numbered(5, max_tokens=9)) == 2
    assert "line 1 of the input is not what it was" in capsys.readouterr().err


def test_options_of_a_pipe_stay_the_same(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """With other options a pipe's rows cannot be compared with those of before: refused, also with `--new-options`."""
    rows = [{"message": f"Row {number}"} for number in range(3)]
    assert piped(rows, "--provider", "groq") == 0
    capsys.readouterr()
    for options in (["--new-options"], []):
        assert piped(rows, "--provider", "openai", *options) == 2
        assert capsys.readouterr().err == (
            "error: this job was begun with other options (--provider was groq, now it is openai): give the "
            "same, for only with them rows through a pipe can be compared with those of before, or "
            "--overwrite to start anew\n"
        )
    write(rows, "rows.jsonl")
    assert main(["bulk", "rows.jsonl", "-o", "out.jsonl", "--provider", "openai", "--new-options"]) == 2
    assert piped([*rows[:2], {"message": "Another"}], "--provider", "groq", "--new-options") == 2
    assert "line 3 of the input is not what it was" in capsys.readouterr().err
    assert (piped(rows, "--provider", "groq", "--new-options"), len(sandbox.requests)) == (0, 3)


def test_rows_of_a_pipe_are_compared(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe has no fingerprint: its rows are compared with those of before, one by one."""
    sandbox.faults.add(Fault(kind="status", provider="groq", status=400, times=1))
    assert piped(numbered(3)) == 1
    other = [*numbered(1), {"message": "Another", "provider": "groq"}]
    assert piped(other, "--retry-failed") == 2
    assert "line 2 of the input is not what it was when this job began" in capsys.readouterr().err
    assert piped(numbered(3), "--retry-failed") == 0
    assert (sorted(numbers_of()), len(sandbox.requests)) == ([1, 2, 3], 4)
