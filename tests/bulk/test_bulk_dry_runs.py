"""`bulk --dry-run` of a job that was begun: what is left of it, and what it has cost; its files stay as they are."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bulk_files import lines_of, numbered, wait_for, write

from genops_helicone_async.cli import main
from genops_helicone_async.testing import Fault, SandboxGateway

JOB = ["bulk", "in.jsonl", "-o", "out.jsonl", "-q"]


def estimate(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """What a dry run says."""
    capsys.readouterr()
    assert main([*JOB, "--dry-run", "--json", *options]) in (0, 1)
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def files() -> dict[str, bytes]:
    """The folder as it is."""
    return {path.name: path.read_bytes() for path in Path().iterdir()}


def rows_of(told: dict[str, Any]) -> tuple[int, int, int, int]:
    """Rows done, to be sent, equal to others, and such that cannot be sent."""
    rows = told["rows"]
    return rows["done"], rows["to_send"], rows["equal_to_earlier"], rows["cannot_be_sent"]


def test_only_what_is_left_is_estimated(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that are answered, failed or bad are done; a row that equals an answered one costs nothing."""
    sandbox.faults.add(Fault(kind="status", provider="groq", status=400, after=1, times=1))
    rows: list[Any] = [*numbered(3, max_tokens=50), "{no json", {**numbered(1, max_tokens=50)[0], "custom_id": "x"}]
    write(rows)
    assert rows_of(estimate(capsys)) == (0, 3, 1, 1)
    assert main([*JOB, "--max-in-flight", "1"]) == 1
    before = files()
    whole = estimate(capsys, "--overwrite")
    assert (rows_of(whole), rows_of(estimate(capsys))) == ((0, 3, 1, 1), (5, 0, 0, 0))
    again = estimate(capsys, "--retry-failed", "--max-cost", "1")
    assert rows_of(again) == (4, 1, 0, 0)
    assert 0 < again["expected_cost_usd"] < whole["expected_cost_usd"] / 2
    assert round(again["spent_usd"] * 10**12) == sandbox.bill.total_pusd
    assert files() == before
    assert main([*JOB, "--dry-run", "--retry-failed", "--max-cost", "1"]) == 0
    out = capsys.readouterr().out
    assert "in.jsonl: 1 row to send; 4 rows done already, for $0.00" in out
    assert main([*JOB, "--retry-failed"]) == 1  # the bad line stays bad
    assert len(sandbox.requests) == 4


def test_the_limit_is_what_earlier_runs_left_of_it(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """`--max-cost` is the whole job's: what was spent is no longer there for the rows that are left."""
    write(numbered(40, max_tokens=50))
    fresh = estimate(capsys, "--max-cost", "0.00002")["rows_within_max_cost"]
    assert main([*JOB, "--max-cost", "0.00002", "--max-in-flight", "1"]) == 1
    told = estimate(capsys, "--max-cost", "0.00002")
    done = told["rows"]["done"]
    assert (done, told["rows"]["to_send"]) == (len(lines_of("out.jsonl")), 40 - done)
    assert fresh["expected"] > 0
    assert told["rows_within_max_cost"] == {"expected": 0, "worst_case": 0}


def test_rows_on_their_way_at_a_kill_take_room(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """They are to be sent again, and what they may have cost is told, as the run will tell it."""
    sandbox.faults.add(Fault(kind="hang", provider="groq", after=4))
    write(numbered(12, max_tokens=50))
    child = subprocess.Popen([sys.executable, "-m", "genops_helicone_async", *JOB, "--max-in-flight", "4"])
    wait_for(sandbox, 8, child)
    child.kill()
    child.wait()
    sandbox.faults.clear()
    before = files()
    told = estimate(capsys, "--max-cost", "1")
    assert (rows_of(told), told["rows"]["sent_again"]) == ((4, 8, 0, 0), 4)
    assert files().keys() - {"out.jsonl.journal-wal", "out.jsonl.journal-shm"} == before.keys() - {
        "out.jsonl.journal-wal", "out.jsonl.journal-shm", "out.jsonl.journal.pid",
    }  # fmt: skip
    assert main([*JOB, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["perhaps_billed_twice"]["rows"], len(lines_of("out.jsonl"))) == (4, 12)
    assert done["perhaps_billed_twice"]["most_cost_usd"] == told["perhaps_billed_twice_usd"] > 0


def test_what_a_run_would_refuse_is_refused(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Another input, other options or an output that is gone are told as a run tells them."""
    rows = [{"message": f"Row {number}"} for number in range(3)]
    write(rows)
    assert main([*JOB, "--provider", "groq"]) == 0
    before = files()
    for argv, said in (
        (["--provider", "openai"], "--provider was groq, now it is openai"),
        (["--provider", "groq", "--max-tokens", "5"], "--max-tokens was not given, now it is 5"),
    ):
        assert main([*JOB, "--dry-run", *argv]) == 2
        assert said in capsys.readouterr().err
    assert files() == before
    told = estimate(capsys, "--provider", "openai", "--new-options")
    assert (rows_of(told), files()) == ((3, 0, 0, 0), before)
    write([*rows, {"message": "More"}])
    assert main([*JOB, "--dry-run", "--provider", "groq"]) == 2
    assert "the input is not the one this job began with" in capsys.readouterr().err
    write(rows)
    Path("out.jsonl").unlink()
    assert main([*JOB, "--dry-run", "--provider", "groq"]) == 2
    assert "out.jsonl is not there, but its journal is" in capsys.readouterr().err
    assert (len(sandbox.requests), Path("out.jsonl").exists()) == (3, False)
