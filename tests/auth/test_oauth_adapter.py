"""OAuth as an adapter's user meets it: a real token endpoint, a real gateway, real connections."""

import asyncio
import logging
import pickle
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from token_server import CLIENT_ID, CLIENT_SECRET, TokenServer, bearers

from genops_helicone_async import (
    AuthenticationError,
    DeadlineExceededError,
    GatewayError,
    GenOpsHeliconeAdapter,
    GenOpsHeliconeAsyncAdapter,
)
from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that takes the server's tokens and no key."""
    async with SandboxGateway(latency_scale=0, api_keys=()) as running:
        yield running


@pytest.fixture
async def server(gateway: SandboxGateway) -> AsyncIterator[TokenServer]:
    """The token endpoint whose tokens the gateway takes."""
    async with TokenServer(gateway) as running:
        yield running


@pytest.fixture
async def adapter(gateway: SandboxGateway, server: TokenServer) -> AsyncIterator[GenOpsHeliconeAsyncAdapter]:
    """An adapter for both."""
    async with adapter_for(gateway, server) as made:
        yield made


def adapter_for(gateway: SandboxGateway, server: TokenServer, **more: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter that authenticates by OAuth."""
    settings = {"gateway_url": gateway.url, "auth_mode": "oauth2", "oauth_config": server.config(), **more}
    return GenOpsHeliconeAsyncAdapter(**settings)


async def test_a_hundred_first_calls_make_one_token_request(
    adapter: GenOpsHeliconeAsyncAdapter, gateway: SandboxGateway, server: TokenServer
) -> None:
    """All wait for the one token, and all go out with it."""
    await asyncio.gather(*(adapter.chat_async("Hi", provider="openai") for _ in range(100)))
    assert len(server.asked) == 1
    assert bearers(gateway) == ["token-1"] * 100
    told = adapter.statistics().tokens["oauth2"]
    assert (told.fetches, told.failures, told.refusals) == (1, 0, 0)


async def test_the_token_takes_the_place_of_the_helicone_key(gateway: SandboxGateway, server: TokenServer) -> None:
    """The key is sent nowhere, to neither the gateway nor the token endpoint."""
    async with adapter_for(gateway, server, helicone_api_key="sk-helicone-not-to-be-seen") as adapter:
        await adapter.chat_async("Hi", provider="openai")
    sent = [str(dict(seen.headers)) for seen in gateway.requests] + [str(form) for form in server.asked]
    assert [text for text in sent if "not-to-be-seen" in text] == []


async def test_streams_checks_and_chats_all_carry_the_token(
    adapter: GenOpsHeliconeAsyncAdapter, gateway: SandboxGateway, server: TokenServer
) -> None:
    """Every way to the gateway has the bearer, and one token does for all."""
    async with adapter.stream_async("Hi", provider="openai") as stream:
        assert "".join([chunk.content async for chunk in stream]) == stream.response.content
    checks = await adapter.validate_providers_async()
    await adapter.chat_async("Hi", provider="groq")
    assert {name: check.ok for name, check in checks.items()} == {"openai": True, "anthropic": True, "groq": True}
    assert (set(bearers(gateway)), len(server.asked)) == ({"token-1"}, 1)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_revoked_token_is_replaced_and_the_call_sent_once_more(
    adapter: GenOpsHeliconeAsyncAdapter, gateway: SandboxGateway, server: TokenServer, streamed: bool
) -> None:
    """The caller notices nothing; nothing is billed twice; the token is not frozen in remembered headers."""
    await adapter.chat_async("Hi", provider="openai")
    gateway.revoke("token-1")
    if streamed:
        async with adapter.stream_async("Hi", provider="openai") as stream:
            async for _ in stream:
                pass
        response = stream.response
    else:
        response = await adapter.chat_async("Hi", provider="openai")
    assert bearers(gateway) == ["token-1", "token-1", "token-2"]
    assert adapter.statistics().http.in_flight == 0
    assert (len(response.attempts), len(gateway.bill.rows), len(server.asked)) == (1, 2, 2)
    assert adapter.get_usage_summary().total_cost == pytest.approx(gateway.bill.total_usd, abs=1e-12)


async def test_many_calls_with_a_revoked_token_fetch_one_new_one(
    adapter: GenOpsHeliconeAsyncAdapter, gateway: SandboxGateway, server: TokenServer
) -> None:
    """Fifty refusals at once are one refusal of one token."""
    await adapter.chat_async("Hi", provider="openai")
    gateway.revoke("token-1")
    await asyncio.gather(*(adapter.chat_async("Hi", provider="openai") for _ in range(50)))
    assert len(server.asked) == 2
    assert bearers(gateway).count("token-2") == 50


async def test_a_token_revoked_again_and_again_is_replaced_each_time(
    adapter: GenOpsHeliconeAsyncAdapter, gateway: SandboxGateway, server: TokenServer
) -> None:
    """Each call succeeds: a fresh token that has served once is no reason to give up."""
    for number in range(1, 6):
        await adapter.chat_async("Hi", provider="openai")
        gateway.revoke(f"token-{number}")
    assert len(server.asked) == 5


async def test_a_fresh_token_that_is_refused_too_ends_the_call(
    adapter: GenOpsHeliconeAsyncAdapter, gateway: SandboxGateway, server: TokenServer
) -> None:
    """Exactly one repeat, then `AuthenticationError`; the next calls do not storm the token endpoint."""
    server.gateway = None
    for _ in range(3):
        with pytest.raises(AuthenticationError, match=r"refused the OAuth token: ") as caught:
            await adapter.chat_async("Hi")
        assert (caught.value.which, caught.value.http_status, caught.value.billed) == ("helicone", 401, "no")
        assert len(caught.value.attempts) == 1
    assert bearers(gateway) == ["token-1", "token-2", "token-2", "token-2"]
    assert len(server.asked) == 2


async def test_a_provider_without_its_key_at_the_gateway_is_failed_over(
    gateway: SandboxGateway, server: TokenServer
) -> None:
    """A 401 that the gateway passes on from a provider leaves the other providers."""
    from genops_helicone_async.testing import Fault

    gateway.faults.add(Fault(kind="status", provider="openai", status=401))
    async with adapter_for(gateway, server) as adapter:
        response = await adapter.chat_async("Hi", providers=["openai", "groq"])
    assert response.provider == "groq"


async def test_a_slow_token_endpoint_is_within_the_deadline(
    adapter: GenOpsHeliconeAsyncAdapter, gateway: SandboxGateway, server: TokenServer
) -> None:
    """The call ends on time and nothing has been sent to the gateway; the token that comes late serves the next."""
    server.hold.clear()
    with pytest.raises(
        DeadlineExceededError, match=r"no token came from http://127\.0\.0\.1:\d+/oauth/token"
    ) as caught:
        await adapter.chat_async("Hi", provider="openai", timeout_seconds=0.05)
    assert (caught.value.billed, gateway.requests) == ("no", ())
    server.hold.set()
    await adapter.chat_async("Hi", provider="openai")
    assert len(server.asked) == 1


async def test_a_cancelled_call_leaves_the_token_to_the_others(
    adapter: GenOpsHeliconeAsyncAdapter, server: TokenServer
) -> None:
    """The first caller, who began the fetch, is cancelled; the second gets the token it brought."""
    server.hold.clear()
    first = asyncio.ensure_future(adapter.chat_async("Hi", provider="openai"))
    await server.until_asked(1)
    second = asyncio.ensure_future(adapter.chat_async("Hi", provider="openai"))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.hold.set()
    assert (await second).provider == "openai"
    assert len(server.asked) == 1


async def test_closing_while_a_token_is_fetched_leaves_nothing_behind(
    gateway: SandboxGateway, server: TokenServer
) -> None:
    """The call ends with an error, and no task survives (which every test checks)."""
    adapter = adapter_for(gateway, server, retry_attempts=0)
    server.hold.clear()
    call = asyncio.ensure_future(adapter.chat_async("Hi", provider="openai"))
    await server.until_asked(1)
    await adapter.aclose()
    with pytest.raises(AuthenticationError, match="the adapter is closed"):
        await call


def refusing(status: int, **document: object) -> web.Response:
    """A refusal in RFC 6749's form."""
    return web.json_response(document, status=status)


@pytest.mark.parametrize(
    "answer, told",
    [
        (refusing(401, error="invalid_client"), r"it answered 401 \(invalid_client\)"),
        (
            refusing(400, error="invalid_scope", error_description="no such scope"),
            r"it answered 400 \(invalid_scope: no such scope\)",
        ),
        (web.Response(status=404, text="<html>nope"), "it answered 404"),
        (web.Response(status=302, headers={"Location": "https://login.test"}), "it answered 302"),
        (web.Response(text="<html>sign in here"), "its answer has no access_token"),
        (web.json_response([]), "its answer has no access_token"),
        (web.json_response({"access_token": None}), "its answer has no access_token"),
        (web.json_response({"access_token": 7}), "its answer has no access_token"),
        (web.json_response({"access_token": "two\nlines"}), "its answer has no access_token"),
        (web.json_response({"access_token": "x", "token_type": "mac"}), "its token is of the type 'mac', not Bearer"),
        (web.json_response({"access_token": "x", "expires_in": 0}), "the one it gave has expired already"),
        (web.json_response({"access_token": "x", "expires_in": -5}), "the one it gave has expired already"),
    ],
)
async def test_what_is_no_token_is_an_error_that_names_the_endpoint(
    gateway: SandboxGateway, server: TokenServer, answer: web.Response, told: str
) -> None:
    """`AuthenticationError` with the endpoint and without the secret; nothing reaches the gateway."""
    body, headers = answer.body, answer.headers

    def again(_: int) -> web.Response:
        return web.Response(status=answer.status, body=body, headers=headers)

    server.answer = again
    async with adapter_for(gateway, server) as adapter:
        with pytest.raises(AuthenticationError, match=rf"^no token from {server.url}: {told}") as caught:
            await adapter.chat_async("Hi")
    assert (caught.value.which, caught.value.billed, caught.value.retry_safe) == ("helicone", "no", False)
    assert gateway.requests == ()


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_token_endpoint_that_stumbles_is_asked_again(
    adapter: GenOpsHeliconeAsyncAdapter, server: TokenServer, status: int
) -> None:
    """Its hiccup is retried as a provider's is, by the call's own retries."""
    server.answer = lambda number: web.Response(status=status) if number == 1 else None
    response = await adapter.chat_async("Hi", provider="openai")
    assert [attempt.error for attempt in response.attempts] == ["AuthenticationError", None]


async def test_a_token_endpoint_that_is_not_there(gateway: SandboxGateway, server: TokenServer) -> None:
    """The endpoint is named, the cause is not lost, and it is tried again as often as the call may."""
    config = server.config(token_url="http://127.0.0.1:1/token")
    told = r"^no token from http://127\.0\.0\.1:1/token: no connection to"
    async with adapter_for(gateway, server, oauth_config=config, retry_attempts=1) as adapter:
        with pytest.raises(AuthenticationError, match=told) as caught:
            await adapter.chat_async("Hi", provider="openai")
    assert (len(caught.value.attempts), isinstance(caught.value.__cause__, GatewayError)) == (2, True)


async def test_a_call_cancelled_between_two_tokens_is_not_billed(
    adapter: GenOpsHeliconeAsyncAdapter, gateway: SandboxGateway, server: TokenServer
) -> None:
    """What was refused has cost nothing, so that giving up while the next token is fetched costs nothing either."""
    await adapter.chat_async("Hi", provider="openai")
    before = adapter.get_usage_summary().total_cost
    gateway.revoke("token-1")
    server.hold.clear()
    call = asyncio.ensure_future(adapter.chat_async("Hi", provider="openai"))
    await server.until_asked(2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    server.hold.set()
    assert adapter.get_usage_summary().total_cost == before


async def test_a_server_that_wants_the_client_in_the_form_gets_it_there(
    gateway: SandboxGateway, server: TokenServer
) -> None:
    """The header is refused once, the form is taken, and later tokens are asked for by the form at once."""
    server.answer = lambda number: refusing(401, error="invalid_client") if number == 1 else None
    async with adapter_for(gateway, server) as adapter:
        await adapter.chat_async("Hi", provider="openai")
        gateway.revoke("token-2")
        await adapter.chat_async("Hi", provider="openai")
    assert ["client_secret" in form for form in server.asked] == [False, True, True]
    assert [bool(form["Authorization"]) for form in server.asked] == [True, False, False]
    assert server.asked[1]["client_id"] == CLIENT_ID


async def test_scopes_and_audience_reach_the_server(gateway: SandboxGateway, server: TokenServer) -> None:
    """What `oauth_config` has besides the client goes into the form."""
    config = server.config(scopes=["llm.read", "llm.write"], audience="https://llm.test", extra={"tenant": "t1"})
    async with adapter_for(gateway, server, oauth_config=config) as adapter:
        await adapter.chat_async("Hi", provider="openai")
    (form,) = server.asked
    assert {name: text for name, text in form.items() if name != "Authorization"} == {
        "grant_type": "client_credentials",
        "scope": "llm.read llm.write",
        "audience": "https://llm.test",
        "tenant": "t1",
    }


@pytest.mark.parametrize("expires_in", [None, "3600", 3600.5, "soon", True, 1e300])
async def test_lifetimes_are_read_with_good_will(
    gateway: SandboxGateway, server: TokenServer, expires_in: object
) -> None:
    """A number as text, or none at all: the token serves, and is asked for once."""
    server.expires_in = expires_in
    async with adapter_for(gateway, server) as adapter:
        await adapter.chat_async("Hi", provider="openai")
        await adapter.chat_async("Hi", provider="openai")
    assert len(server.asked) == 1


async def test_a_life_of_no_time_at_all_still_serves(gateway: SandboxGateway, server: TokenServer) -> None:
    """A token that ends at once serves the call it was fetched for; the next call fetches another."""
    server.expires_in = 1e-6
    async with adapter_for(gateway, server) as adapter:
        await adapter.chat_async("Hi", provider="openai")
        await adapter.chat_async("Hi", provider="openai")
    assert bearers(gateway) == ["token-1", "token-2"]


async def test_no_secret_shows_anywhere(
    gateway: SandboxGateway, server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the client's secret nor a token is in a repr, an error, its pickle or the log, also if quoted back."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    quoting = refusing(400, error="bad", error_description=f"unknown secret {CLIENT_SECRET}").body
    server.answer = lambda number: web.Response(status=400, body=quoting) if number == 1 else None
    async with adapter_for(gateway, server, retry_attempts=0) as adapter:
        with pytest.raises(AuthenticationError) as caught:
            await adapter.chat_async("Hi")
        shown += [str(caught.value), repr(caught.value), repr(caught.value.attempts)]
        shown.append(repr(pickle.loads(pickle.dumps(caught.value)).__dict__))
        response = await adapter.chat_async("Hi", provider="openai")
        keeper = adapter._parts.keepers["oauth2"]
        shown += [repr(part) for part in (adapter, adapter.settings, adapter.statistics(), response, keeper)]
        shown += [repr(part) for part in (keeper._source, keeper._token, adapter._pipeline().transport)]
    everything = "\n".join([*shown, caplog.text])
    assert [word for word in (CLIENT_SECRET, "hush", "token-2", "aHVzaA") if word in everything] == []


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_gateway_that_quotes_the_token_does_not_spread_it(server: TokenServer, streamed: bool) -> None:
    """The refusal's text is told without the token in it."""

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=401, text=f"expired: {request.headers['Authorization'].split()[1]}")

    app = web.Application()
    app.router.add_post("/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = server.config()
    async with GenOpsHeliconeAsyncAdapter(gateway_url=url, auth_mode="oauth2", oauth_config=config) as adapter:
        asking = adapter.stream_async("Hi").__aenter__() if streamed else adapter.chat_async("Hi")
        with pytest.raises(AuthenticationError, match="refused the OAuth token: expired: <secret>"):
            await asking
    await runner.cleanup()


@pytest.mark.parametrize("dialect", ["helicone", "rust", "openai"])
async def test_every_dialect_of_a_gateway_gets_the_token(server: TokenServer, dialect: str) -> None:
    """The bearer is there in whatever dialect the gateway speaks."""
    async with SandboxGateway(latency_scale=0, api_keys=(), rust_needs_key=True) as gateway:
        server.gateway = gateway
        urls = {"helicone": gateway.url, "rust": gateway.rust_url, "openai": gateway.openai_url}
        async with adapter_for(gateway, server, gateway_url=urls[dialect], gateway_dialect=dialect) as adapter:
            await adapter.chat_async("Hi", provider="openai")
        assert bearers(gateway) == ["token-1"]


async def test_an_explicit_provider_url_gets_no_token(gateway: SandboxGateway, server: TokenServer) -> None:
    """The token is the gateway's; a provider's own host gets that provider's key, as ever."""
    more = {
        "provider_urls": {"groq": gateway.provider_urls["groq"]},
        "provider_keys": {"groq": "groq-key"},
        "helicone_api_key": "sk-any",
    }
    gateway.accept("sk-any")
    async with adapter_for(gateway, server, **more) as adapter:
        await adapter.chat_async("Hi", provider="groq")
    assert (bearers(gateway), server.asked) == (["groq-key"], [])


async def test_threads_of_a_synchronous_adapter_share_the_token(gateway: SandboxGateway, server: TokenServer) -> None:
    """Twenty threads, one token request."""

    def work() -> None:
        with GenOpsHeliconeAdapter(
            gateway_url=gateway.url, auth_mode="oauth2", oauth_config=server.config()
        ) as adapter:
            calls = [
                threading.Thread(target=adapter.chat, args=("Hi",), kwargs={"provider": "openai"}) for _ in range(20)
            ]
            for call in calls:
                call.start()
            for call in calls:
                call.join()

    await asyncio.to_thread(work)
    assert (len(server.asked), len(gateway.bill.rows)) == (1, 20)


async def test_event_loops_share_the_token(gateway: SandboxGateway, server: TokenServer) -> None:
    """One adapter on four loops at once and one after the other: one token request, and no loop is left waiting."""
    adapter = adapter_for(gateway, server)
    server.hold.clear()
    working = [asyncio.create_task(asyncio.to_thread(run_calls, adapter)) for _ in range(4)]
    await server.until_asked(1)
    server.hold.set()
    await asyncio.gather(*working)
    await asyncio.to_thread(run_calls, adapter)
    assert (len(server.asked), len(gateway.bill.rows)) == (1, 15)
    await adapter.aclose()


async def test_a_loop_that_ends_while_it_fetches_leaves_the_others_a_way(
    gateway: SandboxGateway, server: TokenServer
) -> None:
    """The loop that had begun the fetch is gone: who waits on another loop fetches for itself."""
    adapter = adapter_for(gateway, server)
    server.hold.clear()

    async def give_up() -> None:
        with pytest.raises(DeadlineExceededError):
            await adapter.chat_async("Hi", provider="openai", timeout_seconds=0.2)

    first = asyncio.create_task(asyncio.to_thread(asyncio.run, give_up()))
    await server.until_asked(1)
    second = asyncio.create_task(adapter.chat_async("Hi", provider="openai"))
    await first
    await server.until_asked(2)
    server.hold.set()
    assert (await second).provider == "openai"
    await adapter.aclose()


def run_calls(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """Three calls on an event loop of their own."""

    async def calls() -> None:
        await asyncio.gather(*(adapter.chat_async("Hi", provider="openai") for _ in range(3)))

    asyncio.run(calls())


@pytest.mark.parametrize("other", [{"client_id": "another-client"}, {"audience": "another"}])
async def test_a_shared_cache_gives_no_client_the_answer_of_another(
    gateway: SandboxGateway, server: TokenServer, tmp_path: Path, other: dict[str, str]
) -> None:
    """Tokens are in no key of the cache, as they change; whose they are is: who asked gets the answer again."""
    ours = server.config()
    cached = []
    for config in (ours, {**ours, **other}, ours):
        async with adapter_for(gateway, server, oauth_config=config) as adapter:
            adapter.enable_caching("disk", path=tmp_path / "answers.db")
            cached.append((await adapter.chat_async("Hi", provider="openai")).cached)
    assert cached == [False, False, True]
