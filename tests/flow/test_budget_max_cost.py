"""What one call may cost: `max_cost` over all its attempts, candidates beyond the money, models without a price."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from budget_storm import pusd

from genops_helicone_async import (
    BudgetExceededError,
    ConfigurationError,
    GenOpsHeliconeAsyncAdapter,
    HeliconeError,
    multi_provider_cost_tracking,
)
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

PROMPT = "Say hello to everybody in the room, one after the other."
PRICES = {
    "gpt-4o-mini": {"input": 10.0, "output": 20.0},
    "llama-3.1-8b-instant": {"input": 1.0, "output": 2.0},
    "mistral-small": {"input": 5.0, "output": 10.0},
}
DEAR = 0.0025
"""A little above the prompt's and 100 more tokens at openai's price here; half of it suffices at mistral's, a tenth at
groq's."""
ALL = ("openai", "groq", "mistral")


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


def adapter_of(gateway: SandboxGateway, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter at prices of its own."""
    return GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, prices=PRICES, **settings)


def asked(gateway: SandboxGateway) -> list[str | None]:
    """The providers that were asked, in order."""
    return [request.provider for request in gateway.requests]


@pytest.mark.parametrize(
    ("max_cost", "first"),
    [(DEAR, "openai"), (DEAR / 2, "mistral"), (DEAR / 10, "groq")],
)
async def test_candidates_beyond_max_cost_are_not_asked(gateway: SandboxGateway, max_cost: float, first: str) -> None:
    """The first in the order given whose worst case fits is asked."""
    async with adapter_of(gateway) as adapter:
        order = ["openai", "mistral", "groq"]
        response = await adapter.chat_async(PROMPT, providers=order, max_tokens=100, max_cost=max_cost)
    assert (response.provider, asked(gateway)) == (first, [first])


async def test_the_last_unit_of_max_cost_may_be_needed(gateway: SandboxGateway) -> None:
    """A worst case that is the limit itself fits, and a pico-dollar less does not."""
    async with adapter_of(gateway) as adapter:
        (target,) = await adapter._pipeline().candidates.of(ChatRequest(message=PROMPT, provider="openai"))
        request = ChatRequest(message=PROMPT, max_tokens=100)
        worst = adapter._parts.shared.estimates.worst_case_pusd(request, target)
        assert worst is not None
        await adapter.chat_async(PROMPT, provider="openai", max_tokens=100, max_cost=worst / 10**12)
        with pytest.raises(BudgetExceededError):
            await adapter.chat_async(PROMPT, provider="openai", max_tokens=100, max_cost=(worst - 1) / 10**12)


async def test_a_call_that_nobody_can_make_for_its_max_cost_is_not_sent(gateway: SandboxGateway) -> None:
    """The refusal is the request's own, and tells what the cheapest candidate may cost."""
    async with adapter_of(gateway) as adapter:
        with pytest.raises(
            BudgetExceededError, match=r"`max_cost` is 0.0002 USD .* may cost 0.0002\d+ USD: "
        ) as caught:
            await adapter.chat_async(PROMPT, providers=ALL, max_tokens=100, max_cost=0.0002)
    error = caught.value
    assert (error.scope, error.budget_limit, error.current_usage, error.period) == ("request", 0.0002, 0.0, None)
    assert (asked(gateway), error.billed) == ([], "no")


async def test_max_cost_is_in_the_adapter_s_currency(gateway: SandboxGateway) -> None:
    """With half a euro a dollar, half the figure reaches as far."""
    settings: dict[str, Any] = {"cost_currency": "EUR", "exchange_rates": {"EUR": 0.5}}
    async with adapter_of(gateway, **settings) as adapter:
        await adapter.chat_async(PROMPT, provider="openai", max_tokens=100, max_cost=DEAR / 2)
        with pytest.raises(BudgetExceededError, match=r"`max_cost` is 0.001 EUR .* may cost 0.0011\d+ EUR"):
            await adapter.chat_async(PROMPT, provider="openai", max_tokens=100, max_cost=0.001)


async def test_max_cost_holds_whether_budgets_are_enforced_or_not(gateway: SandboxGateway) -> None:
    """It is the call's own limit; `enforce_budget=False` concerns the budgets."""
    async with adapter_of(gateway) as adapter:
        with pytest.raises(BudgetExceededError):
            await adapter.chat_async(PROMPT, provider="openai", max_tokens=100, max_cost=0.0001, enforce_budget=False)


async def test_max_cost_covers_what_a_failed_attempt_may_have_cost(gateway: SandboxGateway) -> None:
    """After an attempt that may have been billed, the next one is made only if both fit under `max_cost`."""
    gateway.faults.add(Fault(kind="reset_mid_body", provider="openai"))
    async with adapter_of(gateway) as adapter:
        options: dict[str, Any] = {"providers": ["openai", "mistral"], "max_tokens": 100}
        with pytest.raises(BudgetExceededError) as caught:
            await adapter.chat_async(PROMPT, max_cost=DEAR, **options)
        assert asked(gateway) == ["openai"]
        error = caught.value
        assert (error.scope, error.billed, len(error.attempts)) == ("request", "maybe", 1)
        assert error.current_usage == error.attempts[0].cost > 0
        assert isinstance(error.__cause__, HeliconeError)
        response = await adapter.chat_async(PROMPT, max_cost=2 * DEAR, **options)
    assert response.provider == "mistral"
    assert sum(attempt.cost for attempt in response.attempts) <= 2 * DEAR


async def test_max_cost_does_not_count_attempts_that_cost_nothing(gateway: SandboxGateway) -> None:
    """A refused attempt leaves the whole of it for the next."""
    gateway.faults.add(Fault(kind="status", status=503, provider="openai"))
    async with adapter_of(gateway) as adapter:
        response = await adapter.chat_async(PROMPT, providers=["openai", "mistral"], max_tokens=100, max_cost=DEAR)
    assert response.provider == "mistral"


@pytest.mark.parametrize("wall", ["adapter", "session"])
async def test_candidates_that_a_budget_has_no_room_for_drop_out(gateway: SandboxGateway, wall: str) -> None:
    """With money left for the cheaper one only, that one is asked; when it has failed there is nobody else."""
    async with adapter_of(gateway) as adapter:
        room = DEAR * 0.6
        if wall == "adapter":
            adapter.set_budget_limits(daily_limit=room)
        with multi_provider_cost_tracking(budget=room if wall == "session" else None) as tracker:
            response = await adapter.chat_async(PROMPT, providers=["openai", "groq"], max_tokens=100)
            assert (response.provider, asked(gateway)) == ("groq", ["groq"])
            gateway.faults.add(Fault(kind="status", status=503, provider="groq"))
            with pytest.raises(HeliconeError):
                await adapter.chat_async(PROMPT, providers=["openai", "groq"], max_tokens=100, timeout_seconds=0.2)
        assert set(asked(gateway)) == {"groq"}
        assert [status.held for status in adapter.get_budget_status()] in ([], [0.0])
        assert [account.held_pusd for account in tracker._accounts._accounts.values()] == [0]


async def test_a_hold_is_for_the_candidates_that_max_cost_leaves(gateway: SandboxGateway) -> None:
    """A budget with room for the cheap candidate takes the call whose `max_cost` excludes the dear one."""
    async with adapter_of(gateway) as adapter:
        adapter.set_budget_limits(daily_limit=DEAR / 10)
        response = await adapter.chat_async(PROMPT, providers=ALL, max_tokens=100, max_cost=DEAR / 10)
    assert response.provider == "groq"


async def test_a_model_without_a_price_cannot_be_held_to_max_cost(gateway: SandboxGateway) -> None:
    """It is refused where it is the only one, and no candidate where there are others."""
    models = {"openai": "my-own-model", "groq": "llama-3.1-8b-instant"}
    async with adapter_of(gateway) as adapter:
        with pytest.raises(BudgetExceededError, match="no candidate has a known price"):
            await adapter.chat_async(PROMPT, provider="openai", model="my-own-model", max_cost=1.0)
        response = await adapter.chat_async(
            PROMPT, providers=["openai", "groq"], model_preferences=models, max_cost=1.0, max_tokens=20
        )
    assert (response.provider, asked(gateway)) == ("groq", ["groq"])


@pytest.mark.parametrize(("enforce", "refused"), [(None, True), (True, True), (False, False)])
async def test_a_model_without_a_price_is_refused_where_a_budget_is_enforced(
    gateway: SandboxGateway, enforce: bool | None, refused: bool
) -> None:
    """Alone it is a mistake in the configuration, which is said; where budgets only watch, it goes through unpriced."""
    async with SandboxGateway(latency_scale=0, unknown_models="answer") as lenient, adapter_of(lenient) as adapter:
        adapter.set_budget_limits(daily_limit=1.0)
        asked_for: dict[str, Any] = {"provider": "openai", "model": "my-own-model", "enforce_budget": enforce}
        if refused:
            with pytest.raises(ConfigurationError, match=r"no price is known for openai/my-own-model.*prices="):
                await adapter.chat_async(PROMPT, **asked_for)
            assert lenient.requests == ()
            prices = {"my-own-model": {"input": 1.0, "output": 1.0}}
            response = await adapter.chat_async(PROMPT, prices=prices, **asked_for)
            assert pusd(response.cost) == (response.usage.input_tokens + response.usage.output_tokens) * 10**6
        else:
            response = await adapter.chat_async(PROMPT, **asked_for)
            assert (response.usage.cost_source, response.cost) == ("unpriced", 0.0)
