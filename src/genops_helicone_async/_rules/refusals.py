"""Why a provider refused the content of a request: too long for its context window, or against its policy.

Some providers say so in a code, others only in the message; the AI Gateway passes on the message and replaces the
code by `request_failed`. The wordings are those of OpenAI, Azure, Anthropic, Google, Mistral, Groq, xAI, DeepSeek,
Cohere, Together, Amazon Bedrock and vLLM.
"""

from __future__ import annotations

import re

from ..errors import HeliconeError, ProviderError, RateLimitExceededError

_STATUS = frozenset({None, 400, 413, 422})
_TOO_LONG_CODES = frozenset({"context_length_exceeded", "string_above_max_length", "request_too_large"})
_TOO_LONG = re.compile(
    r"(?:maximum|max|exceeds?(?: the)?(?: model'?s)?|larger than the) (?:context|prompt) (?:length|window|limit|size)"
    r"|context[ _](?:length|window|limit)[^.]{0,40} exceed|exceed[^.]{0,60} context (?:length|window|limit)"
    r"|prompt is too long|input is too long for|too many (?:input )?tokens"
    r"|(?:input|prompt) token count[^.]{0,40} exceeds|too large for model with"
    r"|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE,
)
_POLICY_CODES = frozenset(
    {
        *("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "moderation_blocked"),
        *("invalid_prompt", "content_blocked", "safety"),
    }
)
_POLICY = re.compile(
    r"content (?:management|filtering|policy|safety)[^.]{0,20}(?:policy|polic|violat|filter|block)"
    r"|content filtering policy|violat\w+ [^.]{0,40}(?:polic|guideline|terms)"
    r"|flagged [^.]{0,60}(?:polic|moderation|violat)|rejected (?:as a result of|by) [^.]{0,30}safety"
    r"|blocked (?:by|due to) [^.]{0,40}(?:safety|polic|content|filter)",
    re.IGNORECASE,
)


def is_too_long(error: HeliconeError) -> bool:
    """Whether the request does not fit into the model's context window."""
    return error.code in _TOO_LONG_CODES or (_is_refusal(error) and _TOO_LONG.search(error.message) is not None)


def is_against_policy(error: HeliconeError) -> bool:
    """Whether the provider's content policy forbids the request, or the answer it would have got."""
    return error.code in _POLICY_CODES or (_is_refusal(error) and _POLICY.search(error.message) is not None)


def _is_refusal(error: HeliconeError) -> bool:
    """Whether a provider refused the request: other errors' messages may quote anything.

    What the gateway's own moderation refuses, which the caller asked for, it would refuse for every provider.
    """
    return (
        isinstance(error, ProviderError)
        and not isinstance(error, RateLimitExceededError)
        and not error.retry_safe
        and error.status_code in _STATUS
    )


__all__ = ["is_against_policy", "is_too_long"]
