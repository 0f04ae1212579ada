"""What an attempt gives back to its provider's gate, exactly once, and its part of what budgets set aside."""

from typing import Any

import pytest
from flow_parts import Rig
from virtual_time import run_virtually

from genops_helicone_async import GatewayError, HeliconeError, HeliconeResponse
from genops_helicone_async._flow.limit_ports import Gate, Limits
from genops_helicone_async._flow.ticket import Ticket, Turn
from genops_helicone_async._rules.rate_limits import LimitPlan, RateLimits
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.models import PUSD_PER_USD
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, chat_answer, error_answer, stream_answer


class Watched:
    """A gate, and all that was given back to it: tokens reserved, tokens used, whether nothing had been sent."""

    def __init__(self, gate: Any, left: list[tuple[float, float, bool]]) -> None:
        self._gate = gate
        self._left = left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gate, name)

    def leave(self, model: str, reserved: float, used: float, *, unsent: bool = False) -> None:
        """Notes it."""
        self._left.append((reserved, used, unsent))
        self._gate.leave(model, reserved, used, unsent=unsent)


class WatchedLimits:
    """Limits whose gates are watched."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.plan = limits.plan
        self.left: list[tuple[float, float, bool]] = []

    def gate(self, provider: str) -> Gate:
        """The provider's gate."""
        watched: Any = Watched(self._limits.gate(provider), self.left)
        return watched


class Gateless:
    """Takes whatever is given back."""

    def leave(self, model: str, reserved: float, used: float, *, unsent: bool) -> None:
        """It has no use for it."""


def left_of(script: Any, *, counts_tokens: bool = True, streamed: bool = False) -> list[tuple[float, float, bool]]:
    """What one call gives back, under a limit of tokens or without one."""

    async def call() -> list[tuple[float, float, bool]]:
        rig = Rig(ScriptedTransport(script), retry_attempts=0)
        if counts_tokens:
            rig.limits.plan = LimitPlan(everyone=RateLimits(tokens_per_minute=1e6))
        watched: Any = WatchedLimits(rig.limits)
        rig.pipeline.failover._limits = watched
        try:
            if streamed:
                async with rig.stream(provider="openai", max_tokens=100) as stream:
                    async for _ in stream:
                        pass
            else:
                await rig.chat(provider="openai", max_tokens=100)
        except HeliconeError:
            pass
        left: list[tuple[float, float, bool]] = watched.left
        return left

    return run_virtually(call())[0]


ANSWERED = chat_answer(input_tokens=10, output_tokens=5)
LOST = {
    "no JSON": Answer(parts=(b"<html>",)),
    "reset": GatewayError("reset", billed="maybe"),
}
FREE = {
    "a refusal": error_answer(401),
    "no connection": GatewayError("no connection"),
}


@pytest.mark.parametrize("answer", [ANSWERED, stream_answer("Hello", input_tokens=10, output_tokens=5)])
def test_an_answer_has_used_what_it_says(answer: Answer) -> None:
    """Input and output together, of a whole answer and of a stream."""
    ((reserved, used, unsent),) = left_of([answer], streamed=answer is not ANSWERED)
    assert (reserved > 15, used, unsent) == (True, 15, False)


@pytest.mark.parametrize("answer", LOST.values(), ids=LOST.keys())
def test_what_may_be_billed_has_used_all(answer: Any) -> None:
    """Nobody knows how much, so that all that was reserved counts."""
    ((reserved, used, unsent),) = left_of([answer])
    assert (reserved > 0, used == reserved, unsent) == (True, True, False)


@pytest.mark.parametrize("answer", FREE.values(), ids=FREE.keys())
def test_what_is_not_billed_has_used_nothing(answer: Any) -> None:
    """It was an attempt all the same."""
    ((reserved, used, unsent),) = left_of([answer])
    assert (reserved > 0, used, unsent) == (True, 0, False)


@pytest.mark.parametrize("answer", [ANSWERED, *LOST.values(), *FREE.values()])
def test_where_tokens_are_not_counted_none_are_used(answer: Any) -> None:
    """Nothing was reserved, and nothing is taken afterwards."""
    assert left_of([answer], counts_tokens=False) == [(0, 0, False)]


def test_a_turn_without_an_attempt_gives_everything_back_once() -> None:
    """As where the target rests by the time its turn has come."""
    left: list[tuple[float, float, bool]] = []
    gate: Any = Watched(Gateless(), left)
    ticket = Ticket(request=ChatRequest(message="Hi"), attribution={}, headers={}, started=0.0, deadline=1.0)
    ticket.turn = Turn(gate, "m", 7.0)
    ticket.end_turn()
    ticket.end_turn()
    assert left == [(7.0, 0.0, True)]


def test_what_failed_attempts_may_have_cost_is_no_longer_set_aside_for_the_next() -> None:
    """Each attempt tells its own part of what the budgets hold for the call."""

    async def call() -> tuple[Rig, HeliconeResponse]:
        rig = Rig(ScriptedTransport([LOST["no JSON"], ANSWERED]), retry_attempts=0)
        return rig, await rig.chat(providers=["openai", "groq"], max_tokens=100)

    (rig, answer), _ = run_virtually(call())
    first, second = answer.attempts
    held = rig.budget.holds[0].held_pusd / PUSD_PER_USD
    assert 0 < first.cost < held
    assert second.reserved == pytest.approx(held - first.cost)
