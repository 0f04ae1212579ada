"""The synchronous face: one budget for many threads, and sessions of threads that do not mix."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest
from budget_storm import pusd

from genops_helicone_async import (
    BudgetExceededError,
    GenOpsHeliconeAdapter,
    multi_provider_cost_tracking,
)
from genops_helicone_async.testing import SandboxGateway

PROMPT = "Say hello to everybody in the room, one after the other."
PRICES = {"gpt-4o-mini": {"input": 1.0, "output": 2.0}}
BILLED = {("openai", "gpt-4o-mini"): (1.0, 2.0)}
THREADS = 8


@pytest.fixture
def gateway() -> Iterator[SandboxGateway]:
    """A gateway on a thread of its own, at round prices."""
    with SandboxGateway.in_thread(latency_scale=0, prices=BILLED) as running:
        yield running


@pytest.fixture
def adapter(gateway: SandboxGateway) -> Iterator[GenOpsHeliconeAdapter]:
    """A synchronous adapter at the same prices."""
    with GenOpsHeliconeAdapter(gateway.api_key, gateway_url=gateway.url, prices=PRICES) as made:
        yield made


def at_once(work: Callable[[int], object]) -> list[object]:
    """What that many threads bring, begun at the same moment."""
    gate = threading.Barrier(THREADS)

    def begin(number: int) -> object:
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def test_threads_share_the_wall(gateway: SandboxGateway, adapter: GenOpsHeliconeAdapter) -> None:
    """Together they never pass the limit; what is settled is the bill, and nothing stays held."""
    limit = 0.002
    adapter.set_budget_limits(daily_limit=limit, per_team_limits={"even": limit})

    def work(number: int) -> int:
        refused = 0
        for turn in range(6):
            try:
                team = "even" if number % 2 == 0 else None
                adapter.chat(f"{PROMPT} {number} {turn}", provider="openai", max_tokens=60, team=team)
            except BudgetExceededError:
                refused += 1
        return refused

    assert sum(refused for refused in at_once(work) if isinstance(refused, int)) > 0
    daily, team = adapter.get_budget_status()
    assert (pusd(daily.settled), daily.held, team.held) == (gateway.bill.total_pusd, 0.0, 0.0)
    assert 0 < team.settled <= daily.settled <= limit


@pytest.mark.parametrize("verb", ["chat", "stream", "chat_many", "multi_provider_chat"])
def test_sessions_of_threads_do_not_mix(adapter: GenOpsHeliconeAdapter, verb: str) -> None:
    """Each thread's block counts its own calls to the pico-dollar, whichever verb makes them on the common loop."""

    def call(text: str) -> float:
        if verb == "chat":
            return adapter.chat(text, provider="openai", max_tokens=20).cost
        if verb == "stream":
            with adapter.stream(text, provider="openai", max_tokens=20) as stream:
                for _ in stream:
                    pass
            return stream.response.cost
        if verb == "chat_many":
            rows = adapter.chat_many([text] * 3, provider="openai", max_tokens=20)
            return sum(row.response.cost for row in rows if row.response is not None)
        return adapter.multi_provider_chat(text, ["openai"], max_tokens=20).cost

    def work(number: int) -> tuple[int, int]:
        with multi_provider_cost_tracking(f"thread {number}") as tracker:
            spent = sum(pusd(call(f"{PROMPT} {'again ' * number}{turn}")) for turn in range(1 + number % 3))
        call("outside")
        return spent, pusd(tracker.get_session_summary().total_cost)

    for told, counted in at_once(work):  # type: ignore[misc]
        assert told == counted > 0


def test_a_session_s_budget_is_a_wall_for_all_threads_that_enter_it(
    gateway: SandboxGateway, adapter: GenOpsHeliconeAdapter
) -> None:
    """One tracker around blocks in several threads: its budget is one, and what others spend is none of it."""
    tracker = multi_provider_cost_tracking("shared", budget=0.001)

    def work(number: int) -> int:
        refused = 0
        with tracker:
            for turn in range(4):
                try:
                    adapter.chat(f"{PROMPT} {number} {turn}", provider="openai", max_tokens=60)
                except BudgetExceededError as exc:
                    refused += exc.scope == "session:shared"
        return refused

    refused = sum(count for count in at_once(work) if isinstance(count, int))
    inside = gateway.bill.total_pusd
    adapter.chat(PROMPT, provider="openai", max_tokens=60)
    summary = tracker.get_session_summary()
    assert refused > 0
    assert (pusd(summary.total_cost), summary.request_count) == (inside, 4 * THREADS)
    assert summary.error_count == refused
    assert inside <= pusd(0.001)


def test_a_pool_s_thread_takes_part_with_a_copy_of_the_context(adapter: GenOpsHeliconeAdapter) -> None:
    """Threads of a pool know no block around them, unless they are given its context."""
    with ThreadPoolExecutor(1) as pool, multi_provider_cost_tracking() as tracker:
        pool.submit(adapter.chat, PROMPT, provider="openai").result()
        assert tracker.get_session_summary().request_count == 0
        pool.submit(copy_context().run, adapter.chat, PROMPT, provider="openai").result()
        assert tracker.get_session_summary().request_count == 1


def test_limits_are_replaced_while_threads_call(gateway: SandboxGateway, adapter: GenOpsHeliconeAdapter) -> None:
    """Replacing them again and again neither loses what is spent nor leaves anything held."""
    stop = threading.Event()

    def replace() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            adapter.set_budget_limits(daily_limit=1.0 + number % 2, per_team_limits={"research": 1.0})

    replacing = threading.Thread(target=replace)
    replacing.start()
    try:
        at_once(lambda number: adapter.chat(f"{PROMPT} {number}", provider="openai", team="research", max_tokens=20))
    finally:
        stop.set()
        replacing.join()
    for status in adapter.get_budget_status():
        assert (pusd(status.settled), status.held) == (gateway.bill.total_pusd, 0.0)


def test_the_status_of_a_durable_budget_is_right_from_the_start(gateway: SandboxGateway, tmp_path: Path) -> None:
    """A new process sees what was spent before without having made a call."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    with GenOpsHeliconeAdapter(gateway.api_key, gateway_url=gateway.url, prices=PRICES, state_url=url) as first:
        first.chat(PROMPT, provider="openai", team="research", max_tokens=20)
    with GenOpsHeliconeAdapter(gateway.api_key, gateway_url=gateway.url, state_url=url) as second:
        second.set_budget_limits(daily_limit=1.0, per_team_limits={"research": 0.5})
        assert {status.name: pusd(status.settled) for status in second.get_budget_status()} == {
            "daily": gateway.bill.total_pusd,
            "team:research": gateway.bill.total_pusd,
        }
