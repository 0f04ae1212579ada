"""Ratings and scores: they reach Helicone's REST API under the id it knows the call by, and failures are told."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from genops_helicone_async import (
    AuthenticationError,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    GatewayError,
    GenOpsHeliconeAdapter,
    GenOpsHeliconeAsyncAdapter,
    HeliconeLog,
    RateLimitExceededError,
)
from genops_helicone_async._helicone_settings import Services, api_target
from genops_helicone_async._secret import Secret
from genops_helicone_async.testing import Fault, SandboxGateway
from loopback import Exchange, LoopbackServer, chat_body

pytestmark = pytest.mark.anyio

KEY = "sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd"
EU_KEY = "sk-helicone-eu-aaaaaaa-bbbbbbb-ccccccc-ddddddd"
ID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
CLOUD = "https://ai-gateway.helicone.ai"


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxGateway]:
    """A Helicone with its REST API."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


def adapter(sandbox: SandboxGateway, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter that knows where the API is."""
    given = {"gateway_url": sandbox.url, "helicone_api_url": sandbox.api_url, **settings}
    return GenOpsHeliconeAsyncAdapter(sandbox.api_key, **given)


async def test_an_answer_is_rated_and_scored(sandbox: SandboxGateway) -> None:
    """A response, its id as text, or as a UUID: all name the same call; a later rating replaces an earlier one."""
    async with adapter(sandbox) as helicone:
        response = await helicone.chat_async("Hi", provider="openai")
        await helicone.feedback_async(response, False)
        await helicone.feedback_async(response.request_id.upper(), True)
        await helicone.score_async(uuid.UUID(response.request_id), {"accuracy": 92, "safe": True})
    assert sandbox.feedback == {response.request_id: True}
    assert sandbox.scores == {response.request_id: {"accuracy": 92, "safe": True}}
    told = [seen for seen in sandbox.requests if seen.dialect == "rest_api"]
    assert [seen.headers["authorization"] for seen in told] == [f"Bearer {sandbox.api_key}"] * 3
    assert told[0].path == f"/api/v1/request/{response.request_id}/feedback"


async def test_every_kind_of_answer_can_be_rated(sandbox: SandboxGateway) -> None:
    """Streams, vectors and the primary answer of several providers."""
    settings = {"gateway_url": CLOUD, "provider_urls": sandbox.provider_urls, "provider_keys": sandbox.provider_keys}
    async with adapter(sandbox, **settings) as helicone:
        vectors = await helicone.embed_async("Hi")
        several = await helicone.multi_provider_chat_async("Hi", ["openai", "groq"])
        async with helicone.stream_async("Hi", provider="openai") as stream:
            _ = [chunk async for chunk in stream]
        for each in (vectors, several, stream.response):
            await helicone.feedback_async(each, True)
    ids = {vectors.request_id, several.primary_response.request_id, stream.response.request_id}
    assert sandbox.feedback == dict.fromkeys(ids, True)


async def test_the_id_is_the_one_that_helicone_gave(sandbox: SandboxGateway) -> None:
    """The Rust gateway gives calls ids of its own, and those are what its Helicone knows."""
    async with adapter(sandbox, gateway_url=sandbox.rust_url, gateway_dialect="rust") as helicone:
        response = await helicone.chat_async("Hi", provider="openai")
        await helicone.feedback_async(response, True)
    assert response.metadata["helicone_id"] != response.request_id
    assert sandbox.feedback == {response.metadata["helicone_id"]: True}


def test_the_synchronous_adapter_has_both(sandbox_thread: SandboxGateway) -> None:
    """`feedback` and `score`, without awaiting."""
    sandbox = sandbox_thread
    settings = {"gateway_url": sandbox.url, "helicone_api_url": sandbox.api_url}
    with GenOpsHeliconeAdapter(sandbox.api_key, **settings) as helicone:  # type: ignore[arg-type]
        response = helicone.chat("Hi", provider="openai")
        helicone.feedback(response, True)
        helicone.score(response, {"accuracy": 7}, timeout_seconds=5)
    assert sandbox.feedback == {response.request_id: True}
    assert sandbox.scores == {response.request_id: {"accuracy": 7}}


@pytest.fixture
def sandbox_thread() -> Any:
    """A Helicone beside synchronous code."""
    with SandboxGateway.in_thread(latency_scale=0) as running:
        yield running


@pytest.mark.parametrize(
    ("scores", "error", "says"),
    [
        ({"accuracy": 0.92}, TypeError, "takes no fractions: scale it"),
        ({"accuracy": float("nan")}, TypeError, "takes no fractions"),
        ({"accuracy": "high"}, TypeError, "integer or a boolean"),
        ({"accuracy": None}, TypeError, "integer or a boolean"),
        ({}, ConfigurationError, "is empty"),
        ({" ": 1}, ConfigurationError, "texts that are not empty"),
        ({"accuracy": 2**60}, ConfigurationError, "beyond"),
        ([("accuracy", 1)], TypeError, "mapping"),
    ],
)
async def test_a_score_that_helicone_would_not_take_is_refused(
    sandbox: SandboxGateway, scores: Any, error: type[Exception], says: str
) -> None:
    """Nothing is sent, and the message says what to give instead."""
    async with adapter(sandbox) as helicone:
        with pytest.raises(error, match=says):
            await helicone.score_async(ID, scores)
    assert sandbox.requests == ()


@pytest.mark.parametrize("rating", [1, 0, "good", None])
async def test_a_rating_is_true_or_false(sandbox: SandboxGateway, rating: Any) -> None:
    """Numbers and words are no ratings."""
    async with adapter(sandbox) as helicone:
        with pytest.raises(TypeError, match="`rating` must be True"):
            await helicone.feedback_async(ID, rating)
    assert sandbox.requests == ()


@pytest.mark.parametrize("bad", ["ticket-42", "", ID[:-1], f"{ID}/../x", f"{{{ID}}}"])
async def test_an_id_is_a_uuid(sandbox: SandboxGateway, bad: str) -> None:
    """Helicone knows calls by UUIDs: anything else is refused before it could become part of a URL."""
    async with adapter(sandbox) as helicone:
        with pytest.raises(ConfigurationError, match="no UUID"):
            await helicone.feedback_async(bad, True)
        with pytest.raises(TypeError, match="give a response or its request id"):
            await helicone.feedback_async(7, True)  # type: ignore[arg-type]
    assert sandbox.requests == ()


async def test_a_wrong_key_is_an_authentication_error(sandbox: SandboxGateway) -> None:
    """The API looks at the key, and whose it is is said; it is not tried again."""
    settings = {"gateway_url": sandbox.url, "helicone_api_url": sandbox.api_url}
    async with GenOpsHeliconeAsyncAdapter(KEY, **settings) as helicone:  # type: ignore[arg-type]
        with pytest.raises(AuthenticationError) as caught:
            await helicone.feedback_async(ID, True)
    assert (caught.value.which, caught.value.status_code, caught.value.request_id) == ("helicone", 401, ID)
    assert KEY not in str(caught.value)
    assert len(sandbox.requests) == 1


async def test_what_may_pass_is_tried_again(sandbox: SandboxGateway) -> None:
    """A broken gateway and a full one are tried again within the deadline: telling it twice is telling it once."""
    sandbox.faults.add(
        Fault(kind="gateway_status", status=503, times=1), Fault(kind="gateway_status", status=429, times=1)
    )
    async with adapter(sandbox) as helicone:
        await helicone.feedback_async(ID, True)
    assert sandbox.feedback == {ID: True}
    assert [seen.status for seen in sandbox.requests] == [503, 429, 201]


async def test_a_connection_that_broke_is_tried_again() -> None:
    """Also after the request went out: what was perhaps told is told once more."""

    async def handle(exchange: Exchange) -> None:
        if len(server.exchanges) == 1:
            exchange.close()
        else:
            await exchange.reply(201, b'{"data": null, "error": null}')

    async with LoopbackServer(handle) as server:
        given = {"gateway_url": server.url, "helicone_api_url": server.url}
        async with GenOpsHeliconeAsyncAdapter(KEY, **given) as helicone:  # type: ignore[arg-type]
            await helicone.feedback_async(ID, True)
    assert len(server.exchanges) == 2


async def test_an_envelope_with_an_error_is_the_last_word(sandbox: SandboxGateway) -> None:
    """What Helicone itself calls an error is not tried again, whatever status it has."""
    for status in (500, 200):
        body = {"data": None, "error": "Request not found"}
        sandbox.faults.add(Fault(kind="gateway_status", status=status, body=body, times=1))
        async with adapter(sandbox) as helicone:
            with pytest.raises(GatewayError, match="Request not found") as caught:
                await helicone.feedback_async(ID, True)
        assert (caught.value.status_code, caught.value.retry_safe) == (status, False)
    assert len(sandbox.requests) == 2


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [(429, b'{"error": "slow down"}', RateLimitExceededError), (200, b"<html>", DecodeError), (302, b"", GatewayError)],
)
async def test_answers_of_all_kinds_become_our_errors(status: int, body: bytes, error: type[Exception]) -> None:
    """A limit, a page that is no envelope, a redirect, which is not followed: each has its error."""

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(status, body, {"Location": "https://elsewhere.example/"})

    async with LoopbackServer(handle) as server:
        given = {"gateway_url": server.url, "helicone_api_url": server.url, "retry_attempts": 0}
        async with GenOpsHeliconeAsyncAdapter(KEY, **given) as helicone:  # type: ignore[arg-type]
            with pytest.raises(error) as caught:
                await helicone.score_async(ID, {"a": 1})
    assert caught.value.request_id == ID  # type: ignore[attr-defined]
    assert len(server.exchanges) == 1


async def test_the_deadline_holds() -> None:
    """An API that hangs is given up at the deadline given, and the connection is dropped."""
    left = asyncio.Event()

    async def hang(exchange: Exchange) -> None:
        await exchange.gone()
        left.set()

    async with LoopbackServer(hang) as server:
        given = {"gateway_url": server.url, "helicone_api_url": server.url}
        async with GenOpsHeliconeAsyncAdapter(KEY, **given) as helicone:  # type: ignore[arg-type]
            with pytest.raises(DeadlineExceededError):
                await helicone.feedback_async(ID, True, timeout_seconds=0.05)
        await left.wait()
    assert len(server.exchanges) == 1


async def test_a_gateway_of_ones_own_has_no_api_that_we_know_of(sandbox: SandboxGateway) -> None:
    """The call says which setting is missing, and the key goes nowhere."""
    async with GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as helicone:
        with pytest.raises(ConfigurationError, match="helicone_api_url=… or set HELICONE_API_URL"):
            await helicone.feedback_async(ID, True)
    assert sandbox.requests == ()


async def test_the_environment_tells_where_the_api_is(sandbox: SandboxGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """`HELICONE_API_URL` stands in for the argument."""
    monkeypatch.setenv("HELICONE_API_URL", sandbox.api_url)
    async with GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as helicone:
        await helicone.feedback_async(ID, True)
    assert sandbox.feedback == {ID: True}


@pytest.mark.parametrize(
    ("key", "gateway", "goes_to"),
    [
        (KEY, CLOUD, "https://api.helicone.ai"),
        (KEY, f"{CLOUD}/v1", "https://api.helicone.ai"),
        (EU_KEY, CLOUD, "https://eu.api.helicone.ai"),
        (KEY, "https://eu.ai-gateway.helicone.ai", "https://eu.api.helicone.ai"),
    ],
)
def test_helicones_cloud_has_its_api_where_the_key_is_from(key: str, gateway: str, goes_to: str) -> None:
    """An EU key, or an EU host, means the API of the EU."""
    assert api_target(Services(), Secret(key), gateway_url=gateway, dialect="auto").url == goes_to


@pytest.mark.parametrize("gateway", ["https://helicone.ai.evil.example", "https://evilhelicone.ai", "https://10.0.0.1"])
def test_the_key_goes_to_helicone_only(gateway: str) -> None:
    """A host that only looks like Helicone's gets no API call."""
    with pytest.raises(ConfigurationError, match="no host of Helicone's cloud"):
        api_target(Services(), Secret(KEY), gateway_url=gateway, dialect="helicone")


def test_the_api_is_not_asked_in_the_clear() -> None:
    """Plain http to another machine would show the key, and is refused when the adapter is made."""
    with pytest.raises(ConfigurationError, match="helicone_api_url` is plain http"):
        GenOpsHeliconeAsyncAdapter(KEY, helicone_api_url="http://jawn.example:8585")
    with pytest.raises(TypeError, match="helicone_api_url"):
        GenOpsHeliconeAsyncAdapter(KEY, helicone_api_url=7)  # type: ignore[arg-type]


async def test_a_call_that_passed_helicone_by_cannot_be_rated(sandbox: SandboxGateway) -> None:
    """Helicone knows nothing of it: the message says how to have it told; the endpoint's key stays where it is."""
    settings = {"gateway_url": sandbox.openai_url, "gateway_dialect": "openai", "helicone_api_url": sandbox.api_url}
    async with GenOpsHeliconeAsyncAdapter("endpoint-key", **settings) as helicone:  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="helicone_log=HeliconeLog"):
            await helicone.feedback_async(await helicone.chat_async("Hi", provider="openai"), True)
    log = HeliconeLog(api_key=sandbox.api_key, url=sandbox.log_url)
    async with GenOpsHeliconeAsyncAdapter("endpoint-key", **settings, helicone_log=log) as helicone:  # type: ignore[arg-type]
        response = await helicone.chat_async("Hi", provider="openai")
        await helicone.feedback_async(response, True)
    assert sandbox.feedback == {response.request_id: True}
    told = [seen for seen in sandbox.requests if seen.dialect == "rest_api"]
    assert [seen.headers["authorization"] for seen in told] == [f"Bearer {sandbox.api_key}"]


async def test_a_foreign_hosts_answer_cannot_be_rated(sandbox: SandboxGateway) -> None:
    """An entry of `provider_urls` that did not say it is a Helicone: neither is one asked about its calls."""

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(200, chat_body())

    async with LoopbackServer(handle) as server:
        given = {"provider_urls": {"openai": f"{server.url}/v1"}, "helicone_api_url": sandbox.api_url}
        async with GenOpsHeliconeAsyncAdapter(sandbox.api_key, **given) as helicone:  # type: ignore[arg-type]
            response = await helicone.chat_async("Hi", provider="openai")
            with pytest.raises(ConfigurationError, match="did not say that it passed Helicone"):
                await helicone.feedback_async(response, True)
    assert sandbox.requests == ()


async def test_without_a_key_there_is_no_feedback(sandbox: SandboxGateway) -> None:
    """Provider keys alone are no Helicone key."""
    given = {"provider_keys": {"openai": "sk-x"}, "helicone_api_url": sandbox.api_url}
    async with GenOpsHeliconeAsyncAdapter(**given) as helicone:  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="HELICONE_API_KEY"):
            await helicone.feedback_async(ID, True)
