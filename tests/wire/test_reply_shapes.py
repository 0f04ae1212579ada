"""Replies of any shape: found out from the reply itself, whole or streamed, and told apart from errors."""

import json
from typing import Any

import msgspec
import pytest

from genops_helicone_async._values import Reply, TokenCounts
from genops_helicone_async._wire.dialects import Dialect, Endpoint
from genops_helicone_async._wire.replies import ReplyStream, decode_reply
from genops_helicone_async._wire.schema import take_answer
from genops_helicone_async.errors import (
    AuthenticationError,
    DecodeError,
    HeliconeError,
    InsufficientCreditsError,
    ProviderError,
    RateLimitExceededError,
)
from genops_helicone_async.models import StreamChunk, ToolCall


def endpoint(dialect: Dialect = "helicone", provider: str = "openai") -> Endpoint:
    """An endpoint that answers in this dialect."""
    return Endpoint(
        provider=provider,
        model="m",
        dialect=dialect,
        shape="anthropic" if dialect == "proxy" and provider == "anthropic" else "openai",
        base_url="https://gateway.test/v1",
        chat_url="https://gateway.test/v1/chat/completions",
        wire_model="m",
        headers={},
    )


NATIVE = endpoint("proxy", "anthropic")
EVERYWHERE = [endpoint(), endpoint("openai"), endpoint("rust"), endpoint("proxy"), NATIVE]
OPENAI = {
    "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "modality_tokens": {}},
}
MESSAGES = {
    "type": "message",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 5, "output_tokens": 2},
}
GOOGLE = {
    "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2},
}
ANSWER = Reply(content="Hi", finish_reason="stop", usage=TokenCounts(input=5, output=2))


@pytest.mark.parametrize("where", EVERYWHERE, ids=str)
@pytest.mark.parametrize("body", [OPENAI, MESSAGES])
def test_a_reply_is_read_whatever_shape_it_comes_in(body: dict[str, Any], where: Endpoint) -> None:
    """A gateway may pass a provider's own shape on, and a provider may speak OpenAI's."""
    assert decode_reply(json.dumps(body).encode(), 200, where, "id") == ANSWER


def test_an_unconverted_google_reply_is_read() -> None:
    """Gemini's own shape through the gateway."""
    assert decode_reply(json.dumps(GOOGLE).encode(), 200, endpoint(), "id") == ANSWER


@pytest.mark.parametrize("where", EVERYWHERE, ids=str)
@pytest.mark.parametrize(
    "body",
    [
        b"", b"  \n", b"null", b"[]", b"{}", b'"Hi"', b"\xff\xfe", b"<html>Bad Gateway</html>", b'{"choices":[]}',
        b'{"choices":"none"}', b'{"choices":[{"mess', b'{"choices":[{"message":{"content":"\xff"}}]}',
        b"[" * 100_000, b'{"a":' * 50_000 + b"1", b'{"choices":[{"message":{"content":"x"}}],"x":' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_body_that_is_no_reply_is_a_decode_error(body: bytes, where: Endpoint) -> None:
    """Empty, truncated, foreign, not UTF-8 or nested without end: a DecodeError that may have been billed."""
    with pytest.raises(DecodeError) as caught:
        decode_reply(body, 200, where, "id-1")
    error = caught.value
    assert (error.billed, error.retry_safe, error.status_code, error.request_id, error.provider) == (
        "maybe", False, 200, "id-1", where.provider,
    )  # fmt: skip


@pytest.mark.parametrize("where", EVERYWHERE, ids=str)
@pytest.mark.parametrize(
    "body, kind, status",
    [
        ({"error": {"message": "slow down", "type": "rate_limit_error"}}, RateLimitExceededError, 429),
        (
            {"type": "error", "error": {"type": "authentication_error", "message": "slow down"}},
            AuthenticationError,
            401,
        ),
        ({"error": {"message": "slow down", "code": 502}}, ProviderError, 502),
        ({"error": {"message": "slow down"}, "content": "", "choices": None}, ProviderError, None),
        ({"error": "slow down"}, ProviderError, None),
        ({"error": {"message": "slow down", "code": "insufficient_quota"}}, InsufficientCreditsError, 429),
        (
            {"choices": [{"message": {"content": ""}}], "error": {"message": "slow down", "code": 502}},
            ProviderError,
            502,
        ),
    ],
)
def test_an_error_that_arrives_as_a_success_is_an_error(
    body: dict[str, Any], kind: type[HeliconeError], status: int | None, where: Endpoint
) -> None:
    """A 200 with an error in it is classified by what the error says."""
    with pytest.raises(kind) as caught:
        decode_reply(json.dumps(body).encode(), 200, where, "id")
    error = caught.value
    assert (type(error), error.message, error.status_code, error.http_status) == (kind, "slow down", status, 200)


def sse(*events: Any, done: bool = False) -> bytes:
    """Events as a stream's bytes."""
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {line}\n\n" for line in [*lines, *(["[DONE]"] if done else [])]).encode()


def read(where: Endpoint, stream: bytes) -> tuple[ReplyStream, list[StreamChunk]]:
    """The decoder after the whole stream, and its chunks."""
    decoder = ReplyStream(where, "id")
    return decoder, decoder.feed(stream) + decoder.close()


def delta(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    """An event of an OpenAI-like stream."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


OPENAI_EVENTS = [
    delta(content="H"),
    delta(content="i", finish_reason="stop"),
    {"choices": [], "usage": OPENAI["usage"]},
]
MESSAGES_EVENTS = [
    {"type": "message_start", "message": {"type": "message", "usage": {"input_tokens": 5, "output_tokens": 1}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
PING = {"type": "ping"}


@pytest.mark.parametrize("done", [True, False], ids=["[DONE]", "no [DONE]"])
@pytest.mark.parametrize(
    "where, events",
    [
        *((where, OPENAI_EVENTS) for where in EVERYWHERE if where is not NATIVE),
        *((where, MESSAGES_EVENTS) for where in EVERYWHERE),
        (endpoint(), [PING, *MESSAGES_EVENTS]),
        (endpoint(), [{"choices": []}, *MESSAGES_EVENTS]),
        (endpoint(), [GOOGLE]),
    ],
)
def test_a_stream_is_read_whatever_shape_it_comes_in(where: Endpoint, events: list[Any], done: bool) -> None:
    """Converted or not, with or without its last line: the same answer, and nothing is taken for broken."""
    decoder, chunks = read(where, sse(*events, done=done))
    assert decoder.reply() == ANSWER
    assert ("".join(chunk.content for chunk in chunks), decoder.broken_event, decoder.error()) == ("Hi", False, None)


@pytest.mark.parametrize("word", ["message_start", "candidates", "promptFeedback", "ping", '{"type":"message_start"}'])
@pytest.mark.parametrize("first", [[], [delta(role="assistant", content="")]], ids=["at once", "after the role"])
def test_an_answer_that_talks_of_shapes_does_not_change_them(first: list[Any], word: str) -> None:
    """Text that spells an event's name is text: the shape is in the fields."""
    decoder, _ = read(endpoint(), sse(*first, delta(content=word), delta(content=word, finish_reason="stop")))
    assert (decoder.text, decoder.finish_reason, decoder.broken_event) == (word * 2, "stop", False)


def test_tool_calls_are_put_together() -> None:
    """Pieces are joined per call; an id or a name that is repeated is not doubled."""
    pieces = [
        {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}},
        {"index": 1, "id": "c2", "function": {"name": "g", "arguments": ""}},
        {"index": 0, "id": "c1", "function": {"name": "f", "arguments": ":1}"}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    events = [delta(tool_calls=[piece]) for piece in pieces]
    decoder, _ = read(endpoint(), sse(*events, delta(finish_reason="tool_calls")))
    assert decoder.reply().tool_calls == (
        ToolCall(id="c1", name="f", arguments='{"a":1}'),
        ToolCall(id="c2", name="g", arguments="{}"),
    )


def test_a_streamed_answer_tool_is_taken_like_a_whole_one() -> None:
    """Structured output by a tool call works over a stream."""
    call = {"index": 0, "id": "c1", "function": {"name": "answer", "arguments": '{"a":1}'}}
    decoder, _ = read(endpoint(), sse(delta(tool_calls=[call]), delta(finish_reason="tool_calls")))
    reply = take_answer(decoder.reply())
    assert (reply.content, reply.tool_calls, reply.finish_reason) == ('{"a":1}', (), "stop")


@pytest.mark.parametrize(
    "delta_fields, has_content",
    [
        ({"role": "assistant", "content": ""}, False),
        ({"content": "x"}, True),
        ({"reasoning": "x"}, True),
        ({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}, True),
    ],
)
def test_content_is_text_thought_or_a_call(delta_fields: dict[str, Any], has_content: bool) -> None:
    """After any of them a broken stream can no longer be begun anew elsewhere."""
    assert read(endpoint(), sse(delta(**delta_fields)))[0].has_content is has_content


@pytest.mark.parametrize("where, events", [(endpoint(), OPENAI_EVENTS[:1]), (NATIVE, MESSAGES_EVENTS[:2])])
def test_a_cut_stream_is_partial(where: Endpoint, events: list[Any]) -> None:
    """Without a finish reason the answer is not whole, `[DONE]` or not; it has no usage, only what was observed."""
    decoder, _ = read(where, sse(*events, done=True))
    reply = decoder.reply()
    assert (reply.partial, reply.finish_reason, reply.usage) == (True, None, None)
    assert decoder.observed == (TokenCounts(input=5, output=1) if where is NATIVE else None)


def test_nothing_is_known_before_the_first_event() -> None:
    """An empty stream is an empty partial answer without an error."""
    decoder, chunks = read(endpoint(), b"")
    assert (chunks, decoder.observed, decoder.finish_reason, decoder.error(), decoder.has_content) == (
        [], None, None, None, False,
    )  # fmt: skip
    assert decoder.reply() == Reply(content="", finish_reason=None, usage=None, partial=True)


@pytest.mark.parametrize("where", EVERYWHERE, ids=str)
@pytest.mark.parametrize(
    "broken",
    [
        b'data: {"choices":[{"del',
        b"data: \xff\n\n",
        b"data: oops\n\n",
        b'data: {"choices":' + b"[" * 100_000,
        b'data: {"more":' + b"[" * 100_000,
    ],
)
def test_an_event_that_cannot_be_read_marks_the_stream(where: Endpoint, broken: bytes) -> None:
    """What came before is kept, the rest is known to be damaged."""
    events = MESSAGES_EVENTS[:2] if where is NATIVE else [delta(content="Hi")]
    decoder, _ = read(where, sse(*events) + broken)
    assert (decoder.text, decoder.broken_event) == ("Hi", True)


@pytest.mark.parametrize("where", EVERYWHERE, ids=str)
@pytest.mark.parametrize(
    "event, kind, status, retry_safe",
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, ProviderError, None, True),
        ({"error": {"type": "server_error", "message": "no"}}, ProviderError, None, True),
        ({"error": {"message": "no", "code": 503}}, ProviderError, 503, True),
        (
            {"error": {"message": "no", "code": "context_length_exceeded", "type": "invalid_request_error"}},
            ProviderError,
            400,
            False,
        ),
        ({"error": {"message": "no", "type": "rate_limit_error"}}, RateLimitExceededError, 429, True),
        ({"error": {"message": "no", "type": "insufficient_quota"}}, InsufficientCreditsError, 429, False),
        ({"error": {"message": "no"}}, ProviderError, None, False),
        ({"error": "no"}, ProviderError, None, False),
    ],
)
def test_an_error_event_becomes_the_error_it_tells_of(
    where: Endpoint, event: dict[str, Any], kind: type[HeliconeError], status: int | None, retry_safe: bool
) -> None:
    """Also as the first event, in any shape; the stream has then not finished."""
    decoder, chunks = read(where, sse(event, done=True))
    error = decoder.error()
    assert error is not None
    assert (type(error), error.message, error.status_code, error.retry_safe, error.http_status, error.request_id) == (
        kind, "no", status, retry_safe, 200, "id",
    )  # fmt: skip
    assert (chunks, decoder.finish_reason, decoder.broken_event) == ([], None, False)


def test_a_whole_answer_to_a_stream_is_one_chunk() -> None:
    """`stream: true` answered with plain JSON: everything at once, and the same reply at the end."""
    decoder = ReplyStream(endpoint(), "id")
    reply = Reply(
        content="Hi", finish_reason=None, usage=TokenCounts(input=5, output=2), reported_cost_usd=0.5,
        served_model="m-1", reasoning="hm", tool_calls=(ToolCall(id="c", name="f", arguments="{}"),),
    )  # fmt: skip
    chunks = decoder.whole(reply)
    assert [(c.content, c.reasoning, c.finish_reason, c.tool_calls[0].arguments) for c in chunks] == [
        ("Hi", "hm", "stop", "{}")
    ]
    assert decoder.reply() == msgspec.structs.replace(reply, finish_reason="stop")
