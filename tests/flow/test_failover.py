"""From candidate to candidate through the whole pipeline: who is asked next, who is asked again, when it stops."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from flow_parts import KEY, PRICES, Rig
from virtual_time import run_virtually

from genops_helicone_async import (
    AllProvidersFailedError,
    AuthenticationError,
    DecodeError,
    GatewayError,
    GenOpsHeliconeAsyncAdapter,
    HeliconeError,
    HeliconeResponse,
    ProviderError,
    RateLimitExceededError,
)
from genops_helicone_async.testing import Fault, SandboxGateway, ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, chat_answer, error_answer, stream_answer
from loopback import Exchange, LoopbackServer, chat_body, chat_events

pytestmark = pytest.mark.anyio

ONE, TWO = {"provider": "openai"}, {"providers": ["openai", "groq"]}
SSE = {"content-type": "text/event-stream"}


def play(script: Any, options: dict[str, Any], **settings: Any) -> tuple[HeliconeResponse | HeliconeError, float, int]:
    """What a call ends with, after how many seconds, and how many requests it took."""
    transport = ScriptedTransport(script)

    async def call() -> HeliconeResponse | HeliconeError:
        rig = Rig(transport, random=0.5, **settings)
        try:
            return await rig.chat(**options)
        except HeliconeError as exc:
            return exc
        finally:
            rig.assert_settled()

    outcome, took_s = run_virtually(call())
    return outcome, took_s, len(transport.requests)


CURED = {
    "500": error_answer(500),
    "502": error_answer(502),
    "503": error_answer(503),
    "529 overloaded": error_answer(529),
    "404 no such model": error_answer(404),
    "408": error_answer(408),
    "413": error_answer(413),
    "429": error_answer(429),
    "429 for an hour": error_answer(429, headers={"Retry-After": "3600"}),
    "401 of the provider": error_answer(401),
    "403 of the provider": error_answer(403),
    "402": error_answer(402),
    "no connection": GatewayError("no connection", retry_safe=True),
    "TLS": GatewayError("TLS failed", code="tls_failure"),
    "reset": GatewayError("reset", billed="maybe"),
    "cut": DecodeError("cut", billed="maybe"),
    "no JSON": Answer(parts=(b"<html>",)),
    "empty": Answer(),
    "half JSON": Answer(parts=(b'{"choices": [{"message"',)),
    "an error with status 200": Answer(parts=(b'{"error": {"message": "no"}}',)),
    "204": Answer(status=204),
}


@pytest.mark.parametrize("first", CURED.values(), ids=CURED.keys())
def test_what_another_can_cure_goes_to_the_next_at_once(first: Any) -> None:
    """Without waiting, without spending a retry, whatever Retry-After says."""
    outcome, took_s, requests = play([first, chat_answer()], TWO, retry_attempts=0)
    assert isinstance(outcome, HeliconeResponse)
    assert (outcome.provider, took_s, requests) == ("groq", 0.0, 2)


FATAL: dict[str, tuple[Any, type[HeliconeError]]] = {
    "400": (error_answer(400), ProviderError),
    "422": (error_answer(422), ProviderError),
    "redirect": (Answer(status=307, headers={"Location": "http://elsewhere/"}), GatewayError),
}


@pytest.mark.parametrize(("first", "kind"), FATAL.values(), ids=FATAL.keys())
def test_what_nobody_can_cure_stops(first: Any, kind: type[HeliconeError]) -> None:
    """The error is the provider's own, and nobody else is asked."""
    outcome, took_s, requests = play([first], TWO)
    assert (type(outcome), took_s, requests) == (kind, 0.0, 1)


def test_a_refused_helicone_key_stops() -> None:
    """Everybody would refuse it: one request, and an error that says which key."""
    refusal = Answer(status=401, headers={"content-type": "text/plain"}, parts=(b"Unauthorized",))
    at_the_gateway = {"gateway_url": "http://127.0.0.1:9", "provider_urls": None, "provider_keys": None}
    outcome, _, requests = play([refusal], TWO, **at_the_gateway)
    assert isinstance(outcome, AuthenticationError)
    assert (outcome.which, requests) == ("helicone", 1)


RETRIED = {"500": error_answer(500), "429": error_answer(429), "no connection": CURED["no connection"]}


@pytest.mark.parametrize("first", RETRIED.values(), ids=RETRIED.keys())
def test_what_charged_nothing_is_asked_again(first: Any) -> None:
    """With nobody else to ask: again, after a jittered wait."""
    outcome, took_s, requests = play([first, first, chat_answer()], ONE)
    assert isinstance(outcome, HeliconeResponse)
    assert (took_s, requests) == (0.25 + 0.5, 3)
    assert [attempt.ok for attempt in outcome.attempts] == [False, False, True]


@pytest.mark.parametrize("name", ["reset", "cut", "no JSON", "401 of the provider", "404 no such model", "402"])
def test_what_may_have_been_paid_for_is_not_asked_again(name: str) -> None:
    """A lost answer may have been billed, and a refusal stays one: the error comes at once."""
    outcome, took_s, requests = play([CURED[name]], ONE)
    assert isinstance(outcome, HeliconeError)
    assert (took_s, requests) == (0.0, 1)


@pytest.mark.parametrize("attempts", [0, 1, 3])
def test_retries_are_counted(attempts: int) -> None:
    """`retry_attempts` is how often one asks again, beyond asking each candidate once."""
    outcome, _, requests = play(lambda _: error_answer(503), ONE, retry_attempts=attempts)
    assert (type(outcome), requests) == (ProviderError, 1 + attempts)
    outcome, _, requests = play(lambda _: error_answer(503), TWO, retry_attempts=attempts)
    assert (type(outcome), requests) == (AllProvidersFailedError, 2 + attempts)


def test_after_all_have_failed_the_soonest_is_asked_again() -> None:
    """The one whose Retry-After ends first, when it ends."""
    script = [
        error_answer(429, headers={"Retry-After": "9"}),
        error_answer(429, headers={"retry-after-ms": "4000"}),
        chat_answer(),
    ]
    outcome, took_s, _ = play(script, TWO)
    assert isinstance(outcome, HeliconeResponse)
    assert (outcome.provider, took_s) == ("groq", 4.0)
    assert [attempt.provider for attempt in outcome.attempts] == ["openai", "groq", "groq"]


def test_a_request_id_is_never_used_twice() -> None:
    """Each attempt has an id of its own, also at the same provider."""
    transport = ScriptedTransport(lambda _: error_answer(503))

    async def call() -> None:
        with pytest.raises(AllProvidersFailedError) as caught:
            await Rig(transport).chat(**TWO)
        ids = [attempt.request_id for attempt in caught.value.attempts]
        assert ids == [request.headers["Helicone-Request-Id"] for request in transport.requests]
        assert len(set(ids)) == 5

    run_virtually(call())


def test_an_outage_is_not_multiplied() -> None:
    """Of five hundred calls in an outage a hundred may retry (the quota's 500 at 5 each), and one at a time probes.

    Four repeat before the fifth failure opens the circuit, then there are probes after 2, 6 and 14 s; the next would
    be due at the deadline of 30 s.
    """
    transport = ScriptedTransport(lambda _: error_answer(503))

    async def call() -> Rig:
        rig = Rig(transport)
        calls = (rig.chat(**ONE, timeout_seconds=30) for _ in range(500))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ProviderError}
        rig.assert_settled(calls=500)
        return rig

    rig, took_s = run_virtually(call())
    assert (len(transport.requests), rig.quota.left, took_s) == (500 + 4 + 3, 0, 14.0)


def test_failover_goes_on_when_the_quota_is_empty() -> None:
    """Asking the next candidate is no retry."""

    async def call() -> str:
        rig = Rig(ScriptedTransport([error_answer(503), chat_answer()]))
        rig.quota.left = 0
        response = await rig.chat(**TWO)
        assert rig.quota.left == 1
        return response.provider

    assert run_virtually(call())[0] == "groq"


def test_success_fills_the_quota() -> None:
    """A retry that helped gives back what it cost; any other success one."""

    async def call() -> list[int]:
        rig = Rig(ScriptedTransport([error_answer(503), chat_answer(), chat_answer(), stream_answer("Hi")]))
        rig.quota.left = 100
        left = []
        for _ in range(2):
            await rig.chat(**ONE)
            left.append(rig.quota.left)
        async with rig.stream(**ONE):
            left.append(rig.quota.left)
        return left

    assert run_virtually(call())[0] == [100, 101, 102]


def test_the_causes_are_kept_and_no_error_is_its_own_cause() -> None:
    """Whoever walks the chain of causes comes to an end, and to what really happened."""
    cause = OSError("the wire is cut")

    def step(_request: Any) -> Any:
        error = GatewayError("no connection", retry_safe=True)
        error.__cause__ = cause
        return error

    for options in (ONE, TWO):
        outcome, _, _ = play(step, options, retry_attempts=1)
        assert isinstance(outcome, HeliconeError)
        assert list(chain(outcome))[-1] is cause


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes; fails if it does not end."""
    seen: set[int] = set()
    walked: BaseException | None = error
    while walked is not None:
        assert id(walked) not in seen
        seen.add(id(walked))
        yield walked
        walked = walked.__cause__


async def drop_at_once(exchange: Exchange) -> None:
    """Resets the connection."""
    exchange.reset()


async def drop_half_way(exchange: Exchange) -> None:
    """Breaks off in the middle of the answer."""
    await exchange.head(200, {"Content-Length": "1000", "Content-Type": "application/json"})
    await exchange.write(b'{"choices"')
    exchange.close()


async def talk_nonsense(exchange: Exchange) -> None:
    """Answers with something that is not HTTP."""
    await exchange.write(b"\x16\x03\x01 nonsense\r\n\r\n")
    exchange.close()


async def send_html(exchange: Exchange) -> None:
    """Answers as a proxy in between would."""
    await exchange.reply(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"})


async def send_garbage_gzip(exchange: Exchange) -> None:
    """Claims to have compressed."""
    await exchange.reply(200, b"no gzip at all", {"Content-Encoding": "gzip"})


@pytest.mark.parametrize("broken", [drop_at_once, drop_half_way, talk_nonsense, send_html, send_garbage_gzip])
@pytest.mark.parametrize("streamed", [False, True])
async def test_over_a_real_network_the_next_one_answers(broken: Any, streamed: bool) -> None:
    """Whatever breaks at one provider's host, the other one answers, and the first attempt tells why."""

    async def handle(exchange: Exchange) -> None:
        if exchange.provider == "openai":
            await broken(exchange)
        elif streamed:
            await exchange.events(*chat_events("Hel", "lo"))
        else:
            await exchange.reply(200, chat_body("Hello"))

    async with LoopbackServer(handle) as server:
        urls = server.provider_urls("openai", "groq")
        async with GenOpsHeliconeAsyncAdapter(KEY, provider_urls=urls, prices=PRICES) as helicone:
            if streamed:
                async with helicone.stream_async("Hi", **TWO) as stream:
                    async for _ in stream:
                        pass
                response = stream.response
            else:
                response = await helicone.chat_async("Hi", **TWO)
            told = helicone.statistics()
    assert (response.content, response.provider) == ("Hello", "groq")
    first, second = response.attempts
    assert (first.ok, second.ok) == (False, True)
    assert first.error in ("GatewayError", "DecodeError", "ProviderError")
    assert (told.slots.taken, told.http.in_flight) == (0, 0)


async def test_a_rate_limit_of_the_gateway_is_waited_for() -> None:
    """A limit that Helicone keeps holds for every provider: the same is asked again after what it says."""
    limited = Answer(
        status=429,
        headers={"x-helicone-error": "rate_limited", "Retry-After": "0.01"},
        parts=(b'{"message": "Rate limit reached"}',),
    )
    rig = Rig(ScriptedTransport([limited, chat_answer()]), gateway_url="http://127.0.0.1:9", provider_urls=None)
    response = await rig.chat(**TWO)
    assert [attempt.provider for attempt in response.attempts] == ["openai", "openai"]
    assert response.attempts[0].error == RateLimitExceededError.__name__
    rig.assert_settled()


REFUSALS = {
    "too long, OpenAI": (
        "openai",
        {"message": "This model's maximum context length is 8 tokens.", "code": "context_length_exceeded"},
    ),
    "too long, Anthropic": (
        "anthropic",
        {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"},
    ),
    "policy, Azure's words": (
        "openai",
        {"message": "The response was filtered: content management policy.", "code": "content_filter"},
    ),
    "policy, Anthropic": (
        "anthropic",
        {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"},
    ),
}


@pytest.mark.parametrize(("first", "error"), REFUSALS.values(), ids=REFUSALS.keys())
@pytest.mark.parametrize("way", ["gateway", "own hosts"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_refusal_of_the_content_goes_to_the_named_fallback(
    first: str, error: dict[str, str], way: str, streamed: bool
) -> None:
    """Through the AI Gateway, which drops the provider's code, and without it; alone, the refusal is the answer."""
    async with SandboxGateway(latency_scale=0) as gateway:
        gateway.faults.add(Fault(kind="status", provider=first, status=400, body={"error": error}))
        where: dict[str, Any] = {"gateway_url": gateway.url}
        if way == "own hosts":
            keys = {"openai": "a", "anthropic": "b", "groq": "c"}
            where = {"provider_urls": gateway.provider_urls, "provider_keys": keys}
        async with GenOpsHeliconeAsyncAdapter(gateway.api_key, retry_attempts=0, **where) as adapter:

            async def ask(**options: Any) -> HeliconeResponse:
                if not streamed:
                    return await adapter.chat_async("Hi", **options)
                async with adapter.stream_async("Hi", **options) as stream:
                    async for _ in stream:
                        pass
                return stream.response

            named = await ask(providers=[first, "groq"])
            chosen = await ask(provider=first, fallback_strategy="cost_optimized")
            with pytest.raises(ProviderError) as caught:
                await ask(provider=first)
        bill = [round(answer.cost * 10**12) for answer in (named, chosen)]
        assert [row.cost_pusd for row in gateway.bill.rows] == bill
    assert [(attempt.provider, attempt.status_code, attempt.billed) for attempt in named.attempts] == [
        (first, 400, "no"),
        ("groq", 200, "yes"),
    ]
    assert [attempt.provider for attempt in chosen.attempts][:2] == [first, chosen.provider]
    assert (len(caught.value.attempts), caught.value.status_code) == (1, 400)


async def test_failing_over_without_a_budget_counts_no_tokens() -> None:
    """A lost answer is estimated by characters; for nobody's limit no tokenizer is loaded in the middle of a call."""

    def refuse(model: str, text: str) -> int:
        raise AssertionError(f"counted {text!r} for {model}")

    rig = Rig(ScriptedTransport([DecodeError("cut", billed="maybe"), chat_answer()]))
    estimates = rig.pipeline.estimates
    estimates._rough, estimates._count = estimates._count, refuse
    rig.pipeline.attempts._traced = lambda: False  # spans tell what would be set aside
    opened = rig.budget.open

    def unlimited(attribution: Any, *, enforce: bool | None) -> Any:
        hold = opened(attribution, enforce=enforce)
        hold.is_limited = False  # type: ignore[misc]
        return hold

    rig.budget.open = unlimited  # type: ignore[method-assign]
    response = await rig.chat(**TWO)
    assert [(attempt.provider, attempt.billed) for attempt in response.attempts] == [
        ("openai", "maybe"),
        ("groq", "yes"),
    ]
    assert response.attempts[0].cost > 0
