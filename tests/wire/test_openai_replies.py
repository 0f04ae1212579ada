"""Whole replies and streams in the OpenAI shape, as servers really write them."""

import json
from typing import Any

import msgspec
import pytest

from genops_helicone_async._values import Reply, TokenCounts
from genops_helicone_async._wire.openai_shape import OpenAiStream, decode_chat
from genops_helicone_async.models import StreamChunk, ToolCall, ToolCallDelta

USAGE = {"prompt_tokens": 5, "completion_tokens": 2}
COUNTED = TokenCounts(input=5, output=2)


def whole(message: Any, *, finish_reason: Any = "stop", **body: Any) -> Reply | None:
    """The reply in a body with this message."""
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    text = json.dumps({"object": "chat.completion", "choices": [choice], **body}).encode()
    return decode_chat(text, gateway=False, provider="openai")


@pytest.mark.parametrize(
    "content, text",
    [
        ("Hello", "Hello"),
        ("", ""),
        (None, ""),
        ([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}], "Hello"),
        ([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello"}], "Hello"),
        ([{"type": "reference", "reference_ids": [1]}, {"type": "text", "text": "Hello"}], "Hello"),
        ([{"type": "text", "text": None}, {"type": "text"}, {"type": "text", "text": {"value": "x"}}, "odd"], ""),
    ],
)
def test_content_is_a_text_or_the_text_parts_of_a_list(content: Any, text: str) -> None:
    """Strings, null and lists of parts all end as one text; parts that are no text are left out."""
    reply = whole({"role": "assistant", "content": content})
    assert reply is not None
    assert reply.content == text


def test_a_whole_reply_in_full() -> None:
    """Content, usage, finish reason and the model that served are all read."""
    assert whole({"content": "Hello"}, model="gpt-4o-mini-2024-07-18", usage=USAGE) == Reply(
        content="Hello", finish_reason="stop", usage=COUNTED, served_model="gpt-4o-mini-2024-07-18"
    )


def test_a_reply_without_model_or_usage_is_a_reply() -> None:
    """What a sparse server leaves out is unknown."""
    assert whole({"content": "Hello"}) == Reply(content="Hello", finish_reason="stop", usage=None)


@pytest.mark.parametrize("usage", [None, "n/a", [], {"prompt_tokens": "5"}, {"prompt_tokens": -5}])
def test_a_senseless_usage_leaves_the_answer(usage: Any) -> None:
    """The answer was paid for: it is not lost because its usage is broken."""
    assert whole({"content": "Hello"}, usage=usage) == Reply(content="Hello", finish_reason="stop", usage=None)


def test_perplexitys_cost_object_is_read() -> None:
    """A cost told in parts gives its total."""
    usage = {**USAGE, "cost": {"input_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.006}}
    reply = whole({"content": "Hello"}, usage=usage)
    assert reply is not None
    assert (reply.usage, reply.reported_cost_usd) == (COUNTED, 0.006)


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("function_call", "tool_calls"),
        ("tool_use", "tool_calls"),
        ("end_turn", "stop"),
        ("eos", "stop"),
        ("model_length", "length"),
        ("insufficient_system_resource", "insufficient_system_resource"),
        ("", None),
        (None, None),
    ],
)
def test_finish_reasons_are_told_in_openais_words(theirs: str | None, ours: str | None) -> None:
    """Other providers' words are translated, unknown ones kept, and an empty one means it has not finished."""
    reply = whole({"content": "x"}, finish_reason=theirs)
    assert reply is not None
    assert reply.finish_reason == ours


def test_a_refusal_is_the_content() -> None:
    """What the model says instead of an answer is shown to the caller."""
    reply = whole({"content": None, "refusal": "I can't help with that."})
    assert reply is not None
    assert reply.content == "I can't help with that."


@pytest.mark.parametrize(
    "message, reasoning",
    [
        ({"reasoning_content": "hm"}, "hm"),
        ({"reasoning": "hm"}, "hm"),
        ({"reasoning_content": "", "reasoning": "hm"}, "hm"),
        ({"reasoning": {"summary": "x"}}, None),
        ({"reasoning": None}, None),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, "hm"),
        ({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "x"}]}, "hm"),
        ({"content": [{"type": "thinking", "thinking": {"odd": 1}}]}, None),
    ],
)
def test_reasoning_is_found_under_all_its_names(message: dict[str, Any], reasoning: str | None) -> None:
    """DeepSeek's, OpenRouter's and Mistral's places for thoughts are known; anything else there is none."""
    reply = whole({"content": "x", **message})
    assert reply is not None
    assert reply.reasoning == reasoning


@pytest.mark.parametrize(
    "message, calls",
    [
        (
            {"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]},
            (ToolCall(id="c1", name="f", arguments='{"a":1}'),),
        ),
        (
            {"tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}]},
            (ToolCall(id="c1", name="f", arguments='{"a":1}'),),
        ),
        ({"tool_calls": [{"function": {"name": "f"}}]}, (ToolCall(id="", name="f", arguments=""),)),
        ({"tool_calls": [{"id": "c1"}, {"id": "c2", "function": None}]}, ()),
        ({"tool_calls": []}, ()),
        ({"tool_calls": None}, ()),
        ({"function_call": {"name": "f", "arguments": "{}"}}, (ToolCall(id="", name="f", arguments="{}"),)),
    ],
)
def test_tool_calls_are_read_in_every_form(message: dict[str, Any], calls: tuple[ToolCall, ...]) -> None:
    """Arguments as text or object, without ids, and the old single `function_call`."""
    reply = whole({"content": None, **message}, finish_reason="tool_calls")
    assert reply is not None
    assert (reply.content, reply.tool_calls) == ("", calls)


def test_the_first_of_several_choices_is_the_answer() -> None:
    """With `n` above 1 the choice of index 0 counts, wherever it stands."""
    choices = [{"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}]
    reply = decode_chat(json.dumps({"choices": choices}).encode(), gateway=False, provider="openai")
    assert reply is not None
    assert reply.content == "a"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": [{"message": None}]},
        {"choices": None, "object": "chat.completion"},
        {"error": {"message": "no"}},
        {"choices": [{"message": {"content": ""}, "finish_reason": "error"}], "error": {"code": 502, "message": "x"}},
        {"type": "message", "content": [{"type": "text", "text": "Hi"}]},
    ],
)
def test_what_is_no_chat_completion_is_none(body: dict[str, Any]) -> None:
    """Errors and other shapes are left to those who know them."""
    assert decode_chat(json.dumps(body).encode(), gateway=False, provider="openai") is None


@pytest.mark.parametrize("error", [None, False, "", {}])
def test_an_empty_error_beside_an_answer_is_no_error(error: Any) -> None:
    """Servers that always write the field are believed only when it says something."""
    assert whole({"content": "x"}, error=error) == Reply(content="x", finish_reason="stop", usage=None)


class Streamed:
    """A stream decoder fed with chunks given as JSON values."""

    def __init__(self, *, gateway: bool = False, provider: str = "openai") -> None:
        self.decoder = OpenAiStream(gateway=gateway, provider=provider)

    def event(self, **chunk: Any) -> StreamChunk | None:
        """One event."""
        return self.decoder.event(json.dumps(chunk).encode())

    def delta(self, finish_reason: Any = None, index: Any = 0, **delta: Any) -> StreamChunk | None:
        """One event with one choice."""
        return self.event(choices=[{"index": index, "delta": delta, "finish_reason": finish_reason}])

    def call(self, **call: Any) -> tuple[ToolCallDelta, ...]:
        """The pieces of tool calls that one event gives."""
        chunk = self.delta(tool_calls=[call])
        return chunk.tool_calls if chunk is not None else ()


def test_a_stream_gives_its_pieces_and_remembers_how_it_ended() -> None:
    """Text, reasoning and the end come as chunks; usage and model are remembered from whichever event has them."""
    stream = Streamed()
    assert [
        stream.delta(role="assistant", content=""),
        stream.event(choices=[{"delta": {"reasoning_content": "hm"}}], model="m-1"),
        stream.delta(content="Hi"),
        stream.delta(finish_reason="stop"),
        stream.event(choices=[], usage=USAGE),
        stream.decoder.event(b"[DONE]"),
    ] == [None, StreamChunk(reasoning="hm"), StreamChunk(content="Hi"), StreamChunk(finish_reason="stop"), None, None]
    decoder = stream.decoder
    assert (decoder.finish_reason, decoder.usage, decoder.observed, decoder.served_model, decoder.error) == (
        "stop", COUNTED, COUNTED, "m-1", None,
    )  # fmt: skip


def test_an_empty_finish_reason_is_not_the_end() -> None:
    """Servers that write an empty text until the last chunk do not make a cut stream look whole."""
    stream = Streamed()
    assert stream.delta(content="Hi", finish_reason="") == StreamChunk(content="Hi")
    assert stream.decoder.finish_reason is None


def test_a_later_chunk_does_not_take_the_end_back() -> None:
    """Once a reason was given it stays."""
    stream = Streamed()
    stream.delta(finish_reason="length")
    stream.delta(content="")
    assert stream.decoder.finish_reason == "length"


def test_usage_may_come_in_any_chunk_and_the_last_wins() -> None:
    """Running totals are replaced; a chunk without any, or with null, changes nothing."""
    stream = Streamed()
    stream.event(choices=[{"delta": {"content": "a"}}], usage={"prompt_tokens": 5, "completion_tokens": 1})
    stream.event(choices=[{"delta": {}, "finish_reason": "stop"}], usage={**USAGE, "cost": 0.25})
    stream.event(choices=[], usage=None)
    stream.event(choices=[{"delta": {}}])
    assert (stream.decoder.usage, stream.decoder.reported_cost_usd) == (COUNTED, 0.25)


def test_a_reported_cost_outlives_a_usage_without_one() -> None:
    """A cost that was told once is not forgotten over a later usage."""
    stream = Streamed(provider="openrouter")
    stream.event(choices=[], usage={**USAGE, "cost": 0.25})
    stream.event(choices=[], usage=USAGE)
    assert stream.decoder.reported_cost_usd == 0.25


def test_the_gateways_streamed_claude_counts_cached_tokens_once() -> None:
    """The decoder knows that it reads a stream of the AI Gateway."""
    stream = Streamed(gateway=True, provider="anthropic")
    stream.event(
        choices=[], usage={"prompt_tokens": 30, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 20}}
    )
    assert stream.decoder.usage == TokenCounts(input=30, output=1, cached=20)


@pytest.mark.parametrize("index", [1, 7])
def test_other_choices_are_ignored(index: int) -> None:
    """With `n` above 1 only the first choice is the answer, also for the end."""
    stream = Streamed()
    assert stream.delta(index=index, content="other", finish_reason="stop") is None
    assert stream.decoder.finish_reason is None


def test_the_first_choice_is_found_beside_others() -> None:
    """Several choices in one chunk: the one of index 0, or without an index, is the answer."""
    choices = [{"index": 1, "delta": {"content": "b"}}, {"index": None, "delta": {"content": "a"}}]
    assert Streamed().event(choices=choices) == StreamChunk(content="a")


def test_a_tool_call_in_pieces() -> None:
    """Id and name come once, arguments piece by piece, each under the call's index."""
    stream = Streamed()
    assert [
        stream.call(index=0, id="c1", type="function", function={"name": "f", "arguments": ""}),
        stream.call(index=0, function={"arguments": '{"a"'}),
        stream.call(index=1, id="c2", function={"name": "g", "arguments": ""}),
        stream.call(index=0, function={"arguments": ":1}"}),
    ] == [
        (ToolCallDelta(index=0, id="c1", name="f"),),
        (ToolCallDelta(index=0, arguments='{"a"'),),
        (ToolCallDelta(index=1, id="c2", name="g"),),
        (ToolCallDelta(index=0, arguments=":1}"),),
    ]


def test_calls_that_share_an_index_are_told_apart_by_their_ids() -> None:
    """Gemini's OpenAI-like stream gives every call the index 0, or none: another id and name is another call."""
    stream = Streamed(provider="gemini")
    places = [
        stream.call(**({} if index is None else {"index": index}), id=name, function={"name": name, "arguments": "{}"})
        for index, name in ((0, "a"), (0, "b"), (None, "c"))
    ]
    assert [deltas[0].index for deltas in places] == [0, 1, 2]


def test_an_id_repeated_on_every_piece_is_one_call() -> None:
    """Servers that say id and name each time mean the same call."""
    stream = Streamed()
    pieces = [stream.call(index=0, id="c1", function={"name": "f", "arguments": text}) for text in ("{", "}")]
    assert [(deltas[0].index, deltas[0].arguments) for deltas in pieces] == [(0, "{"), (0, "}")]


def test_the_old_function_call_is_streamed_too() -> None:
    """A single `function_call` in pieces reads as one tool call."""
    stream = Streamed()
    chunks = [stream.delta(function_call=part) for part in ({"name": "f", "arguments": ""}, {"arguments": "{}"})]
    assert chunks == [
        StreamChunk(tool_calls=(ToolCallDelta(index=0, name="f"),)),
        StreamChunk(tool_calls=(ToolCallDelta(index=0, arguments="{}"),)),
    ]


@pytest.mark.parametrize("error", [{"message": "overloaded", "code": 503}, "overloaded"])
def test_an_error_event_is_kept_whole(error: Any) -> None:
    """The first error's bytes are remembered for those who classify it; it adds no text."""
    stream = Streamed()
    assert stream.event(error=error, choices=[{"delta": {"content": ""}, "finish_reason": "error"}]) is None
    first = stream.decoder.error
    stream.event(error={"message": "second"})
    assert (first, stream.decoder.error == first, stream.decoder.finish_reason) == (
        json.dumps({"error": error, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}).encode(),
        True,
        None,
    )


@pytest.mark.parametrize(
    "data", [b"not json", b'{"choices":', b"[]", b'"text"', b'{"choices":[{"delta":{"content":5}}]}', b""]
)
def test_an_event_that_is_no_chunk_is_a_decode_error(data: bytes) -> None:
    """What cannot be a chunk is reported, never half understood."""
    with pytest.raises(msgspec.DecodeError):
        OpenAiStream(gateway=False, provider="openai").event(data)
