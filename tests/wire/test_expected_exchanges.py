"""The expectations for the recorded exchanges are complete, consistent, and true to the recordings.

``expected_exchanges.json`` says per recording what a client must make of the reply. It was written from the
protocol notes and from what the recorded provider really sent, before there was a decoder, so that no mistake
of a decoder can have entered it.

An entry with ``"meets": false`` says ``why`` no call of ours gets such a reply. Any other has ``shape`` (of
the reply body: openai, anthropic, google, embeddings, models), ``mode``, ``provider`` and ``model`` as
targeted (null where the request named none; for a list of models the one that answered, else the first),
``stream``, and exactly one of ``ok`` and ``error``. ``message_contains: null`` leaves the wording to us.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Entry = dict[str, Any]

_TABLE_PATH = Path(__file__).with_name("expected_exchanges.json")
_TOKEN_FIELDS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)
_OK_FIELDS = {
    "content",
    "finish_reason",
    *_TOKEN_FIELDS,
    "usage_known",
    "tool_calls",
    "reasoning",
    "reported_cost_usd",
    "helicone_id",
    "gateway_mode",
    "cache_hit",
}
_ERROR_FIELDS = {
    "class",
    "status_code",
    "http_status",
    "retry_safe",
    "retry_after_s",
    "throttled",
    "billed",
    "which",
    "message_contains",
    "helicone_id",
}
_ERROR_CLASSES = {
    "AuthenticationError",
    "DecodeError",
    "GatewayError",
    "InsufficientCreditsError",
    "ProviderError",
    "RateLimitExceededError",
    "StreamInterruptedError",
}


def _unique(pairs: list[tuple[str, Any]]) -> Entry:
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), f"a name occurs twice in {names[:3]} …"
    return dict(pairs)


TABLE: dict[str, Entry] = json.loads(_TABLE_PATH.read_text("utf-8"), object_pairs_hook=_unique)
MET = {case: entry for case, entry in TABLE.items() if entry["meets"]}
FAILING = {case: entry["error"] for case, entry in MET.items() if "error" in entry}
CHATS = {
    case: entry["ok"]
    for case, entry in MET.items()
    if "ok" in entry and entry["shape"] in {"openai", "anthropic", "google"}
}


@pytest.fixture(scope="module")
def recordings(shared_dir: Path) -> dict[str, Entry]:
    """Every recorded exchange by its case name; skips, saying so, where the recordings are absent."""
    folder = shared_dir / "fixtures" / "helicone"
    return {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}


def _wrong(entries: dict[str, Entry], is_right: Callable[[Entry], bool]) -> list[str]:
    return [case for case, entry in entries.items() if not is_right(entry)]


def test_every_recording_has_one_entry(recordings: dict[str, Entry]) -> None:
    """The table lists exactly the recorded exchanges, in order."""
    assert list(TABLE) == sorted(recordings)


def test_an_exchange_no_client_meets_says_why() -> None:
    """An entry that is not met carries a reason and no expectations."""
    unmet = {case: entry for case, entry in TABLE.items() if not entry["meets"]}
    assert _wrong(unmet, lambda entry: set(entry) == {"meets", "why"} and bool(entry["why"])) == []


def test_a_met_exchange_either_succeeds_or_fails() -> None:
    """Exactly one of ``ok`` and ``error`` is expected, and the call is described in full."""
    described = {"meets", "shape", "mode", "provider", "model", "stream"}
    assert _wrong(MET, lambda e: ("ok" in e) != ("error" in e) and set(e) - {"ok", "error", "note"} == described) == []


def test_a_chat_expectation_names_every_field() -> None:
    """A successful chat states all its facts, and ends for a reason in OpenAI's vocabulary."""
    reasons = {"stop", "length", "tool_calls", "content_filter"}
    assert _wrong(CHATS, lambda ok: set(ok) == _OK_FIELDS and ok["finish_reason"] in reasons) == []


def test_known_token_counts_add_up() -> None:
    """Total is input + output; cached and written tokens are part of the input, reasoning of the output."""

    def adds_up(ok: Entry) -> bool:
        fits_input = ok["cached_input_tokens"] + ok["cache_write_tokens"] <= ok["input_tokens"]
        fits_output = 0 <= ok["reasoning_tokens"] <= ok["output_tokens"]
        sums_up = ok["total_tokens"] == ok["input_tokens"] + ok["output_tokens"]
        return bool(fits_input and fits_output and sums_up)

    known = {case: ok for case, ok in CHATS.items() if ok["usage_known"]}
    assert _wrong(known, adds_up) == []


def test_unknown_usage_has_no_counts() -> None:
    """Where the provider sent no usage every count is null, never a zero that looks like knowledge."""
    unknown = {case: ok for case, ok in CHATS.items() if not ok["usage_known"]}
    assert _wrong(unknown, lambda ok: all(ok[field] is None for field in _TOKEN_FIELDS)) == []


def test_tool_calls_end_with_tool_calls_and_hold_json() -> None:
    """Tool calls come with that finish reason, and their arguments are the text of a JSON object."""

    def is_right(ok: Entry) -> bool:
        arguments = [json.loads(call["arguments"]) for call in ok["tool_calls"]]
        return bool(arguments) == (ok["finish_reason"] == "tool_calls") and all(
            isinstance(value, dict) for value in arguments
        )

    assert _wrong(CHATS, is_right) == []


def test_an_error_expectation_names_every_fact() -> None:
    """A failure states its class and all its facts; an interrupted stream also its partial text."""

    def is_right(error: Entry) -> bool:
        partial = {"partial"} if error["class"] == "StreamInterruptedError" else set[str]()
        return set(error) == _ERROR_FIELDS | partial and error["class"] in _ERROR_CLASSES

    assert _wrong(FAILING, is_right) == []


def test_error_facts_agree_with_their_class() -> None:
    """Only a rate limit is throttled; only a 401 or 403 is an authentication error, which says whose key."""

    def is_right(error: Entry) -> bool:
        is_auth = error["class"] == "AuthenticationError"
        return (
            error["throttled"] == (error["class"] == "RateLimitExceededError")
            and (error["which"] in {"helicone", "provider"} if is_auth else error["which"] is None)
            and is_auth == (error["status_code"] in {401, 403})
            and error["billed"] in {"no", "maybe"}
        )

    assert _wrong(FAILING, is_right) == []


def test_what_may_be_retried_follows_the_effective_status() -> None:
    """408, 429 and 5xx of a provider are retry-safe, its other refusals and missing credits are not."""

    def is_right(error: Entry) -> bool:
        status = error["status_code"]
        transient = status is None or status in {408, 429} or status >= 500
        return bool(error["retry_safe"] == (transient and error["class"] != "InsufficientCreditsError"))

    answered = {"AuthenticationError", "InsufficientCreditsError", "ProviderError", "RateLimitExceededError"}
    assert _wrong({c: e for c, e in FAILING.items() if e["class"] in answered}, is_right) == []


def test_statuses_and_ids_are_those_recorded(recordings: dict[str, Entry]) -> None:
    """``http_status`` and ``helicone_id`` are what the recorded reply carried; a success is a 200."""

    def is_right(case: str, entry: Entry) -> bool:
        reply, expected = recordings[case]["response"], entry.get("error") or entry["ok"]
        same_id = expected["helicone_id"] == reply["headers"].get("helicone-id")
        return bool(same_id and expected.get("http_status", 200) == reply["status"])

    assert [case for case, entry in MET.items() if not is_right(case, entry)] == []


def test_gateway_mode_and_cache_hit_are_those_recorded(recordings: dict[str, Entry]) -> None:
    """Who paid and whether the cache answered stand in the recorded headers."""

    def is_right(case: str, ok: Entry) -> bool:
        headers = recordings[case]["response"]["headers"]
        same_mode = ok["gateway_mode"] == headers.get("helicone-gateway-mode")
        return bool(same_mode and ok["cache_hit"] == (headers.get("helicone-cache") == "HIT"))

    assert [case for case, ok in CHATS.items() if not is_right(case, ok)] == []


def test_expected_messages_occur_in_the_recorded_body(recordings: dict[str, Entry]) -> None:
    """A message we ask for is one the reply really holds."""

    def is_right(case: str, error: Entry) -> bool:
        body = recordings[case]["response"]["body"].replace('\\"', '"')
        return (error["message_contains"] or "") in body

    assert [case for case, error in FAILING.items() if not is_right(case, error)] == []


def test_streams_are_the_requests_that_asked_for_one(recordings: dict[str, Entry]) -> None:
    """``stream`` is true exactly where the recorded request body said so."""

    def asked(case: str) -> bool:
        body = recordings[case]["request"].get("body")
        return isinstance(body, dict) and body.get("stream") is True

    assert [case for case, entry in MET.items() if entry["stream"] != asked(case)] == []
