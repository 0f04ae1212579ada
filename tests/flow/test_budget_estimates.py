"""Holds cover what calls really cost: prompts in many languages, images, tools, several answers at once."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from importlib import resources
from typing import Any

import msgspec
import pytest
from budget_storm import pusd

from genops_helicone_async import BudgetExceededError, BudgetOverrun, DecodeError, GenOpsHeliconeAsyncAdapter
from genops_helicone_async._edges.token_counter import TokenCounter
from genops_helicone_async._flow.estimates import Estimates, allowed_output, answers_of
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

PROVIDERS = ("openai", "groq", "anthropic")
PIXEL = "data:image/png;base64,iVBORw0KGgo="


Weather = msgspec.defstruct("Weather", [(f"measured_at_station_number_{number}", float) for number in range(30)])
"""An answer of a known form, much longer to describe than the question that asks for it."""


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once, at list prices."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


def adapter_of(gateway: SandboxGateway, told: list[object] | None = None) -> GenOpsHeliconeAsyncAdapter:
    """An adapter under a budget that nothing exhausts; overruns are noted in `told`."""
    adapter = GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url)
    adapter.set_budget_limits(daily_limit=1000.0)
    if told is not None:
        adapter.on_budget_event(lambda event: told.append(event) if isinstance(event, BudgetOverrun) else None)
    return adapter


def prompts() -> list[Mapping[str, Any]]:
    """The demo's three hundred prompts, each for a provider and of a limited length."""
    text = resources.files("genops_helicone_async.demo").joinpath("prompts.jsonl").read_text("utf-8")
    rows = []
    for number, line in enumerate(text.splitlines()):
        row = json.loads(line)
        body = row.get("body", row)
        message = body.get("message") or body["messages"]
        asked = {"message": message, "provider": PROVIDERS[number % 3], "max_tokens": body.get("max_tokens", 40)}
        rows.append({**asked, "system_prompt": body.get("system_prompt"), "response_format": None})
    return rows


PROMPTS = prompts()


@pytest.mark.parametrize("counts", ["with toktok", "by characters"])
async def test_holds_cover_the_bill_of_varied_prompts(gateway: SandboxGateway, counts: str) -> None:
    """At least 297 of 300 holds are above the cost, with a tokenizer and with the heuristic; every excess is told."""
    if counts == "with toktok":
        pytest.importorskip("toktok")
    estimates = Estimates(TokenCounter(is_exact=counts == "with toktok"), {"PTB": 0.03})
    told: list[object] = []
    billed: dict[int, int] = {}
    async with adapter_of(gateway, told) as adapter:
        async for result in adapter.chat_many(PROMPTS, max_in_flight=16):
            assert result.response is not None
            billed[result.index] = pusd(result.response.cost)
        assert sorted(billed.values()) == sorted(row.cost_pusd for row in gateway.bill.rows)
        assert len(told) <= 3
        short = 0
        for index, prompt in enumerate(PROMPTS):
            request = ChatRequest(**prompt)
            (target,) = await adapter._pipeline().candidates.of(request)
            worst = estimates.worst_case_pusd(request, target)
            assert worst is not None
            short += worst < billed[index]
    assert short <= 3


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place, as it is measured there at the moment, in the unit that is asked for.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
        },
    },
}
IMAGE = [{"role": "user", "content": [
    {"type": "text", "text": "Look!"}, {"type": "image_url", "image_url": {"url": PIXEL}},
]}]  # fmt: skip
TALK = [
    {"role": "user", "content": "Weather in Paris?"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}},
    ]},
    {"role": "tool", "tool_call_id": "c1", "content": "Eighteen degrees, light wind from the west, no rain."},
]  # fmt: skip
MARKED = [{"role": "user", "content": [
    {"type": "text", "text": "An antidisestablishmentarian " * 900, "cache_control": {"type": "ephemeral"}},
]}]  # fmt: skip


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize(
    "asked",
    [
        {"message": IMAGE, "max_tokens": 20},
        {"message": "Please get_weather", "tools": [TOOL, *[TOOL] * 4], "max_tokens": 60},
        {"message": TALK, "tools": [TOOL], "max_tokens": 60},
        {"message": "Weather", "response_model": Weather, "max_tokens": 5},
        {"message": MARKED, "max_tokens": 5},
        {"message": "சென்னை " * 300, "max_tokens": 5},  # the gateway has Claude write it to a cache unasked
    ],
    ids=["image", "tools", "tool results", "schema", "cache marks", "long"],
)
async def test_holds_cover_images_tools_schemas_and_cache_marks(
    gateway: SandboxGateway, provider: str, asked: dict[str, Any]
) -> None:
    """Whatever travels beside the text is in the hold: through the gateway and to the provider's own host."""
    told: list[object] = []
    urls = {provider: gateway.provider_urls[provider]}
    direct = GenOpsHeliconeAsyncAdapter(gateway.api_key, {provider: "a-key"}, provider_urls=urls)
    for adapter in (adapter_of(gateway, told), direct):
        adapter.set_budget_limits(daily_limit=1000.0)
        adapter.on_budget_event(told.append)
        async with adapter:
            with suppress(DecodeError):  # five tokens are no whole answer
                await adapter.chat_async(provider=provider, **asked)
    assert told == []
    assert len(gateway.bill) == 2


@pytest.mark.parametrize(
    ("extra_body", "max_tokens"),
    [
        ({"n": 3}, 20),
        ({"max_tokens": 150}, 5),
        ({"max_completion_tokens": 150}, 5),
        ({"max_completion_tokens": 150}, None),
        ({"n": 2, "max_tokens": 100}, None),
    ],
)
async def test_holds_cover_lengths_and_numbers_given_past_the_arguments(
    gateway: SandboxGateway, extra_body: dict[str, Any], max_tokens: int | None
) -> None:
    """What `extra_body` says of the answer's length and number is in the hold."""
    told: list[object] = []
    async with adapter_of(gateway, told) as adapter:
        for _ in range(3):  # also when the model's answers are known to be short
            await adapter.chat_async("Hi", provider="openai", max_tokens=3)
        response = await adapter.chat_async(
            "Tell me everything.", provider="openai", max_tokens=max_tokens, extra_body=extra_body
        )
    assert response.usage.output_tokens > 20
    assert told == []


@pytest.mark.parametrize(
    ("fields", "allowed", "answers"),
    [
        ({}, None, 1),
        ({"max_tokens": 7}, 7, 1),
        ({"max_tokens": 7, "extra_body": {"n": 3}}, 21, 3),
        ({"extra_body": {"max_tokens": 5, "max_completion_tokens": 9}}, 9, 1),
        ({"extra_body": {"n": 0, "max_tokens": "many"}}, None, 1),
        ({"extra_body": {"n": 2}}, None, 2),
    ],
)
def test_what_a_request_says_of_its_answer_s_length(fields: dict[str, Any], allowed: int | None, answers: int) -> None:
    """The largest of what is said, for each answer; nonsense is not counted on."""
    request = ChatRequest(message="Hi", **fields)
    assert (allowed_output(request), answers_of(request)) == (allowed, answers)


async def test_answers_that_the_call_cut_short_teach_nothing_of_their_length(gateway: SandboxGateway) -> None:
    """Classifying with `max_tokens=1` does not make the holds of free answers a token long."""
    async with adapter_of(gateway) as adapter:
        for _ in range(30):
            await adapter.chat_async("Yes or no?", provider="openai", max_tokens=1)
        assert adapter._parts.shared.estimates.averages.of(("openai", "gpt-4o-mini")).cautious == 1000
        await adapter.chat_async("Tell me everything.", provider="openai", max_tokens=500)
        expected = adapter._parts.shared.estimates.averages.of(("openai", "gpt-4o-mini")).expected
    assert expected == gateway.bill.rows[-1].output_tokens > 1


async def test_without_a_limit_the_hold_follows_what_answers_have_been(gateway: SandboxGateway) -> None:
    """A model that answers in some sixty tokens is soon held to a few hundred, and the wall still stands."""
    async with adapter_of(gateway) as adapter:
        for number in range(40):
            await adapter.chat_async(f"Tell me about {number}.", provider="openai")
        lengths = [row.output_tokens for row in gateway.bill.rows]
        cautious = adapter._parts.shared.estimates.averages.of(("openai", "gpt-4o-mini")).cautious
        assert max(lengths) <= cautious < 1000
        adapter.set_budget_limits(daily_limit=gateway.bill.total_usd + cautious * 0.6e-6 / 2)
        with pytest.raises(BudgetExceededError):
            await adapter.chat_async("Tell me more.", provider="openai")


async def test_an_answer_without_usage_is_estimated_and_marked(gateway: SandboxGateway) -> None:
    """Its cost is an estimate from what was said, never nothing, in receipt and ledger."""
    gateway.faults.add(Fault(kind="wrong_usage", body="missing"))
    async with adapter_of(gateway) as adapter:
        response = await adapter.chat_async("Tell me everything.", provider="openai", max_tokens=80)
        ledger: Any = adapter._parts.ledger
        (row,) = ledger.rows()
    assert (response.usage.cost_source, row.cost_source, row.status) == ("estimated", "estimated", "ok")
    assert pusd(response.cost) == row.cost_pusd
    assert 0.4 < row.cost_pusd / gateway.bill.total_pusd < 2.5
