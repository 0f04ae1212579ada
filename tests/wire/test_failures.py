"""What a refusal means: status, headers and body of every writer to one error with exact facts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from genops_helicone_async._values import HttpReply
from genops_helicone_async._wire.dialects import Dialect, Endpoint
from genops_helicone_async._wire.failures import classify, read_error, scrub, undecodable
from genops_helicone_async.errors import (
    AuthenticationError,
    DecodeError,
    GatewayError,
    HeliconeError,
    InsufficientCreditsError,
    ProviderError,
    RateLimitExceededError,
)

NOW_S = 1_795_439_000.0
DIALECTS: tuple[Dialect, ...] = ("helicone", "proxy", "rust", "openai")


def endpoint(dialect: Dialect) -> Endpoint:
    """An endpoint that answers in this dialect."""
    return Endpoint(
        provider="groq",
        model="m",
        dialect=dialect,
        shape="openai",
        base_url="https://gateway.test/v1",
        chat_url="https://gateway.test/v1/chat/completions",
        wire_model="m",
        headers={},
    )


def refused(status: int, body: Any = b"", dialect: Dialect = "proxy", **headers: str) -> HeliconeError:
    """The error for a reply; `_` in a header's name stands for `-`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    if dialect == "proxy":
        named.setdefault("helicone-id", "passed on from the provider")
    reply = HttpReply(status=status, headers=named, body=raw)
    return classify(reply, endpoint(dialect), request_id="id-1", now_s=NOW_S)


def facts(error: HeliconeError) -> tuple[type, int | None, bool, bool, str]:
    """Class, effective status, retry-safe, throttled and billed."""
    return type(error), error.status_code, error.retry_safe, error.throttled, error.billed


def of_provider(message: str, **more: Any) -> dict[str, Any]:
    """An error body in OpenAI's shape."""
    return {"error": {"message": message, "param": None, **more}}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "status, more, expected",
    [
        (400, {"type": "invalid_request_error"}, (ProviderError, 400, False, False, "no")),
        (401, {"code": "invalid_api_key"}, (AuthenticationError, 401, False, False, "no")),
        (402, {}, (InsufficientCreditsError, 402, False, False, "no")),
        (403, {}, (AuthenticationError, 403, False, False, "no")),
        (404, {"code": "model_not_found"}, (ProviderError, 404, False, False, "no")),
        (408, {}, (ProviderError, 408, True, False, "no")),
        (409, {}, (ProviderError, 409, False, False, "no")),
        (413, {}, (ProviderError, 413, False, False, "no")),
        (422, {}, (ProviderError, 422, False, False, "no")),
        (429, {"type": "requests"}, (RateLimitExceededError, 429, True, True, "no")),
        (429, {"code": "insufficient_quota"}, (InsufficientCreditsError, 429, False, False, "no")),
        (429, {"type": "insufficient_quota"}, (InsufficientCreditsError, 429, False, False, "no")),
        (403, {"code": "insufficient_credits"}, (InsufficientCreditsError, 403, False, False, "no")),
        (400, {"code": "billing_hard_limit_reached"}, (InsufficientCreditsError, 400, False, False, "no")),
        (500, {"type": "server_error"}, (ProviderError, 500, True, False, "no")),
        (502, {}, (ProviderError, 502, True, False, "no")),
        (503, {}, (ProviderError, 503, True, False, "no")),
        (504, {}, (ProviderError, 504, True, False, "maybe")),
        (524, {}, (ProviderError, 524, True, False, "maybe")),
        (529, {"type": "overloaded_error"}, (ProviderError, 529, True, False, "no")),
    ],
)
def test_a_providers_own_refusal(
    status: int, more: dict[str, Any], expected: tuple[Any, ...], dialect: Dialect
) -> None:
    """Status and code decide; a gateway's timeout may have been billed; the facts are the same in every dialect."""
    error = refused(status, of_provider("it says no", **more), dialect)
    assert facts(error) == expected
    assert (error.message, error.http_status, error.provider, error.model, error.request_id) == (
        "it says no", status, "groq", "m", "id-1",
    )  # fmt: skip
    assert error.code == (more.get("code") or more.get("type"))


@pytest.mark.parametrize(
    "error, which",
    [(refused(401, of_provider("no")), "provider"), (refused(401, b"Unknown key", "helicone"), "helicone")],
)
def test_an_authentication_error_says_whose_key(error: AuthenticationError, which: str) -> None:
    """JSON comes from a provider; the AI Gateway refuses its own key in plain text."""
    assert error.which == which


@pytest.mark.parametrize(
    "status, body",
    [
        (400, {"error": {"type": "invalid_request_error", "message": "Your credit balance is too low to go on."}}),
        (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}}),
    ],
)  # fmt: skip
def test_an_empty_account_is_known_by_its_message(status: int, body: dict[str, Any]) -> None:
    """Anthropic calls it an invalid request: only the words tell that the account cannot pay."""
    assert facts(refused(status, body)) == (InsufficientCreditsError, status, False, False, "no")


@pytest.mark.parametrize(
    "body, message, code",
    [
        (of_provider("no", code="c", type="t"), "no", "c"),
        (of_provider("no", type="t"), "no", "t"),
        (of_provider("no", code=429), "no", "429"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, "no", "overloaded_error"),
        ([{"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}], "no", "429"),
        ({"error": {"message": "no", "status": "UNAVAILABLE"}}, "no", "UNAVAILABLE"),
        ({"error": "no"}, "no", None),
        ({"message": "no"}, "no", None),
        ({"detail": "no"}, "no", None),
        ({"detail": [{"loc": ["body", "model"], "msg": "required", "type": "x"}]}, "body.model: required", None),
        ({"detail": [{"msg": "field required"}]}, "field required", None),
        ({"helicone-message": "no", "error": "other"}, "no", None),
        ({"error": {"message": ["odd"]}}, '{"error": {"message": ["odd"]}}', None),
        ({"detail": {"odd": 1}}, '{"detail": {"odd": 1}}', None),
        ({"error": None, "message": None}, '{"error": null, "message": null}', None),
        ([], "[]", None),
        (["odd"], '["odd"]', None),
        ("odd", '"odd"', None),
        (b"plain \n\n text", "plain text", None),
        (b"\xffnot\xfe utf-8", "\ufffdnot\ufffd utf-8", None),
        (b'{"error":{"mess', '{"error":{"mess', None),
        (b"<html>\r\n<head><title>502 Bad Gateway</title></head><body>x</body></html>", "502 Bad Gateway", None),
        (b"<!DOCTYPE html><html lang=en><TITLE>\n  Attention   Required! \n</TITLE>", "Attention Required!", None),
        (b"<html><body>No title</body></html>", "<html><body>No title</body></html>", None),
    ],
)  # fmt: skip
def test_the_message_is_found_in_every_shape(body: Any, message: str, code: str | None) -> None:
    """OpenAI's, Anthropic's, Google's and FastAPI's errors, pages, text, and bodies that fit nowhere."""
    error = refused(500, body)
    assert (error.message, error.code) == (message, code)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 504])
def test_an_empty_body_still_makes_a_telling_message(status: int, dialect: Dialect) -> None:
    """Without a word from the other side the message says who answered what."""
    error = refused(status, b"", dialect)
    assert error.message == f"gateway.test answered {status} without a word"
    assert (error.http_status, error.status_code) == (status, status)


def test_a_long_message_is_cut() -> None:
    """A page quoted whole would drown every log."""
    assert refused(500, b"x" * 10_000).message == "x" * 600 + "…"


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 50_000])
def test_endless_nesting_is_text(body: bytes) -> None:
    """A body made to exhaust a parser is quoted, not followed."""
    assert facts(refused(502, body)) == (ProviderError, 502, True, False, "no")


@pytest.mark.parametrize(
    "text, scrubbed",
    [
        ("Incorrect API key provided: sk-proj-abcdefgh12345678.", "Incorrect API key provided: <secret>"),
        ("key sk-helicone-abcdefg-abcdefg-abcdefg-abcdefg was", "key <secret> was"),
        ("sk-ant-api03-AbC_dEf-1234 sk_live_1234567890", "<secret> <secret>"),
        ("AIzaSyA1234567890abcdefghijklmnop refused", "<secret> refused"),
        ("ya29.a0AfH6SMB-xyz123", "<secret>"),
        (
            "gsk_abcdefgh1234 xai-abcdefgh1234 pplx-abcdefgh1234 csk-abcdefgh1234 fw_abcdefgh1234",
            " ".join(["<secret>"] * 5),
        ),
        ('"Authorization": "Bearer abc.def-123456"', '"Authorization": "Bearer <secret>"'),
        (
            "task-force, ask-me-anything and risk_management stay",
            "task-force, ask-me-anything and risk_management stay",
        ),
        ("the key is wrong", "the key is wrong"),
    ],
)
def test_what_looks_like_a_key_is_blanked_out(text: str, scrubbed: str) -> None:
    """Providers quote the key they refuse; messages travel into logs."""
    assert scrub(text) == scrubbed


SECRET = "sk-proj-THISisVERYsecret1234"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "body",
    [
        of_provider(f"Incorrect API key provided: {SECRET}"),
        {"detail": [{"loc": ["header", SECRET], "msg": SECRET}]},
        {"odd": SECRET},
        [SECRET],
        f"bad key {SECRET}".encode(),
        f"<html><title>{SECRET}</title></html>".encode(),
        f'{{"error": {{"message": "{SECRET}'.encode(),
        {"success": False, "error": {"code": "request_failed", "message": SECRET, "details": [
            {"type": "request_failed", "message": SECRET, "statusCode": 401, "source": "m/openai/byok"}]}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [302, 400, 401, 429, 500])
def test_no_error_repeats_a_key(body: Any, status: int, dialect: Dialect) -> None:
    """Whatever the shape: neither message nor repr shows the key that the other side quoted."""
    error = refused(status, body, dialect)
    assert SECRET not in f"{error} {error!r} {error.args} {error.message}"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_gateway_error(status: int, dialect: Dialect) -> None:
    """Redirects are not followed, since they would carry the key elsewhere; the message says what to check."""
    error = refused(status, b"", dialect, Location="https://elsewhere.test")
    assert facts(error) == (GatewayError, status, False, False, "no")
    assert error.message == "gateway.test answered with a redirect, which is not followed: check the URL"


@pytest.mark.parametrize("status", [429, 503, 529])
def test_the_asked_wait_is_a_fact_of_the_error(status: int) -> None:
    """`Retry-After` is read off every refusal."""
    assert refused(status, of_provider("wait"), Retry_After="7").retry_after_s == 7.0


def gateway(
    *details: dict[str, Any], message: str = "the gateway's words", code: str = "request_failed"
) -> dict[str, Any]:
    """A routed error of the AI Gateway."""
    return {"success": False, "error": {"code": code, "message": message, "param": None, "details": list(details)}}


def detail(status: int | None, kind: str = "request_failed", **more: Any) -> dict[str, Any]:
    """One attempt of the AI Gateway."""
    return {"type": kind, "message": f"it says {status}", "statusCode": status, "source": "m/groq/byok", **more}


NO_CREDIT = detail(429, "insufficient_credit_limit", message="Insufficient balance for escrow")


@pytest.mark.parametrize(
    "http_status, details, expected",
    [
        (500, [detail(400)], (ProviderError, 400, False, False, "no")),
        (500, [detail(503)], (ProviderError, 503, True, False, "no")),
        (500, [detail(400), NO_CREDIT], (ProviderError, 400, False, False, "no")),
        (429, [detail(429), NO_CREDIT], (RateLimitExceededError, 429, True, True, "no")),
        (401, [detail(401), NO_CREDIT], (AuthenticationError, 401, False, False, "no")),
        (403, [detail(400), detail(403)], (AuthenticationError, 403, False, False, "no")),
        (500, [detail(402)], (InsufficientCreditsError, 402, False, False, "no")),
        (
            500,
            [detail(400, message="Your credit balance is too low")],
            (InsufficientCreditsError, 400, False, False, "no"),
        ),
        (429, [NO_CREDIT], (InsufficientCreditsError, 429, False, False, "no")),
        (429, [detail(429, "rate_limited")], (RateLimitExceededError, 429, True, True, "no")),
        (400, [detail(400, "disallowed")], (GatewayError, 400, False, False, "no")),
        (400, [detail(400, "invalid_format")], (GatewayError, 400, False, False, "no")),
        (500, [detail(400, source="No available providers")], (GatewayError, 400, False, False, "no")),
        (500, [detail(400), detail(503)], (ProviderError, 400, True, False, "no")),
        (500, [detail(None)], (ProviderError, None, False, False, "no")),
        (500, [{}], (ProviderError, None, False, False, "no")),
        (500, [], (GatewayError, 400, False, False, "no")),
    ],
)
def test_the_gateways_details_tell_the_truth(
    http_status: int, details: list[dict[str, Any]], expected: tuple[Any, ...]
) -> None:
    """The status that arrives is normalised; the attempts decide, without those about Helicone's own credits."""
    error = refused(http_status, gateway(*details), "helicone")
    assert (facts(error), error.http_status) == (expected, http_status)


@pytest.mark.parametrize(
    "details, limited_by", [([detail(429, "rate_limited")], "helicone"), ([detail(429), NO_CREDIT], "provider")]
)
def test_a_rate_limit_says_whose_it_is(details: list[dict[str, Any]], limited_by: str) -> None:
    """Helicone's own limit is the caller's policy; a provider's is the provider's."""
    error = refused(429, gateway(*details), "helicone")
    assert isinstance(error, RateLimitExceededError)
    assert error.limited_by == limited_by


@pytest.mark.parametrize(
    "details", [None, "odd", {"odd": 1}, ["odd", 3], [{"type": 5, "statusCode": "x", "message": {"a": 1}}]]
)
@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_odd_details_break_nothing(details: Any, status: int) -> None:
    """Details of a shape never seen still end as an error of this library."""
    body = {"success": False, "error": {"code": "request_failed", "message": "no", "details": details}}
    assert isinstance(refused(status, body, "helicone"), HeliconeError)


@pytest.mark.parametrize(
    "status, body, expected",
    [
        (401, b"Invalid Helicone API key", (AuthenticationError, 401, False, False, "no")),
        (401, b"Organization not found", (AuthenticationError, 401, False, False, "no")),
        (400, b"Invalid body or missing model.", (GatewayError, 400, False, False, "no")),
        (405, b"Method not allowed. AI Gateway only accepts POST requests.", (GatewayError, 405, False, False, "no")),
        (400, {"error": "No prompt ID provided"}, (GatewayError, 400, False, False, "no")),
        (503, {"error": "Down for maintenance"}, (GatewayError, 503, True, False, "no")),
        (502, b"<html><title>502 Bad Gateway</title></html>", (GatewayError, 502, True, False, "maybe")),
        (500, b"", (GatewayError, 500, True, False, "maybe")),
        (429, b"Too many requests", (RateLimitExceededError, 429, True, True, "no")),
    ],
)
def test_what_the_ai_gateway_itself_writes(status: int, body: Any, expected: tuple[Any, ...]) -> None:
    """Plain text and bare `error` texts are the gateway's own; a crash on its side may have come after sending."""
    assert facts(refused(status, body, "helicone")) == expected


@pytest.mark.parametrize("dialect", ["helicone", "proxy"])
@pytest.mark.parametrize(
    "status, body, headers, expected",
    [
        (
            400,
            {"success": False, "error": {"code": "PROMPT_FLAGGED_FOR_MODERATION", "message": "flagged"}},
            {},
            (GatewayError, 400, False, False, "no"),
        ),
        (
            400,
            {"success": False, "error": {"code": "PROMPT_THREAT_DETECTED", "message": "threat"}},
            {},
            (GatewayError, 400, False, False, "no"),
        ),
        (
            500,
            {"helicone-message": "Helicone ran into an error", "helicone-error": "x"},
            {"helicone_error": "true"},
            (GatewayError, 500, False, False, "no"),
        ),
        (
            502,
            {"error": "x", "message": "y", "helicone-message": "Provider unreachable", "support": "z"},
            {},
            (ProviderError, 502, True, False, "maybe"),
        ),
    ],
)
def test_what_helicones_worker_says_on_any_host(
    status: int, body: Any, headers: dict[str, str], expected: tuple[Any, ...], dialect: Dialect
) -> None:
    """Blocks, crashes over a bad header, and providers it could not reach."""
    assert facts(refused(status, body, dialect, **headers)) == expected


@pytest.mark.parametrize(
    "headers, wait_s",
    [
        ({"helicone_ratelimit_reset": "42"}, 42.0),
        ({"helicone_ratelimit_reset": "42", "Retry_After": "7"}, 7.0),
        ({"helicone_ratelimit_reset": "soon"}, None),
        ({"helicone_ratelimit_reset": "\u0664"}, None),
        ({}, None),
    ],
)
def test_helicones_own_limit_tells_when_it_resets(headers: dict[str, str], wait_s: float | None) -> None:
    """On the proxy hosts a policy's refusal says in a header when the bucket is full again."""
    body = {"message": "Helicone user was rate limit via Helicone-RateLimit-Policy header."}
    error = refused(429, body, "proxy", X_Helicone_Error="rate_limited", **headers)
    assert isinstance(error, RateLimitExceededError)
    assert (error.limited_by, error.retry_after_s, error.retry_safe) == ("helicone", wait_s, True)


@pytest.mark.parametrize(
    "status, message, expected",
    [
        (401, "Missing authorization header", (AuthenticationError, 401, False, False, "no")),
        (401, "Invalid credentials", (AuthenticationError, 401, False, False, "no")),
        (429, "Too many requests", (RateLimitExceededError, 429, True, True, "no")),
        (404, "Router not found: abc", (GatewayError, 404, False, False, "no")),
        (404, "Route not found: /ai/x", (GatewayError, 404, False, False, "no")),
        (400, "Unsupported endpoint: v1/chat/completions", (GatewayError, 400, False, False, "no")),
        (400, "Unsupported provider: nobody", (GatewayError, 400, False, False, "no")),
        (500, "Mapper error: no model mapping for gpt-9", (GatewayError, 500, False, False, "no")),
        (500, "Internal error, server misconfigured", (GatewayError, 500, False, False, "no")),
        (400, "Unsupported parameter: 'max_tokens' is not supported", (ProviderError, 400, False, False, "no")),
        (400, "Invalid mapping in the schema", (ProviderError, 400, False, False, "no")),
        (401, "Incorrect API key provided", (AuthenticationError, 401, False, False, "no")),
        (429, "Rate limit reached for gpt-4o", (RateLimitExceededError, 429, True, True, "no")),
        (500, "The server had an error", (ProviderError, 500, True, False, "no")),
    ],
)
def test_the_rust_gateways_own_errors_are_known_by_their_words(
    status: int, message: str, expected: tuple[Any, ...]
) -> None:
    """It writes OpenAI's shape for its own errors too; a provider's errors keep their meaning."""
    error = refused(status, of_provider(message, type="x", code="y"), "rust")
    assert facts(error) == expected
    own = {"which": "helicone"} if status == 401 and "Incorrect" not in message else {"which": "provider"}
    assert getattr(error, "which", own["which"]) == own["which"]


@pytest.mark.parametrize(
    "message, limited_by", [("Too many requests", "helicone"), ("Rate limit reached for gpt-4o", "provider")]
)
def test_the_rust_gateways_limit_is_told_from_a_providers(message: str, limited_by: str) -> None:
    """Only its own words are its own limit."""
    error = refused(429, of_provider(message, type="rate_limit_exceeded"), "rust", Retry_After="3")
    assert isinstance(error, RateLimitExceededError)
    assert (error.limited_by, error.retry_after_s) == (limited_by, 3.0)


@given(
    status=st.integers(300, 599),
    body=st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["error", "message", "details", "success", "code", "type", "detail", "statusCode", "source"]
                    ),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=12,
        ),
    ),
    dialect=st.sampled_from(DIALECTS),
)
def test_every_refusal_has_an_error(status: int, body: Any, dialect: Dialect) -> None:
    """No status and no body breaks the classification: an error of ours, with a message, the status and our id."""
    error = refused(status, body, dialect)
    assert isinstance(error, HeliconeError)
    assert (error.http_status, error.request_id, bool(error.message)) == (status, "id-1", True)
    assert error.throttled is isinstance(error, RateLimitExceededError)


def test_a_success_that_cannot_be_understood_may_have_been_billed() -> None:
    """The provider answered: only we could not read it."""
    error = undecodable("an empty body", 200, endpoint("proxy"), request_id="id-1")
    assert (type(error), error.message, error.billed, error.retry_safe) == (
        DecodeError, "gateway.test answered 200 with an empty body", "maybe", False,
    )  # fmt: skip


def test_an_errors_body_is_kept_decoded() -> None:
    """Those who look deeper need not decode again."""
    assert read_error(b'[{"error":{"message":"no"}}]').decoded == {"error": {"message": "no"}}
