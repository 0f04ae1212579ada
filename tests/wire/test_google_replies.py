"""Replies in Google's generateContent shape, which a gateway may pass on unconverted."""

import json
from typing import Any

import pytest

from genops_helicone_async._values import Reply, TokenCounts
from genops_helicone_async._wire.google_shape import GoogleStream, decode_generate_content
from genops_helicone_async.models import StreamChunk, ToolCall, ToolCallDelta

USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 5, "thoughtsTokenCount": 2}


def body(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> bytes:
    """A body with one candidate of these parts."""
    return json.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": finish}], **more}).encode()


def test_a_whole_reply_in_full() -> None:
    """Texts are joined, thoughts stand apart, calls get ids where they have none."""
    parts: list[dict[str, Any]] = [
        {"text": "hm", "thought": True},
        {"text": "Hel"},
        {"text": "lo"},
        {"functionCall": {"name": "f", "args": {"a": 1}}},
        {"functionCall": {"name": "g", "id": "x"}},
        {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
    ]
    assert decode_generate_content(body(*parts, usageMetadata=USAGE, modelVersion="gemini-2.5-flash")) == Reply(
        content="Hello",
        finish_reason="tool_calls",
        usage=TokenCounts(input=7, output=7, reasoning=2),
        tool_calls=(ToolCall(id="call_0", name="f", arguments='{"a":1}'), ToolCall(id="x", name="g", arguments="{}")),
        reasoning="hm",
        served_model="gemini-2.5-flash",
    )


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        (None, None),
    ],
)
def test_finish_reasons_are_told_in_openais_words(theirs: str | None, ours: str | None) -> None:
    """Everything but an end and a limit is a filter's doing; nothing said is not finished."""
    reply = decode_generate_content(body({"text": "x"}, finish=theirs))
    assert reply is not None
    assert reply.finish_reason == ours


def test_a_blocked_prompt_is_an_empty_filtered_answer() -> None:
    """No candidates but a feedback: the provider refused the prompt."""
    reply = decode_generate_content(json.dumps({"promptFeedback": {"blockReason": "SAFETY"}}).encode())
    assert reply == Reply(content="", finish_reason="content_filter", usage=None)


@pytest.mark.parametrize("usage", [None, "n/a", {"promptTokenCount": "7"}, {}])
def test_a_senseless_usage_leaves_the_answer(usage: Any) -> None:
    """The answer was paid for: it is not lost because its usage is broken."""
    assert decode_generate_content(body({"text": "x"}, usageMetadata=usage)) == Reply(
        content="x", finish_reason="stop", usage=None
    )


def test_a_candidate_without_content_is_empty() -> None:
    """A limit reached while thinking leaves no parts at all."""
    reply = decode_generate_content(b'{"candidates":[{"finishReason":"MAX_TOKENS"}]}')
    assert reply == Reply(content="", finish_reason="length", usage=None)


def test_what_is_no_such_reply_is_none() -> None:
    """Other shapes are left to those who know them."""
    assert decode_generate_content(b'{"choices":[]}') is None


def test_a_stream_adds_up() -> None:
    """Pieces come as chunks, calls are numbered through, usage is the last one told, and the end is remembered."""
    stream = GoogleStream()
    chunks = [
        stream.event(body({"text": "hm", "thought": True}, finish=None, usageMetadata={"promptTokenCount": 7})),
        stream.event(body({"text": "Hi"}, {"functionCall": {"name": "f", "id": "a"}}, finish=None)),
        stream.event(body({"functionCall": {"name": "g", "id": "b"}}, finish=None)),
        stream.event(body(finish=None)),
        stream.event(body(finish="STOP", usageMetadata=USAGE, modelVersion="m")),
    ]
    assert chunks == [
        StreamChunk(reasoning="hm"),
        StreamChunk(content="Hi", tool_calls=(ToolCallDelta(index=0, id="a", name="f", arguments="{}"),)),
        StreamChunk(tool_calls=(ToolCallDelta(index=1, id="b", name="g", arguments="{}"),)),
        None,
        StreamChunk(finish_reason="tool_calls"),
    ]
    counted = TokenCounts(input=7, output=7, reasoning=2)
    assert (stream.usage, stream.observed, stream.served_model, stream.finish_reason) == (
        counted, counted, "m", "tool_calls",
    )  # fmt: skip


def test_an_error_event_is_kept_whole() -> None:
    """The first error's bytes are remembered for those who classify it."""
    stream, first = GoogleStream(), b'{"error":{"code":503,"status":"UNAVAILABLE"}}'
    assert [stream.event(first), stream.event(b'{"error":{"code":500}}'), stream.event(b"{}")] == [None, None, None]
    assert stream.error == first
