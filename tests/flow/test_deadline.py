"""One deadline covers everything a call may wait for; it ends there, to the moment, with the right facts."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from flow_parts import AwaitedPrices, Rig
from virtual_time import run_virtually

from genops_helicone_async import (
    DeadlineExceededError,
    DecodeError,
    GatewayError,
    HeliconeError,
    HeliconeResponse,
    ProviderError,
    RateLimitExceededError,
)
from genops_helicone_async._flow.embed import Embedding
from genops_helicone_async._flow.failover import SHARE_OF_TIME
from genops_helicone_async._rules.prices import Price
from genops_helicone_async.chat_request import EmbedRequest
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, Hang, chat_answer, error_answer, stream_answer

OPENAI = {"provider": "openai"}
FIRST, *_ = stream_answer("Hel").parts
SSE = {"content-type": "text/event-stream"}


class Drip:
    """A script whose answer never ends: `every_s` a few bytes."""

    def __init__(self, every_s: float, piece: bytes = b" ") -> None:
        self.every_s = every_s
        self.piece = piece


class DrippingTransport(ScriptedTransport):
    """A scripted transport whose bodies drip."""

    def __init__(self, drip: Drip, headers: dict[str, str]) -> None:
        super().__init__(lambda _: Answer(headers=headers, parts=(drip.piece,) * 10_000))
        self._drip = drip

    async def open(self, request: Any, deadline: float) -> Any:
        """A body each of whose parts takes its time."""
        body = await super().open(request, deadline)
        read = body.read

        async def slowly(until: float) -> bytes:
            try:
                async with asyncio.timeout_at(until):
                    await asyncio.sleep(self._drip.every_s)
            except TimeoutError:
                body.close()
                raise DeadlineExceededError("too slow", billed="maybe") from None
            return await read(until)

        return Slow(body, slowly)


class Slow:
    """A body read through a function of its own."""

    def __init__(self, body: Any, read: Callable[[float], Any]) -> None:
        self.status, self.headers, self.close, self.read = body.status, body.headers, body.close, read

    async def read_all(self, deadline: float) -> bytes:
        """All of it, part by part."""
        parts = []
        while part := await self.read(deadline):
            parts.append(part)
        return b"".join(parts)


async def fails(rig: Rig, call: Any) -> HeliconeError:
    """The error a call ends with; nothing is left of it."""
    with pytest.raises(HeliconeError) as caught:
        await call
    rig.assert_settled()
    assert caught.value.__cause__ is not caught.value
    return caught.value


async def read_stream(rig: Rig, **options: Any) -> None:
    """Reads a whole stream."""
    async with rig.stream(**options) as stream:
        async for _ in stream:
            pass


HANGS: dict[str, tuple[Any, str]] = {
    "before connecting": (Hang(sent=False), "no"),
    "before the head": (Hang(), "maybe"),
    "before the body": (Answer(parts=(Hang(),)), "maybe"),
    "in the body": (Answer(parts=(b'{"choices"', Hang())), "maybe"),
    "in the body of an error": (Answer(status=500, parts=(b"oh", Hang())), "maybe"),
}


@pytest.mark.parametrize(("step", "billed"), HANGS.values(), ids=HANGS.keys())
@pytest.mark.parametrize("streamed", [False, True])
def test_silence_ends_at_the_deadline(step: Any, billed: str, streamed: bool) -> None:
    """Wherever the other side falls silent: a `TimeoutError` at the deadline, which says what may be billed."""

    async def play() -> HeliconeError:
        rig = Rig(ScriptedTransport([step]))
        call = read_stream(rig, **OPENAI, timeout_seconds=30) if streamed else rig.chat(**OPENAI, timeout_seconds=30)
        return await fails(rig, call)

    error, took_s = run_virtually(play())
    assert isinstance(error, DeadlineExceededError)
    assert isinstance(error, TimeoutError)
    assert (took_s, error.billed, error.retry_safe) == (30.0, billed, False)
    (attempt,) = error.attempts
    assert (attempt.error, attempt.billed, round(attempt.duration_s, 6)) == ("DeadlineExceededError", billed, 30.0)
    assert (attempt.cost > 0) is (billed == "maybe")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("headers", [{}, SSE])
def test_a_drip_does_not_extend_the_deadline(streamed: bool, headers: dict[str, str]) -> None:
    """Bytes that keep coming, one every second, are not progress."""

    async def play() -> HeliconeError:
        piece = b": keep-alive\n\n" if headers else b" "
        rig = Rig(DrippingTransport(Drip(1.0, piece), headers))
        call = read_stream(rig, **OPENAI, timeout_seconds=7.5) if streamed else rig.chat(**OPENAI, timeout_seconds=7.5)
        return await fails(rig, call)

    error, took_s = run_virtually(play())
    assert (type(error), took_s, error.billed) == (DeadlineExceededError, 7.5, "maybe")


def test_a_dripping_stream_ends_at_the_deadline() -> None:
    """Content that keeps coming does not extend the deadline either; what came counts."""

    async def play() -> tuple[HeliconeError, int]:
        assert isinstance(FIRST, bytes)
        rig = Rig(DrippingTransport(Drip(1.0, FIRST), SSE))
        chunks = 0

        async def use() -> None:
            nonlocal chunks
            async with rig.stream(**OPENAI, timeout_seconds=7.5) as stream:
                async for _ in stream:
                    chunks += 1

        return await fails(rig, use()), chunks

    (error, chunks), took_s = run_virtually(play())
    assert (type(error), took_s, chunks) == (DeadlineExceededError, 7.5, 7)


def test_queueing_counts() -> None:
    """A call whose turn does not come is refused at its deadline; nothing was sent."""

    async def play() -> tuple[HeliconeError, int]:
        transport = ScriptedTransport([])
        rig = Rig(transport, max_connections=1)
        assert rig.slots.take_nowait()
        with pytest.raises(DeadlineExceededError) as caught:
            await rig.chat(**OPENAI, timeout_seconds=4)
        rig.slots.release()
        rig.assert_settled()
        return caught.value, len(transport.requests)

    (error, sent), took_s = run_virtually(play())
    assert (took_s, error.billed, error.attempts, sent) == (4.0, "no", (), 0)


def test_time_spent_queueing_is_gone() -> None:
    """What was waited for a slot is no longer there for the answer."""

    async def play() -> HeliconeError:
        rig = Rig(ScriptedTransport([Hang()]), max_connections=1)
        assert rig.slots.take_nowait()
        asyncio.get_running_loop().call_later(6, rig.slots.release)
        return await fails(rig, rig.chat(**OPENAI, timeout_seconds=10))

    error, took_s = run_virtually(play())
    assert (took_s, round(error.attempts[0].started_s, 6), round(error.attempts[0].duration_s, 6)) == (10.0, 6.0, 4.0)


def test_looking_prices_up_counts() -> None:
    """A price list that does not load in time ends the call, not the deadline."""

    class Never(AwaitedPrices):
        async def resolve(self, provider: str, model: str) -> Price | None:
            await asyncio.Event().wait()
            raise AssertionError

    async def play() -> HeliconeError:
        rig = Rig(ScriptedTransport([]))
        rig.pipeline.candidates._prices = Never(rig.pipeline.candidates._prices)  # type: ignore[arg-type]
        return await fails(rig, rig.chat(**OPENAI, timeout_seconds=3))

    error, took_s = run_virtually(play())
    assert (type(error), took_s, error.billed) == (DeadlineExceededError, 3.0, "no")
    assert "the price of openai/gpt-4o-mini" in str(error)


def test_asking_the_budget_counts() -> None:
    """A budget whose store does not answer ends the call at its deadline; nothing was sent."""

    async def play() -> tuple[HeliconeError, int]:
        transport = ScriptedTransport([])
        rig = Rig(transport)
        rig.budget.delay_s = 1_000
        return await fails(rig, rig.chat(**OPENAI, timeout_seconds=3)), len(transport.requests)

    (error, sent), took_s = run_virtually(play())
    assert (type(error), took_s, error.billed, sent) == (DeadlineExceededError, 3.0, "no", 0)
    assert str(error) == "the deadline passed while its budget was asked: raise timeout_seconds"


def test_asking_the_budget_again_counts() -> None:
    """So does setting aside more after an attempt that may have been billed."""

    async def play() -> HeliconeError:
        rig = Rig(ScriptedTransport([DecodeError("cut", billed="maybe")]))
        rig.budget.delay_s = 4
        return await fails(rig, rig.chat(providers=["openai", "groq"], timeout_seconds=6))

    error, took_s = run_virtually(play())
    assert (type(error), took_s, [attempt.provider for attempt in error.attempts]) == (
        DeadlineExceededError,
        6.0,
        ["openai"],
    )


@pytest.mark.parametrize(("write_s", "took"), [(4, 4.0), (1_000, 6.0)])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_waits_for_the_ledger_but_not_beyond_the_deadline(
    write_s: float, took: float, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What was answered is given when it is written down, or at the deadline with a word about it."""

    async def play() -> None:
        rig = Rig(ScriptedTransport([stream_answer("Hello") if streamed else chat_answer("Hello")]))
        rig.budget.write_s = write_s
        if streamed:
            await read_stream(rig, **OPENAI, timeout_seconds=6)
        else:
            assert (await rig.chat(**OPENAI, timeout_seconds=6)).content == "Hello"
        rig.assert_settled()

    assert run_virtually(play())[1] == took
    assert [record.message.startswith("the ledger does not have call") for record in caplog.records] == (
        [True] if took == 6.0 else []
    )


def test_embeddings_have_a_deadline() -> None:
    """The same for embeddings."""

    async def play() -> HeliconeError:
        rig = Rig(ScriptedTransport([Hang()]))
        request = EmbedRequest.of("text", "openai", "gpt-4o-mini", {"timeout_seconds": 2.5})
        return await fails(rig, Embedding(rig.pipeline, request).run())

    error, took_s = run_virtually(play())
    assert (type(error), took_s, error.billed) == (DeadlineExceededError, 2.5, "maybe")


def test_the_adapters_timeout_is_the_default() -> None:
    """Without `timeout_seconds` of its own a call has the adapter's."""

    async def play() -> HeliconeError:
        rig = Rig(ScriptedTransport([Hang()]), timeout_seconds=12)
        return await fails(rig, rig.chat(**OPENAI))

    assert run_virtually(play())[1] == 12.0


def test_a_hanging_provider_fails_over_within_its_share() -> None:
    """While others have not been asked, a provider has two thirds of the time left; then the next one is asked."""

    async def play() -> HeliconeResponse:
        rig = Rig(ScriptedTransport([Hang(), Hang(), chat_answer("Hello")]))
        response = await rig.chat(providers=["openai", "groq", "mistral"], timeout_seconds=27)
        rig.assert_settled()
        return response

    response, took_s = run_virtually(play())
    assert SHARE_OF_TIME == 2 / 3
    assert (response.provider, took_s) == ("mistral", 18.0 + 6.0)
    first, second, third = response.attempts
    assert [round(attempt.duration_s, 6) for attempt in (first, second)] == [18.0, 6.0]
    assert (first.error, first.billed, first.cost > 0) == ("ProviderError", "maybe", True)
    assert first.error_message == "openai gave no answer within 18.0 s, its share of the time left"
    assert third.ok


def test_a_hanging_stream_fails_over_within_its_share() -> None:
    """The same where the first content of a stream does not come."""

    async def play() -> str:
        rig = Rig(ScriptedTransport([Answer(headers=SSE, parts=(b": hello\n\n", Hang())), stream_answer("Hello")]))
        async with rig.stream(providers=["openai", "groq"], timeout_seconds=27) as stream:
            async for _ in stream:
                pass
        rig.assert_settled()
        return stream.response.provider

    assert run_virtually(play()) == ("groq", 18.0)


def test_when_all_hang_the_call_ends_at_its_deadline() -> None:
    """The last candidate has all the time that is left; the error is that of the deadline, with every attempt."""

    async def play() -> HeliconeError:
        rig = Rig(ScriptedTransport(lambda _: Hang()))
        return await fails(rig, rig.chat(providers=["openai", "groq", "mistral"], timeout_seconds=27))

    error, took_s = run_virtually(play())
    assert (type(error), took_s) == (DeadlineExceededError, 27.0)
    assert [round(attempt.duration_s, 6) for attempt in error.attempts] == [18.0, 6.0, 3.0]
    assert [attempt.billed for attempt in error.attempts] == ["maybe"] * 3


def test_retries_end_before_the_deadline() -> None:
    """Retries wait as long as there is time for one more; the error then is the provider's own."""

    async def play() -> HeliconeError:
        rig = Rig(ScriptedTransport(lambda _: error_answer(503)), random=0.999999, retry_attempts=50)
        return await fails(rig, rig.chat(**OPENAI, timeout_seconds=20))

    error, took_s = run_virtually(play())
    assert (type(error), error.status_code) == (ProviderError, 503)
    assert took_s == pytest.approx(0.5 + 1 + 2 + 4 + 8, abs=0.001)
    assert len(error.attempts) == 6


def test_a_retry_that_hangs_ends_at_the_deadline() -> None:
    """A repeat has only the time that is left."""

    async def play() -> HeliconeError:
        rig = Rig(ScriptedTransport([error_answer(503), Hang()]), random=0.5)
        return await fails(rig, rig.chat(**OPENAI, timeout_seconds=10))

    error, took_s = run_virtually(play())
    assert (type(error), took_s, len(error.attempts)) == (DeadlineExceededError, 10.0, 2)
    assert round(error.attempts[1].duration_s, 6) == 9.75


@pytest.mark.parametrize("after_s", ["10", "11", "3600"])
def test_a_retry_after_beyond_the_deadline_is_not_waited_for(after_s: str) -> None:
    """The call ends at once, and the error says how long the other side asked to wait."""

    async def play() -> HeliconeError:
        rig = Rig(ScriptedTransport([error_answer(429, headers={"Retry-After": after_s})]))
        return await fails(rig, rig.chat(**OPENAI, timeout_seconds=10))

    error, took_s = run_virtually(play())
    assert (type(error), took_s, error.retry_after_s) == (RateLimitExceededError, 0.0, float(after_s))


def test_a_retry_after_within_the_deadline_is_obeyed_to_the_moment() -> None:
    """The repeat goes out when the other side said, not before."""

    async def play() -> HeliconeResponse:
        rig = Rig(ScriptedTransport([error_answer(429, headers={"Retry-After": "9"}), chat_answer()]), random=0.9)
        return await rig.chat(**OPENAI, timeout_seconds=10)

    response, took_s = run_virtually(play())
    assert (took_s, round(response.attempts[1].started_s, 6)) == (9.0, 9.0)
    assert response.attempts[0].retry_after_s == 9.0


@pytest.mark.parametrize(
    "failure",
    [GatewayError("no connection", retry_safe=True), DecodeError("cut", billed="maybe"), error_answer(500)],
    ids=["down", "cut", "500"],
)
def test_a_fast_failure_leaves_the_time_to_the_next(failure: Any) -> None:
    """Whoever fails at once does not use up anybody's share."""

    async def play() -> HeliconeError:
        rig = Rig(ScriptedTransport([failure, Hang()]))
        return await fails(rig, rig.chat(providers=["openai", "groq"], timeout_seconds=12))

    error, took_s = run_virtually(play())
    assert (took_s, [round(attempt.duration_s, 6) for attempt in error.attempts]) == (12.0, [0.0, 12.0])
