"""Calls that did not pass Helicone are told to its log: as they were, off their way, and nothing else is."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from genops_helicone_async import (
    ConfigurationError,
    GatewayOptions,
    GenOpsHeliconeAdapter,
    GenOpsHeliconeAsyncAdapter,
    HeliconeError,
    HeliconeLog,
    StreamInterruptedError,
)
from genops_helicone_async.testing import Fault, LoggedCall, SandboxGateway
from loopback import Exchange, LoopbackServer, chat_body

pytestmark = pytest.mark.anyio

KEY = "sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd"
ENDPOINT_KEY = "endpoint-secret"
CLAUDE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-3-5-haiku-latest",
    "stop_reason": "end_turn", "content": [{"type": "text", "text": "Hello"}],
    "usage": {"input_tokens": 5, "output_tokens": 1},
}  # fmt: skip


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxGateway]:
    """A Helicone that is told of calls, and an endpoint that has nothing to do with it."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


def adapter(sandbox: SandboxGateway, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter on an endpoint that is not Helicone's."""
    given: dict[str, Any] = {
        "gateway_url": sandbox.openai_url,
        "gateway_dialect": "openai",
        "helicone_log": HeliconeLog(api_key=sandbox.api_key, url=sandbox.log_url),
        "retry_attempts": 0,
        **settings,
    }
    return GenOpsHeliconeAsyncAdapter(ENDPOINT_KEY, **given)


def said(call: LoggedCall) -> str:
    """What a logged stream said."""
    events = [line.removeprefix("data: ") for line in (call.text or "").split("\n\n") if line.strip()]
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", []))


async def test_a_call_is_told_as_it_was(sandbox: SandboxGateway) -> None:
    """Its URL, request and reply word for word, who it was for, when, and under the id that the response has."""
    async with adapter(sandbox) as helicone:
        response = await helicone.chat_async("Hi", provider="openai", team="ml", session_id="s-1", user_id="ada")
    (logged,) = sandbox.logged
    asked = next(seen for seen in sandbox.requests if seen.dialect == "openai")
    assert (logged.request_id, logged.status) == (response.request_id, 200)
    assert logged.url == f"{sandbox.openai_url}/chat/completions"
    assert logged.request == json.loads(asked.body)
    assert (logged.response, logged.text) == (response.raw, None)
    assert logged.meta == {
        "helicone-request-id": response.request_id,
        "helicone-property-team": "ml",
        "helicone-session-id": "s-1",
        "helicone-session-path": "/",
        "helicone-session-name": "s-1",
        "helicone-user-id": "ada",
    }
    assert logged.started_s is not None
    assert logged.ended_s is not None
    assert logged.ended_s - logged.started_s == pytest.approx(response.attempts[0].duration_s, abs=0.002)


async def test_keys_stay_where_they_belong(sandbox: SandboxGateway) -> None:
    """The log gets the Helicone key and nothing of the endpoint's; the endpoint gets nothing of Helicone's."""
    async with adapter(sandbox) as helicone:
        await helicone.chat_async("Hi", provider="openai")
    endpoint, log = sandbox.requests
    assert (endpoint.dialect, log.dialect) == ("openai", "log")
    assert log.headers["authorization"] == f"Bearer {sandbox.api_key}"
    assert ENDPOINT_KEY not in log.body.decode() + str(dict(log.headers))
    assert sandbox.api_key not in endpoint.body.decode() + str(dict(endpoint.headers))


async def test_a_stream_is_told_as_a_stream(sandbox: SandboxGateway) -> None:
    """`json` is there and empty, the text is one chunk and the usage, and the first token's time is told."""
    async with adapter(sandbox) as helicone, helicone.stream_async("Hi", provider="openai") as stream:
        text = "".join([chunk.content async for chunk in stream])
    await helicone.aclose()
    (logged,) = sandbox.logged
    assert (logged.status, logged.response, said(logged)) == (200, {}, text)
    assert logged.request["stream"] is True
    assert logged.text is not None
    assert logged.text.endswith("data: [DONE]\n\n")
    usage = stream.response.usage
    told = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}
    assert json.loads(logged.text.split("\n\n")[1].removeprefix("data: "))["usage"].items() >= told.items()
    assert logged.first_token_ms is not None


async def test_a_stream_that_was_left_has_helicones_status(sandbox: SandboxGateway) -> None:
    """Status -3, with what had arrived."""
    sandbox.faults.add(Fault(kind="slow_drip", delay_s=0.5))
    async with adapter(sandbox) as helicone, helicone.stream_async("Hi", provider="openai") as stream:
        first = (await anext(stream)).content
    (logged,) = sandbox.logged
    assert logged.status == -3
    assert said(logged) == first
    assert "[DONE]" not in (logged.text or "")


async def test_a_cancelled_call_has_helicones_status() -> None:
    """Status -3 as well, without a reply."""
    arrived, logs = asyncio.Event(), []

    async def handle(exchange: Exchange) -> None:
        if exchange.path == "/log":
            logs.append(exchange.json)
            await exchange.reply(200, b"ok")
        else:
            arrived.set()
            await exchange.gone()

    async with LoopbackServer(handle) as server:
        given = {"gateway_url": server.url, "gateway_dialect": "openai"}
        log = HeliconeLog(api_key=KEY, url=f"{server.url}/log")
        async with GenOpsHeliconeAsyncAdapter(**given, helicone_log=log) as helicone:  # type: ignore[arg-type]
            call = asyncio.create_task(helicone.chat_async("Hi", provider="openai"))
            await arrived.wait()
            call.cancel()
            await asyncio.wait([call])
    (logged,) = logs
    assert logged["providerResponse"] == {"status": -3, "headers": {}, "json": {"error": {"message": "cancelled"}}}


async def test_failures_are_told_with_their_status(sandbox: SandboxGateway) -> None:
    """A provider's refusal keeps its status; what brought no answer has the one a gateway would have given."""
    sandbox.faults.add(Fault(kind="status", status=400, body="no such thing", times=1), Fault(kind="reset", times=1))
    async with adapter(sandbox) as helicone:
        for _ in range(2):
            with pytest.raises(HeliconeError):
                await helicone.chat_async("Hi", provider="openai")
    refused, broken = sandbox.logged
    assert (refused.status, broken.status) == (400, 502)
    assert "no such thing" in refused.response["error"]["message"]


async def test_a_broken_stream_keeps_what_came(sandbox: SandboxGateway) -> None:
    """Its status says that it failed, and its text is there."""
    sandbox.faults.add(Fault(kind="cut", at_chunk=2))
    async with adapter(sandbox) as helicone:
        with pytest.raises(StreamInterruptedError) as caught:
            async with helicone.stream_async("Hi", provider="openai") as stream:
                _ = [chunk async for chunk in stream]
    (logged,) = sandbox.logged
    assert (logged.status, said(logged)) == (502, caught.value.partial)


async def test_every_attempt_is_told(sandbox: SandboxGateway) -> None:
    """A call that was tried twice is two entries, each under its own id."""
    sandbox.faults.add(Fault(kind="status", status=503, times=1))
    async with adapter(sandbox, retry_attempts=1) as helicone:
        response = await helicone.chat_async("Hi", provider="openai")
    assert [(call.request_id, call.status) for call in sandbox.logged] == [
        (response.attempts[0].request_id, 503), (response.request_id, 200),
    ]  # fmt: skip


async def test_vectors_are_left_out(sandbox: SandboxGateway) -> None:
    """Embeddings are told with their texts and usage; their vectors would only be weight."""
    async with adapter(sandbox) as helicone:
        vectors = await helicone.embed_async(["one", "two"])
    (logged,) = sandbox.logged
    assert logged.request["input"] == ["one", "two"]
    assert (logged.response["data"], logged.response["usage"]["prompt_tokens"]) == ([], vectors.usage.input_tokens)


async def test_calls_through_helicone_are_not_told_twice(sandbox: SandboxGateway) -> None:
    """Not those through the AI Gateway, the Rust gateway, or a host whose replies say that it is a Helicone."""
    for settings in (
        {"gateway_url": sandbox.url, "gateway_dialect": "auto"},
        {"gateway_url": sandbox.rust_url, "gateway_dialect": "rust"},
        {"gateway_dialect": "auto", "gateway_url": None, "provider_urls": sandbox.provider_urls},
    ):
        given = {"helicone_log": HeliconeLog(api_key=sandbox.api_key, url=sandbox.log_url), **settings}
        async with GenOpsHeliconeAsyncAdapter(sandbox.api_key, sandbox.provider_keys, **given) as helicone:  # type: ignore[arg-type]
            await helicone.chat_async("Hi", provider="openai")
            async with helicone.stream_async("Hi", provider="openai") as stream:
                _ = [chunk async for chunk in stream]
    assert sandbox.logged == ()


async def test_a_foreign_host_is_told_of_in_its_own_shape() -> None:
    """An entry of `provider_urls` elsewhere: request and reply in Anthropic's shape, under the adapter's own key."""
    logs: list[Exchange] = []

    async def handle(exchange: Exchange) -> None:
        if exchange.path == "/log":
            logs.append(exchange)
        await exchange.reply(200, json.dumps(CLAUDE).encode())

    async with LoopbackServer(handle) as server:
        given = {
            "provider_urls": {"anthropic": f"{server.url}/v1"},
            "helicone_log": HeliconeLog(url=f"{server.url}/log"),
        }
        async with GenOpsHeliconeAsyncAdapter(KEY, {"anthropic": "sk-ant"}, **given) as helicone:  # type: ignore[arg-type]
            await helicone.chat_async("Hi", provider="anthropic", model="claude-3-5-haiku-latest")
    (logged,) = logs
    told: Any = logged.json
    assert logged.headers["authorization"] == f"Bearer {KEY}"
    assert told["providerRequest"]["url"] == f"{server.url}/v1/messages"
    assert told["providerRequest"]["json"]["messages"][0]["content"] == [{"type": "text", "text": "Hi"}]
    assert told["providerResponse"] == {"status": 200, "headers": {}, "json": CLAUDE}
    assert "sk-ant" not in logged.body.decode()


async def test_what_helicone_must_not_keep_is_not_told(sandbox: SandboxGateway) -> None:
    """`omit_request` and `omit_response` leave prompts and answers out, not only ask Helicone to."""
    options = GatewayOptions(omit_request=True, omit_response=True)
    async with adapter(sandbox, gateway_options=options) as helicone:
        await helicone.chat_async("my secret plan", provider="openai")
        async with helicone.stream_async("my secret plan", provider="openai") as stream:
            _ = [chunk async for chunk in stream]
    bodies = [seen.body.decode() for seen in sandbox.requests if seen.dialect == "log"]
    assert len(bodies) == 2
    for body, logged in zip(bodies, sandbox.logged, strict=True):
        assert "secret" not in body
        assert logged.request == {"model": "gpt-4o-mini"}
        assert sorted(logged.response) == ["model", "usage"]


async def test_a_dead_log_slows_nothing_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Calls end while the log hangs; what it did not take by the end is dropped, counted and said once."""

    async def handle(exchange: Exchange) -> None:
        if exchange.path == "/log":
            await exchange.gone()
        else:
            await exchange.reply(200, chat_body())

    async with LoopbackServer(handle) as server:
        given: dict[str, Any] = {"gateway_url": server.url, "gateway_dialect": "openai"}
        helicone = GenOpsHeliconeAsyncAdapter(**given, helicone_log=HeliconeLog(api_key=KEY, url=f"{server.url}/log"))
        courier = helicone._parts.side.log_courier
        assert courier is not None
        courier._engine._flush_s = 0.05
        for number in range(20):
            await helicone.chat_async(f"Hi {number}", provider="openai")
        told = helicone.statistics().helicone_log
        assert told is not None
        assert (told.waiting, told.logged) == (20, 0)
        with caplog.at_level(logging.WARNING):
            await helicone.aclose()
    assert (courier.statistics().waiting, courier.statistics().dropped) == (0, 20)
    messages = [record.getMessage() for record in caplog.records if record.name.endswith("helicone_log")]
    assert messages == [
        "a call is not in Helicone's log, 20 so far; said once: 20 were not told before the adapter was closed"
    ]


def test_the_synchronous_adapter_tells_as_well() -> None:
    """Closing it waits until Helicone has been told."""
    with SandboxGateway.in_thread(latency_scale=0) as sandbox:
        log = HeliconeLog(api_key=sandbox.api_key, url=sandbox.log_url)
        settings: dict[str, Any] = {"gateway_url": sandbox.openai_url, "gateway_dialect": "openai"}
        with GenOpsHeliconeAdapter(ENDPOINT_KEY, **settings, helicone_log=log) as helicone:
            response = helicone.chat("Hi", provider="openai")
        assert [call.request_id for call in sandbox.logged] == [response.request_id]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"compliance_mode": True, "gateway_url": "https://gateway.example"}, "compliance_mode"),
        ({"gateway_dialect": "openai", "gateway_url": "https://llm.example/v1"}, "the endpoint's"),
        ({"helicone_api_key": None, "provider_keys": {"openai": "sk-x"}}, "there is no `helicone_api_key`"),
        ({"helicone_log": HeliconeLog(url="http://worker.example/custom/v1/log")}, "plain http"),
        ({"helicone_log": HeliconeLog(api_key=" ")}, "helicone_log.api_key"),
        ({"data_residency": "EU"}, "Helicone keeps the data"),
        (
            {"data_residency": "EU", "helicone_log": HeliconeLog(url="https://worker.example/log")},
            "not known that it is",
        ),
    ],
)
def test_a_log_that_must_not_be_is_refused(settings: dict[str, Any], says: str) -> None:
    """When the adapter is made, with the reason; under compliance nothing is told at all."""
    given = {"helicone_api_key": KEY, "helicone_log": HeliconeLog(), **settings}
    with pytest.raises(ConfigurationError, match=says):
        GenOpsHeliconeAsyncAdapter(**given)


def test_an_eu_key_may_tell_under_eu_residency() -> None:
    """Helicone keeps what an EU key tells in the EU; a host that is vouched for is fine, too."""
    eu_key = "sk-helicone-eu-aaaaaaa-bbbbbbb-ccccccc-ddddddd"
    GenOpsHeliconeAsyncAdapter(eu_key, data_residency="EU", helicone_log=HeliconeLog())
    own = {"region": "EU", "hosts": ["worker.example"]}
    GenOpsHeliconeAsyncAdapter(KEY, data_residency=own, helicone_log=HeliconeLog(url="https://worker.example/log"))


def test_the_key_does_not_show() -> None:
    """Neither in the setting nor in what was made of it."""
    log = HeliconeLog(api_key=KEY)
    made = GenOpsHeliconeAsyncAdapter(KEY, helicone_log=log)
    courier = made._parts.side.log_courier
    assert KEY not in f"{log!r} {log} {made!r} {made._settings.services!r} {courier!r}"
    with pytest.raises(TypeError, match="must be a HeliconeLog"):
        GenOpsHeliconeAsyncAdapter(KEY, helicone_log=True)  # type: ignore[arg-type]
