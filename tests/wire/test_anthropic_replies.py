"""Whole replies and streams in the Messages shape, told in OpenAI's words."""

import json
from typing import Any

import msgspec
import pytest

from genops_helicone_async._values import Reply, TokenCounts
from genops_helicone_async._wire.anthropic_shape import AnthropicStream, decode_messages
from genops_helicone_async.models import StreamChunk, ToolCall, ToolCallDelta

USAGE = {"input_tokens": 5, "output_tokens": 2}
COUNTED = TokenCounts(input=5, output=2)


def whole(*content: dict[str, Any], **body: Any) -> Reply | None:
    """The reply in a body with these blocks."""
    return decode_messages(json.dumps({"type": "message", "content": content, **body}).encode())


def test_a_whole_reply_in_full() -> None:
    """Texts are joined, thoughts stand apart, tool inputs keep their text, and the cache counts as input."""
    assert whole(
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "redacted_thinking", "data": "y"},
        {"type": "text", "text": "Let me "},
        {"type": "text", "text": "see.", "citations": []},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1, {"b": "ü"}]}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
        model="claude-haiku-4-5-20251001",
        stop_reason="tool_use",
        usage={"input_tokens": 1, "cache_read_input_tokens": 4, "output_tokens": 2},
    ) == Reply(
        content="Let me see.",
        finish_reason="tool_calls",
        usage=TokenCounts(input=5, output=2, cached=4),
        tool_calls=(
            ToolCall(id="t1", name="f", arguments='{"a": [1, {"b": "\\u00fc"}]}'),
            ToolCall(id="t2", name="g", arguments="{}"),
        ),
        reasoning="hm",
        served_model="claude-haiku-4-5-20251001",
    )


def test_what_a_sparse_reply_leaves_out_is_unknown() -> None:
    """No content, usage, model or reason: an empty answer that has not said that it ended."""
    assert whole() == Reply(content="", finish_reason=None, usage=None)


def test_a_tool_that_ran_on_their_side_is_no_call_for_the_caller() -> None:
    """Server tools and their results are not the caller's to answer."""
    reply = whole(
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
        {"type": "text", "text": "Found."},
    )
    assert reply == Reply(content="Found.", finish_reason=None, usage=None)


@pytest.mark.parametrize("usage", [None, "n/a", {"input_tokens": "5"}, {"output_tokens": 3}])
def test_a_senseless_usage_leaves_the_answer(usage: Any) -> None:
    """The answer was paid for: it is not lost because its usage is broken."""
    assert whole({"type": "text", "text": "Hi"}, usage=usage) == Reply(content="Hi", finish_reason=None, usage=None)


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "something_new"),
        ("", None),
        (None, None),
    ],
)
def test_stop_reasons_are_told_in_openais_words(theirs: str | None, ours: str | None) -> None:
    """Whole replies and streams agree; a reason we do not know is passed on."""
    stream = AnthropicStream()
    stream.event(json.dumps({"type": "message_delta", "delta": {"stop_reason": theirs}}).encode())
    reply = whole(stop_reason=theirs)
    assert reply is not None
    assert (reply.finish_reason, stream.finish_reason) == (ours, ours)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "error", "error": {"type": "overloaded_error"}},
        {"type": "message"},
        {"content": []},
        {"choices": [{"message": {"content": "Hi"}}]},
    ],
)
def test_what_is_no_message_is_none(body: dict[str, Any]) -> None:
    """Errors and other shapes are left to those who know them."""
    assert decode_messages(json.dumps(body).encode()) is None


class Streamed:
    """A stream decoder fed with events given as JSON values."""

    def __init__(self) -> None:
        self.decoder = AnthropicStream()

    def event(self, kind: str | None, **fields: Any) -> StreamChunk | None:
        """One event."""
        return self.decoder.event(json.dumps({"type": kind, **fields}).encode())

    def start(self, **usage: Any) -> StreamChunk | None:
        """The first event."""
        return self.event(
            "message_start", message={"type": "message", "model": "claude-x", "content": [], "usage": usage}
        )

    def block(self, index: int, **block: Any) -> StreamChunk | None:
        """The start of a block."""
        return self.event("content_block_start", index=index, content_block=block)

    def delta(self, index: int, **delta: Any) -> StreamChunk | None:
        """A piece of a block."""
        return self.event("content_block_delta", index=index, delta=delta)

    def end(self, reason: str | None = "end_turn", **fields: Any) -> StreamChunk | None:
        """The event that ends the answer."""
        return self.event("message_delta", delta={"stop_reason": reason}, **fields)


def test_a_stream_of_thoughts_text_and_a_tool() -> None:
    """Each block's pieces come as chunks of their kind; pings, signatures and stops add nothing."""
    stream = Streamed()
    chunks = [
        stream.start(input_tokens=5, output_tokens=1),
        stream.event("ping"),
        stream.block(0, type="thinking", thinking=""),
        stream.delta(0, type="thinking_delta", thinking="hm"),
        stream.delta(0, type="signature_delta", signature="x"),
        stream.event("content_block_stop", index=0),
        stream.block(1, type="text", text=""),
        stream.delta(1, type="text_delta", text="Hi"),
        stream.delta(1, type="citations_delta", citation={}),
        stream.block(2, type="tool_use", id="t1", name="f", input={}),
        stream.delta(2, type="input_json_delta", partial_json=""),
        stream.delta(2, type="input_json_delta", partial_json='{"a":1}'),
        stream.end("tool_use", usage={"output_tokens": 2}),
        stream.event("message_stop"),
    ]
    assert [chunk for chunk in chunks if chunk is not None] == [
        StreamChunk(reasoning="hm"),
        StreamChunk(content="Hi"),
        StreamChunk(tool_calls=(ToolCallDelta(index=0, id="t1", name="f"),)),
        StreamChunk(tool_calls=(ToolCallDelta(index=0, arguments='{"a":1}'),)),
        StreamChunk(finish_reason="tool_calls"),
    ]
    decoder = stream.decoder
    assert (decoder.usage, decoder.served_model, decoder.error) == (COUNTED, "claude-x", None)


def test_calls_are_numbered_among_themselves() -> None:
    """Anthropic numbers all blocks; the caller's calls count from 0, and server tools have no number."""
    stream = Streamed()
    stream.block(0, type="text", text="")
    stream.block(1, type="server_tool_use", id="s1", name="web_search", input={})
    search = stream.delta(1, type="input_json_delta", partial_json='{"query":"x"}')
    places = [stream.block(index, type="tool_use", id=f"t{index}", name="f") for index in (3, 5)]
    piece = stream.delta(5, type="input_json_delta", partial_json="{}")
    assert [search, *places, piece] == [
        None,
        StreamChunk(tool_calls=(ToolCallDelta(index=0, id="t3", name="f"),)),
        StreamChunk(tool_calls=(ToolCallDelta(index=1, id="t5", name="f"),)),
        StreamChunk(tool_calls=(ToolCallDelta(index=1, arguments="{}"),)),
    ]


def test_text_in_a_blocks_start_is_not_lost() -> None:
    """A block may begin with text already in it."""
    assert Streamed().block(0, type="text", text="Hi") == StreamChunk(content="Hi")


def test_the_input_is_observed_before_the_output_is_counted() -> None:
    """After the first event the input is exact, but there is no usage until the end tells the output."""
    stream = Streamed()
    stream.start(input_tokens=86, cache_read_input_tokens=1920, cache_creation_input_tokens=500, output_tokens=1)
    known = (stream.decoder.usage, stream.decoder.observed)
    stream.end(usage={"output_tokens": 300})
    total = TokenCounts(input=2506, output=300, cached=1920, cache_write=500)
    assert (known, stream.decoder.usage, stream.decoder.observed) == (
        (None, TokenCounts(input=2506, output=1, cached=1920, cache_write=500)), total, total,
    )  # fmt: skip


@pytest.mark.parametrize("at_the_end", [{}, {"usage": None}, {"usage": "n/a"}])
def test_a_stream_without_an_end_count_has_no_usage(at_the_end: dict[str, Any]) -> None:
    """The single output token of the first event is never taken for the whole output."""
    stream = Streamed()
    stream.start(input_tokens=5, output_tokens=1)
    stream.end(**at_the_end)
    assert (stream.decoder.usage, stream.decoder.observed) == (None, TokenCounts(input=5, output=1))


def test_later_figures_replace_earlier_ones() -> None:
    """The last event may repeat the input, corrected; what it leaves out or calls null stays."""
    stream = Streamed()
    stream.start(input_tokens=5, cache_read_input_tokens=3, output_tokens=1)
    stream.end(usage={"input_tokens": 6, "cache_read_input_tokens": None, "output_tokens": 2})
    assert stream.decoder.usage == TokenCounts(input=9, output=2, cached=3)


def test_a_count_without_a_reason_is_still_taken() -> None:
    """Usage at the end counts even where the event has no delta."""
    stream = Streamed()
    stream.start(input_tokens=5)
    assert stream.event("message_delta", usage={"output_tokens": 2}) is None
    assert (stream.decoder.usage, stream.decoder.finish_reason) == (COUNTED, None)


@pytest.mark.parametrize("kind", ["error", None])
def test_an_error_event_is_kept_whole(kind: str | None) -> None:
    """Anthropic's own error events, and OpenAI-like ones without a type, are remembered; the first one counts."""
    stream = Streamed()
    first = {"type": kind, "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert stream.decoder.event(json.dumps(first).encode()) is None
    stream.event("error", error={"type": "api_error"})
    assert (stream.decoder.error, stream.decoder.finish_reason) == (json.dumps(first).encode(), None)


@pytest.mark.parametrize(
    "data", [b"", b"no json", b'{"type":', b"[]", b'{"type":"content_block_delta","delta":{"text":5}}']
)
def test_an_event_that_is_none_is_a_decode_error(data: bytes) -> None:
    """What cannot be an event is reported, never half understood."""
    with pytest.raises(msgspec.DecodeError):
        AnthropicStream().event(data)


@pytest.mark.parametrize(
    "kind", ["message_start", "content_block_start", "content_block_delta", "message_delta", "new"]
)
def test_an_event_without_its_fields_adds_nothing(kind: str) -> None:
    """Bare and unknown events are passed over."""
    assert Streamed().event(kind) is None
