"""Every way that holds, limits, trackers and clocks can follow one another, beside a model in plain dictionaries."""

import asyncio
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from budget_storm import pusd
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from genops_helicone_async import BudgetAlert, BudgetExceededError, BudgetOverrun, multi_provider_cost_tracking
from genops_helicone_async._edges.ledger_memory import MemoryLedger
from genops_helicone_async._flow.budget_limits import BudgetLimits
from genops_helicone_async._flow.budgets import Budgets
from genops_helicone_async._flow.call_hold import CallHold
from genops_helicone_async._flow.tracking import CostTracker
from genops_helicone_async._rules.ledger import WAIT, LedgerRow, Refusal, Scope, Wait
from genops_helicone_async._values import Currency

Key = tuple[str, str]
BERLIN = ZoneInfo("Europe/Berlin")
TEAMS, CUSTOMERS = ("research", "product"), ("acme", "globex")
AMOUNT = st.sampled_from([0, 1, 50, 99, 100, 150]) | st.integers(0, 150)  # some often, so that limits are met exactly
LIMIT = st.none() | st.sampled_from([0, 100, 150, 300]) | st.integers(0, 400)
EACH = st.sampled_from([0, 100, 150, 300]) | st.integers(0, 300)


@types.coroutine
def a_turn() -> Generator[None, None, None]:
    """Suspends once."""
    yield


class AskedLedger(MemoryLedger):
    """A ledger whose store has to be asked: the answer takes a turn, in which the caller may be cancelled."""

    __slots__ = ("is_asked",)

    def __init__(self) -> None:
        super().__init__()
        self.is_asked = False

    def hold_nowait(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | Wait | None:
        """Cannot tell while the store has to be asked."""
        return WAIT if self.is_asked else super().hold_nowait(scopes, amount_pusd, enforce=enforce)

    async def hold(self, scopes: Sequence[Scope], amount_pusd: int, *, enforce: bool) -> Refusal | None:
        """Tells a turn later."""
        await a_turn()
        return await super().hold(scopes, amount_pusd, enforce=enforce)


class Call(msgspec.Struct, kw_only=True):
    """One call as the model knows it."""

    hold: CallHold
    keys: list[Key]
    limits: dict[Key, int]
    trackers: list[CostTracker]
    enforced: bool
    held: int = 0
    is_over: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether anything with a limit applies to it."""
        return bool(self.limits) or any(tracker.has_limit for tracker in self.trackers)


class Wall(RuleBasedStateMachine):
    """Budgets over a ledger in memory, and what they should come to."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 10, 24, 21, 58, tzinfo=BERLIN)  # the night in which summer time ends
        self.told: list[BudgetAlert | BudgetOverrun] = []
        self.expected_alerts: list[tuple[str, float]] = []
        self.expected_overruns: list[str] = []
        self.ledger = AskedLedger()
        self.budgets = Budgets(self.ledger, lambda: self.now.timestamp(), self.told.append, Currency())
        self.limits = BudgetLimits(zone="Europe/Berlin")
        self.budgets.configure(self.limits)
        self.settled: Counter[Key] = Counter()
        self.held: Counter[Key] = Counter()
        self.open_blocks: list[CostTracker] = []
        self.trackers: dict[CostTracker, int] = {}
        self.spent_in: Counter[CostTracker] = Counter()
        self.held_in: Counter[CostTracker] = Counter()
        self.rows = 0

    def window(self, period: str) -> str:
        """The key of the current window, by the calendar alone."""
        return self.now.astimezone(BERLIN).strftime("%Y-%m-%d" if period == "day" else "%Y-%m") + "@Europe/Berlin"

    def limited(self) -> dict[Key, int]:
        """Every limit in force, in its current window."""
        limits, month = self.limits, self.window("month")
        named = {("daily", self.window("day")): limits.daily_pusd, ("monthly", month): limits.monthly_pusd}
        named |= {(f"team:{who}", month): limit for who, limit in limits.teams.items()}
        named |= {(f"customer:{who}", month): limit for who, limit in limits.customers.items()}
        return {key: limit for key, limit in named.items() if limit is not None}

    @rule(
        daily=LIMIT, monthly=LIMIT, team=st.dictionaries(st.sampled_from(TEAMS), EACH),
        customer=st.dictionaries(st.sampled_from(CUSTOMERS), EACH), enforce=st.booleans(),
    )  # fmt: skip
    def replace_limits(
        self, daily: int | None, monthly: int | None, team: dict[str, int], customer: dict[str, int], enforce: bool
    ) -> None:
        """New limits for all that begins from now on."""
        self.limits = BudgetLimits(
            daily_pusd=daily, monthly_pusd=monthly, teams=team, customers=customer, enforce=enforce,
            zone="Europe/Berlin", thresholds=(0.5, 1.0),
        )  # fmt: skip
        self.budgets.configure(self.limits)

    @rule(step=st.sampled_from([timedelta(seconds=1), timedelta(hours=1), timedelta(hours=25), timedelta(days=40)]))
    def pass_time(self, step: timedelta) -> None:
        """The clock goes on: over midnight, the end of summer time, the end of the month."""
        self.now = datetime.fromtimestamp(self.now.timestamp() + step.total_seconds(), BERLIN)

    @rule(budget=LIMIT)
    def begin_block(self, budget: int | None) -> None:
        """A session around what follows, with or without a budget of its own."""
        tracker = multi_provider_cost_tracking(budget=None if budget is None else budget / 10**12)
        tracker.__enter__()
        self.open_blocks.append(tracker)
        self.trackers[tracker] = 400 if budget is None else budget

    @rule()
    def end_block(self) -> None:
        """The innermost session ends; its calls go on."""
        if self.open_blocks:
            self.open_blocks.pop().__exit__()

    @rule(
        target=calls, team=st.none() | st.sampled_from(TEAMS), customer=st.none() | st.sampled_from(CUSTOMERS),
        enforce=st.none() | st.booleans(),
    )  # fmt: skip
    def begin_call(self, team: str | None, customer: str | None, enforce: bool | None) -> Call:
        """A call under whatever applies to it now."""
        who = {"team": team, "customer_id": customer}
        attribution = {name: value for name, value in who.items() if value is not None}
        keys = [("daily", self.window("day")), ("monthly", self.window("month"))]
        keys += [(f"team:{team}", self.window("month"))] if team else []
        keys += [(f"customer:{customer}", self.window("month"))] if customer else []
        limited = self.limited()
        enforced = self.limits.enforce if enforce is None else enforce
        return Call(
            hold=self.budgets.open(attribution, enforce=enforce), keys=keys, enforced=enforced,
            limits={key: limited[key] for key in keys if key in limited}, trackers=list(self.open_blocks),
        )  # fmt: skip

    @rule(call=calls, more=AMOUNT, way=st.sampled_from(["at once", "asked", "cancelled", "cancelled late"]))
    def set_aside(self, call: Call, more: int, way: str) -> None:
        """A hold, granted at once or after asking; or its caller is cancelled while it waits."""
        if call.is_over:
            return
        self.ledger.is_asked = way != "at once"
        full = self._without_room(call, more)
        if way == "cancelled" and call.is_limited and more and not self._is_tracker(full):
            coroutine = call.hold.raise_to(call.held + more)
            coroutine.send(None)
            with pytest.raises(asyncio.CancelledError):
                coroutine.throw(asyncio.CancelledError())
            return
        refusal = refusal_of(call.hold.raise_to(call.held + more))
        assert (refusal is not None) == bool(full)
        if refusal is not None:
            assert refusal.scope in full
            assert pusd(refusal.budget_limit) - pusd(refusal.current_usage) < more
        elif call.is_limited:
            call.held += more
            self.held.update(dict.fromkeys(call.keys, more))
            self.held_in.update(dict.fromkeys(call.trackers, more))

    @rule(call=consumes(calls), costs=st.lists(AMOUNT, max_size=3), how=st.sampled_from("ok failed hit"))
    def settle(self, call: Call, costs: list[int], how: str) -> None:
        """A call ends with whatever its attempts cost, perhaps more than was held; or it is cancelled at no cost."""
        rows = []
        for cost in costs:
            self.rows += 1
            rows.append(LedgerRow(
                request_id=str(self.rows), at_s=0.0, provider="p", model="m", status="ok", cost_pusd=cost
            ))  # fmt: skip
        total = sum(costs)
        if call.is_limited and total > call.held:
            self.expected_overruns.append(rows[-1].request_id)
        for key, limit in call.limits.items():
            before, after = self.settled[key], self.settled[key] + total
            self.expected_alerts += [
                (key[0], share) for share in self.limits.thresholds if limit and before < share * limit <= after
            ]
        for _ in range(2):  # the second end has no effect
            call.hold.settle(rows, failed=how == "f", cached=how == "h")
        call.is_over = True
        self.held.subtract(dict.fromkeys(call.keys, call.held))
        self.settled.update(dict.fromkeys(call.keys, total))
        self.held_in.subtract(dict.fromkeys(call.trackers, call.held))
        self.spent_in.update(dict.fromkeys(call.trackers, total))

    def _without_room(self, call: Call, more: int) -> list[str]:
        """Which budgets have no room for so much more, trackers first."""
        full = [
            "session:unnamed"
            for tracker in call.trackers
            if tracker.has_limit and self.spent_in[tracker] + self.held_in[tracker] + more > self.trackers[tracker]
        ]
        full += [key[0] for key, limit in call.limits.items() if self.settled[key] + self.held[key] + more > limit]
        return full if call.enforced and more else []

    @staticmethod
    def _is_tracker(full: list[str]) -> bool:
        return bool(full) and full[0].startswith("session")

    @invariant()
    def accounts_are_the_sum_of_what_happened(self) -> None:
        """Settled and held in every scope and window, to the pico-dollar."""
        keys = [key for key in {*self.settled, *self.held} if self.settled[key] or self.held[key]]
        accounts = self.ledger.accounts([Scope(name=name, window=window) for name, window in keys])
        assert [(account.settled_pusd, account.held_pusd) for account in accounts] == [
            (self.settled[key], self.held[key]) for key in keys
        ]
        assert self.ledger.statistics().booked_pusd == sum(
            self.settled[key] for key in self.settled if key[0] == "monthly"
        )

    @invariant()
    def the_status_shows_the_current_windows(self) -> None:
        """What is left is the limit less what is spent and held."""
        shown = {
            status.name: (pusd(status.limit), pusd(status.settled), pusd(status.held), pusd(status.remaining))
            for status in self.budgets.status()
        }
        assert shown == {
            key[0]: (limit, self.settled[key], self.held[key], limit - self.settled[key] - self.held[key])
            for key, limit in self.limited().items()
        }
        assert all(status.resets_at > self.now for status in self.budgets.status())

    @invariant()
    def trackers_add_up(self) -> None:
        """A session's sum is that of the calls begun in it, and it holds what they hold."""
        for tracker in self.trackers:
            assert pusd(tracker.get_session_summary().total_cost) == self.spent_in[tracker]
            held = [account.held_pusd for account in tracker._accounts._accounts.values()]
            assert held in ([], [self.held_in[tracker]])

    @invariant()
    def everything_is_told_once(self) -> None:
        """Alerts for thresholds passed, overruns for calls beyond their hold, in their order."""
        alerts = [(event.name, event.threshold) for event in self.told if isinstance(event, BudgetAlert)]
        assert alerts == self.expected_alerts
        assert [event.request_id for event in self.told if isinstance(event, BudgetOverrun)] == self.expected_overruns

    def teardown(self) -> None:
        """No block outlives the example."""
        while self.open_blocks:
            self.end_block()


def refusal_of(coroutine: Coroutine[Any, Any, None]) -> BudgetExceededError | None:
    """Runs a hold to its end without a loop; the refusal, if it is one."""
    send: Callable[[Any], Any] = coroutine.send
    try:
        while True:
            send(None)
    except StopIteration:
        return None
    except BudgetExceededError as exc:
        return exc


TestWall = Wall.TestCase
TestWall.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # explaining traces every line: minutes for a failure
)
