"""Whose money a call spends, and when: attribution, customers, calendar windows, limits that change in flight."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from budget_storm import pusd

from genops_helicone_async import (
    BudgetAlert,
    BudgetExceededError,
    BudgetOverrun,
    ConfigurationError,
    GenOpsHeliconeAsyncAdapter,
)
from genops_helicone_async._edges.ledger_memory import MemoryLedger
from genops_helicone_async._flow.budget_limits import BudgetLimits, limits_of
from genops_helicone_async._flow.budgets import Budgets
from genops_helicone_async._flow.call_hold import CallHold
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async._values import Currency
from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio

NOBODY: Mapping[str, str] = {}
ZONES = [  # read before a loop runs: the first use of a zone reads its file
    ZoneInfo(name)
    for name in (
        "Africa/Cairo", "America/New_York", "America/Santiago", "Asia/Kathmandu", "Europe/Berlin",
    )
]  # fmt: skip


class Clock:
    """A wall clock that is set by hand."""

    def __init__(self, iso: str) -> None:
        self.set(iso)

    def set(self, iso: str) -> None:
        """Sets it to a moment with its offset."""
        self.now_s = datetime.fromisoformat(iso).timestamp()

    def __call__(self) -> float:
        return self.now_s


def budgets_at(clock: Clock, **limits: Any) -> Budgets:
    """Budgets in memory by that clock."""
    budgets = Budgets(MemoryLedger(), clock, lambda _event: None, Currency())
    budgets.configure(BudgetLimits(**limits))
    return budgets


def settle(hold: CallHold, cost_pusd: int, name: str) -> None:
    """Ends a call that cost that much."""
    row = LedgerRow(request_id=name, at_s=0.0, provider="openai", model="m", status="ok", cost_pusd=cost_pusd)
    hold.settle([row], failed=False, cached=False)


async def spend(budgets: Budgets, amount_pusd: int, name: str, who: Mapping[str, str] = NOBODY) -> None:
    """A call that costs what it held."""
    hold = budgets.open(who, enforce=None)
    await hold.raise_to(amount_pusd)
    settle(hold, amount_pusd, name)


def settled(budgets: Budgets) -> dict[str, int]:
    """What each budget has spent, in pico-dollars."""
    return {status.name: pusd(status.settled) for status in budgets.status()}


@pytest.mark.parametrize(
    ("zone", "before", "after", "is_new_day"),
    [
        ("UTC", "2026-11-23T23:59:59.9+00:00", "2026-11-24T00:00:00+00:00", True),
        ("Europe/Berlin", "2026-11-23T22:59:59+00:00", "2026-11-23T23:00:00+00:00", True),
        ("Europe/Berlin", "2026-11-23T23:00:00+00:00", "2026-11-24T00:30:00+00:00", False),
        ("America/New_York", "2026-03-08T04:59:00+00:00", "2026-03-08T05:00:00+00:00", True),
        ("America/New_York", "2026-03-08T05:00:00+00:00", "2026-03-09T03:59:00+00:00", False),  # 23 hours long
        ("America/New_York", "2026-03-08T05:00:00+00:00", "2026-03-09T04:00:00+00:00", True),
        ("Europe/Berlin", "2026-10-24T22:00:00+00:00", "2026-10-25T22:59:00+00:00", False),  # 25 hours long
        ("Europe/Berlin", "2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00", True),
        ("America/Santiago", "2026-09-06T03:59:00+00:00", "2026-09-06T04:00:00+00:00", True),  # no midnight that day
        ("Asia/Kathmandu", "2026-11-23T18:14:59+00:00", "2026-11-23T18:15:00+00:00", True),
    ],
)
async def test_a_day_begins_at_local_midnight(zone: str, before: str, after: str, is_new_day: bool) -> None:
    """Spending counts until the local day is over, however long it is, and then the whole limit is there again."""
    clock = Clock(before)
    budgets = budgets_at(clock, daily_pusd=100, monthly_pusd=1000, zone=zone)
    await spend(budgets, 100, "a")
    clock.set(after)
    if is_new_day:
        await spend(budgets, 100, "b")
        assert settled(budgets) == {"daily": 100, "monthly": 200}
    else:
        with pytest.raises(BudgetExceededError) as caught:
            await spend(budgets, 1, "b")
        assert caught.value.resets_at is not None
        assert caught.value.resets_at.timestamp() > clock.now_s
        assert settled(budgets) == {"daily": 100, "monthly": 100}


async def test_a_call_counts_in_the_day_in_which_it_began() -> None:
    """What is held over midnight is settled where it was held; the new day is untouched."""
    clock = Clock("2026-11-30T23:59:00+00:00")
    budgets = budgets_at(clock, daily_pusd=100, monthly_pusd=100)
    hold = budgets.open(NOBODY, enforce=None)
    await hold.raise_to(80)
    clock.set("2026-12-01T00:00:01+00:00")
    assert [(status.name, status.held, status.settled) for status in budgets.status()] == [
        ("daily", 0.0, 0.0),
        ("monthly", 0.0, 0.0),
    ]
    await spend(budgets, 100, "new")
    settle(hold, 70, "old")
    assert settled(budgets) == {"daily": 100, "monthly": 100}
    clock.set("2026-11-30T23:59:30+00:00")
    assert settled(budgets) == {"daily": 70, "monthly": 70}


async def test_a_month_may_end_where_the_day_s_clock_jumps() -> None:
    """In Cairo the clocks went forward at midnight: the status tells when the windows really end."""
    clock = Clock("2024-04-25T12:00:00+02:00")
    (daily,) = budgets_at(clock, daily_pusd=1, zone="Africa/Cairo").status()
    assert daily.resets_at == datetime(2024, 4, 25, 22, 0, tzinfo=UTC)


async def test_the_status_is_whole_at_the_stroke_of_midnight() -> None:
    """A day that ends while the status is put together neither breaks it nor shows two days."""

    class Striking(Clock):
        """Each look at it finds a second later."""

        def __call__(self) -> float:
            self.now_s += 1
            return self.now_s

    for start in ("2026-11-30T23:59:57+00:00", "2026-11-30T23:59:58+00:00"):
        budgets = budgets_at(Striking(start), daily_pusd=5, monthly_pusd=7)
        for _ in range(4):
            assert [status.name for status in budgets.status()] == ["daily", "monthly"]


@pytest.mark.parametrize(
    ("dimension", "limits"),
    [("team", "teams"), ("project", "projects"), ("customer_id", "customers")],
)
async def test_spending_before_a_limit_was_set_counts_for_everyone(dimension: str, limits: str) -> None:
    """A limit set in the middle of the month knows what its team, project or customer has spent already."""
    budgets = budgets_at(Clock("2026-11-23T12:00:00+00:00"))
    await spend(budgets, 90, "a", {dimension: "acme"})
    budgets.configure(BudgetLimits(**{limits: {"acme": 100}}))
    with pytest.raises(BudgetExceededError) as caught:
        await spend(budgets, 11, "b", {dimension: "acme"})
    assert caught.value.scope == f"{dimension.removesuffix('_id')}:acme"
    assert pusd(caught.value.current_usage) == 90
    await spend(budgets, 10, "c", {dimension: "acme"})
    await spend(budgets, 1000, "d", {dimension: "globex"})


async def test_a_hold_taken_before_the_limits_changed_is_still_held_after() -> None:
    """New limits apply to what is set aside already; they free nothing."""
    budgets = budgets_at(Clock("2026-11-23T12:00:00+00:00"), daily_pusd=100)
    running = budgets.open(NOBODY, enforce=None)
    await running.raise_to(60)
    budgets.configure(BudgetLimits(daily_pusd=70))
    with pytest.raises(BudgetExceededError):
        await spend(budgets, 11, "a")
    await spend(budgets, 10, "b")
    settle(running, 60, "c")
    assert settled(budgets) == {"daily": 70}


async def test_a_call_begun_under_higher_thresholds_passes_the_new_ones() -> None:
    """Its cost is compared with the thresholds in force when it is settled, and with its own limits."""
    told: list[BudgetAlert | BudgetOverrun] = []
    budgets = Budgets(MemoryLedger(), Clock("2026-11-23T12:00:00+00:00"), told.append, Currency())
    budgets.configure(BudgetLimits(daily_pusd=100, thresholds=(0.8,)))
    running = budgets.open(NOBODY, enforce=None)
    await running.raise_to(60)
    budgets.configure(BudgetLimits(daily_pusd=100, thresholds=(0.5, 0.8)))
    settle(running, 60, "a")
    assert [each.threshold for each in told if isinstance(each, BudgetAlert)] == [0.5]
    assert [alert.threshold for alert in running.alerts] == [0.5]
    await spend(budgets, 20, "b")
    assert [each.threshold for each in told if isinstance(each, BudgetAlert)] == [0.5, 0.8]


def test_the_ledger_in_memory_keeps_its_latest_rows() -> None:
    """Older ones are forgotten, their cost is not; a repeat of one that is kept is never booked."""
    ledger = MemoryLedger()
    for number in range(25_000):
        row = LedgerRow(request_id=str(number), at_s=0.0, provider="p", model="m", status="ok", cost_pusd=1)
        ledger.settle((), 0, [row, row], lambda _movements: None)
    assert [row.request_id for row in ledger.rows()] == [str(number) for number in range(15_000, 25_000)]
    ledger.settle((), 0, [ledger.rows()[0]], lambda _movements: None)
    assert (ledger.statistics().rows, ledger.statistics().booked_pusd) == (25_000, 25_000)


async def test_nothing_is_set_aside_for_a_call_that_is_over() -> None:
    """A call that was settled from outside, when its adapter was closed, cannot hold anything any more."""
    budgets = budgets_at(Clock("2026-11-23T12:00:00+00:00"), daily_pusd=100)
    hold = budgets.open(NOBODY, enforce=None)
    await hold.raise_to(60)
    settle(hold, 10, "a")
    await hold.raise_to(90)
    assert [(pusd(status.settled), status.held) for status in budgets.status()] == [(10, 0.0)]


def test_limits_replaced_from_another_thread_are_never_seen_by_half() -> None:
    """A call that is being opened while another thread replaces the limits leaves no trace of the old ones."""
    clock = Clock("2026-11-23T12:00:00+00:00")
    budgets = budgets_at(clock, daily_pusd=1)
    replaced = threading.Event()

    def slow() -> float:
        # the first look is the opened call's: meanwhile somebody else replaces the limits
        if not replaced.is_set():
            replaced.set()
            other = threading.Thread(target=budgets.configure, args=(BudgetLimits(daily_pusd=10**15),))
            other.start()
            other.join()
        return clock.now_s

    budgets._clock = slow
    budgets.open(NOBODY, enforce=None)
    limited = budgets.open(NOBODY, enforce=None)._known.limited
    assert [scope.limit_pusd for scope in limited] == [10**15]


@pytest.mark.parametrize(
    ("code", "rate", "amount", "is_fine"),
    [
        ("USD", 1.0, 8_999_999, True),
        ("USD", 1.0, 9_000_000, False),
        ("JPY", 150.0, 100_000_000, True),
        ("JPY", 150.0, 1_350_000_000, False),
        ("BTC", 0.00001, 100, False),
        ("USD", 1.0, float("inf"), False),
        ("USD", 1.0, -0.01, False),
    ],
)
def test_limits_reach_as_far_in_every_currency(code: str, rate: float, amount: float, is_fine: bool) -> None:
    """What fits is a question of dollars, not of the currency's numbers."""
    asked = (Currency(code, rate), amount, None, None, None, None)
    options: dict[str, Any] = {"timezone": "UTC", "alert_thresholds": (), "enforce": True}
    if is_fine:
        assert limits_of(*asked, **options).daily_pusd == pusd(amount / rate)
    else:
        with pytest.raises(ConfigurationError, match=f"`daily_limit` is .*give an amount from 0 to .* {code}"):
            limits_of(*asked, **options)


async def test_thresholds_are_told_in_their_order_once_each() -> None:
    """Spending that passes several thresholds at once tells them all, and nothing is told on the way below."""
    told: list[BudgetAlert] = []
    budgets = Budgets(MemoryLedger(), Clock("2026-11-23T12:00:00+00:00"), told.append, Currency())  # type: ignore[arg-type]
    budgets.configure(BudgetLimits(daily_pusd=100, thresholds=(0.5, 0.8, 1.0)))
    for number, amount in enumerate([49, 1, 29, 1, 20]):
        await spend(budgets, amount, str(number))
    assert [(alert.threshold, pusd(alert.settled)) for alert in told] == [(0.5, 50), (0.8, 80), (1.0, 100)]


@pytest.fixture
async def gateway() -> Any:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


@pytest.mark.parametrize(
    ("call", "team"),
    [
        ({}, "default"),
        ({"team": "call"}, "call"),
        ({"attributes": {"team": "attribute"}}, "attribute"),
        ({"team": "call", "attributes": {"team": "attribute"}}, "attribute"),
    ],
)
async def test_budget_and_ledger_know_a_call_by_the_same_name(
    gateway: SandboxGateway, call: dict[str, Any], team: str
) -> None:
    """The call's own word wins over the adapter's default: wall, row, summary and header agree on whose call it is."""
    async with GenOpsHeliconeAsyncAdapter(
        gateway.api_key, gateway_url=gateway.url, default_attributes={"team": "default", "customer_id": "acme"}
    ) as adapter:
        adapter.set_budget_limits(
            per_team_limits=dict.fromkeys(("default", "call", "attribute"), 1.0),
            per_customer_limits={"acme": 1.0},
        )
        await adapter.chat_async("Hello", provider="openai", max_tokens=10, **call)
        spent = {status.name: pusd(status.settled) for status in adapter.get_budget_status() if status.settled}
        assert spent == {f"team:{team}": gateway.bill.total_pusd, "customer:acme": gateway.bill.total_pusd}
        assert list(adapter.get_usage_summary().cost_by_team) == [team]
        ledger: Any = adapter._parts.ledger
        assert [(row.team, row.customer_id) for row in ledger.rows()] == [(team, "acme")]
    assert gateway.requests[0].headers["helicone-property-team"] == team


async def test_a_customer_s_limit_refuses_that_customer_alone(gateway: SandboxGateway) -> None:
    """Nothing of the refused call is sent, and others go on."""
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        adapter.set_budget_limits(daily_limit=1.0, per_customer_limits={"acme": 0.000001})
        with pytest.raises(BudgetExceededError) as caught:
            await adapter.chat_async("Hello", provider="openai", max_tokens=50, customer_id="acme")
        assert (caught.value.scope, caught.value.period, gateway.requests) == ("customer:acme", "month", ())
        await adapter.chat_async("Hello", provider="openai", max_tokens=50, customer_id="globex")
        await adapter.chat_async("Hello", provider="openai", max_tokens=50)
