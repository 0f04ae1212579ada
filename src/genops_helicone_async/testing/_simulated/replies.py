"""Whole replies in the providers' own shapes: OpenAI Chat Completions, Anthropic Messages, generateContent."""

import base64
import struct
from collections.abc import Iterable
from typing import Any

import msgspec

from ..faults import Fault
from .answers import Answer, Choice
from .catalogue import Provider
from .prices import PUSD_PER_USD, Usage

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
GEMINI_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}

Document = dict[str, Any]


def shown_usage(usage: Document | None, fault: Fault | None) -> Document | None:
    """The usage as it is shown: honest, or as a `wrong_usage` fault has it (zeros, other numbers, missing)."""
    if fault is None or fault.kind != "wrong_usage" or usage is None:
        return usage
    if fault.body == "missing":
        return None
    if isinstance(fault.body, dict):
        return {**usage, **fault.body}
    return {name: _zeroed(value) for name, value in usage.items()}


def _zeroed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _zeroed(inner) for name, inner in value.items()}
    return 0 if isinstance(value, (int, float)) else value


def openai_id(answer: Answer) -> str:
    """The reply's id."""
    return f"chatcmpl-sandbox{answer.serial:08d}"


def openai_usage(usage: Usage, provider: Provider, cost_pusd: int | None = None) -> Document:
    """Usage as an OpenAI-compatible provider reports it, with its own additions."""
    shown: Document = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    if provider.name == "deepseek":
        shown["prompt_cache_hit_tokens"] = usage.cached_tokens
        shown["prompt_cache_miss_tokens"] = usage.input_tokens - usage.cached_tokens
    elif provider.name == "groq":
        shown.update(queue_time=0.01, prompt_time=0.001, completion_time=0.02, total_time=0.021)
    if cost_pusd is not None:
        shown["cost"] = cost_pusd / PUSD_PER_USD
    return shown


def openai_reply(answer: Answer, usage: Document | None, fault: Fault | None = None) -> Document:
    """A `chat.completion`."""
    cut = fault is not None and fault.kind == "no_finish_reason"
    document: Document = {
        "id": openai_id(answer),
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [
            {
                "index": number,
                "message": openai_message(choice),
                "logprobs": None,
                "finish_reason": None if cut else choice.finish,
            }
            for number, choice in enumerate(answer.choices)
        ],
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }
    if usage is None:
        del document["usage"]
    return document


def openai_message(choice: Choice) -> Document:
    """The assistant's message."""
    message: Document = {"role": "assistant", "content": choice.text or None}
    if call := choice.tool_call:
        function = {"name": call.name, "arguments": call.arguments}
        message["tool_calls"] = [{"id": f"call_{call.id}", "type": "function", "function": function}]
    elif not choice.text:
        message["content"] = ""
    return {**message, "refusal": None, "annotations": []}


def anthropic_usage(usage: Usage) -> Document:
    """Usage as Anthropic reports it: `input_tokens` leaves cached and cache-written tokens out."""
    return {
        "input_tokens": usage.fresh_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": usage.output_tokens,
        "service_tier": "standard",
    }


def anthropic_reply(answer: Answer, usage: Document | None, fault: Fault | None = None) -> Document:
    """A `message`."""
    choice = answer.first
    content: list[Document] = []
    if answer.reasoning:
        content.append({"type": "thinking", "thinking": answer.reasoning, "signature": "c2FuZGJveA=="})
    if choice.text:
        content.append({"type": "text", "text": choice.text})
    if call := choice.tool_call:
        block = {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name}
        content.append({**block, "input": _parsed(call.arguments)})
    cut = fault is not None and fault.kind == "no_finish_reason"
    document: Document = {
        "id": f"msg_sandbox{answer.serial:08d}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": None if cut else STOP_REASONS[choice.finish],
        "stop_sequence": None,
    }
    return document if usage is None else {**document, "usage": usage}


def gemini_usage(usage: Usage) -> Document:
    """Usage as `generateContent` reports it: thoughts beside candidates."""
    shown = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
    if usage.reasoning_tokens:
        shown["thoughtsTokenCount"] = usage.reasoning_tokens
    if usage.cached_tokens:
        shown["cachedContentTokenCount"] = usage.cached_tokens
    return shown


def gemini_reply(answer: Answer, usage: Document | None, fault: Fault | None = None) -> Document:
    """A `GenerateContentResponse`."""
    choice = answer.first
    candidate: Document = {"content": {"parts": gemini_parts(choice), "role": "model"}}
    if fault is None or fault.kind != "no_finish_reason":
        candidate["finishReason"] = GEMINI_REASONS[choice.finish]
    document: Document = {"candidates": [{**candidate, "index": 0}]}
    if usage is not None:
        document["usageMetadata"] = usage
    return {**document, "modelVersion": answer.model, "responseId": f"sandbox{answer.serial:08d}"}


def gemini_parts(choice: Choice) -> list[Document]:
    """The parts of a candidate."""
    if call := choice.tool_call:
        return [{"functionCall": {"name": call.name, "args": _parsed(call.arguments)}}]
    return [{"text": choice.text}]


def embeddings_reply(vectors: Iterable[list[float]], model: str, tokens: int, *, as_base64: bool) -> Document:
    """An OpenAI `list` of embeddings."""
    data = [
        {"object": "embedding", "index": number, "embedding": _packed(vector) if as_base64 else vector}
        for number, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def model_list(models: Iterable[tuple[str, str]], created: int = 1_760_000_000) -> Document:
    """An OpenAI model list from (id, owner) pairs."""
    data = [{"id": name, "object": "model", "created": created, "owned_by": owner} for name, owner in models]
    return {"object": "list", "data": data}


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _parsed(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:  # cut by max_tokens
        return {}
