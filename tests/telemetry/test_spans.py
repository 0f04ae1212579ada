"""What calls look like from outside: every attempt and every refusal is an AWU that complies, against the sandbox."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from exported import Spans, events, told
from opentelemetry.trace import SpanKind, StatusCode

from genops_helicone_async import (
    AllProvidersFailedError,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    GenOpsHeliconeAsyncAdapter,
    HeliconeError,
    ProviderError,
    RoutingError,
    StreamInterruptedError,
)
from genops_helicone_async._providers import PROVIDERS
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

SIMULATED = sorted(SandboxGateway().provider_urls)


class Legs(msgspec.Struct):
    """An answer in a shape."""

    number_of_legs: int


WHO = {"team": "research", "project": "atlas", "environment": "production"}


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


@pytest.fixture
def spans() -> Spans:
    """What is exported."""
    return Spans()


def adapter_for(gateway: SandboxGateway, spans: Spans, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter that exports its spans there."""
    settings = {"gateway_url": gateway.url, "default_attributes": WHO, **settings}
    return GenOpsHeliconeAsyncAdapter(gateway.api_key, tracer_provider=spans.provider, **settings)


async def test_an_answered_call_is_one_span(gateway: SandboxGateway, spans: Spans) -> None:
    """Both vocabularies tell who asked whom for what, how it went, and what was reserved and paid."""
    async with adapter_for(gateway, spans) as adapter:
        response = await adapter.chat_async(
            "Hello", provider="openai", max_tokens=10, temperature=0.5, top_p=0.9, seed=3, stop="END",
            customer_id="c-7", user_id="u-7", session_id="s-7", feature="search", cost_center="cc-1",
            sla_tier="gold", sla_latency_ms=60_000,
        )  # fmt: skip
    span = spans.one()
    assert (span.name, span.kind, span.status.status_code) == ("chat gpt-4o-mini", SpanKind.CLIENT, StatusCode.UNSET)
    assert events(span) == [
        "genops.policy.evaluated",
        "genops.budget.reservation",
        "genops.cost.calculated",
        "genops.budget.reconciliation",
    ]
    attributes = told(span)
    reserved, latency_ms = attributes.pop("genops.accounting.reserved"), attributes.pop("genops.sla.actual_latency_ms")
    assert reserved >= response.cost > 0
    assert 0 < latency_ms < 60_000
    port = int(gateway.url.rpartition(":")[2])
    usage = response.usage
    assert attributes == {
        "genops.team": "research",
        "genops.project": "atlas",
        "genops.environment": "production",
        "genops.customer_id": "c-7",
        "genops.user_id": "u-7",
        "genops.session_id": "s-7",
        "genops.feature": "search",
        "genops.cost_center": "cc-1",
        "genops.operation.name": "chat gpt-4o-mini",
        "genops.operation.type": "inference",
        "genops.spec.version": "0.1.0",
        "genops.policy.result": "ALLOWED",
        "genops.accounting.actual": response.cost,
        "genops.accounting.unit": "USD",
        "genops.accounting.reconciliation_delta": response.cost - reserved,
        "genops.cost.total": response.cost,
        "genops.cost.currency": "USD",
        "genops.cost.provider": "openai",
        "genops.cost.model": "gpt-4o-mini",
        "genops.cost.source": "computed",
        "genops.tokens.input": usage.input_tokens,
        "genops.tokens.output": usage.output_tokens,
        "genops.tokens.total": usage.total_tokens,
        "genops.sla.tier": "gold",
        "genops.sla.latency_target_ms": 60_000,
        "genops.sla.met": True,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.conversation.id": "s-7",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.max_tokens": 10,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 3,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.id": response.raw["id"],
        "gen_ai.response.model": response.raw["model"],
        "gen_ai.response.finish_reasons": (response.finish_reason,),
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "server.address": "127.0.0.1",
        "server.port": port,
        "http.response.status_code": 200,
        "genops_helicone.request_id": response.request_id,
    }


@pytest.mark.parametrize("provider", SIMULATED)
async def test_every_provider_complies(gateway: SandboxGateway, spans: Spans, provider: str) -> None:
    """Whatever shape a provider speaks, its spans comply, carry its own ids and add up to the bill."""
    urls = {provider: gateway.provider_urls[provider]}
    async with adapter_for(
        gateway, spans, gateway_url=None, provider_keys={provider: "a-key"}, provider_urls=urls
    ) as adapter:
        await adapter.chat_async("Hello", provider=provider, max_tokens=20)
        async with adapter.stream_async("Hello", provider=provider, max_tokens=20) as stream:
            _ = [chunk async for chunk in stream]
        if PROVIDERS[provider].embedding_model is not None:
            await adapter.embed_async("Hello", provider=provider)
    units = spans.awus()
    assert round(sum(told(unit)["genops.accounting.actual"] for unit in units) * 10**12) == gateway.bill.total_pusd
    assert ["gen_ai.response.time_to_first_chunk" in told(unit) for unit in units] == [False, True, False][: len(units)]
    assert ["gen_ai.request.stream" in told(unit) for unit in units] == [False, True, False][: len(units)]
    assert [unit for unit in units[:2] if "gen_ai.response.id" not in told(unit)] == []
    assert [told(unit)["genops.operation.type"] for unit in units] == ["inference", "inference", "embedding"][
        : len(units)
    ]


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("vertex", "gcp.vertex_ai"),
        ("gemini", "gcp.gemini"),
        ("azure", "azure.ai.openai"),
        ("mistral", "mistral_ai"),
        ("xai", "x_ai"),
        ("deepseek", "deepseek"),
        ("groq", "groq"),
    ],
)
async def test_providers_have_their_standard_names(
    gateway: SandboxGateway, spans: Spans, provider: str, name: str
) -> None:
    """`gen_ai.provider.name` is the conventions' word, `genops.cost.provider` ours."""
    async with adapter_for(gateway, spans) as adapter:
        await adapter.chat_async("Hello", provider=provider)
    assert told(spans.one())["gen_ai.provider.name"] == name
    assert told(spans.one())["genops.cost.provider"] == provider


@pytest.mark.parametrize("dialect", ["rust", "openai"])
async def test_other_gateways_comply(gateway: SandboxGateway, spans: Spans, dialect: str) -> None:
    """Self-hosted gateways are told of in the same way."""
    url = gateway.rust_url if dialect == "rust" else gateway.openai_url
    async with adapter_for(gateway, spans, gateway_url=url, gateway_dialect=dialect) as adapter:
        await adapter.chat_async("Hello", provider="openai")
    assert told(spans.one())["server.address"] == "127.0.0.1"


async def test_failover_is_a_tree(gateway: SandboxGateway, spans: Spans) -> None:
    """Each attempt is an AWU of its own under one span with the routing decision; who failed was allowed to."""
    gateway.faults.add(Fault(kind="status", provider="openai", status=500))
    async with adapter_for(gateway, spans) as adapter:
        response = await adapter.chat_async("Hello", providers=["openai", "groq"], routing_strategy="failover")
    failed, answered = spans.awus()
    (parent,) = spans.parents()
    assert parent.parent is None
    assert [unit.parent for unit in (failed, answered)] == [parent.context, parent.context]
    assert (failed.status.status_code, told(failed)["error.type"]) == (StatusCode.ERROR, response.attempts[0].error)
    assert told(failed)["genops.policy.result"] == "ALLOWED"
    assert answered.status.status_code is StatusCode.UNSET
    assert {name: value for name, value in told(parent).items() if "routing" in name} == {
        "genops.routing.strategy": "failover",
        "genops.routing.candidates": ("openai/gpt-4o-mini", "groq/llama-3.1-8b-instant"),
        "genops.routing.selected": "groq",
        "genops.routing.reason": "openai failed; groq answered",
    }
    assert (parent.start_time or 0) <= (failed.start_time or 0) <= (failed.end_time or 0)
    assert (failed.end_time or 0) <= (answered.start_time or 0) <= (answered.end_time or 0) <= (parent.end_time or 0)
    assert spans.all[-1] is parent


async def test_a_call_with_one_way_has_no_parent(gateway: SandboxGateway, spans: Spans) -> None:
    """A parent would only repeat its one attempt."""
    async with adapter_for(gateway, spans) as adapter:
        await adapter.chat_async("Hello", provider="groq")
    assert len(spans.all) == 1


async def test_several_at_once_are_siblings(gateway: SandboxGateway, spans: Spans) -> None:
    """A fan-out is one span with one AWU for each provider under it."""
    async with adapter_for(gateway, spans) as adapter:
        response = await adapter.multi_provider_chat_async("Hello", ["openai", "groq", "anthropic"])
    units = spans.awus()
    (parent,) = spans.parents()
    assert (parent.name, len(units)) == ("multi_provider_chat", 3)
    assert [unit.parent for unit in units] == [parent.context] * 3
    assert told(parent)["genops.routing.selected"] == response.primary_response.provider
    assert sum(told(unit)["genops.accounting.actual"] for unit in units) == pytest.approx(response.cost)


async def test_a_fan_out_that_nobody_answers_is_an_error(gateway: SandboxGateway, spans: Spans) -> None:
    """The span above says that the call as a whole has failed."""
    gateway.faults.add(Fault(kind="status", status=400))
    async with adapter_for(gateway, spans) as adapter:
        with pytest.raises(AllProvidersFailedError):
            await adapter.multi_provider_chat_async("Hello", ["openai", "groq"])
    (parent,) = spans.parents()
    assert (told(parent)["error.type"], parent.status.status_code) == ("AllProvidersFailedError", StatusCode.ERROR)
    assert len(spans.awus()) == 2


async def test_a_call_whose_turn_does_not_come_is_rate_limited(gateway: SandboxGateway, spans: Spans) -> None:
    """Our own limits refuse with the specification's word for it, and nothing has run."""
    async with adapter_for(gateway, spans) as adapter:
        adapter.configure_rate_limits(requests_per_minute=1, burst_allowance=1)
        await adapter.chat_async("Hello", provider="groq")
        with pytest.raises(HeliconeError):
            await adapter.chat_async("Hello", provider="groq", timeout_seconds=0.05)
    _, refused = spans.awus()
    assert told(refused)["genops.policy.result"] == "RATE_LIMITED"
    assert told(refused)["gen_ai.provider.name"] == "groq"


async def test_a_refused_call_never_ran(gateway: SandboxGateway, spans: Spans) -> None:
    """A budget without room leaves one decision and the budget's figures, and no accounting."""
    async with adapter_for(gateway, spans) as adapter:
        adapter.set_budget_limits(daily_limit=0.000001)
        with pytest.raises(BudgetExceededError):
            await adapter.chat_async("Hello", provider="openai", model="gpt-4o")
    span = spans.one()
    attributes = told(span)
    assert events(span) == ["genops.policy.evaluated"]
    assert attributes["genops.policy.result"] == "BLOCKED"
    assert attributes["genops.policy.reason_code"] == "BUDGET_EXCEEDED"
    assert attributes["genops.budget.name"] == "daily"
    assert attributes["genops.budget.allocated"] == 0.000001
    assert attributes["genops.budget.period"] == "day"
    assert attributes["error.type"] == "BudgetExceededError"
    assert not [name for name in attributes if name.startswith("genops.accounting.")]
    assert gateway.requests == ()


async def test_a_budget_s_hold_is_what_was_reserved(gateway: SandboxGateway, spans: Spans) -> None:
    """Under a budget, reserved is the hold itself."""
    async with adapter_for(gateway, spans) as adapter:
        adapter.set_budget_limits(daily_limit=5.0)
        response = await adapter.chat_async("Hello", provider="openai", max_tokens=50)
    attributes = told(spans.one())
    assert attributes["genops.accounting.reserved"] == response.attempts[0].reserved > response.cost
    assert attributes["genops.accounting.actual"] == response.cost


async def test_a_refusal_after_a_failed_attempt_is_another_awu(gateway: SandboxGateway, spans: Spans) -> None:
    """What is left of `max_cost` does not pay for the next attempt: the first ran, the second never did."""
    gateway.faults.add(Fault(kind="reset_mid_body", provider="openai"))
    async with adapter_for(gateway, spans) as adapter:
        with pytest.raises(BudgetExceededError):
            await adapter.chat_async(
                "Hello", providers=["openai", "groq"], routing_strategy="failover", max_tokens=100, max_cost=0.00007,
                prices={"groq/llama-3.1-8b-instant": {"input": 0.6, "output": 0.6}},
            )  # fmt: skip
    failed, refused = spans.awus()
    assert told(failed)["genops.accounting.incomplete"] is True
    assert told(refused)["genops.policy.reason_code"] == "BUDGET_EXCEEDED"
    assert len(spans.parents()) == 1


@pytest.mark.parametrize(
    ("options", "error", "code"),
    [
        ({"provider": "openai", "routing_strategy": "no_such"}, RoutingError, "x_routing"),
        ({"provider": "no_such"}, ConfigurationError, "x_configuration"),
    ],
)
async def test_a_wrong_call_is_told_with_an_own_code(
    gateway: SandboxGateway, spans: Spans, options: dict[str, Any], error: type[Exception], code: str
) -> None:
    """What no listed reason covers has a code that begins with x_."""
    async with adapter_for(gateway, spans) as adapter:
        with pytest.raises(error):
            await adapter.chat_async("Hello", **options)
    assert told(spans.one())["genops.policy.reason_code"] == code


async def test_a_timeout_is_reconciled_with_the_best_there_is(gateway: SandboxGateway, spans: Spans) -> None:
    """The actual of a call that may have been billed is an estimate, and says so."""
    gateway.faults.add(Fault(kind="hang"))
    async with adapter_for(gateway, spans, timeout_seconds=0.2) as adapter:
        with pytest.raises(DeadlineExceededError):
            await adapter.chat_async("Hello", provider="openai")
    span = spans.one()
    assert events(span)[-1] == "genops.budget.reconciliation"
    assert dict(span.events[-1].attributes or {})["genops.accounting.incomplete"] is True
    assert told(span)["genops.accounting.actual"] > 0
    assert told(span)["error.type"] == "DeadlineExceededError"


async def test_a_cancelled_attempt_is_told(gateway: SandboxGateway, spans: Spans) -> None:
    """Cancelling a call that was sent leaves its estimate."""
    gateway.faults.add(Fault(kind="hang"))
    async with adapter_for(gateway, spans) as adapter:
        call = asyncio.create_task(adapter.chat_async("Hello", provider="openai"))
        while not gateway.requests:
            await asyncio.sleep(0.001)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert told(spans.one())["error.type"] == "CancelledError"
    assert told(spans.one())["genops.accounting.incomplete"] is True


async def test_an_abandoned_stream_is_told(gateway: SandboxGateway, spans: Spans) -> None:
    """Leaving a stream early is an attempt with an estimate, and an error type that says so."""
    async with (
        adapter_for(gateway, spans) as adapter,
        adapter.stream_async("Tell me a long story", provider="openai") as stream,
    ):
        await anext(stream)
    span = spans.one()
    assert told(span)["error.type"] == "Abandoned"
    assert told(span)["gen_ai.request.stream"] is True
    assert told(span)["gen_ai.response.time_to_first_chunk"] > 0


async def test_a_broken_stream_is_told(gateway: SandboxGateway, spans: Spans) -> None:
    """A stream that breaks is one AWU that ran, not one that was refused."""
    gateway.faults.add(Fault(kind="cut"))
    async with adapter_for(gateway, spans) as adapter:
        with pytest.raises(StreamInterruptedError):
            async with adapter.stream_async("Tell me a long story", provider="openai") as stream:
                _ = [chunk async for chunk in stream]
    assert told(spans.one())["error.type"] == "StreamInterruptedError"


async def test_an_answer_of_no_use_is_paid_and_an_error(gateway: SandboxGateway, spans: Spans) -> None:
    """The attempt was answered and billed; that the answer does not fit is the call's error."""
    async with adapter_for(gateway, spans) as adapter:
        with pytest.raises(DecodeError) as caught:
            await adapter.chat_async("Hello", provider="openai", response_model=Legs, max_tokens=1)
    assert caught.value.billed == "yes"
    span = spans.one()
    assert told(span)["error.type"] == "DecodeError"
    assert told(span)["gen_ai.response.finish_reasons"] == ("length",)
    assert span.status.status_code is StatusCode.ERROR


async def test_an_unpriced_model_is_accounted_in_tokens(gateway: SandboxGateway, spans: Spans) -> None:
    """Where no price is known, 0 dollars would be untrue: the unit is tokens."""
    urls = {"my-own": gateway.openai_url}
    keys = {"my-own": gateway.api_key}
    async with adapter_for(gateway, spans, gateway_url=None, provider_keys=keys, provider_urls=urls) as adapter:
        response = await adapter.chat_async("Hello", model="gpt-4o-mini", provider="my-own", max_tokens=30)
    attributes = told(spans.one())
    assert attributes["genops.accounting.unit"] == "tokens"
    assert attributes["genops.accounting.actual"] == float(response.usage.total_tokens)
    assert attributes["genops.accounting.reserved"] >= 30.0
    assert "genops.cost.total" not in attributes


async def test_another_currency_is_the_unit(gateway: SandboxGateway, spans: Spans) -> None:
    """Accounting is in the adapter's currency."""
    async with adapter_for(gateway, spans, cost_currency="EUR", exchange_rates={"EUR": 0.5}) as adapter:
        response = await adapter.chat_async("Hello", provider="openai")
    attributes = told(spans.one())
    assert (attributes["genops.accounting.unit"], attributes["genops.cost.currency"]) == ("EUR", "EUR")
    assert attributes["genops.accounting.actual"] == response.cost


FAULTS = [
    Fault(kind="status", status=429, retry_after=0.0, times=1),
    Fault(kind="status", status=503, times=1),
    Fault(kind="gateway_status", status=500, times=1),
    Fault(kind="truncated_json", times=1),
    Fault(kind="reset", times=1),
    Fault(kind="reset_mid_body", times=1),
    Fault(kind="gzip_garbage", times=1),
    Fault(kind="html", status=502, times=1),
    Fault(kind="wrong_usage", body="missing", times=1),
    Fault(kind="error_event", times=1),
    Fault(kind="no_finish_reason", times=1),
]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.kind + str(fault.status) for fault in FAULTS])
async def test_every_fault_complies(gateway: SandboxGateway, spans: Spans, fault: Fault, streamed: bool) -> None:
    """Whatever goes wrong, there is one compliant AWU for each attempt, and they add up to what attempts cost."""
    gateway.faults.add(fault)
    attempts: tuple[Any, ...] = ()
    async with adapter_for(gateway, spans, retry_attempts=1) as adapter:
        try:
            if streamed:
                async with adapter.stream_async("Hello", providers=["openai", "groq"]) as stream:
                    _ = [chunk async for chunk in stream]
                attempts = stream.response.attempts
            else:
                attempts = (await adapter.chat_async("Hello", providers=["openai", "groq"])).attempts
        except HeliconeError as exc:
            attempts = exc.attempts
    units = spans.awus()
    assert [told(unit)["genops_helicone.request_id"] for unit in units] == [each.request_id for each in attempts]
    assert [told(unit)["genops.accounting.actual"] for unit in units] == [each.cost for each in attempts]
    assert [told(unit).get("error.type") for unit in units] == [each.error for each in attempts]


async def test_nothing_secret_and_no_prompt_is_told(gateway: SandboxGateway, spans: Spans) -> None:
    """By default neither keys nor prompts nor answers are in any span, of calls that fail neither."""
    key = "sk-verysecretproviderkey-0123456789"
    urls = {"openai": gateway.provider_urls["openai"]}
    async with adapter_for(
        gateway, spans, gateway_url=None, provider_keys={"openai": key}, provider_urls=urls
    ) as adapter:
        answer = await adapter.chat_async("My password is hunter2", provider="openai", system_prompt="Be discreet")
        gateway.faults.add(Fault(kind="status", status=400, body=f"bad key {key}, prompt: My password is hunter2"))
        with pytest.raises(ProviderError):
            await adapter.chat_async("My password is hunter2", provider="openai")
    text = "".join(span.to_json() for span in spans.all)
    assert len(spans.awus()) == 2
    for hidden in (key, gateway.api_key, "hunter2", "discreet", answer.content):
        assert hidden not in text
