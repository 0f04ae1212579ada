"""Refused for its length or for its content: told by the code where there is one, else by the provider's wording."""

import pytest

from genops_helicone_async import (
    AuthenticationError,
    GatewayError,
    HeliconeError,
    ProviderError,
    RateLimitExceededError,
)
from genops_helicone_async._rules.refusals import is_against_policy, is_too_long
from genops_helicone_async._rules.retry import can_another_cure

TOO_LONG = [
    "This model's maximum context length is 128000 tokens. However, your messages resulted in 200000 tokens.",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "Please reduce the length of the messages or completion.",
    "This model's maximum prompt length is 131072 but the request contains 150000 tokens.",
    "too many tokens: total number of tokens in the prompt cannot exceed 4081",
    "Input is too long for requested model.",
]
AGAINST_POLICY = [
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "Output blocked by content filtering policy",
    "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
    "Your request was rejected as a result of our safety system.",
    "Content violates usage guidelines.",
    "The prompt was blocked due to prohibited content",
]
PLAIN = [
    "Unsupported value: 'temperature' does not support 0.2 with this model.",
    "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens",
    "Invalid 'messages[0].content': expected a string.",
    "you must provide a model parameter",
    "the JSON schema is not valid: 'policy' is not of type 'object'",
]


def refused(message: str, code: str | None = "request_failed", status: int = 400) -> ProviderError:
    """As the AI Gateway hands it on: the provider's message, under a code of the gateway's own."""
    return ProviderError(message, status_code=status, code=code)


@pytest.mark.parametrize("message", TOO_LONG)
def test_too_long_is_told_by_its_wording(message: str) -> None:
    """Any other candidate's window may be larger, so it is asked."""
    error = refused(message)
    assert (is_too_long(error), is_against_policy(error)) == (True, False)
    assert can_another_cure(error)


@pytest.mark.parametrize("message", AGAINST_POLICY)
def test_against_the_policy_is_told_by_its_wording(message: str) -> None:
    """Another provider is asked only where the caller named one."""
    error = refused(message)
    assert (is_too_long(error), is_against_policy(error)) == (False, True)
    assert (can_another_cure(error), can_another_cure(error, has_fallback=True)) == (False, True)


@pytest.mark.parametrize("message", PLAIN)
def test_an_ordinary_refusal_is_neither(message: str) -> None:
    """A request that is wrong is wrong everywhere, a fallback or not."""
    error = refused(message)
    assert (is_too_long(error), is_against_policy(error)) == (False, False)
    assert not can_another_cure(error, has_fallback=True)


@pytest.mark.parametrize(
    ("code", "too_long", "against_policy"),
    [
        ("context_length_exceeded", True, False),
        ("request_too_large", True, False),
        ("content_filter", False, True),
        ("content_policy_violation", False, True),
        ("invalid_prompt", False, True),
        ("invalid_request_error", False, False),
    ],
)
def test_a_code_says_it_whatever_the_words(code: str, too_long: bool, against_policy: bool) -> None:
    """Where the provider's own code arrives, the message need not be understood."""
    error = refused("no", code)
    assert (is_too_long(error), is_against_policy(error)) == (too_long, against_policy)


@pytest.mark.parametrize(
    "error",
    [
        RateLimitExceededError("too many tokens per minute", status_code=429, retry_safe=True, throttled=True),
        ProviderError("too many tokens in flight", status_code=503, retry_safe=True),
        GatewayError("The given prompt was flagged by the OpenAI Moderation endpoint.", status_code=400),
        AuthenticationError("your key was flagged for a policy violation", which="helicone", status_code=400),
    ],
)
def test_other_errors_may_say_what_they_like(error: HeliconeError) -> None:
    """Only a refused request is read for why it was refused."""
    assert (is_too_long(error), is_against_policy(error)) == (False, False)
