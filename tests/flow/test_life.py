"""The life of a request over a real network: what goes out, what comes back, what is written down about it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from flow_parts import KEY, PRICES, Rig, cost_pusd

from genops_helicone_async import (
    AllProvidersFailedError,
    ConfigurationError,
    DecodeError,
    GenOpsHeliconeAsyncAdapter,
    HeliconeError,
    ProviderError,
    RoutingError,
)
from genops_helicone_async._values import TokenCounts
from genops_helicone_async.models import PUSD_PER_USD, Candidate
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, Hang, chat_answer, error_answer
from loopback import Exchange, LoopbackServer, chat_body

pytestmark = pytest.mark.anyio

OPENAI = {"provider": "openai", "model": "gpt-4o-mini"}
KEYS = {"openai": "openai-secret", "groq": "groq-secret", "anthropic": "anthropic-secret"}
SECRETS = (KEY, *KEYS.values())


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    """Answers every chat."""

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(200, chat_body("Hello", prompt=11, completion=7))

    async with LoopbackServer(handle) as running:
        yield running


def adapter(server: LoopbackServer, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter with the server as its gateway."""
    return GenOpsHeliconeAsyncAdapter(KEY, gateway_url=server.url, prices=PRICES, **settings)


async def test_the_gateway_is_asked_in_its_own_way(server: LoopbackServer) -> None:
    """One POST with the Helicone key as bearer and a fresh UUIDv4; the answer carries that id."""
    async with adapter(server, provider_keys=KEYS) as helicone:
        response = await helicone.chat_async("Hi", **OPENAI)
    (seen,) = server.exchanges
    assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["user-agent"] == "genops-helicone-async"
    assert seen.json == {"model": "gpt-4o-mini/openai", "messages": [{"role": "user", "content": "Hi"}]}
    request_id = seen.headers["helicone-request-id"]
    assert (str(uuid.UUID(request_id)), uuid.UUID(request_id).version) == (request_id, 4)
    assert response.request_id == response.attempts[0].request_id == request_id


async def test_no_provider_key_goes_to_the_gateway(server: LoopbackServer) -> None:
    """Provider keys stay at home when a gateway of one's own takes the calls."""
    async with adapter(server, provider_keys=KEYS) as helicone:
        for provider in KEYS:
            await helicone.chat_async("Hi", provider=provider)
    for seen in server.exchanges:
        sent = " ".join([seen.path, *seen.headers.values(), seen.body.decode()])
        assert [secret for secret in SECRETS if secret in sent] == [KEY]


async def test_a_providers_url_gets_that_providers_key_only(server: LoopbackServer) -> None:
    """An explicit `provider_urls` entry gets the provider's own auth, plus Helicone's, and nobody else's key."""
    urls = server.provider_urls("openai", "anthropic")
    async with GenOpsHeliconeAsyncAdapter(KEY, KEYS, provider_urls=urls, prices=PRICES) as helicone:
        await helicone.chat_async("Hi", **OPENAI)
        await helicone.chat_async("Hi", provider="anthropic")
    openai, anthropic = server.exchanges
    assert (openai.path, anthropic.path) == ("/openai/v1/chat/completions", "/anthropic/v1/messages")
    assert (openai.headers["authorization"], anthropic.headers["x-api-key"]) == (
        "Bearer openai-secret",
        "anthropic-secret",
    )
    assert "authorization" not in anthropic.headers
    for seen, own in ((openai, "openai-secret"), (anthropic, "anthropic-secret")):
        assert seen.headers["helicone-auth"] == f"Bearer {KEY}"
        sent = " ".join([seen.path, *seen.headers.values(), seen.body.decode()])
        assert {secret for secret in SECRETS if secret in sent} == {KEY, own}


async def test_attribution_travels_in_headers(server: LoopbackServer) -> None:
    """User, session and properties of the call, over the adapter's defaults."""
    async with adapter(server, default_attributes={"team": "research", "environment": "test"}) as helicone:
        await helicone.chat_async(
            "Hi", **OPENAI, team="billing", project="p1", customer_id="c-7", cost_center="cc", feature="f",
            user_id="ada", session_id="s-1", session_path="/a/b", session_name="Näme", attributes={"ticket_no": "42"},
        )  # fmt: skip
    told = {name: value for name, value in server.exchanges[0].headers.items() if name.startswith("helicone-")}
    told.pop("helicone-request-id")
    assert told == {
        "helicone-user-id": "ada",
        "helicone-session-id": "s-1",
        "helicone-session-path": "/a/b",
        "helicone-session-name": "N%C3%A4me",
        "helicone-property-team": "billing",
        "helicone-property-project": "p1",
        "helicone-property-customer-id": "c-7",
        "helicone-property-environment": "test",
        "helicone-property-cost-center": "cc",
        "helicone-property-feature": "f",
        "helicone-property-ticket-no": "42",
    }


@pytest.mark.parametrize(
    "bad",
    [
        {"team": "a\r\nX-Injected: yes"},
        {"user_id": "a\nb"},
        {"session_id": "a\x00b"},
        {"attributes": {"a\r\nX": "b"}},
        {"attributes": {"a": "b\r\n\r\nGET / HTTP/1.1"}},
        {"model": "m\r\nX-Injected: yes"},
    ],
)
async def test_no_line_break_gets_into_a_request(bad: dict[str, Any], server: LoopbackServer) -> None:
    """What could split a header is refused, naming the argument; or it travels where it can do no harm."""
    async with adapter(server) as helicone:
        try:
            await helicone.chat_async("Hi", **{**OPENAI, **bad})
        except ConfigurationError:
            assert server.exchanges == []
        else:
            assert "x-injected" not in server.exchanges[0].headers


async def test_usage_cost_and_record_are_exact() -> None:
    """The response's cost is tokens times price to the last pico-dollar, and so is the record's."""
    rig = Rig(ScriptedTransport([chat_answer("Hello", input_tokens=1234, output_tokens=567, model="gpt-4o-mini-2024")]))
    response = await rig.chat(**OPENAI)
    expected_pusd = 1234 * 1_000_000 + 567 * 2_000_000
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (1234, 567, 1801)
    assert round(usage.total_cost * PUSD_PER_USD) == expected_pusd
    assert (usage.provider_cost, usage.helicone_cost, usage.cost_source) == (usage.total_cost, 0.0, "computed")
    assert (usage.price_source, response.cost) == ("override", usage.total_cost)
    (attempt,) = response.attempts
    assert (attempt.cost, attempt.billed, attempt.status_code, attempt.ok) == (response.cost, "yes", 200, True)
    assert attempt.cost_source == "computed"
    assert response.metadata == {"dialect": "proxy", "host": "127.0.0.1:9", "served_model": "gpt-4o-mini-2024"}
    assert response.routing.candidates == (
        Candidate(provider="openai", model="gpt-4o-mini", score=0.0, reason="the only candidate"),
    )
    (record,) = rig.records
    assert (record.cost_pusd, record.failed_pusd, record.response, record.error) == (expected_pusd, 0, response, None)
    rig.assert_settled()


async def test_failed_attempts_are_paid_for_where_they_may_have_been_billed() -> None:
    """The answer's cost is the answer's; what a lost attempt may have cost is on top, on its own line."""
    script = [error_answer(503), Answer(parts=(b'{"choices": [',)), chat_answer(input_tokens=100, output_tokens=10)]
    rig = Rig(ScriptedTransport(script))
    response = await rig.chat(providers=["openai", "groq", "mistral"], max_tokens=50)
    assert [(attempt.provider, attempt.billed, attempt.cost_source) for attempt in response.attempts] == [
        ("openai", "no", "none"),
        ("groq", "maybe", "estimated"),
        ("mistral", "yes", "computed"),
    ]
    assert len({attempt.request_id for attempt in response.attempts}) == 3
    (record,) = rig.records
    assert record.cost_pusd == 100 * 500_000 + 10 * 700_000 == round(response.cost * PUSD_PER_USD)
    assert record.failed_pusd == cost_pusd(response.attempts[:2]) > 0
    assert rig.budget.holds[0].settled == [record.cost_pusd + record.failed_pusd]
    rig.assert_settled()


async def test_an_unpriced_model_is_not_free(caplog: pytest.LogCaptureFixture) -> None:
    """Without a price the cost is 0 and says `unpriced`; a warning names the model."""
    rig = Rig(ScriptedTransport([chat_answer()]))
    response = await rig.chat(provider="openai", model="gpt-none-such")
    assert (response.cost, response.usage.cost_source) == (0.0, "unpriced")
    assert "openai/gpt-none-such" in caplog.text
    rig.assert_settled()


async def test_cost_tracking_can_be_switched_off() -> None:
    """Then nothing is priced, and nothing is looked up."""
    rig = Rig(ScriptedTransport([chat_answer()]), enable_cost_tracking=False)
    response = await rig.chat(**OPENAI)
    assert (response.cost, response.usage.cost_source, response.usage.input_tokens) == (0.0, "unpriced", 10)


async def test_a_cache_hit_of_the_gateway_is_free() -> None:
    """Helicone's own cache answers for nothing, and the response says so."""
    answer = chat_answer()
    hit = Answer(headers={**answer.headers, "Helicone-Cache": "HIT"}, parts=answer.parts)
    rig = Rig(ScriptedTransport([hit]))
    response = await rig.chat(**OPENAI)
    assert (response.cached, response.cost, response.metadata["helicone_cache"]) == (True, 0.0, "HIT")
    rig.assert_settled()


async def test_the_gateways_fee_is_on_the_receipt() -> None:
    """Calls on Helicone's credits carry the fee, exactly; own keys carry none."""
    answer = chat_answer(input_tokens=1001, output_tokens=0)
    on_credits = Answer(headers={**answer.headers, "Helicone-Gateway-Mode": "PTB"}, parts=answer.parts)
    own_key = Answer(headers={**answer.headers, "Helicone-Gateway-Mode": "BYOK"}, parts=answer.parts)
    rig = Rig(ScriptedTransport([on_credits, own_key]))
    with_fee, without = await rig.chat(**OPENAI), await rig.chat(**OPENAI)
    assert round(with_fee.usage.helicone_cost * PUSD_PER_USD) == 30_030_000
    assert round(with_fee.cost * PUSD_PER_USD) == 1_001_000_000 + 30_030_000
    assert (without.usage.helicone_cost, round(without.cost * PUSD_PER_USD)) == (0.0, 1_001_000_000)
    rig.assert_settled(calls=2)


async def test_a_model_that_does_not_fit_carries_its_attempts() -> None:
    """An answer that is no `response_model` is a `DecodeError` that was paid for, with the attempt on it."""
    rig = Rig(ScriptedTransport([chat_answer('{"input": "many"}')]))
    with pytest.raises(DecodeError, match="does not fit `response_model` TokenCounts") as caught:
        await rig.chat(**OPENAI, response_model=TokenCounts)
    assert (caught.value.billed, [attempt.ok for attempt in caught.value.attempts]) == ("yes", [True])
    (record,) = rig.records
    assert (record.error, record.cost_pusd) == (caught.value, 10 * 1_000_000 + 5 * 2_000_000)
    rig.assert_settled()


async def test_routing_is_explained() -> None:
    """Several candidates: who was to be asked in which order, why, and who answered in the end."""
    rig = Rig(ScriptedTransport([error_answer(500), chat_answer()]))
    response = await rig.chat(providers=["openai", "groq", "mistral"], routing_strategy="cost_optimized")
    routing = response.routing
    assert (routing.strategy, routing.selected) == ("cost_optimized", "mistral")
    assert [candidate.provider for candidate in routing.candidates] == ["groq", "mistral", "openai"]
    assert routing.reason == "groq failed; mistral answered"
    scores = [candidate.score for candidate in routing.candidates]
    assert scores == sorted(scores)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"provider": "nobody"}, ConfigurationError, "`provider` names the unknown provider 'nobody'"),
        ({"providers": ["openai", "nobody"]}, ConfigurationError, "`providers` names the unknown provider 'nobody'"),
        (
            {"providers": ["openai"], "model_preferences": {"groq": "m"}},
            ConfigurationError,
            "`model_preferences` names 'groq'",
        ),
        ({"model": "no-such-maker"}, ConfigurationError, "`model` is 'no-such-maker' without a provider"),
        ({"providers": ["openai", "groq"], "routing_strategy": "psychic"}, RoutingError, "'psychic'"),
    ],
)
async def test_what_cannot_be_routed_is_refused(
    options: dict[str, Any], error: type[HeliconeError], message: str
) -> None:
    """Unknown names are named, nothing is sent, and the refusal is recorded like any other end."""
    transport = ScriptedTransport([])
    rig = Rig(transport)
    with pytest.raises(error) as caught:
        await rig.chat(**options)
    assert message in str(caught.value)
    assert transport.requests == []
    assert (rig.records[0].error, rig.records[0].attempts) == (caught.value, [])
    rig.assert_settled()


async def test_calls_wait_for_a_slot_in_turn() -> None:
    """With one slot, calls go out one after the other in the order in which they came."""
    order: list[str] = []

    def step(request: Any) -> Any:
        order.append(request.body.decode())
        return chat_answer()

    rig = Rig(ScriptedTransport(step), max_connections=1)
    await asyncio.gather(*(rig.chat(f"number {number}", **OPENAI) for number in range(5)))
    assert [f"number {number}" in body for number, body in enumerate(order)] == [True] * 5
    rig.assert_settled(calls=5)


async def test_a_sink_that_fails_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """It is reported once, the others still hear of every call, and so does the caller."""
    rig = Rig(ScriptedTransport(lambda _: chat_answer()))

    def broken(_record: object) -> None:
        raise LookupError("out of order")

    rig.pipeline.sinks.remove(rig.records.append)
    rig.pipeline.sinks.add(broken)
    rig.pipeline.sinks.add(rig.records.append)
    for _ in range(3):
        assert (await rig.chat(**OPENAI)).content == "Hello"
    assert len(rig.records) == 3
    assert [record.message.startswith("a sink failed") for record in caplog.records] == [True]


async def test_errors_carry_what_was_tried() -> None:
    """Each error knows its request id, provider, model and attempts, and shows no secret."""
    rig = Rig(ScriptedTransport([error_answer(400, "no, sk-proj-abcdefghijklmnop")]))
    with pytest.raises(ProviderError) as caught:
        await rig.chat(**OPENAI)
    error = caught.value
    assert (error.provider, error.model, error.status_code, error.http_status) == ("openai", "gpt-4o-mini", 400, 400)
    assert error.request_id == error.attempts[0].request_id
    assert "sk-proj" not in f"{error} {error!r} {error.attempts}"
    rig.assert_settled()


async def test_all_failed_says_so_with_its_facts() -> None:
    """The summary of several failures has every story, and the facts that hold for all."""
    script = [error_answer(503, "one"), error_answer(429, "two", headers={"Retry-After": "7"}), Hang()]
    rig = Rig(ScriptedTransport(script), retry_attempts=0)
    with pytest.raises(AllProvidersFailedError) as caught:
        await rig.chat(providers=["openai", "groq"])
    error = caught.value
    assert str(error) == "none of 2 providers answered: openai: one; groq: two"
    assert (error.retry_safe, error.throttled, error.retry_after_s, error.billed) == (True, False, 7.0, "no")
    assert (error.provider, error.status_code) == ("groq", 429)
    assert [(attempt.provider, attempt.error, attempt.status_code) for attempt in error.attempts] == [
        ("openai", "ProviderError", 503),
        ("groq", "RateLimitExceededError", 429),
    ]
    rig.assert_settled()
