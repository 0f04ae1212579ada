"""Every scripted fault is seen by a plain HTTP client as the thing it is named after."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

MESSAGES = [{"role": "user", "content": "Say hello"}]


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    async with SandboxGateway(latency_scale=0) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


class Caller:
    """Sends one chat to a dialect of the sandbox."""

    def __init__(self, gateway: SandboxGateway, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.session = session

    def post(self, where: str = "openai", *, stream: bool = False, model: str = "gpt-4o-mini") -> Any:
        urls, keys = self.gateway.provider_urls, self.gateway.provider_keys
        body = {"model": model, "messages": MESSAGES, "stream": stream}
        headers = {"Authorization": f"Bearer {keys['openai']}"}
        url = f"{urls['openai']}/chat/completions"
        if where == "gateway":
            url = f"{self.gateway.url}/v1/chat/completions"
            headers = {"Authorization": f"Bearer {self.gateway.api_key}"}
            body["model"] = {"gpt-4o-mini": "gpt-4o-mini/openai"}.get(model, model)
        elif where == "anthropic":
            url = f"{urls['anthropic']}/messages"
            headers = {"x-api-key": keys["anthropic"]}
            body |= {"model": "claude-haiku-4-5", "max_tokens": 50}
        return self.session.post(url, json=body, headers=headers, allow_redirects=False)

    async def text(self, where: str = "openai", **how: Any) -> str:
        async with self.post(where, **how) as response:
            return str(await response.text())

    async def events(self, where: str = "openai", **how: Any) -> list[Any]:
        told = await self.text(where, stream=True, **how)
        lines = [line[6:] for line in told.splitlines() if line.startswith("data: ")]
        return [json.loads(line) if line.startswith("{") else line for line in lines]


@pytest.fixture
def caller(gateway: SandboxGateway, session: aiohttp.ClientSession) -> Caller:
    return Caller(gateway, session)


def deltas(events: list[Any]) -> list[str]:
    return [
        choice["delta"]["content"]
        for event in events
        if isinstance(event, dict)
        for choice in event.get("choices", ())
        if choice["delta"].get("content")
    ]


def finishes(events: list[Any]) -> list[str]:
    chunks = [event for event in events if isinstance(event, dict)]
    return [c["finish_reason"] for e in chunks for c in e.get("choices", ()) if c["finish_reason"]]


async def test_status_is_the_providers_own_error(gateway: SandboxGateway, caller: Caller) -> None:
    """A status fault answers in the provider's shape, with Retry-After in both forms."""
    gateway.faults.add(Fault(kind="status", status=429, retry_after=7, retry_after_ms=6500, times=1))
    async with caller.post() as response:
        assert response.status == 429
        assert response.headers["Retry-After"] == "7"
        assert response.headers["retry-after-ms"] == "6500"
        assert await response.json() == {
            "error": {
                "message": "Rate limit reached for requests.",
                "type": "rate_limit_error",
                "param": None,
                "code": "rate_limit_exceeded",
            }
        }
    async with caller.post() as response:
        assert response.status == 200


async def test_anthropic_words_errors_its_own_way(gateway: SandboxGateway, caller: Caller) -> None:
    """An overloaded Anthropic answers 529 with its own error type."""
    gateway.faults.add(Fault(kind="status", status=529, provider="anthropic"))
    async with caller.post("anthropic") as response:
        assert response.status == 529
        assert (await response.json())["error"] == {"type": "overloaded_error", "message": "Overloaded"}


async def test_retry_after_may_be_a_date(gateway: SandboxGateway, caller: Caller) -> None:
    """Retry-After comes as an HTTP date where the fault asks for one."""
    gateway.faults.add(Fault(kind="status", status=503, retry_after=3600, retry_after_date=True))
    async with caller.post() as response:
        at = parsedate_to_datetime(response.headers["Retry-After"])
    assert 3590 < (at - datetime.now(UTC)).total_seconds() < 3610


async def test_gateway_status_is_plain_text(gateway: SandboxGateway, caller: Caller) -> None:
    """A fault of the gateway itself is no provider's JSON, and no provider is asked."""
    gateway.faults.add(Fault(kind="gateway_status", status=502, body="upstream gone"))
    async with caller.post("gateway") as response:
        assert (response.status, await response.text()) == (502, "upstream gone")
        assert response.headers["Content-Type"] == "text/plain;charset=UTF-8"
        assert "Helicone-Id" not in response.headers
    assert gateway.requests[-1].provider is None


async def test_delay_still_answers(gateway: SandboxGateway, caller: Caller) -> None:
    """A delayed reply is whole."""
    gateway.faults.add(Fault(kind="delay", delay_s=0.001))
    async with caller.post() as response:
        assert (await response.json())["choices"][0]["finish_reason"] == "stop"
    assert gateway.statistics().faults_struck == 1


async def test_hang_never_answers(gateway: SandboxGateway, caller: Caller) -> None:
    """A hanging request stays in flight until its client gives up, and is noted as cancelled and unbilled."""
    gateway.faults.add(Fault(kind="hang"))
    asking = asyncio.ensure_future(caller.text())
    while not gateway.statistics().in_flight:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await gateway.idle()
    assert [(seen.cancelled, seen.status) for seen in gateway.requests] == [(True, 0)]
    assert gateway.statistics().cancelled == 1
    assert len(gateway.bill) == 0


async def test_closing_the_gateway_ends_a_hang(session: aiohttp.ClientSession) -> None:
    """A request that hangs is broken off when the sandbox closes."""
    async with SandboxGateway(latency_scale=0) as gateway:
        gateway.faults.add(Fault(kind="hang"))
        asking = asyncio.ensure_future(Caller(gateway, session).text())
        while not gateway.statistics().in_flight:
            await asyncio.sleep(0)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await asking


@pytest.mark.parametrize("where", ["openai", "gateway"])
async def test_reset_comes_before_any_byte(gateway: SandboxGateway, caller: Caller, where: str) -> None:
    """A reset connection is an operating-system error, and nothing is billed."""
    gateway.faults.add(Fault(kind="reset"))
    with pytest.raises(aiohttp.ClientOSError):
        await caller.text(where)
    assert len(gateway.bill) == 0
    assert [(seen.cancelled, seen.status) for seen in gateway.requests] == [(False, 0)]


@pytest.mark.parametrize("kind", ["reset_mid_body", "cut", "cut_mid_utf8"])
async def test_half_a_body_is_a_broken_body(gateway: SandboxGateway, caller: Caller, kind: Any) -> None:
    """A body that breaks off half way fails while it is read; the reply had been written, so it is billed."""
    gateway.faults.add(Fault(kind=kind))
    async with caller.post() as response:
        assert response.status == 200
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
            await response.read()
    assert [row.completed for row in gateway.bill.rows] == [False]
    assert gateway.bill.total_pusd > 0


async def test_a_character_can_break_in_the_middle(gateway: SandboxGateway, caller: Caller) -> None:
    """The stream ends inside a character of two bytes."""
    gateway.faults.add(Fault(kind="cut_mid_utf8", at_chunk=1))
    got = b""
    async with caller.post(stream=True) as response:
        with contextlib.suppress(aiohttp.ClientPayloadError, aiohttp.ClientOSError):
            while chunk := await response.content.readany():
                got += chunk
    assert got.endswith("é".encode()[:1])
    with pytest.raises(UnicodeDecodeError):
        got.decode()


async def test_a_cut_stream_ends_without_finish_reason(gateway: SandboxGateway, caller: Caller) -> None:
    """A stream cut at a chunk ends cleanly after it; only what came is billed."""
    gateway.faults.add(Fault(kind="cut", at_chunk=2))
    events = await caller.events()
    assert len(deltas(events)) == 2
    assert finishes(events) == []
    assert "[DONE]" not in events
    assert [(row.output_tokens, row.completed) for row in gateway.bill.rows] == [(2, False)]


async def test_the_gateway_closes_a_cut_stream_with_done(gateway: SandboxGateway, caller: Caller) -> None:
    """The AI Gateway adds `[DONE]` also to a stream that its provider cut."""
    gateway.faults.add(Fault(kind="cut", at_chunk=2))
    events = await caller.events("gateway")
    assert (len(deltas(events)), finishes(events), events[-1]) == (2, [], "[DONE]")


async def test_a_stream_can_reset_in_the_middle(gateway: SandboxGateway, caller: Caller) -> None:
    """A stream reset at a chunk fails while it is read; the tokens until then are billed."""
    gateway.faults.add(Fault(kind="reset_mid_body", at_chunk=3))
    async with caller.post(stream=True) as response:
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
            await response.read()
    assert [(row.output_tokens, row.completed) for row in gateway.bill.rows] == [(3, False)]


async def test_an_error_event_ends_the_stream(gateway: SandboxGateway, caller: Caller) -> None:
    """An error inside a stream of 200 is the last event; through the AI Gateway `[DONE]` follows it."""
    gateway.faults.add(Fault(kind="error_event", at_chunk=1, body="boom"))
    error = {"error": {"message": "boom", "type": "server_error", "param": None, "code": None}}
    assert (await caller.events())[-1] == error
    assert (await caller.events("gateway"))[-2:] == [error, "[DONE]"]


async def test_the_gateway_drops_claudes_error_event(gateway: SandboxGateway, caller: Caller) -> None:
    """Anthropic's own stream shows its error event; converted by the AI Gateway only the missing end tells."""
    gateway.faults.add(Fault(kind="error_event", at_chunk=1))
    assert "event: error\n" in await caller.text("anthropic", stream=True)
    events = await caller.events("gateway", model="claude-4.5-haiku/anthropic")
    assert (len(deltas(events)), finishes(events), events[-1]) == (1, [], "[DONE]")
    assert not any("error" in event for event in events)


async def test_error_events_spare_whole_replies(gateway: SandboxGateway, caller: Caller) -> None:
    """An error-event fault waits for a stream; a whole reply does not use it up."""
    gateway.faults.add(Fault(kind="error_event", times=1))
    async with caller.post() as response:
        assert response.status == 200
    assert "error" in (await caller.events())[-1]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_finish_reason_can_be_missing(gateway: SandboxGateway, caller: Caller, stream: bool) -> None:
    """A reply without finish reason has all its text and its usage."""
    gateway.faults.add(Fault(kind="no_finish_reason"))
    if stream:
        events = await caller.events("gateway")
        assert finishes(events) == []
        assert events[-2]["usage"]["completion_tokens"] == len(deltas(events))
    else:
        reply = json.loads(await caller.text("gateway"))
        assert reply["choices"][0]["finish_reason"] is None


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (None, (0, 0)),
        ({"completion_tokens": 9999}, (8, 9999)),
        ("missing", None),
    ],
)
async def test_usage_can_lie(gateway: SandboxGateway, caller: Caller, shown: Any, expected: Any) -> None:
    """Wrong usage changes what is told, never what is billed."""
    gateway.faults.add(Fault(kind="wrong_usage", body=shown))
    usage = json.loads(await caller.text()).get("usage")
    assert (usage and (usage["prompt_tokens"], usage["completion_tokens"])) == expected
    assert gateway.bill.rows[0].input_tokens == 8
    assert gateway.bill.rows[0].output_tokens not in (0, 9999)


async def test_the_gateway_invents_zeros_for_missing_usage(gateway: SandboxGateway, caller: Caller) -> None:
    """Where the provider sent no usage the AI Gateway shows zeros."""
    gateway.faults.add(Fault(kind="wrong_usage", body="missing"))
    usage = json.loads(await caller.text("gateway"))["usage"]
    assert usage == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "modality_tokens": {}}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_slow_drip_arrives_whole(gateway: SandboxGateway, caller: Caller, stream: bool) -> None:
    """A dripping reply comes in pieces and is complete at the end."""
    steady = await caller.text(stream=stream)
    gateway.faults.add(Fault(kind="slow_drip", delay_s=0.0001))
    dripped = await caller.text(stream=stream)
    assert len(dripped) == len(steady)
    assert [row.completed for row in gateway.bill.rows] == [True, True]


async def test_html_instead_of_json(gateway: SandboxGateway, caller: Caller) -> None:
    """An HTML error page carries its status and type, and bills nothing."""
    gateway.faults.add(Fault(kind="html", status=502))
    async with caller.post("gateway") as response:
        assert response.status == 502
        assert response.content_type == "text/html"
        assert "<html>" in await response.text()
    assert gateway.requests[-1].status == 502
    assert len(gateway.bill) == 0


async def test_not_json_at_a_proxy_host(gateway: SandboxGateway, caller: Caller) -> None:
    """A proxy host passes on a 200 whose body is no JSON."""
    gateway.faults.add(Fault(kind="not_json"))
    async with caller.post() as response:
        assert (response.status, await response.text()) == (200, "not json at all")


async def test_not_json_breaks_the_gateways_worker(gateway: SandboxGateway, caller: Caller) -> None:
    """The AI Gateway fails on a body that is no JSON with a bare 500 without a type."""
    gateway.faults.add(Fault(kind="not_json"))
    async with caller.post("gateway") as response:
        assert (response.status, await response.text()) == (500, "Internal Server Error")
        assert "Content-Type" not in response.headers


async def test_truncated_json_ends_cleanly(gateway: SandboxGateway, caller: Caller) -> None:
    """Half a document arrives as if it were whole."""
    gateway.faults.add(Fault(kind="truncated_json"))
    told = await caller.text()
    with pytest.raises(json.JSONDecodeError):
        json.loads(told)
    streamed = await caller.text(stream=True)
    assert not streamed.endswith("\n\n")


async def test_the_content_type_can_be_wrong(gateway: SandboxGateway, caller: Caller) -> None:
    """The reply is right and its type is not."""
    gateway.faults.add(Fault(kind="wrong_content_type", content_type="image/png"))
    async with caller.post() as response:
        assert response.content_type == "image/png"
        assert json.loads(await response.read())["object"] == "chat.completion"


@pytest.mark.parametrize("stream", [False, True])
async def test_endless_goes_on_until_the_client_leaves(gateway: SandboxGateway, caller: Caller, stream: bool) -> None:
    """A reply without end is cancelled by its reader; a stream is billed as far as it was written."""
    gateway.faults.add(Fault(kind="endless"))
    async with caller.post(stream=stream) as response:
        read = 0
        while read < 200_000:
            read += len(await response.content.readany())
        response.close()
    await gateway.idle()
    assert [seen.cancelled for seen in gateway.requests] == [True]
    assert [row.completed for row in gateway.bill.rows] == ([False] if stream else [])


async def test_a_redirect_is_offered(gateway: SandboxGateway, caller: Caller) -> None:
    """A redirect names another place, which a client with keys should not follow."""
    gateway.faults.add(Fault(kind="redirect", status=307, body="http://127.0.0.1:9/elsewhere"))
    async with caller.post() as response:
        assert (response.status, response.headers["Location"]) == (307, "http://127.0.0.1:9/elsewhere")


async def test_garbage_that_claims_to_be_gzip(gateway: SandboxGateway, caller: Caller) -> None:
    """A body that is no gzip, against its header, cannot be read."""
    gateway.faults.add(Fault(kind="gzip_garbage"))
    async with caller.post() as response:
        assert response.headers["Content-Encoding"] == "gzip"
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_faults_choose_their_calls(gateway: SandboxGateway, caller: Caller) -> None:
    """Provider, model, `after` and `times` say which calls are hit."""
    gateway.faults.add(
        Fault(kind="status", status=500, provider="anthropic"),
        Fault(kind="status", status=501, model="gpt-4o"),
        Fault(kind="status", status=503, provider="openai", after=1, times=2),
    )
    statuses = []
    for model in ["gpt-4o-mini"] * 5 + ["gpt-4o"]:
        async with caller.post(model=model) as response:
            statuses.append(response.status)
    assert statuses == [200, 503, 503, 200, 200, 501]


async def test_probability_is_drawn_from_the_seed(caller: Caller, gateway: SandboxGateway) -> None:
    """The same seed and script hit the same calls."""
    runs = []
    for _ in range(2):
        gateway.reset()
        gateway.faults.add(Fault(kind="status", status=503, probability=0.5))
        statuses = []
        for _ in range(20):
            async with caller.post() as response:
                statuses.append(response.status)
        runs.append(statuses)
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 503}


async def test_a_hidden_limit_shows_when_it_is_reached(gateway: SandboxGateway, caller: Caller) -> None:
    """Calls within the burst tell what is left; one beyond it is 429 with Retry-After."""
    gateway.faults.set_hidden_limit("openai", requests_per_minute=1, burst=2)
    seen = []
    for _ in range(3):
        async with caller.post() as response:
            seen.append((response.status, response.headers["x-ratelimit-remaining-requests"]))
    assert seen == [(200, "1"), (200, "0"), (429, "0")]
    assert 55 < int(response.headers["Retry-After"]) <= 60


async def test_anthropics_hidden_limit_has_its_own_headers(gateway: SandboxGateway, caller: Caller) -> None:
    """Anthropic names its limit headers differently."""
    gateway.faults.set_hidden_limit("anthropic", requests_per_minute=1)
    async with caller.post("anthropic") as response:
        assert response.headers["anthropic-ratelimit-requests-remaining"] == "0"
    async with caller.post("anthropic") as response:
        assert (response.status, (await response.json())["error"]["type"]) == (429, "rate_limit_error")


async def test_a_provider_goes_down_and_comes_up(gateway: SandboxGateway, caller: Caller) -> None:
    """A provider that is down answers 503 until it is up; others are not touched."""
    gateway.faults.down("openai")
    async with caller.post() as response:
        assert response.status == 503
    async with caller.post("anthropic") as response:
        assert response.status == 200
    gateway.faults.up("openai")
    async with caller.post() as response:
        assert response.status == 200


def test_an_unknown_kind_is_refused() -> None:
    """A misspelt fault is named at once, with what there is."""
    with pytest.raises(ValueError, match=r"unknown fault kind 'explode'; known: .*hang"):
        Fault(kind="explode")  # type: ignore[arg-type]


def test_a_probability_beyond_one_is_refused() -> None:
    """A probability lies between 0 and 1."""
    with pytest.raises(ValueError, match=r"between 0 and 1, not 1\.5"):
        Fault(kind="hang", probability=1.5)


@pytest.mark.parametrize("kind", ["down", "up", "set_hidden_limit", "add"])
def test_an_unknown_provider_is_refused(kind: str) -> None:
    """A misspelt provider is named at once; it would never be hit."""
    plan = SandboxGateway().faults
    act: dict[str, Any] = {
        "down": plan.down,
        "up": plan.up,
        "set_hidden_limit": lambda name: plan.set_hidden_limit(name, 60),
        "add": lambda name: plan.add(Fault(kind="hang", provider=name)),
    }
    with pytest.raises(ValueError, match="simulates no provider 'opnai'; it has anthropic, azure"):
        act[kind]("opnai")


def test_a_limit_of_nothing_is_refused() -> None:
    """A hidden limit lets something through."""
    with pytest.raises(ValueError, match="requests_per_minute above 0"):
        SandboxGateway().faults.set_hidden_limit("openai", 0)
