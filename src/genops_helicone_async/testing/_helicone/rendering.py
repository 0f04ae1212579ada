"""Successful replies of the AI Gateway: converted bodies, made-up usage, Helicone's headers."""

from typing import Any

import msgspec

from .._simulated.asks import Ask
from .._simulated.prices import PUSD_PER_USD
from .._simulated.replies import Document, anthropic_reply, anthropic_usage, openai_reply, shown_usage
from .._simulated.streams import StreamScript, anthropic_script, openai_script
from .._simulated.upstream import Produced
from ..exchange import Arrival, Reply, Stream
from .attempts import Attempt
from .conversions import (
    claude_script,
    claude_usage,
    converted_reply,
    gemini_script,
    openai_shaped_usage,
    usage_in_document,
)
from .rate_limits import Verdict
from .response_cache import Hit, hit_headers


def render(arrival: Arrival, attempt: Attempt, made: Produced, ask: Ask, *, native: bool) -> Reply | Stream:
    """The reply as the AI Gateway sends it on."""
    headers = {**made.headers, **gateway_headers(arrival, attempt)}
    if ask.stream:
        script = _script(attempt, made, native=native)
        headers["Cache-Control"] = "no-cache"
        return Stream(headers=headers, script=script, meter=made.meter, pace_s=made.pace_s, fault=made.fault)
    document, content_type = _document(attempt, made, native=native)
    body = msgspec.json.encode(document)
    return Reply(headers=headers, body=body, content_type=content_type, fault=made.fault)


def render_hit(arrival: Arrival, attempt: Attempt, hit: Hit) -> Reply:
    """A stored reply under this request's own id."""
    headers = {**hit.stored.headers, **gateway_headers(arrival, attempt), **hit_headers(hit)}
    for name in [name for name in headers if name.lower().startswith("helicone-ratelimit")]:
        del headers[name]
    content_type = headers.pop("Content-Type", "application/json")
    return Reply(headers=headers, body=hit.stored.body, content_type=content_type)


def render_mock(arrival: Arrival, attempt: Attempt, document: Any, verdict: Verdict) -> Reply:
    """A `__helicone-mock-response`, its usage rewritten like any provider's."""
    if isinstance(document, dict):
        document = {**document, "usage": openai_shaped_usage(usage_in_document(document.get("usage")))}
    headers = {**gateway_headers(arrival, attempt), **verdict.headers}
    return Reply(headers=headers, body=msgspec.json.encode(document))


def gateway_headers(arrival: Arrival, attempt: Attempt) -> dict[str, str]:
    """The headers that tell who answered."""
    return {
        "Helicone-Id": arrival.request_id,
        "Helicone-Status": "success",
        "Helicone-Gateway-Mode": "PTB" if attempt.on_credits else "BYOK",
        "Helicone-Provider": attempt.provider_name,
        "Helicone-Model": attempt.model,
    }


def _is_converted_claude(attempt: Attempt) -> bool:
    # A provider asked for a model it does not offer answers in its own shape, unconverted.
    return attempt.provider.shape == "anthropic" and "claude" in attempt.model


def _openai_usage(made: Produced, ask_cost: bool) -> Document:
    cost_usd = made.cost_pusd / PUSD_PER_USD if ask_cost else None
    honest = openai_shaped_usage(made.answer.usage, cost_usd)
    # A provider that sends no usage makes the gateway invent zeros.
    return shown_usage(honest, made.fault) or openai_shaped_usage(None)


def _document(attempt: Attempt, made: Produced, *, native: bool) -> tuple[Document, str]:
    answer, fault = made.answer, made.fault
    finished = fault is None or fault.kind != "no_finish_reason"
    if attempt.provider.shape == "anthropic":
        if native:
            return anthropic_reply(answer, shown_usage(anthropic_usage(answer.usage), fault), fault), "application/json"
        if not _is_converted_claude(attempt):
            return anthropic_reply(answer, _openai_usage(made, ask_cost=False), fault), "application/json"
        usage = shown_usage(claude_usage(answer.usage, streamed=False), fault)
        reply_id = f"msg_sandbox{answer.serial:08d}"
        return converted_reply(answer, reply_id, usage, finished=finished), "application/json"
    usage = _openai_usage(made, ask_cost=attempt.provider.name == "openrouter")
    if attempt.provider.shape == "gemini":
        document = converted_reply(answer, f"sandbox{answer.serial:08d}", usage, finished=finished)
        document["system_fingerprint"] = answer.model
        return document, "application/json; charset=UTF-8"
    return openai_reply(answer, usage, fault), "application/json"


def _script(attempt: Attempt, made: Produced, *, native: bool) -> StreamScript:
    answer, fault = made.answer, made.fault
    if attempt.provider.shape == "anthropic":
        if native or not _is_converted_claude(attempt):
            usage = shown_usage(anthropic_usage(answer.usage), fault)
            return anthropic_script(answer, usage)
        return claude_script(answer, shown_usage(claude_usage(answer.usage, streamed=True), fault))
    if attempt.provider.shape == "gemini":
        return gemini_script(answer, _openai_usage(made, ask_cost=False))
    usage = _openai_usage(made, ask_cost=attempt.provider.name == "openrouter")
    script = openai_script(answer, usage, include_usage=True)
    return msgspec.structs.replace(script, ends_with_done=True)
