"""`budgets`: what is spent, held and left, by the ledger that the real adapter wrote and still writes."""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import time_machine

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async._rules.ledger import LedgerRow, Scope
from genops_helicone_async.cli import main
from genops_helicone_async.cli.money import exact_usd
from genops_helicone_async.testing import SandboxGateway

CALLS = (("openai", "research", "acme"), ("anthropic", "research", "globex"), ("groq", "support", "acme"))


class Written(NamedTuple):
    """A ledger's URL, and what the gateway charged: in all and for each call, in pico-dollars."""

    url: str
    total_pusd: int
    each_pusd: list[int]


async def spend(url: str) -> Written:
    """A few calls of several teams and customers, under a budget."""
    async with (
        SandboxGateway(latency_scale=0) as gateway,
        GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, state_url=url) as adapter,
    ):
        adapter.set_budget_limits(daily_limit=5)
        for provider, team, customer in CALLS:
            await adapter.chat_async(
                "Hello", provider=provider, team=team, project="chat", customer_id=customer, max_tokens=50
            )
        return Written(url, gateway.bill.total_pusd, [each.cost_pusd for each in gateway.bill.rows])


@pytest.fixture(scope="module", autouse=True)
def noon() -> Iterator[None]:
    """A day that does not end during a test; the clock goes on."""
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=True):
        yield


@pytest.fixture(scope="module")
def written(noon: None, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A ledger's file that the adapter wrote."""
    return asyncio.run(spend(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db"))


def out(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Standard output of a command that succeeds and has nothing to say on standard error."""
    status = main(["budgets", *argv])
    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    return printed.out


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    """The budgets that a machine gets, by name."""
    (line,) = out(capsys, *argv, "--json").splitlines()
    return {each["name"]: each for each in json.loads(line)["budgets"]}


def test_limits_show_what_is_left(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """Settled is the gateway's bill, remaining what it leaves, exactly."""
    budgets = told(
        capsys, "--state-url", written.url, "--daily", "100", "--monthly", "2500", "--team", "research=500",
        "--project", "chat=0.001", "--customer", "acme=3",
    )  # fmt: skip
    first, second, third = written.each_pusd
    assert {name: each["settled_pusd"] for name, each in budgets.items()} == {
        "daily": written.total_pusd, "monthly": written.total_pusd, "team:research": first + second,
        "project:chat": written.total_pusd, "customer:acme": first + third,
    }  # fmt: skip
    for each in budgets.values():
        assert each["limit_pusd"] - each["settled_pusd"] - each["held_pusd"] == each["remaining_pusd"]
    assert budgets["project:chat"]["limit_pusd"] == 10**9
    assert [(each["scope"], each["period"]) for each in budgets.values()] == [
        ("daily", "day"), ("monthly", "month"), ("team", "month"), ("project", "month"), ("customer", "month")
    ]  # fmt: skip


def test_a_table_of_limits(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """Limit, settled, held, remaining, per cent and the end of the window."""
    title, heads, _, day, *rest = out(capsys, "--state-url", written.url, "--daily", "100").splitlines()
    assert title == "Budgets, as all processes have spent them"
    assert re.split(r"\s{2,}", heads) == ["budget", "per", "limit", "settled", "held", "remaining", "used", "resets"]
    left = exact_usd(100 * 10**12 - written.total_pusd)
    assert re.split(r"\s{2,}", day)[:7] == [
        "daily", "day", "$100.0000", exact_usd(written.total_pusd), "$0.0000", left, "0.0%"
    ]  # fmt: skip
    assert (re.split(r"\s{2,}", day)[7], rest) == ("2026-11-24 00:00 UTC", [""])


def test_without_limits_all_that_was_spent(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """Today, this month, and every team, project and customer, the dearest of each first."""
    first, second, third = written.each_pusd
    spent = told(capsys, "--state-url", written.url)
    assert {name: each["settled_pusd"] for name, each in spent.items()} == {
        "daily": written.total_pusd, "monthly": written.total_pusd, "team:research": first + second,
        "team:support": third, "project:chat": written.total_pusd, "customer:acme": first + third,
        "customer:globex": second,
    }  # fmt: skip
    assert {each["limit_usd"] for each in spent.values()} == {None}
    lines = out(capsys, "--state-url", written.url).splitlines()
    assert lines[0] == "Spent so far (name limits to see what is left of them)"
    assert [line.split()[0] for line in lines[3:-1]] == list(spent)


def test_the_environment_names_the_ledger(
    written: Written, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`GENOPS_STATE_URL` is the one that the adapter takes, too."""
    monkeypatch.setenv("GENOPS_STATE_URL", written.url)
    assert told(capsys, "--daily", "1")["daily"]["settled_pusd"] == written.total_pusd


def test_what_is_held_by_another_ledger_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Money set aside for calls on their way is not spent, and not left either."""
    path = tmp_path / "ledger.db"
    scope = Scope(name="daily", window=f"{datetime.now(UTC):%Y-%m-%d}", limit_pusd=10**13)

    async def hold_and_look() -> dict[str, Any]:
        ledger = SqliteLedger(path)
        assert await ledger.hold((scope,), 4 * 10**12, enforce=True) is None
        look = asyncio.to_thread(told, capsys, "--state-url", f"sqlite:///{path}", "--daily", "10")
        (budget,) = (await look).values()
        await ledger.aclose()
        return dict(budget)

    budget = asyncio.run(hold_and_look())
    assert (budget["settled_usd"], budget["held_usd"], budget["remaining_usd"]) == (0.0, 4.0, 6.0)


def test_a_budget_that_counts_nothing_says_so(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """The adapter counts the days of another time zone: 0 must not look like nothing spent."""
    argv = ["--state-url", written.url, "--monthly", "5", "--customer", "nobody=5", "--timezone", "Asia/Tokyo"]
    note = (
        f"monthly: the ledger has calls worth {exact_usd(written.total_pusd)} in this window, none of them counted in "
        "it: adapters count days and months in their own time zone, give the same as --timezone"
    )
    *_, last = out(capsys, *argv).splitlines()
    assert last == f"{note}."
    (line,) = out(capsys, *argv, "--json").splitlines()
    assert [each["settled_pusd"] for each in json.loads(line)["budgets"]] == [0, 0]
    assert json.loads(line)["notes"] == [note]


def test_windows_end_in_the_time_zone_asked_for(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """Midnight is Tokyo's, and so is the day that is counted when no limit is given."""
    day = told(capsys, "--state-url", written.url, "--timezone", "Asia/Tokyo")["daily"]
    assert (day["resets_at"], day["settled_pusd"]) == ("2026-11-24T00:00:00+09:00", written.total_pusd)


def test_further_names_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of many teams the dearest are shown, the others counted."""
    path = tmp_path / "ledger.db"
    rows = [
        LedgerRow(request_id=f"r{i}", at_s=datetime.now(UTC).timestamp(), provider="openai", model="gpt-4o",
                  status="ok", cost_pusd=10**9 * (10 - i), team=f"t{i}")
        for i in range(5)
    ]  # fmt: skip

    async def write() -> None:
        ledger = SqliteLedger(path)
        ledger.settle((), 0, rows, lambda moved: None)
        await ledger.aclose()

    asyncio.run(write())
    lines = out(capsys, "--state-url", f"sqlite:///{path}", "--top", "2").splitlines()
    assert [line.split()[0] for line in lines if line.startswith("team:")] == ["team:t0", "team:t1"]
    assert lines[-1] == "3 more teams spent $0.0210 together."


@pytest.mark.parametrize(
    "argv,status,line",
    [
        ([], 2, "error: no ledger is named: give --state-url sqlite:///ledger.db, or set GENOPS_STATE_URL"),
        (["--state-url", "sqlite:///none.db"], 1, "error: there is no ledger at "),
        (["--state-url", "sqlite:///none.db", "--daily", "5"], 1, "error: there is no ledger at "),
        (["--state-url", "sqlite:///text.db", "--daily", "5"], 1, "error: the ledger "),
        (["--state-url", "sqlite:///none.db", "--timezone", "Mars"], 2, "error: `timezone` is 'Mars', which is no "),
        (["--state-url", "sqlite:///none.db", "--monthly", "much"], 2, "error: argument --monthly: 'much' is no limit"),
        (["--state-url", "sqlite:///none.db", "--customer", "=5"], 2, "error: argument --customer: '=5' is not NAME="),
        (
            ["--state-url", "sqlite:///none.db", "--project", "a=1", "--project", "a=1"],
            2,
            "error: --project names one ",
        ),
    ],
)
def test_it_fails_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argv: list[str], status: int,
    line: str,
) -> None:  # fmt: skip
    """Wrong usage ends with 2, a ledger that cannot be used with 1; one that is not there is not made."""
    monkeypatch.chdir(tmp_path)
    Path("text.db").write_text("this is no database " * 100)
    ended = main(["budgets", *argv])
    printed = capsys.readouterr()
    (told_line,) = printed.err.splitlines()
    assert (ended, printed.out, told_line[: len(line)]) == (status, "", line)
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]
