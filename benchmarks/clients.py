"""The clients that are compared: a raw protocol, aiohttp bare and tuned, and this library with more or less on.

Each makes a call of a chat completion, and gives the text it got.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

MESSAGES = [
    {"role": "system", "content": "You are a careful assistant. Answer briefly. " * 4},
    {"role": "user", "content": "Explain how a token bucket works and where it is used. " * 4},
]
MODEL = "gpt-4o-mini/openai"
EXPECTED = "The quick brown fox. " * 30
PATH = "/v1/chat/completions"


class Client(NamedTuple):
    """One call, and the end of it all."""

    call: Callable[[], Awaitable[object]]
    close: Callable[[], Awaitable[object]]


def typed() -> tuple[Callable[[object], bytes], Callable[[bytes], Any]]:
    """msgspec's encoder, and its decoder to just what is looked at."""
    import msgspec

    message = msgspec.defstruct("Message", [("content", str)])
    choice = msgspec.defstruct("Choice", [("message", message)])
    reply_type = msgspec.defstruct("Reply", [("choices", list[choice])])  # type: ignore[valid-type]
    return msgspec.json.Encoder().encode, msgspec.json.Decoder(reply_type).decode


async def bare(port: int) -> Client:
    """What people write first: `session.post(json=…)` and `await resp.json()`."""
    import aiohttp

    session = aiohttp.ClientSession()
    url = f"http://127.0.0.1:{port}{PATH}"

    async def call() -> object:
        body = {"model": MODEL, "messages": MESSAGES}
        async with session.post(url, json=body, headers={"Authorization": "Bearer key"}) as reply:
            return (await reply.json())["choices"][0]["message"]["content"]

    return Client(call, session.close)


async def tuned(port: int) -> Client:
    """aiohttp as an expert uses it: encoded once with msgspec, decoded to a struct, no limit, no cookies."""
    import aiohttp

    encode, decode = typed()
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
    )
    url = f"http://127.0.0.1:{port}{PATH}"
    headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}

    async def call() -> object:
        body = encode({"model": MODEL, "messages": MESSAGES})
        reply = await session.post(url, data=body, headers=headers, allow_redirects=False)
        return decode(await reply.read()).choices[0].message.content

    return Client(call, session.close)


class RawConnection(asyncio.Protocol):
    """One request at a time, its reply's body by Content-Length; nothing of HTTP beyond that."""

    def __init__(self) -> None:
        self.transport: Any = None
        self._inbox = b""
        self._waiter: asyncio.Future[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        inbox = self._inbox = self._inbox + data if self._inbox else data
        end = inbox.find(b"\r\n\r\n")
        if end < 0:
            return
        at = inbox.find(b"Content-Length: ") + 16
        length = int(inbox[at : inbox.find(b"\r", at)])
        if len(inbox) >= end + 4 + length:
            self._inbox = b""
            self._waiter.set_result(inbox[end + 4 :])

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._waiter


async def raw(port: int) -> Client:
    """The floor: bytes written to an asyncio transport, and bytes read from it; encoded and decoded as `tuned` does."""
    encode, decode = typed()
    loop = asyncio.get_running_loop()
    idle: list[RawConnection] = []
    every: list[RawConnection] = []
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer key\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    ).encode()

    async def call() -> object:
        if idle:
            connection = idle.pop()
        else:
            _, connection = await loop.create_connection(RawConnection, "127.0.0.1", port)
            every.append(connection)
        body = encode({"model": MODEL, "messages": MESSAGES})
        reply = await connection.ask(head % len(body) + body)
        idle.append(connection)
        return decode(reply).choices[0].message.content

    async def close() -> None:
        for connection in every:
            connection.transport.close()
        await asyncio.sleep(0)

    return Client(call, close)


def telemetry_of(kind: str) -> dict[str, Any]:
    """OpenTelemetry's SDK as a program sets it up, with exporters that drop everything: what to give the adapter."""
    if kind == "off":
        return {}
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBasedTraceIdRatio

    class Dropped(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    sampler = ALWAYS_ON if kind == "spans" else ParentBasedTraceIdRatio(0.0)  # ALWAYS_OFF would not even be asked
    traces = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(Dropped()))
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False)
    return {"tracer_provider": traces, "meter_provider": meters}


def adapter(port: int, telemetry: str = "off", transport: str = "direct", **settings: Any) -> Any:
    """Our adapter, everything governed on unless telemetry is `off`: budgets, requests and tokens per minute, costs."""
    os.environ["GENOPS_TRANSPORT"] = transport
    from genops_helicone_async import GenOpsHeliconeAsyncAdapter

    settings.setdefault("gateway_url", f"http://127.0.0.1:{port}")
    made = GenOpsHeliconeAsyncAdapter("key", **telemetry_of(telemetry), **settings)
    if telemetry != "off":
        govern(made)
    return made


def govern(adapter: Any) -> None:
    """Budgets for everyone and the team, and limits of requests and tokens, none of which is ever reached."""
    adapter.set_budget_limits(daily_limit=1e6, monthly_limit=5e6, per_team_limits={"bench": 1e6})
    adapter.configure_rate_limits(requests_per_minute=1e9, burst_allowance=10**6, tokens_per_minute=1e9)


async def ours(port: int, telemetry: str = "off", transport: str = "direct") -> Client:
    """`chat_async`: `off` is what an adapter does by itself, `metrics` and `spans` all that can be switched on."""
    made = adapter(port, telemetry, transport)

    async def call() -> object:
        response = await made.chat_async(MESSAGES, provider="openai", model="gpt-4o-mini", team="bench")
        assert response.cost > 0
        return response.content

    return Client(call, made.aclose)


async def drive(call: Callable[[], Awaitable[object]], calls: int, concurrency: int) -> None:
    """Makes the calls, so many at once, and checks every reply."""
    left = calls

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            if await call() != EXPECTED:
                raise AssertionError("wrong reply")

    await asyncio.gather(*(worker() for _ in range(concurrency)))
