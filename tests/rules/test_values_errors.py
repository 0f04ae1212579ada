"""Errors carry facts, keep them through a pickle, and have one root; results are values that compute nothing wrong."""

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from genops_helicone_async import errors, models
from genops_helicone_async._values import Reply, TokenCounts
from genops_helicone_async.errors import (
    AllProvidersFailedError,
    Attempt,
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    HeliconeError,
    ProviderError,
    RateLimitExceededError,
    StreamInterruptedError,
)
from genops_helicone_async.models import (
    BulkResult,
    HeliconeResponse,
    HeliconeUsage,
    MultiProviderResponse,
    RoutingDecision,
    ToolCall,
)

ALL = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
ATTEMPT = Attempt(provider="groq", model="m", request_id="id-1", status_code=503, error="ProviderError", cost=0.5)
FACTS: dict[str, Any] = {
    "request_id": "id-1",
    "status_code": 503,
    "http_status": 500,
    "retry_safe": True,
    "retry_after_s": 1.5,
    "throttled": True,
    "billed": "maybe",
    "attempts": (ATTEMPT,),
    "provider": "groq",
    "model": "m",
    "code": "overloaded",
}
OWN: dict[type, dict[str, Any]] = {
    AuthenticationError: {"which": "provider"},
    RateLimitExceededError: {"limited_by": "helicone"},
    StreamInterruptedError: {"partial": "Once upon"},
    BudgetExceededError: {
        "current_usage": 1.5,
        "budget_limit": 2.0,
        "scope": "team:research",
        "period": "month",
        "resets_at": datetime(2026, 12, 1, tzinfo=UTC),
    },
}


def told(kind: type[HeliconeError]) -> dict[str, Any]:
    """All facts this class can carry."""
    return {**FACTS, **OWN.get(kind, {})}


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_the_one_root_and_its_facts(kind: type[HeliconeError]) -> None:
    """Whatever went wrong, one `except` takes it, and the facts are attributes."""
    error = kind("it failed", **told(kind))
    assert isinstance(error, HeliconeError)
    assert {name: getattr(error, name) for name in told(kind)} == told(kind)
    assert (error.message, error.error_message, str(error), error.args) == ("it failed",) * 3 + (("it failed",),)


@pytest.mark.parametrize("kind", ALL)
def test_without_facts_nothing_is_claimed(kind: type[HeliconeError]) -> None:
    """An error that knows nothing says that a repeat is not safe and nothing was billed."""
    error = kind("it failed")
    assert {name: getattr(error, name) for name in FACTS} == {
        "request_id": None, "status_code": None, "http_status": None, "retry_safe": False, "retry_after_s": None,
        "throttled": False, "billed": "no", "attempts": (), "provider": None, "model": None, "code": None,
    }  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ALL)
def test_every_error_survives_a_pickle(kind: type[HeliconeError], protocol: int) -> None:
    """Class, message and every fact arrive on the other side of a process boundary."""
    error = kind("it failed", **told(kind))
    error.add_note("seen at night")
    again = pickle.loads(pickle.dumps(error, protocol))
    assert (type(again), str(again), again.message, vars(again)) == (kind, "it failed", "it failed", vars(error))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_every_error_can_be_copied(kind: type[HeliconeError], duplicate: Any) -> None:
    """Test tools and executors copy exceptions."""
    error = kind("it failed", **told(kind))
    assert vars(duplicate(error)) == vars(error)


@pytest.mark.parametrize("kind", ALL)
def test_a_repr_tells_class_message_and_the_facts_that_are_known(kind: type[HeliconeError]) -> None:
    """What a log line needs, and nothing that is None."""
    assert repr(kind("it failed")) == f"{kind.__name__}('it failed')"
    assert repr(kind("it failed", **told(kind))) == (
        f"{kind.__name__}('it failed', provider='groq', model='m', status_code=503, "
        "code='overloaded', request_id='id-1')"
    )


@pytest.mark.parametrize("kind", ALL)
def test_an_unknown_fact_is_a_type_error(kind: Any) -> None:
    """A misspelt fact must not vanish."""
    with pytest.raises(TypeError, match="retry_save"):
        kind("it failed", retry_save=True)


@pytest.mark.parametrize(
    "kind, parents",
    [
        (AllProvidersFailedError, (ProviderError,)),
        (RateLimitExceededError, (ProviderError,)),
        (DeadlineExceededError, (TimeoutError, OSError)),
        (ConfigurationError, (ValueError,)),
    ],
)
def test_errors_stand_where_others_look_for_them(kind: type, parents: tuple[type, ...]) -> None:
    """A deadline is a `TimeoutError`, a wrong setting a `ValueError`, a rate limit a provider's error."""
    assert all(issubclass(kind, parent) for parent in parents)


def test_no_error_is_another_by_accident() -> None:
    """Beyond those the classes stand side by side, so that the order of `except` clauses does not matter."""
    nested = {(a.__name__, b.__name__) for a in ALL for b in ALL if a is not b and issubclass(a, b)}
    assert {pair for pair in nested if pair[1] != "HeliconeError"} == {
        ("AllProvidersFailedError", "ProviderError"),
        ("RateLimitExceededError", "ProviderError"),
    }


@pytest.mark.parametrize("module", [errors, models])
def test_what_is_listed_is_there_in_order(module: Any) -> None:
    """`__all__` is complete, sorted as linters sort it, and nothing in it is missing."""
    public = {
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert public - set(module.__all__) == set()
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("error, ok", [(None, True), ("ProviderError", False), ("", False)])
def test_an_attempt_is_ok_without_an_error(error: str | None, ok: bool) -> None:
    """Only an attempt that names no error brought a whole reply."""
    assert msgspec.structs.replace(ATTEMPT, error=error).ok is ok


USAGE = HeliconeUsage(
    provider="groq",
    model="m",
    input_tokens=30,
    output_tokens=10,
    request_time=2.0,
    total_cost=0.5,
    cost_source="computed",
)


def test_usage_sums_up() -> None:
    """Total is input + output; the rates follow from it."""
    assert (USAGE.total_tokens, USAGE.cost_per_token, USAGE.tokens_per_second) == (40, 0.0125, 5.0)


def test_usage_divides_by_nothing() -> None:
    """Without tokens or time the rates are 0."""
    usage = HeliconeUsage(provider="groq", model="m")
    assert (usage.total_tokens, usage.cost_per_token, usage.tokens_per_second, usage.cost_source) == (
        0, 0.0, 0.0, "unpriced",
    )  # fmt: skip


ROUTING = RoutingDecision(strategy="explicit", candidates=(), selected="groq", reason="named")
RESPONSE = HeliconeResponse(
    content="Hi", provider="groq", model="m", usage=USAGE, request_id="id-1", routing=ROUTING, raw_body=b'{"a":[1]}'
)


def test_a_response_passes_its_parts_through() -> None:
    """Cost is the usage's, `raw` the body decoded when asked for, and None for a stream."""
    assert (RESPONSE.cost, RESPONSE.raw, msgspec.structs.replace(RESPONSE, raw_body=b"").raw) == (0.5, {"a": [1]}, None)


@pytest.mark.parametrize(
    "value",
    [USAGE, ROUTING, RESPONSE, ATTEMPT, TokenCounts(input=1), Reply(content="", finish_reason=None, usage=None)],
)
def test_values_cannot_be_changed_and_survive_a_pickle(value: msgspec.Struct) -> None:
    """A result handed to several readers stays what it was, in this process and another."""
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], None)
    assert pickle.loads(pickle.dumps(value)) == value


def test_no_two_responses_share_their_metadata() -> None:
    """A default mapping is each response's own."""
    first, second = (msgspec.structs.replace(RESPONSE, metadata={}), RESPONSE)
    assert first.metadata is not second.metadata
    assert (
        HeliconeResponse(content="", provider="p", model="m", usage=USAGE, request_id="i", routing=ROUTING).metadata
        is not HeliconeResponse(
            content="", provider="p", model="m", usage=USAGE, request_id="i", routing=ROUTING
        ).metadata
    )


def test_many_answers_pass_the_primary_through() -> None:
    """Content and usage are the primary's, the cost is all that was billed."""
    many = MultiProviderResponse(
        primary_response=RESPONSE,
        responses={"groq": RESPONSE},
        errors={},
        routing_decision=ROUTING,
        cost_comparison={"groq": 0.5},
        performance_metrics={"groq": 2.0},
        billed_cost=0.75,
    )
    assert (many.content, many.usage, many.cost) == ("Hi", USAGE, 0.75)


@pytest.mark.parametrize("error, ok", [(None, True), (ValueError("bad row"), False)])
def test_a_row_is_ok_without_an_error(error: Exception | None, ok: bool) -> None:
    """Bulk results say so themselves."""
    assert BulkResult(index=0, request="Hi", error=error).ok is ok


@pytest.mark.parametrize("arguments, decoded", [('{"a":1}', {"a": 1}), ("", {}), ("[1]", [1])])
def test_a_tools_arguments_are_decoded_on_request(arguments: str, decoded: object) -> None:
    """No arguments at all are an empty object."""
    assert ToolCall(id="c", name="f", arguments=arguments).decoded_arguments() == decoded


def test_broken_arguments_are_reported_when_decoded() -> None:
    """The text stays as the model wrote it; only decoding complains."""
    with pytest.raises(msgspec.DecodeError):
        ToolCall(id="c", name="f", arguments='{"a":').decoded_arguments()


def test_fresh_tokens_are_what_the_cache_did_not_touch() -> None:
    """Input is fresh + cached + written."""
    assert TokenCounts(input=100, cached=60, cache_write=30).fresh == 10
