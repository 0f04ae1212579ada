"""Streamed answers: the same answer and the same money as in one piece, and every way in which one can end early."""

import asyncio
import contextlib
import gc
import itertools
from typing import Any

import pytest
from flow_parts import Rig, body_of, cost_pusd, price_of
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import in_virtual_time

from genops_helicone_async import (
    AllProvidersFailedError,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    GatewayError,
    HeliconeError,
    ProviderError,
    RateLimitExceededError,
    StreamInterruptedError,
)
from genops_helicone_async._flow.stream import ChatStream
from genops_helicone_async._rules.prices import cost_pusd as priced
from genops_helicone_async._rules.tokens import estimate_input_tokens, heuristic_tokens
from genops_helicone_async._values import TokenCounts
from genops_helicone_async.models import PUSD_PER_USD
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, Hang, chat_answer, error_answer, stream_answer

pytestmark = pytest.mark.anyio

BOTH = {"providers": ["openai", "groq"]}
TEXTS = ("Grüße", " aus", " 東京", " 🚀")
SSE = {"content-type": "text/event-stream"}


def estimated_pusd(rig: Rig, provider: str, said: str) -> int:
    """What a stream that broke off after these words is booked at."""
    tokens = estimate_input_tokens(rig.records[-1].request.messages(), None)
    return priced(price_of(provider), TokenCounts(input=tokens, output=heuristic_tokens(said)))


async def contents(stream: ChatStream) -> list[str]:
    """The texts of all chunks that have one."""
    return [chunk.content async for chunk in stream if chunk.content]


async def test_a_stream_says_and_costs_what_the_whole_answer_does() -> None:
    """Chunk by chunk the content of the same call in one piece, and the same usage, cost and facts at the end."""
    rig = Rig(ScriptedTransport([stream_answer(*TEXTS, input_tokens=123, output_tokens=45), chat_answer("".join(TEXTS), input_tokens=123, output_tokens=45)]))  # fmt: skip # noqa: E501
    async with rig.stream(provider="openai") as stream:
        assert await contents(stream) == list(TEXTS)
    streamed, whole = stream.response, await rig.chat(provider="openai")
    assert streamed.content == whole.content == stream.text == "".join(TEXTS)
    assert round(streamed.cost * PUSD_PER_USD) == 123 * 1_000_000 + 45 * 2_000_000
    for field in ("input_tokens", "output_tokens", "total_cost", "cost_source", "price_source"):
        assert getattr(streamed.usage, field) == getattr(whole.usage, field)
    for field in ("provider", "model", "finish_reason", "routing", "metadata", "cached"):
        assert getattr(streamed, field) == getattr(whole, field)
    assert [(a.ok, a.billed, a.cost_source) for a in streamed.attempts] == [(True, "yes", "computed")]
    assert rig.records[0].response is streamed
    rig.assert_settled(calls=2)


async def test_a_stream_is_asked_for() -> None:
    """The request says that it wants a stream, its usage included, and what it accepts."""
    transport = ScriptedTransport([stream_answer("Hi")])
    async with Rig(transport).stream(provider="openai") as stream:
        await contents(stream)
    (request,) = transport.requests
    assert request.headers["Accept"] == "text/event-stream"
    body = body_of(request)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


@given(cuts=st.lists(st.integers(0, 700), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_stream(cuts: list[int]) -> None:
    """However the network cuts the events up, inside characters too, the chunks and the bill are the same."""
    whole = b"".join(part for part in stream_answer(*TEXTS).parts if isinstance(part, bytes))
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    parts = tuple(whole[start:end] for start, end in itertools.pairwise(edges))

    async def play() -> None:
        rig = Rig(ScriptedTransport([Answer(headers=SSE, parts=parts)]))
        async with rig.stream(provider="openai") as stream:
            assert await contents(stream) == list(TEXTS)
        assert stream.response.usage.output_tokens == 5
        rig.assert_settled()

    asyncio.run(play())


ERROR_EVENT = b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'
FIRST, *_ = stream_answer("Hel").parts
assert isinstance(FIRST, bytes)

BEFORE_CONTENT = {
    "an error status": error_answer(503),
    "a rate limit": error_answer(429),
    "no connection": GatewayError("no connection", retry_safe=True),
    "an error event": Answer(headers=SSE, parts=(ERROR_EVENT,)),
    "an error event in small pieces": Answer(headers=SSE, parts=(ERROR_EVENT[:9], ERROR_EVENT[9:])),
    "nothing": Answer(headers=SSE),
    "only comments": Answer(headers=SSE, parts=(b": hold on\n\n", b": still here\n\n")),
    "only a role": Answer(headers=SSE, parts=(b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n',)),
    "a body cut at once": Answer(headers=SSE, parts=(DecodeError("cut", billed="maybe"),)),
    "no JSON": Answer(headers=SSE, parts=(b"data: not JSON at all\n\n", b"data: [DONE]\n\n")),
    "a page of HTML": Answer(headers={"content-type": "text/html"}, parts=(b"<html>busy</html>",)),
    "an error in JSON": Answer(headers={"content-type": "application/json"}, parts=(b'{"error": {"message": "no"}}',)),
}


@pytest.mark.parametrize("first", BEFORE_CONTENT.values(), ids=BEFORE_CONTENT.keys())
async def test_what_fails_before_the_first_content_fails_over(first: Any) -> None:
    """As long as nothing was said, the next candidate says it all."""
    transport = ScriptedTransport([first, stream_answer(*TEXTS)])
    rig = Rig(transport)
    async with rig.stream(**BOTH) as stream:
        assert await contents(stream) == list(TEXTS)
    response = stream.response
    assert (response.provider, response.routing.selected) == ("groq", "groq")
    assert response.routing.reason == "openai failed; groq answered"
    assert [(attempt.provider, attempt.ok) for attempt in response.attempts] == [("openai", False), ("groq", True)]
    assert transport.open_bodies == 0
    rig.assert_settled()


@pytest.mark.parametrize("first", BEFORE_CONTENT.values(), ids=BEFORE_CONTENT.keys())
async def test_a_stream_that_never_began_raises_on_entering(first: Any) -> None:
    """With nobody else to ask, the error comes before the body of the `async with` is reached."""
    rig = Rig(ScriptedTransport([first]), retry_attempts=0)
    entered = False

    async def use() -> None:
        nonlocal entered
        async with rig.stream(provider="openai"):
            entered = True

    with pytest.raises(HeliconeError) as caught:
        await use()
    assert entered is False
    assert not isinstance(caught.value, StreamInterruptedError)
    assert caught.value.provider == "openai"
    assert len(caught.value.attempts) == 1
    assert caught.value.__cause__ is not caught.value
    rig.assert_settled()


async def test_when_all_fail_before_content_the_error_tells_every_story() -> None:
    """The last resort is one error with both attempts."""
    rig = Rig(ScriptedTransport([error_answer(503, "one"), error_answer(429, "two")]), retry_attempts=0)
    with pytest.raises(AllProvidersFailedError, match="none of 2 providers answered: openai: one; groq: two") as caught:
        await rig.stream(**BOTH).__aenter__()
    assert [attempt.status_code for attempt in caught.value.attempts] == [503, 429]
    assert isinstance(caught.value.__cause__, RateLimitExceededError)
    rig.assert_settled()


CUT = DecodeError("cut short", billed="maybe")
AFTER_CONTENT: dict[str, tuple[tuple[Any, ...], str]] = {
    "the connection breaks": ((FIRST, CUT), "the stream was interrupted: cut short"),
    "an error event": ((FIRST, ERROR_EVENT, Hang()), "the stream was interrupted: overloaded"),
    "an error event in the same piece": ((FIRST + ERROR_EVENT, Hang()), "the stream was interrupted: overloaded"),
    "no finish reason": ((FIRST,), "the stream was interrupted: it ended without a finish reason"),
    "only DONE": ((FIRST, b"data: [DONE]\n\n"), "the stream was interrupted: it ended without a finish reason"),
    "cut inside an event": ((FIRST, FIRST[:40]), "the stream was interrupted: an event of the stream is no valid JSON"),
    "cut inside a character": (
        (FIRST, 'data: {"choices":[{"delta":{"content":"é'.encode()[:-1]),
        "the stream was interrupted: an event of the stream is no valid JSON",
    ),
    "an event that is no JSON": (
        (FIRST, b"data: <html>\n\n", Hang()),
        "the stream was interrupted: an event of the stream is no valid JSON",
    ),
    "an event that is no JSON in the same piece": (
        (FIRST + b"data: <html>\n\n", Hang()),
        "the stream was interrupted: an event of the stream is no valid JSON",
    ),
}


@pytest.mark.parametrize(("parts", "message"), AFTER_CONTENT.values(), ids=AFTER_CONTENT.keys())
async def test_what_fails_after_the_first_content_interrupts(parts: tuple[Any, ...], message: str) -> None:
    """What was said has been given out; then the error comes at once, with the text and an estimated receipt."""
    transport = ScriptedTransport([Answer(headers=SSE, parts=parts), stream_answer("never asked")])
    rig = Rig(transport)
    got: list[str] = []

    async def use() -> None:
        async with rig.stream(**BOTH) as stream:
            async for chunk in stream:
                got.append(chunk.content)  # noqa: PERF401  one by one, so that the error finds what came before it

    with pytest.raises(StreamInterruptedError) as caught:
        await use()
    error = caught.value
    assert (str(error), error.partial, got) == (message, "Hel", ["Hel"])
    assert (error.billed, error.http_status, error.retry_safe) == ("maybe", 200, False)
    (attempt,) = error.attempts
    assert (attempt.error, attempt.billed, attempt.cost_source) == ("StreamInterruptedError", "maybe", "estimated")
    assert cost_pusd(error.attempts) == estimated_pusd(rig, "openai", "Hel")
    assert (len(transport.requests), transport.open_bodies) == (1, 0)
    assert rig.records[0].error is error
    assert error.__cause__ is not error
    rig.assert_settled()


@pytest.mark.parametrize("broken", [ERROR_EVENT, b"data: <html>\n\n"])
async def test_what_came_before_an_error_is_given_out_first(broken: bytes) -> None:
    """Where the network cuts the pieces makes no difference: chunks before an error come before it."""
    second = stream_answer("lo").parts[0]
    assert isinstance(second, bytes)
    assert isinstance(FIRST, bytes)
    rig = Rig(ScriptedTransport([Answer(headers=SSE, parts=(FIRST, second + broken, Hang()))]))
    async with rig.stream(provider="openai") as stream:
        assert [(await anext(stream)).content for _ in range(2)] == ["Hel", "lo"]
        with pytest.raises(StreamInterruptedError) as caught:
            await anext(stream)
    assert caught.value.partial == "Hello"
    rig.assert_settled()


async def test_the_cause_of_an_interruption_is_kept() -> None:
    """The error that broke the stream is the cause of the one the caller gets."""
    rig = Rig(ScriptedTransport([Answer(headers=SSE, parts=(FIRST, CUT))]))
    async with rig.stream(provider="openai") as stream:
        with pytest.raises(StreamInterruptedError) as caught:
            await contents(stream)
    assert caught.value.__cause__ is CUT


async def test_after_an_interruption_the_text_is_still_there() -> None:
    """`text` keeps what had arrived, `response` stays out, and iterating again gives nothing."""
    rig = Rig(ScriptedTransport([Answer(headers=SSE, parts=(FIRST,))]))
    async with rig.stream(provider="openai") as stream:
        with pytest.raises(StreamInterruptedError):
            await contents(stream)
        assert await contents(stream) == []
    assert stream.text == "Hel"
    with pytest.raises(ConfigurationError, match="read to its end"):
        _ = stream.response
    rig.assert_settled()


ENDED = b"".join(part for part in stream_answer("Hel", "lo").parts[:-1] if isinstance(part, bytes))


@pytest.mark.parametrize("last", [CUT, Hang(), ERROR_EVENT[:20], b"data: garbage\n\n"], ids=["cut", "hang", "half", "no JSON"])  # fmt: skip # noqa: E501
@in_virtual_time
async def test_a_finished_answer_is_an_answer(last: Any) -> None:
    """Once finish reason and usage are here, a bad end of the connection takes nothing away."""
    rig = Rig(ScriptedTransport([Answer(headers=SSE, parts=(ENDED, last))]))
    async with rig.stream(provider="openai") as stream:
        assert await contents(stream) == ["Hel", "lo"]
    assert (stream.response.content, stream.response.usage.cost_source) == ("Hello", "computed")
    rig.assert_settled()


async def test_one_json_instead_of_a_stream_is_one_chunk() -> None:
    """A gateway that ignores `stream: true` is understood; the money is that of the whole answer."""
    rig = Rig(ScriptedTransport([chat_answer("Hello", input_tokens=7, output_tokens=9)]))
    async with rig.stream(provider="openai") as stream:
        chunks = [chunk async for chunk in stream]
    assert [(chunk.content, chunk.finish_reason) for chunk in chunks] == [("Hello", "stop")]
    assert (stream.response.usage.input_tokens, stream.response.usage.output_tokens) == (7, 9)
    rig.assert_settled()


@pytest.mark.parametrize("kind", ["text/event-stream; charset=utf-8", "Text/Event-Stream", None])
async def test_an_event_stream_is_known_by_its_type(kind: str | None) -> None:
    """Parameters and case do not matter, and without a type it is taken for what was asked for."""
    headers = {} if kind is None else {"content-type": kind}
    rig = Rig(ScriptedTransport([Answer(headers=headers, parts=stream_answer("Hi").parts)]))
    async with rig.stream(provider="openai") as stream:
        assert await contents(stream) == ["Hi"]


async def test_a_stream_without_usage_is_estimated() -> None:
    """A whole answer whose provider reports no usage is priced by estimate, and says so."""
    parts = stream_answer("Hello", " world").parts
    rig = Rig(ScriptedTransport([Answer(headers=SSE, parts=(*parts[:3], parts[-1]))]))
    async with rig.stream(provider="openai") as stream:
        await contents(stream)
    assert stream.response.usage.cost_source == "estimated"
    assert round(stream.response.cost * PUSD_PER_USD) == estimated_pusd(rig, "openai", "Hello world")
    rig.assert_settled()


async def test_response_is_not_there_before_the_end() -> None:
    """Asking for it earlier is a mistake, and said so."""
    rig = Rig(ScriptedTransport([stream_answer("Hi")]))
    stream = rig.stream(provider="openai")
    with pytest.raises(ConfigurationError, match="read to its end"):
        _ = stream.response
    async with stream:
        await anext(stream)
        with pytest.raises(ConfigurationError, match="read to its end"):
            _ = stream.response
        assert stream.text == "Hi"
        await contents(stream)
    assert stream.response.content == "Hi"


async def test_a_stream_is_entered_once() -> None:
    """Entering it again, or reading it without entering, is a mistake."""
    rig = Rig(ScriptedTransport([stream_answer("Hi")]))
    stream = rig.stream(provider="openai")
    with pytest.raises(ConfigurationError, match="enter the stream first"):
        await anext(stream)
    async with stream:
        with pytest.raises(ConfigurationError, match="entered only once"):
            await stream.__aenter__()
        assert await contents(stream) == ["Hi"]
    with pytest.raises(ConfigurationError, match="entered only once"):
        await stream.__aenter__()
    rig.assert_settled()


async def test_a_stream_that_is_never_entered_costs_nothing() -> None:
    """Nothing is sent, held or recorded before the stream is entered."""
    transport = ScriptedTransport([])
    rig = Rig(transport)
    rig.stream(provider="openai")
    gc.collect()
    assert (transport.requests, rig.budget.holds) == ([], [])
    rig.assert_settled(calls=0)


async def test_batches_are_all_that_is_there() -> None:
    """`batch` gives at least one chunk, all that have arrived, and an empty list at the end."""
    transport = ScriptedTransport([Answer(headers=SSE, parts=(ENDED, b"data: [DONE]\n\n"))])
    async with Rig(transport).stream(provider="openai") as stream:
        assert [chunk.content for chunk in await stream.batch()] == ["Hel", "lo", ""]
        assert await stream.batch() == []
    assert stream.response.content == "Hello"


async def leave_by_break(stream: ChatStream) -> None:
    """The caller has enough."""
    async with stream:
        async for _ in stream:
            break


async def leave_by_error(stream: ChatStream) -> None:
    """The caller's own code fails."""
    async with stream:
        await anext(stream)
        raise LookupError("the caller's own")


async def leave_by_return(stream: ChatStream) -> None:
    """The caller reads nothing at all."""
    async with stream:
        pass


async def leave_an_async_generator(stream: ChatStream) -> None:
    """The stream is wrapped in a generator that is closed half way."""

    async def wrapped() -> Any:
        async with stream:
            async for chunk in stream:
                yield chunk

    generator = wrapped()
    await anext(generator)
    await generator.aclose()


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_error, leave_by_return, leave_an_async_generator])
async def test_leaving_early_drops_the_connection_and_books_an_estimate(leave: Any) -> None:
    """Exactly one record, the text so far as an estimate, no error: why the caller left is the caller's affair."""
    transport = ScriptedTransport([Answer(headers=SSE, parts=(FIRST, Hang()))])
    rig = Rig(transport)
    stream = rig.stream(provider="openai")
    with contextlib.suppress(LookupError):
        await leave(stream)
    assert (transport.open_bodies, transport.dropped) == (0, 1)
    (record,) = rig.records
    assert (record.error, record.response) == (None, None)
    (attempt,) = record.attempts
    assert (attempt.error, attempt.error_message, attempt.billed) == ("Abandoned", "the caller left", "maybe")
    assert (attempt.cost_source, record.failed_pusd) == ("estimated", estimated_pusd(rig, "openai", "Hel"))
    assert stream.text == "Hel"
    rig.assert_settled()


async def test_another_calls_error_stays_its_own() -> None:
    """An error raised inside the block by a different call keeps that call's attempts."""
    rig = Rig(ScriptedTransport([Answer(headers=SSE, parts=(FIRST, Hang())), error_answer(400, "bad")]))

    async def use() -> None:
        async with rig.stream(provider="openai"):
            await rig.chat(provider="groq")

    with pytest.raises(ProviderError) as caught:
        await use()
    assert [attempt.provider for attempt in caught.value.attempts] == ["groq"]
    assert [record.attempts[0].provider for record in rig.records] == ["groq", "openai"]
    assert rig.records[1].attempts[0].status_code is None
    rig.assert_settled(calls=2)


async def test_an_entered_stream_that_is_dropped_is_settled() -> None:
    """Entered, never left, and collected: slot, connection and hold are given back all the same."""
    transport = ScriptedTransport([Answer(headers=SSE, parts=(FIRST, Hang()))])
    rig = Rig(transport)
    stream = await rig.stream(provider="openai").__aenter__()
    await anext(stream)
    assert rig.slots.statistics().taken == 1
    del stream
    gc.collect()
    await asyncio.sleep(0)
    assert (transport.open_bodies, transport.dropped) == (0, 1)
    assert [record.attempts[0].error for record in rig.records] == ["Abandoned"]
    rig.assert_settled()


def test_an_entered_stream_that_outlives_its_loop_is_settled() -> None:
    """Collected after its loop has ended, a stream still settles its hold, without a word."""
    rigs: list[Rig] = []

    async def enter() -> ChatStream:
        rigs.append(Rig(ScriptedTransport([Answer(headers=SSE, parts=(FIRST, Hang()))])))
        return await rigs[0].stream(provider="openai").__aenter__()

    stream = asyncio.run(enter())
    assert rigs[0].records == []
    del stream
    gc.collect()
    rigs[0].assert_settled()


@pytest.mark.parametrize("parts", [(Hang(),), (FIRST, Hang()), (FIRST, b": keep\n\n", Hang())])
@in_virtual_time
async def test_the_deadline_covers_the_stream(parts: tuple[Any, ...]) -> None:
    """A stream that falls silent ends at the call's deadline, whatever had arrived."""
    rig = Rig(ScriptedTransport([Answer(headers=SSE, parts=parts)]))

    async def use() -> None:
        async with rig.stream(provider="openai", timeout_seconds=2) as stream:
            await contents(stream)

    with pytest.raises(DeadlineExceededError) as caught:
        await use()
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.billed == "maybe"
    assert caught.value.__cause__ is not caught.value
    (attempt,) = caught.value.attempts
    assert (attempt.error, attempt.billed, attempt.cost_source) == ("DeadlineExceededError", "maybe", "estimated")
    rig.assert_settled()


@in_virtual_time
async def test_a_slow_reader_meets_the_deadline_too() -> None:
    """Chunks that are here may be read late, but no more is fetched after the deadline."""
    rig = Rig(ScriptedTransport([stream_answer("Hel", "lo")]))
    async with rig.stream(provider="openai", timeout_seconds=2) as stream:
        await asyncio.sleep(3)
        assert (await anext(stream)).content == "Hel"
        with pytest.raises(DeadlineExceededError):
            await anext(stream)
    rig.assert_settled()


async def test_a_model_that_does_not_fit_is_paid_for() -> None:
    """A streamed answer that does not fit its `response_model` is a `DecodeError` with its attempt and its cost."""
    rig = Rig(ScriptedTransport([stream_answer("no JSON")]))

    async def use() -> None:
        async with rig.stream(provider="openai", response_model=TokenCounts) as stream:
            await contents(stream)

    with pytest.raises(DecodeError, match="does not fit `response_model` TokenCounts") as caught:
        await use()
    assert caught.value.billed == "yes"
    assert [attempt.ok for attempt in caught.value.attempts] == [True]
    assert rig.records[0].cost_pusd == 10 * 1_000_000 + 5 * 2_000_000
    rig.assert_settled()


async def test_what_was_reported_counts_in_an_estimate() -> None:
    """A broken stream that had told its input tokens is booked with them."""
    start = (
        b'event: message_start\ndata: {"type":"message_start","message":{"role":"assistant","content":[],'
        b'"usage":{"input_tokens":4321,"output_tokens":1}}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"Hel"}}\n\n'
    )
    rig = Rig(
        ScriptedTransport([Answer(headers=SSE, parts=(start,))]),
        provider_urls={"anthropic": "http://127.0.0.1:9/anthropic/v1"},
        provider_keys={"anthropic": "key"},
        prices={"anthropic/claude-x": {"input": 1.0, "output": 2.0}},
    )
    async with rig.stream(provider="anthropic", model="claude-x") as stream:
        with pytest.raises(StreamInterruptedError):
            await contents(stream)
    assert rig.records[0].failed_pusd == 4321 * 1_000_000 + heuristic_tokens("Hel") * 2_000_000
    rig.assert_settled()
