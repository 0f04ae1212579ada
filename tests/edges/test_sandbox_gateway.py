"""The sandbox as a whole: life cycle, concurrency, notes, counters and the control interface."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

import genops_helicone_async.testing as testing
from genops_helicone_async.testing import DEFAULT_KEY, Fault, SandboxGateway, serve_forever

pytestmark = pytest.mark.anyio

BODY = {"model": "gpt-4o-mini/openai", "messages": [{"role": "user", "content": "Say hello"}]}


async def ask(session: aiohttp.ClientSession, gateway: SandboxGateway, **body: Any) -> int:
    headers = {"Authorization": f"Bearer {gateway.api_key}"}
    url = f"{gateway.url}/v1/chat/completions"
    async with session.post(url, json={**BODY, **body}, headers=headers) as response:
        await response.read()
        return response.status


async def test_a_thousand_calls_at_once() -> None:
    """A thousand concurrent calls are all answered, noted and billed, and add up."""
    connector = aiohttp.TCPConnector(limit=0)
    async with SandboxGateway(latency_scale=0) as gateway, aiohttp.ClientSession(connector=connector) as session:
        statuses = await asyncio.gather(*(ask(session, gateway, max_tokens=4) for _ in range(1000)))
        assert statuses == [200] * 1000
        assert gateway.bill.total_pusd == 1000 * 3_600_000
        counted = gateway.statistics()
        assert (counted.calls, counted.in_flight, counted.by_provider) == (1000, 0, {"openai": 1000})
        assert len({row.request_id for row in gateway.bill.rows}) == 1000


async def test_calls_are_held_in_flight_together() -> None:
    """Hanging calls pile up and are counted; clearing away their clients empties the sandbox."""
    connector = aiohttp.TCPConnector(limit=0)
    async with SandboxGateway(latency_scale=0) as gateway, aiohttp.ClientSession(connector=connector) as session:
        gateway.faults.add(Fault(kind="hang"))
        asking = [asyncio.ensure_future(ask(session, gateway)) for _ in range(300)]
        while gateway.statistics().in_flight < 300:
            await asyncio.sleep(0)
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await gateway.idle()
        counted = gateway.statistics()
        assert (counted.in_flight, counted.max_in_flight, counted.cancelled) == (0, 300, 300)


async def test_a_request_is_noted_as_it_came() -> None:
    """The note holds headers in lower case, the raw body, dialect, provider and status; its repr hides keys."""
    async with SandboxGateway(latency_scale=0) as gateway, aiohttp.ClientSession() as session:
        await ask(session, gateway)
        (seen,) = gateway.requests
        assert (seen.provider, seen.model, seen.dialect) == ("openai", "gpt-4o-mini/openai", "ai_gateway")
        assert (seen.path, seen.status, seen.cancelled) == ("/v1/chat/completions", 200, False)
        assert seen.headers["authorization"] == f"Bearer {DEFAULT_KEY}"
        assert json.loads(seen.body) == BODY
        assert DEFAULT_KEY not in repr(seen)


@pytest.mark.parametrize(("keep", "kept"), [(False, 0), (2, 2), (True, 3)])
async def test_notes_are_capped(keep: bool | int, kept: int) -> None:
    """Only the newest requests are kept, or none."""
    async with SandboxGateway(latency_scale=0, keep_requests=keep) as gateway, aiohttp.ClientSession() as session:
        for number in range(3):
            await ask(session, gateway, user=f"u{number}")
        assert [json.loads(seen.body)["user"] for seen in gateway.requests] == [f"u{n}" for n in range(3 - kept, 3)]
        assert gateway.statistics().calls == 3


async def test_reset_forgets_everything() -> None:
    """After a reset the sandbox is as new."""
    async with (
        SandboxGateway(latency_scale=0, byok=False, credits_usd=1) as gateway,
        aiohttp.ClientSession() as session,
    ):
        gateway.faults.add(Fault(kind="status", provider="anthropic"))
        gateway.faults.down("groq")
        await ask(session, gateway)
        gateway.reset()
        assert (gateway.requests, len(gateway.bill), gateway.bill.total_pusd, len(gateway.faults)) == ((), 0, 0, 0)
        assert gateway.statistics().calls == 0
        assert repr(gateway) == f"<SandboxGateway {gateway.url} 0 calls, 0 in flight, 0 faults, billed $0.000000>"


async def test_closing_twice_is_harmless() -> None:
    """A closed sandbox can be closed again, and its port is free for the next."""
    gateway = await SandboxGateway(latency_scale=0).start()
    port = int(gateway.url.rpartition(":")[2])
    await gateway.close()
    await gateway.close()
    async with SandboxGateway(latency_scale=0, port=port) as second:
        assert second.url == gateway.url


async def test_closing_ends_open_connections() -> None:
    """Idle connections are closed with the sandbox, and none is left."""
    async with aiohttp.ClientSession() as session:
        async with SandboxGateway(latency_scale=0) as gateway:
            await ask(session, gateway)
            assert gateway.statistics().connections == 1
        assert gateway.statistics().connections == 0
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask(session, gateway)


async def test_serve_forever_ends_with_its_task() -> None:
    """Cancelling closes the sandbox."""
    gateway = SandboxGateway(latency_scale=0)
    serving = asyncio.ensure_future(serve_forever(gateway))
    async with aiohttp.ClientSession() as session:
        while gateway.url.endswith(":0"):
            await asyncio.sleep(0)
        assert await ask(session, gateway) == 200
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask(session, gateway)


def test_a_thread_serves_sync_code() -> None:
    """Beside sync code the sandbox runs on its own loop; bill and faults are at hand."""

    async def talk(gateway: SandboxGateway) -> int:
        async with aiohttp.ClientSession() as session:
            return await ask(session, gateway, max_tokens=4)

    with SandboxGateway.in_thread(latency_scale=0) as gateway:
        assert asyncio.run(talk(gateway)) == 200
        assert gateway.bill.total_pusd == 3_600_000


async def test_a_key_given_is_known_whatever_its_shape() -> None:
    """The placeholder keys of examples are accepted where the sandbox is told of them."""
    async with (
        SandboxGateway(latency_scale=0, api_keys=("your_helicone_key",)) as gateway,
        aiohttp.ClientSession() as session,
    ):
        headers = {"Authorization": "Bearer your_helicone_key"}
        body = {"model": "gpt-4o-mini/openai", "messages": [{"role": "user", "content": "hi"}]}
        async with session.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers) as reply:
            assert reply.status == 200


def test_settings_that_make_no_sense_are_refused() -> None:
    """Time does not run backwards, and keys belong to providers that exist."""
    with pytest.raises(ValueError, match="latency_scale must be 0 or more, not -1"):
        SandboxGateway(latency_scale=-1)
    with pytest.raises(ValueError, match="simulates no provider 'nobody'"):
        SandboxGateway(provider_keys={"nobody": "k"})
    with pytest.raises(ValueError, match="simulates no provider 'nobody'"):
        SandboxGateway(byok=("nobody",))


async def test_latency_has_a_scale() -> None:
    """The waiting time of the same call grows with `latency_scale`."""
    waited = []
    for scale in (0.0, 0.05):
        async with SandboxGateway(latency_scale=scale) as gateway, aiohttp.ClientSession() as session:
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await ask(session, gateway, max_tokens=1)
            waited.append(loop.time() - began_s)
    # The median to the first token is 0.45 s for OpenAI; 0.05 of the least likely draw is over 5 ms.
    assert waited[1] > 0.005


class Control:
    """Speaks to the control interface."""

    def __init__(self, gateway: SandboxGateway, session: aiohttp.ClientSession) -> None:
        self._base = f"{gateway.url}/__sandbox__/"
        self._session = session

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self._session.request(method, self._base + path, json=body) as response:
            return response.status, json.loads(await response.text())


async def test_the_bill_can_be_read_from_outside() -> None:
    """The control interface shows totals, and rows on request; reading is no call of its own."""
    async with SandboxGateway(latency_scale=0) as gateway, aiohttp.ClientSession() as session:
        control = Control(gateway, session)
        await ask(session, gateway, max_tokens=4)
        _, bill = await control("GET", "bill?rows=1")
        assert (bill["total_pusd"], bill["replies"], bill["by_provider"]) == (3_600_000, 1, {"openai": 3_600_000})
        assert bill["rows"][0]["output_tokens"] == 4
        _, counted = await control("GET", "statistics")
        assert (counted["calls"], counted["by_status"]) == (1, {"200": 1})


async def test_requests_are_shown_without_secrets() -> None:
    """Keys are hidden from the control interface, bodies shown only on request."""
    async with SandboxGateway(latency_scale=0) as gateway, aiohttp.ClientSession() as session:
        control = Control(gateway, session)
        await ask(session, gateway)
        _, (seen,) = await control("GET", "requests?last=1")
        assert (seen["headers"]["authorization"], seen["body"]) == ("…", len(json.dumps(BODY)))
        _, (seen,) = await control("GET", "requests?bodies=1")
        assert json.loads(seen["body"]) == BODY


async def test_faults_can_be_scripted_from_outside() -> None:
    """Faults, outages and limits are set and cleared over HTTP."""
    async with SandboxGateway(latency_scale=0) as gateway, aiohttp.ClientSession() as session:
        control = Control(gateway, session)
        await control("POST", "faults", [{"kind": "status", "status": 500, "provider": "openai", "times": 1}])
        assert (await control("GET", "faults"))[1][0]["kind"] == "status"
        assert await ask(session, gateway) == 500
        assert await ask(session, gateway) == 200
        await control("POST", "down", {"provider": "openai"})
        assert await ask(session, gateway) == 500
        await control("POST", "up", {"provider": "openai"})
        await control("POST", "limits", {"provider": "openai", "requests_per_minute": 1})
        assert [await ask(session, gateway) for _ in range(2)] == [200, 429]
        await control("DELETE", "faults")
        assert await ask(session, gateway) == 200
        assert (await control("POST", "reset"))[1] == {"ok": True}
        assert gateway.statistics().calls == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", {"kind": "explode"}),
        ("faults", {"kind": "hang", "probability": 2}),
        ("faults", {"kind": "hang", "retryafter": 2}),
        ("down", {"provider": "opnai"}),
        ("down", {"provider": "openai", "form": 1}),
        ("limits", {"provider": "openai"}),
    ],
)
async def test_a_bad_order_says_what_is_wrong(path: str, body: Any) -> None:
    """The control interface answers a bad order with 400 and the reason."""
    async with SandboxGateway(latency_scale=0) as gateway, aiohttp.ClientSession() as session:
        status, told = await Control(gateway, session)("POST", path, body)
        assert status == 400
        assert told["error"]


async def test_the_index_says_where_everything_is() -> None:
    """The control interface's root lists the dialects' addresses."""
    async with SandboxGateway(latency_scale=0) as gateway, aiohttp.ClientSession() as session:
        _, index = await Control(gateway, session)("GET", "")
        assert index["openai_url"] == gateway.openai_url
        assert index["provider_urls"] == gateway.provider_urls
        assert index["api_key"] == gateway.api_key


def test_the_surface_is_lazy_sorted_and_whole() -> None:
    """Every public name can be had, in order, and an unknown one cannot."""
    assert testing.__all__ == sorted(testing.__all__, key=lambda name: (not name.isupper(), name))
    assert all(getattr(testing, name) is not None for name in testing.__all__)
    assert dir(testing) == sorted(testing.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = testing.nothing_like_it
