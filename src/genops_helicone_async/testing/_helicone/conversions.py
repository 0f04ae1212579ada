"""Replies as the AI Gateway rewrites them: everything in OpenAI's shape, with the usage it makes up."""

from typing import Any

from .._simulated.answers import Answer, Choice
from .._simulated.prices import Usage
from .._simulated.replies import Document
from .._simulated.streams import DONE, Piece, StreamScript, data_event, openai_deltas, openai_error_event

_NO_DETAILS = {"audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}


def openai_shaped_usage(usage: Usage | None, cost_usd: float | None = None) -> Document:
    """Usage of OpenAI-shaped and Gemini replies: cached tokens counted twice in the total, absent when zero.

    A provider that sent no usage (None) yields invented zeros.
    """
    usage = usage or Usage(input_tokens=0)
    shown: Document = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens + usage.cached_tokens + usage.cache_write_tokens,
    }
    if usage.cached_tokens:
        shown["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens, "audio_tokens": 0}
    if usage.reasoning_tokens:
        shown["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens, **_NO_DETAILS}
    shown["modality_tokens"] = {}
    if cost_usd is not None:
        shown["cost"] = cost_usd
    return shown


def usage_in_document(reported: Any) -> Usage | None:
    """The usage the AI Gateway reads out of an OpenAI-shaped body, None where there is none."""
    if not isinstance(reported, dict):
        return None
    details = reported.get("prompt_tokens_details") or {}
    thinking = reported.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=_count(reported, "prompt_tokens", "input_tokens"),
        cached_tokens=_count(details, "cached_tokens"),
        output_tokens=_count(reported, "completion_tokens", "output_tokens"),
        reasoning_tokens=_count(thinking, "reasoning_tokens"),
    )


def _count(reported: Document, *names: str) -> int:
    return next((int(reported[name]) for name in names if name in reported), 0)


def claude_usage(usage: Usage, *, streamed: bool) -> Document:
    """Usage of converted Claude replies: `prompt_tokens` excludes cached tokens unless streamed."""
    cached = usage.cached_tokens if streamed else 0
    shown: Document = {
        "prompt_tokens": usage.fresh_tokens + cached,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens or usage.cache_write_tokens:
        shown["prompt_tokens_details"] = {
            "cached_tokens": usage.cached_tokens,
            "audio_tokens": 0,
            "cache_write_tokens": usage.cache_write_tokens,
            "cache_write_details": {"write_5m_tokens": usage.cache_write_tokens, "write_1h_tokens": 0},
        }
    shown["completion_tokens_details"] = {"reasoning_tokens": 0, **_NO_DETAILS}
    return shown


def converted_reply(answer: Answer, reply_id: str, usage: Document | None, *, finished: bool) -> Document:
    """A Claude or Gemini reply rebuilt as a `chat.completion`."""
    choice = answer.first
    body: Document = {
        "id": reply_id,
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [
            {
                "index": 0,
                "message": _message(answer, choice),
                "finish_reason": choice.finish if finished else None,
                "logprobs": None,
            }
        ],
    }
    return body if usage is None else {**body, "usage": usage}


def _message(answer: Answer, choice: Choice) -> Document:
    message: Document = {"role": "assistant", "content": choice.text or None}
    if call := choice.tool_call:
        function = {"name": call.name, "arguments": call.arguments}
        message["tool_calls"] = [{"id": f"toolu_{call.id}", "type": "function", "function": function}]
    if answer.reasoning:
        message["reasoning"] = answer.reasoning
        message["reasoning_details"] = [{"thinking": answer.reasoning, "signature": "c2FuZGJveA=="}]
    return message


def claude_script(answer: Answer, usage: Document | None) -> StreamScript:
    """A Claude stream converted: role chunk, deltas, finish chunk, usage chunk, `[DONE]`."""
    head: Document = {
        "id": f"msg_sandbox{answer.serial:08d}",
        "object": "chat.completion.chunk",
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": "",
    }
    choice = answer.first
    pieces = [Piece("open", _chunk(head, {"role": "assistant", "content": ""}))]
    if answer.reasoning:
        spoken = _chunk(head, {"reasoning": answer.reasoning})
        pieces.append(Piece("content", spoken, answer.usage.reasoning_tokens))
    for delta, tokens in openai_deltas(choice):
        pieces.append(Piece("content", _chunk(head, _with_call_id(delta, choice)), tokens))
    pieces.append(Piece("finish", _chunk(head, {}, choice.finish)))
    if usage is not None:
        pieces.append(Piece("usage", data_event({**head, "choices": [], "usage": usage})))
    pieces.append(Piece("done", DONE))
    # An error event of Anthropic's is dropped on the way: the client sees only the end.
    return StreamScript(pieces=pieces, error_event=lambda _: b"", ends_with_done=True)


def gemini_script(answer: Answer, usage: Document | None) -> StreamScript:
    """A Gemini stream converted: usage comes on the chunk with the `finish_reason`."""
    head: Document = {
        "id": f"chatcmpl-gemini-{answer.created}",
        "object": "chat.completion.chunk",
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": answer.model,
    }
    choice = answer.first
    pieces = [Piece("open", _chunk(head, {"role": "assistant"}), answer.usage.reasoning_tokens)]
    pieces += [Piece("content", _chunk(head, delta), tokens) for delta, tokens in openai_deltas(choice)]
    pieces.append(Piece("finish", _chunk(head, {}, choice.finish, usage)))
    pieces.append(Piece("done", DONE))
    return StreamScript(pieces=pieces, error_event=openai_error_event, ends_with_done=True)


def _chunk(head: Document, delta: Document, finish: str | None = None, usage: Document | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    document: Document = {**head, "choices": [choice]}
    if usage is not None:
        document["usage"] = usage
    return data_event(document)


def _with_call_id(delta: Document, choice: Choice) -> Document:
    # Converted Claude chunks repeat id and type of the call in every delta.
    if not choice.tool_call or "tool_calls" not in delta:
        return delta
    function = delta["tool_calls"][0]["function"]
    call_id = f"toolu_{choice.tool_call.id}"
    return {"tool_calls": [{"index": 0, "id": call_id, "type": "function", "function": function}]}
