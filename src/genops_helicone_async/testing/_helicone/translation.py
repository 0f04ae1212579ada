"""What the AI Gateway makes of a request before a provider sees it: schema check, dropped fields, defaults."""

import msgspec

from .._simulated.asks import Ask, AskRefused, anthropic_ask, openai_ask
from .._simulated.replies import Document
from .attempts import Attempt

_REFERENCE = "See API reference: https://docs.helicone.ai/rest/ai-gateway/post-v1-chat-completions"
_KNOWN_KEYS = frozenset(
    {
        *("messages", "model", "stream", "stream_options", "temperature", "top_p", "max_tokens"),
        *("max_completion_tokens", "n", "stop", "seed", "user", "metadata", "logit_bias", "logprobs"),
        *("top_logprobs", "frequency_penalty", "presence_penalty", "response_format", "tools"),
        *("tool_choice", "parallel_tool_calls", "reasoning_effort", "reasoning_options", "service_tier"),
        *("store", "modalities", "prediction", "verbosity", "plugins", "context_editing", "functions"),
        *("function_call", "prompt_cache_key", "safety_identifier", "prompt_id", "inputs", "environment"),
        *("version_id", "cache_control"),
    }
)
_NOT_FOR_CLAUDE = frozenset(
    {
        *("response_format", "seed", "n", "logprobs", "top_logprobs", "frequency_penalty"),
        *("presence_penalty", "parallel_tool_calls", "thinking", "service_tier", "metadata"),
    }
)
_CLAUDE_MAX_TOKENS = 4096


class Refused(Exception):
    """The gateway refuses to translate the request; the attempt fails with a 400."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def schema_problem(body: Document) -> str | None:
    """The first problem that calls on Helicone's credits are refused for; own keys are not checked."""
    if "messages" in body and not isinstance(body["messages"], list):
        return f"messages: Invalid input: expected array. {_REFERENCE}"
    if "messages" not in body:
        return f"messages: Invalid input: expected array, received undefined. {_REFERENCE}"
    unknown = [name for name in body if name not in _KNOWN_KEYS]
    if unknown:
        keys = ", ".join(f'"{name}"' for name in unknown)
        plural = "s" if len(unknown) > 1 else ""
        return f"request: Unrecognized key{plural}: {keys}. {_REFERENCE}"
    return None


def provider_ask(body: Document, attempt: Attempt, *, native: bool) -> Ask:
    """The request as the provider gets it.

    Raises:
        Refused: The gateway cannot translate it, or the provider would answer 400.
    """
    try:
        if attempt.provider.shape == "anthropic":
            if native:
                return anthropic_ask({**body, "model": attempt.model})
            return _claude_ask(body, attempt.model)
        ask = openai_ask(body, attempt.model)
    except AskRefused as error:
        raise Refused(error.message) from error
    # The gateway asks for usage whether the caller did or not, and OpenRouter for its cost.
    reports_cost = attempt.provider.name == "openrouter"
    return msgspec.structs.replace(ask, include_usage=True, reports_cost=reports_cost)


def _claude_ask(body: Document, model: str) -> Ask:
    if "logit_bias" in body:
        raise Refused("Logit bias is not supported")
    choice = body.get("tool_choice")
    if choice == "required":
        raise Refused("Unsupported tool_choice string: required")
    kept = {name: value for name, value in body.items() if name not in _NOT_FOR_CLAUDE}
    if choice == "none":
        kept["tool_choice"] = "auto"
    ask = openai_ask(kept, model)
    # Without a mark of the caller's own the gateway marks the last block for Anthropic's prompt cache.
    return msgspec.structs.replace(
        ask, include_usage=True, marks_cache=True, max_tokens=ask.max_tokens or _CLAUDE_MAX_TOKENS
    )
