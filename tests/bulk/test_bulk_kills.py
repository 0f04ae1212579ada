"""A bulk job that is ended at any moment, by whatever: each row once in the end, and nothing paid that is not named."""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from bulk_files import lines_of, numbered, numbers_of, pico, wait_for, write

from genops_helicone_async.cli import main
from genops_helicone_async.testing import Fault, SandboxGateway

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
JOB = ["bulk", "in.jsonl", "-o", "out.jsonl", "-q"]


@pytest.fixture
def bulk_kills(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The program that kills and resumes, which is run by hand over 20,000 rows."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("bulk_kills")
    sys.modules.pop("bulk_kills")


def test_killed_again_and_again_each_row_is_there_once(bulk_kills: ModuleType) -> None:
    """SIGKILL at random moments: each row once, bill and receipts equal but for calls in flight, which are named."""
    result = bulk_kills.torture(400, every=100, in_flight=16, seed=4)
    assert bulk_kills.holds(result), result
    assert (result["kills"] >= 2, result["answered"]) == (True, 400)


def child_of(*options: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "genops_helicone_async", *JOB, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def test_sigterm_drains_for_so_long(sandbox: SandboxGateway) -> None:
    """After SIGTERM nothing more is sent; what is in flight at the end of the time is dropped, and named."""
    sandbox.faults.add(Fault(kind="hang", provider="groq", after=2))
    write(numbered(9))
    child = child_of("--max-in-flight", "2", "--drain-seconds", "0.2", "--json")
    wait_for(sandbox, 4, child)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate()
    told = json.loads(out)
    assert (child.returncode, told["rows"]["ok"], len(told["dropped"])) == (130, 2, 2)
    assert "SIGTERM: what is still in flight after 0.2 s is dropped" in err
    sandbox.faults.clear()
    assert main(JOB) == 0
    assert (sorted(numbers_of()), pico() == sandbox.bill.total_pusd) == (list(range(1, 10)), True)


def test_rows_in_doubt_take_room_of_the_limit(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """What rows on their way at a kill may cost besides is within `--max-cost` already in the run that follows."""
    sandbox.faults.add(Fault(kind="hang", provider="groq", after=8))
    write(numbered(60, max_tokens=50))
    child = child_of("--max-in-flight", "8")
    wait_for(sandbox, 16, child)
    child.kill()
    child.communicate()
    sandbox.faults.clear()
    capsys.readouterr()
    limit_pusd = 80_000_000
    assert main([*JOB, "--json", "--max-cost", str(limit_pusd / 10**12)]) == 1
    told = json.loads(capsys.readouterr().out)
    doubt_pusd = round(told["perhaps_billed_twice"]["most_cost_usd"] * 10**12)
    assert (told["perhaps_billed_twice"]["rows"], told["given_back"]["rows"] > 0) == (8, True)
    assert told["cost_pusd"] == pico()
    assert 0 < doubt_pusd <= limit_pusd - told["cost_pusd"] < doubt_pusd + 6_000_000  # less than one more row may need


def test_rows_in_doubt_take_room_before_earlier_rows_are_sent(
    sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """Failed rows at the beginning that are sent again do not spend what rows in doubt, far behind, may have cost."""
    sandbox.faults.add(Fault(kind="status", provider="groq", status=400, times=40))
    sandbox.faults.add(Fault(kind="hang", provider="groq", model="llama-3.3-70b-versatile"))
    rows = numbered(1200, max_tokens=50)
    for row in rows[1100:]:
        row["model"] = "llama-3.3-70b-versatile"
    write(rows)
    child = child_of("--max-in-flight", "8")
    wait_for(sandbox, 1108, child)
    child.kill()
    child.communicate()
    sandbox.faults.clear()
    limit_pusd = pico() + 450_000_000  # what rows in doubt may have cost (394 M), and 15 of the 40 that failed
    capsys.readouterr()
    assert main([*JOB, "--json", "--retry-failed", "--max-cost", str(limit_pusd / 10**12)]) == 1
    first = json.loads(capsys.readouterr().out)
    assert main([*JOB, "--json", "--retry-failed", "--max-cost", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    doubt_pusd = round(told["perhaps_billed_twice"]["most_cost_usd"] * 10**12)
    assert (told["perhaps_billed_twice"]["rows"], told["rows"]["ok"]) == (8, 1200)
    assert limit_pusd - 10_000_000 < first["cost_pusd"] + doubt_pusd <= limit_pusd


def test_held_lines_outlive_a_kill(sandbox: SandboxGateway) -> None:
    """In an ordered job, answers that wait for a slow row are not paid twice after a kill."""
    sandbox.faults.add(Fault(kind="hang", provider="openai"))
    write([{"message": "Slow", "provider": "openai"}, *numbered(40)])
    child = child_of("--ordered", "--max-in-flight", "2")
    wait_for(sandbox, 30, child)
    child.kill()
    child.communicate()
    assert lines_of("out.jsonl") == []
    sandbox.faults.clear()
    assert main([*JOB, "--ordered"]) == 0
    assert numbers_of() == list(range(1, 42))
    assert len(sandbox.bill.rows) - 41 <= 2
