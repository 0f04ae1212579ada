"""Several providers at once or in turn, embeddings, and checks of the way to a provider."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from flow_parts import KEY, PRICES, Rig, body_of, cost_pusd
from virtual_time import run_virtually

from genops_helicone_async import (
    AllProvidersFailedError,
    ConfigurationError,
    DecodeError,
    EmbeddingResponse,
    GenOpsHeliconeAsyncAdapter,
    ProviderCheck,
    ProviderError,
    RateLimitExceededError,
)
from genops_helicone_async._flow.checks import check_providers
from genops_helicone_async._flow.embed import Embedding
from genops_helicone_async._flow.fanout import ask_several
from genops_helicone_async._values import HttpRequest
from genops_helicone_async.chat_request import EmbedRequest, make_request
from genops_helicone_async.models import PUSD_PER_USD, MultiProviderResponse
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, Hang, chat_answer, error_answer
from loopback import Exchange, LoopbackServer, chat_body

pytestmark = pytest.mark.anyio

ALL = ["openai", "groq", "mistral"]


def provider_of(request: HttpRequest) -> str:
    """Which provider a request goes to: the rig gives each a path of its own."""
    return request.url.split("/")[3]


def by_provider(**steps: Any) -> ScriptedTransport:
    """A transport that answers for each provider as told, and for others with their name."""
    return ScriptedTransport(lambda request: steps.get(provider_of(request)) or chat_answer(provider_of(request)))


def several(rig: Rig, **options: Any) -> Any:
    """One message to several providers."""
    return ask_several(rig.pipeline, make_request("Hi", {"providers": ALL, **options}))


async def test_fan_out_asks_all_at_once() -> None:
    """Every provider answers in its own name; the first in the order given is the primary."""
    rig = Rig(by_provider())
    response: MultiProviderResponse = await several(rig)
    assert {name: answer.content for name, answer in response.responses.items()} == {name: name for name in ALL}
    assert list(response.responses) == ALL
    assert (response.content, response.primary_response.provider, response.errors) == ("openai", "openai", {})
    assert response.usage is response.primary_response.usage
    assert response.cost_comparison == {name: answer.cost for name, answer in response.responses.items()}
    assert round(response.cost * PUSD_PER_USD) == 10 * 1_600_000 + 5 * 3_000_000
    assert response.routing_decision.strategy == "fan_out"
    assert [candidate.provider for candidate in response.routing_decision.candidates] == ALL
    rig.assert_settled(calls=3)


def test_fan_out_takes_as_long_as_the_slowest() -> None:
    """Nobody waits for anybody else; who hangs ends at the deadline, the others have answered."""

    async def play() -> MultiProviderResponse:
        rig = Rig(by_provider(groq=Hang(), mistral=Hang()), retry_attempts=0)
        response: MultiProviderResponse = await several(rig, timeout_seconds=5)
        rig.assert_settled(calls=3)
        return response

    response, took_s = run_virtually(play())
    assert took_s == 5.0
    assert (list(response.responses), sorted(response.errors)) == (["openai"], ["groq", "mistral"])


async def test_fan_out_with_failures_keeps_both() -> None:
    """Answers and errors side by side; what failed attempts may have cost is in the sum."""
    cut = Answer(parts=(b'{"choices"',))
    rig = Rig(by_provider(openai=error_answer(400), groq=cut), retry_attempts=0)
    response: MultiProviderResponse = await several(rig)
    assert (list(response.responses), response.primary_response.provider) == (["mistral"], "mistral")
    assert {name: type(error) for name, error in response.errors.items()} == {
        "openai": ProviderError,
        "groq": DecodeError,
    }
    lost = cost_pusd(response.errors["groq"].attempts)
    assert lost > 0
    assert round(response.cost * PUSD_PER_USD) == 10 * 500_000 + 5 * 700_000 + lost
    assert list(response.cost_comparison) == ["mistral"]
    rig.assert_settled(calls=3)


async def test_fan_out_where_all_fail() -> None:
    """One error with every story, in the order given, and the facts of all."""
    rig = Rig(
        by_provider(
            openai=error_answer(429, "slow", headers={"Retry-After": "9"}),
            groq=error_answer(429, "slower", headers={"Retry-After": "4"}),
            mistral=error_answer(503, "down"),
        ),
        retry_attempts=0,
    )
    with pytest.raises(AllProvidersFailedError) as caught:
        await several(rig)
    error = caught.value
    assert str(error) == "none of 3 providers answered: openai: slow; groq: slower; mistral: down"
    assert [attempt.provider for attempt in error.attempts] == ALL
    assert (error.retry_after_s, error.throttled, error.retry_safe, error.billed) == (4.0, False, True, "no")
    rig.assert_settled(calls=3)


async def test_fan_out_understands_other_spellings() -> None:
    """Aliases are the provider they stand for, asked once, with the model preferred for it."""
    transport = by_provider()
    rig = Rig(
        transport,
        provider_urls={"gemini": "http://127.0.0.1:9/gemini/v1", "openai": "http://127.0.0.1:9/openai/v1"},
        provider_keys={},
    )
    request = make_request(
        "Hi",
        {"providers": ["google", "openai", "gemini"], "model_preferences": {"google": "gemini-x", "openai": "gpt-x"}},
    )
    response = await ask_several(rig.pipeline, request)
    assert list(response.responses) == ["gemini", "openai"]
    assert {body_of(sent)["model"] for sent in transport.requests} == {"gemini-x", "gpt-x"}
    assert len(transport.requests) == 2


@pytest.mark.parametrize(
    "options", [{"providers": ["openai", "nobody"]}, {"model_preferences": {"anthropic": "m"}}, {"providers": None}]
)
async def test_a_wrong_name_is_refused_before_anybody_is_asked(options: dict[str, Any]) -> None:
    """Nothing is sent to those whose names were right."""
    transport = by_provider()
    with pytest.raises(ConfigurationError):
        await several(Rig(transport), **options)
    assert transport.requests == []


async def test_cancelling_a_fan_out_cancels_every_branch() -> None:
    """All connections are dropped, all calls settled once."""
    transport = ScriptedTransport(lambda _: Answer(parts=(b"{", Hang())))
    rig = Rig(transport)
    task = asyncio.ensure_future(several(rig))
    while transport.open_bodies < 3:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert transport.open_bodies == 0
    rig.assert_settled(calls=3)


async def test_failover_over_several_is_one_call() -> None:
    """With another strategy the providers are asked in turn, and only the answer is in the responses."""
    rig = Rig(by_provider(openai=error_answer(503)))
    response: MultiProviderResponse = await several(rig, routing_strategy="failover")
    assert (list(response.responses), response.content, response.errors) == (["groq"], "groq", {})
    assert (response.routing_decision.strategy, response.routing_decision.selected) == ("failover", "groq")
    rig.assert_settled()


def embeddings(*vectors: list[float], tokens: int | None = 8) -> Answer:
    """A reply with vectors, the last one first: their order is told by their index."""
    rows = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return chat_answer(data=rows[::-1], choices=None, **(usage or {"usage": None}))


def embed(rig: Rig, *texts: str, **options: Any) -> Any:
    """Vectors for the texts from the rig's pipeline."""
    request = EmbedRequest.of(
        list(texts), options.pop("provider", "openai"), options.pop("model", "gpt-4o-mini"), options
    )
    return Embedding(rig.pipeline, request).run()


async def test_vectors_come_in_the_order_of_the_texts() -> None:
    """One POST with all texts; each text's vector in its place, input tokens priced."""
    transport = ScriptedTransport([embeddings([1.0, 0.5], [2.0, 0.25], tokens=8)])
    rig = Rig(transport)
    response: EmbeddingResponse = await embed(rig, "one", "two")
    assert response.embeddings == ((1.0, 0.5), (2.0, 0.25))
    assert body_of(transport.requests[0])["input"] == ["one", "two"]
    assert transport.requests[0].url.endswith("/openai/v1/embeddings")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (8, 0)
    assert round(response.cost * PUSD_PER_USD) == 8 * 1_000_000
    assert rig.records[0].response is response
    rig.assert_settled()


async def test_embeddings_are_retried_like_chats() -> None:
    """A provider that is down is asked again."""
    rig = Rig(ScriptedTransport([error_answer(503), embeddings([1.0])]))
    response: EmbeddingResponse = await embed(rig, "one")
    assert [attempt.ok for attempt in response.attempts] == [False, True]
    rig.assert_settled()


@pytest.mark.parametrize(
    "answer",
    [Answer(parts=(b"<html>",)), Answer(), embeddings([1.0]), chat_answer(), Answer(parts=(b'{"data": [{}, {}]}',))],
    ids=["HTML", "empty", "one vector for two texts", "a chat", "no vectors"],
)
async def test_what_holds_no_vectors_is_a_decode_error(answer: Answer) -> None:
    """Anything but a vector for each text is an error that may have been billed."""
    rig = Rig(ScriptedTransport([answer]), retry_attempts=0)
    with pytest.raises(DecodeError) as caught:
        await embed(rig, "one", "two")
    assert (caught.value.billed, len(caught.value.attempts)) == ("maybe", 1)
    rig.assert_settled()


async def test_the_ai_gateway_offers_no_embeddings() -> None:
    """Said before anything is sent, with the remedy."""
    transport = ScriptedTransport([])
    rig = Rig(transport, provider_urls=None, provider_keys=None, gateway_url="http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="the AI Gateway has no embeddings: give a key"):
        await embed(rig, "one")
    assert transport.requests == []
    rig.assert_settled()


@pytest.mark.parametrize(
    ("texts", "error"), [([], ConfigurationError), ([""], ConfigurationError), (["a", None], TypeError), (7, TypeError)]
)
def test_no_text_is_no_request(texts: Any, error: type[Exception]) -> None:
    """Nothing to embed is said at once, naming the text."""
    with pytest.raises(error, match="texts"):
        EmbedRequest.of(texts, "openai", "m", {})


def verdicts(checks: dict[str, ProviderCheck]) -> dict[str, tuple[bool, str]]:
    """What each check found."""
    return {provider: (check.ok, check.status) for provider, check in checks.items()}


async def test_checks_look_at_each_way() -> None:
    """One unbilled GET each, all at once; each verdict by what came back."""
    transport = by_provider(
        openai=Answer(parts=(b'{"data": []}',)), groq=error_answer(401), mistral=RateLimitExceededError("no")
    )
    rig = Rig(transport)
    checks = await check_providers(rig.pipeline)
    assert list(checks) == ALL
    assert verdicts(checks) == {
        "openai": (True, "ok"),
        "groq": (False, "key_refused"),
        "mistral": (False, "unreachable"),
    }
    assert {(request.method, request.url.rsplit("/", 1)[1]) for request in transport.requests} == {("GET", "models")}
    assert (rig.records, rig.budget.holds) == ([], [])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error_answer(404), (False, "unsupported")),
        (error_answer(500), (False, "error")),
        (error_answer(403), (False, "key_refused")),
        (Answer(parts=(b"not JSON",)), (True, "ok")),
    ],
)
async def test_a_check_says_what_it_found(answer: Answer, expected: tuple[bool, str]) -> None:
    """Whatever the way answers is a verdict; nothing is raised."""
    checks = await check_providers(Rig(ScriptedTransport(lambda _: answer)).pipeline)
    assert set(verdicts(checks).values()) == {expected}


def test_a_check_ends_at_the_timeout() -> None:
    """A way that hangs is unreachable, after the adapter's timeout."""

    async def play() -> dict[str, tuple[bool, str]]:
        return verdicts(await check_providers(Rig(ScriptedTransport(lambda _: Hang()), timeout_seconds=6).pipeline))

    assert run_virtually(play()) == (dict.fromkeys(ALL, (False, "unreachable")), 6.0)


@pytest.fixture
async def gateway() -> AsyncIterator[LoopbackServer]:
    """A gateway that knows one key, and misses the model of an empty request."""

    async def handle(exchange: Exchange) -> None:
        if exchange.headers["authorization"] != f"Bearer {KEY}":
            await exchange.reply(401, b"Unauthorized", {"Content-Type": "text/plain"})
        elif "model" in exchange.json:
            await exchange.reply(200, chat_body())
        else:
            await exchange.reply(400, b'{"success": false, "error": {"message": "missing model"}}')

    async with LoopbackServer(handle) as running:
        yield running


@pytest.mark.parametrize(("key", "expected"), [(KEY, (True, "ok")), ("sk-helicone-wrong", (False, "key_refused"))])
async def test_the_gateways_key_is_checked(key: str, expected: tuple[bool, str], gateway: LoopbackServer) -> None:
    """Through the gateway the check asks for nothing that could be billed, and still meets the key."""
    async with GenOpsHeliconeAsyncAdapter(key, gateway_url=gateway.url, prices=PRICES) as helicone:
        checks = await helicone.validate_providers_async()
    assert set(verdicts(checks).values()) == {expected}
    assert {exchange.body for exchange in gateway.exchanges} == {b"{}"}
