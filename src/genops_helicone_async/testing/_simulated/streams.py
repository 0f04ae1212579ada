"""Streamed replies in the providers' own shapes, as a list of server-sent events with their tokens."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from .answers import Answer, Choice
from .replies import GEMINI_REASONS, STOP_REASONS, Document, gemini_parts, openai_id
from .tokens import split_tokens

DONE = b"data: [DONE]\n\n"

PieceKind = Literal["open", "content", "finish", "usage", "done"]


class Piece(msgspec.Struct, frozen=True):
    """One server-sent event, and the output tokens the model had written to make it."""

    kind: PieceKind
    data: bytes
    tokens: int = 0


class StreamScript(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as it would run undisturbed, and how it would word an error in the middle."""

    pieces: list[Piece]
    error_event: Callable[[str], bytes]
    ends_with_done: bool = False
    """The AI Gateway closes every stream with `[DONE]`, also one its provider cut short."""
    content_type: str = "text/event-stream; charset=utf-8"


def data_event(document: Any) -> bytes:
    """One unnamed event."""
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


def named_event(document: Document) -> bytes:
    """One event named after its type, as Anthropic sends them."""
    return f"event: {document['type']}\n".encode() + data_event(document)


def openai_error_event(message: str) -> bytes:
    """An error in the middle of an OpenAI-shaped stream."""
    return data_event({"error": {"message": message, "type": "server_error", "param": None, "code": None}})


def anthropic_error_event(message: str) -> bytes:
    """An error in the middle of an Anthropic stream."""
    return named_event({"type": "error", "error": {"type": "overloaded_error", "message": message}})


def gemini_error_event(message: str) -> bytes:
    """An error in the middle of a Gemini stream."""
    return data_event({"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}})


def openai_script(
    answer: Answer, usage: Document | None, *, include_usage: bool, done: bool = True, on_finish: bool = False
) -> StreamScript:
    """A stream of `chat.completion.chunk`s; usage comes in a chunk of its own when asked for.

    With `on_finish` it comes, asked for or not, on the last chunk with a choice.
    """
    include_usage = include_usage and not on_finish
    head: Document = {
        "id": openai_id(answer),
        "object": "chat.completion.chunk",
        "created": answer.created,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }
    tail = {"usage": None} if include_usage else {}

    def chunk(index: int, delta: Document, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        last = finish and index == len(answer.choices) - 1
        told = {"usage": usage} if on_finish and last and usage is not None else tail
        return data_event({**head, "choices": [choice], **told})

    pieces: list[Piece] = []
    for index, choice in enumerate(answer.choices):
        thought = answer.usage.reasoning_tokens if index == 0 else 0
        opening = {"role": "assistant", "content": None if choice.tool_call else "", "refusal": None}
        pieces.append(Piece("open", chunk(index, opening), thought))
        pieces += [Piece("content", chunk(index, delta), tokens) for delta, tokens in openai_deltas(choice)]
        pieces.append(Piece("finish", chunk(index, {}, choice.finish)))
    if include_usage and usage is not None:
        pieces.append(Piece("usage", data_event({**head, "choices": [], "usage": usage})))
    if done:
        pieces.append(Piece("done", DONE))
    return StreamScript(pieces=pieces, error_event=openai_error_event)


def openai_deltas(choice: Choice) -> Iterator[tuple[Document, int]]:
    """Deltas of one choice with the tokens each stands for."""
    if call := choice.tool_call:
        function = {"name": call.name, "arguments": ""}
        first = {"index": 0, "id": f"call_{call.id}", "type": "function", "function": function}
        yield {"tool_calls": [first]}, 0
        for piece in call.pieces:
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, 1
        return
    for piece in choice.pieces:
        yield {"content": piece}, 1


def anthropic_script(answer: Answer, usage: Document | None) -> StreamScript:
    """A stream of Anthropic events; usage opens in `message_start` and ends in `message_delta`."""
    choice = answer.first
    message: Document = {
        "id": f"msg_sandbox{answer.serial:08d}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    if usage is not None:
        opening = {name: value for name, value in usage.items() if name != "service_tier"}
        message["usage"] = {**opening, "output_tokens": 1}
    pieces = [Piece("open", named_event({"type": "message_start", "message": message}))]
    for index, (block, deltas) in enumerate(_anthropic_blocks(answer, choice)):
        start = {"type": "content_block_start", "index": index, "content_block": block}
        pieces.append(Piece("open", named_event(start)))
        if index == 0:
            pieces.append(Piece("open", named_event({"type": "ping"})))
        for delta in deltas:
            event = {"type": "content_block_delta", "index": index, "delta": delta}
            pieces.append(Piece("content", named_event(event), 1))
        pieces.append(Piece("open", named_event({"type": "content_block_stop", "index": index})))
    ending = {"stop_reason": STOP_REASONS[choice.finish], "stop_sequence": None}
    closing: Document = {"type": "message_delta", "delta": ending}
    if usage is not None:
        closing["usage"] = {"output_tokens": usage["output_tokens"]}
    pieces.append(Piece("finish", named_event(closing)))
    pieces.append(Piece("done", named_event({"type": "message_stop"})))
    return StreamScript(pieces=pieces, error_event=anthropic_error_event)


def _anthropic_blocks(answer: Answer, choice: Choice) -> Iterator[tuple[Document, list[Document]]]:
    if answer.reasoning:
        thoughts = split_tokens(answer.reasoning)
        deltas: list[Document] = [{"type": "thinking_delta", "thinking": thought} for thought in thoughts]
        yield {"type": "thinking", "thinking": "", "signature": ""}, deltas
    if choice.pieces:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in choice.pieces]
    if call := choice.tool_call:
        block = {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": {}}
        yield block, [{"type": "input_json_delta", "partial_json": piece} for piece in call.pieces]


def gemini_script(answer: Answer, usage: Document | None) -> StreamScript:
    """A stream of `GenerateContentResponse`s, as with `alt=sse`; lines end in CRLF as Google sends them."""
    choice = answer.first
    tail: Document = {"modelVersion": answer.model, "responseId": f"sandbox{answer.serial:08d}"}

    def event(parts: list[Document], finish: str | None = None) -> bytes:
        candidate: Document = {"content": {"parts": parts, "role": "model"}}
        if finish:
            candidate["finishReason"] = finish
        document: Document = {"candidates": [{**candidate, "index": 0}]}
        if finish and usage is not None:
            document["usageMetadata"] = usage
        return data_event({**document, **tail})[:-2] + b"\r\n\r\n"

    thought = answer.usage.reasoning_tokens
    if choice.tool_call:
        spoken = [Piece("content", event(gemini_parts(choice)), thought + len(choice.tool_call.pieces))]
    else:
        spoken = [
            Piece("content", event([{"text": piece}]), 1 + (0 if number else thought))
            for number, piece in enumerate(choice.pieces)
        ]
    closing = Piece("finish", event([{"text": ""}], GEMINI_REASONS[choice.finish]))
    return StreamScript(pieces=[*spoken, closing], error_event=gemini_error_event, content_type="text/event-stream")
