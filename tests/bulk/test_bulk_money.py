"""What a bulk job spends: never above `--max-cost` over all its runs, and nothing for rows that are equal."""

import json
from pathlib import Path
from typing import Any

import pytest
from bulk_files import lines_of, numbered, numbers_of, pico, write

from genops_helicone_async.cli import main
from genops_helicone_async.testing import Fault, SandboxGateway

JOB = ["bulk", "in.jsonl", "-o", "out.jsonl", "--json", "-q"]


def run(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    """Status and summary of a run."""
    capsys.readouterr()
    status = main([*JOB, *options])
    return status, json.loads(capsys.readouterr().out)


def test_the_wall_holds_over_all_runs(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Spending stays within `--max-cost`, again and again; rows that do not fit are left, not failed."""
    write(numbered(40, max_tokens=50))
    whole = "0.00002"
    status, told = run(capsys, "--max-cost", whole, "--max-in-flight", "8")
    first = told["rows"]["ok"]
    assert (status, told["rows"]["failed"], 0 < first < 40) == (1, 0, True)
    assert told["cost_pusd"] == sandbox.bill.total_pusd <= 20_000_000
    assert "session:bulk" in told["given_back"]["because"]
    assert told["go_on"] == "the same command with a higher --max-cost"
    status, told = run(capsys, "--max-cost", whole)
    assert (status, sandbox.bill.total_pusd <= 20_000_000, told["runs"]) == (1, True, 2)
    status, told = run(capsys, "--max-cost", "1")
    assert (status, sorted(numbers_of())) == (0, list(range(1, 41)))
    assert told["perhaps_billed_twice"]["rows"] == 0
    assert told["cost_pusd"] == sandbox.bill.total_pusd == pico()


def test_the_wall_is_nearly_reached(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """What is held for rows in flight and not needed is given to others: a job stops when no row fits any more."""
    write(numbered(60, max_tokens=50))
    _, told = run(capsys, "--max-cost", "0.00002", "--max-in-flight", "64")
    left = 20_000_000 - told["cost_pusd"]
    assert told["rows"]["ok"] > 0
    assert left < 6_000_000  # less than the worst case of one more row


def test_lost_replies_count_with_the_most_they_may_cost(
    sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind a wall no lost reply is billed at more than is counted for it, although others were short before it."""
    sandbox.faults.add(Fault(kind="truncated_json", probability=0.8))
    write(numbered(60, max_tokens=400))
    _, told = run(capsys, "--max-cost", "0.0002", "--max-in-flight", "1")
    counted = sum(round(line["receipt"]["in_doubt_usd"] * 10**12) for line in lines_of("out.jsonl"))
    lost_bill = sandbox.bill.total_pusd - told["cost_pusd"]
    assert (told["rows"]["ok"] > 0, told["in_doubt"]["cost_pusd"]) == (True, counted)
    assert counted / told["in_doubt"]["attempts"] > 32_000_000  # 400 tokens of output are that much alone
    assert 0 < lost_bill <= counted <= 200_000_000


def test_a_row_cannot_leave_the_wall(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that asks not to be counted is counted all the same."""
    write(numbered(5, enforce_budget=False))
    status, _ = run(capsys, "--max-cost", "0")
    assert (status, sandbox.requests) == (1, ())
    assert not Path("out.jsonl").read_bytes()


def test_equal_rows_are_answered_once(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """At any distance: the copy has its own name, no cost, and says whose answer it is; `cache: false` is no copy."""
    rows = numbered(600)
    rows += [{**rows[0], "custom_id": "far"}, {**rows[599], "custom_id": "near"}, {**rows[0], "cache": False}]
    write(rows)
    status, told = run(capsys)
    assert (status, told["rows"]["ok"], told["copied"], len(sandbox.requests)) == (0, 603, 2, 601)
    found = {line["custom_id"]: line for line in lines_of("out.jsonl")}
    assert found["far"]["response"]["body"] == found["line-1"]["response"]["body"]
    receipt = found["far"]["receipt"]
    assert (receipt["cost_usd"], receipt["attempts"], receipt["line"], receipt["served_by"]) == (0.0, 0, 601, "line-1")
    assert found["near"]["receipt"]["served_by"] == "line-600"
    assert told["cost_pusd"] == sandbox.bill.total_pusd == pico()


def test_equal_rows_are_sent_each_on_request(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """`--no-dedupe` is for who wants several answers to one question."""
    write([{"message": "Name a colour", "provider": "groq"}] * 6)
    assert run(capsys, "--no-dedupe")[0] == 0
    assert len(sandbox.requests) == 6


def test_what_failed_answers_nobody(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the first of equal rows fails, the next one is sent, and the others have its answer."""
    sandbox.faults.add(Fault(kind="status", provider="groq", status=400, body="no", times=1))
    write([{"message": "Same", "provider": "groq"}] * 5)
    status, told = run(capsys, "--ordered")
    assert (status, len(sandbox.requests)) == (1, 2)
    assert (told["rows"]["ok"], told["rows"]["failed"], told["copied"]) == (4, 1, 3)
    assert [(line["error"] is None, line["receipt"].get("served_by")) for line in lines_of("out.jsonl")] == [
        (False, None), (True, None), (True, "line-2"), (True, "line-2"), (True, "line-2"),
    ]  # fmt: skip


def test_copies_come_from_earlier_runs(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that equals one an earlier run answered costs nothing either."""
    sandbox.faults.add(Fault(kind="status", provider="groq", status=400, body="no", times=1))
    write([{"message": "Same", "provider": "groq"}, {"message": "Same", "provider": "groq"}])
    status, told = run(capsys)
    assert (status, told["rows"]["ok"], told["rows"]["failed"], len(sandbox.requests)) == (1, 1, 1, 2)
    status, told = run(capsys, "--retry-failed")
    assert (status, told["copied"], len(sandbox.requests)) == (0, 1, 2)


def test_answers_on_standard_output_are_copied_too(sandbox: SandboxGateway, capfd: pytest.CaptureFixture[str]) -> None:
    """Without a file to look into, equal rows are answered once all the same."""
    write([{"message": "Same", "provider": "groq"}] * 3)
    assert main(["bulk", "in.jsonl", "-o", "-", "-q"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert (len(lines), len(sandbox.requests)) == (3, 1)


def test_an_equal_row_may_come_with_the_answer(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that is taken in the very moment in which the equal one is answered is answered, too."""
    write([{"message": f"Row {number // 2}", "provider": "groq"} for number in range(1200)])
    status, told = run(capsys, "--max-in-flight", "3")
    assert (status, told["rows"]["ok"], told["copied"], len(sandbox.requests)) == (0, 1200, 600, 600)
