"""`configure_rate_limits`: what its arguments mean, and what is said of those that make no sense."""

import math
from typing import Any

import pytest

from genops_helicone_async import ConfigurationError, GenOpsHeliconeAsyncAdapter
from genops_helicone_async._rules.rate_limits import NO_LIMITS, LimitPlan, RateLimits


@pytest.fixture
def adapter() -> GenOpsHeliconeAsyncAdapter:
    """An adapter that knows a provider of its own, besides the usual ones."""
    return GenOpsHeliconeAsyncAdapter("key", provider_urls={"house-model": "http://127.0.0.1:9/v1"})


def plan(adapter: GenOpsHeliconeAsyncAdapter, *given: Any, **named: Any) -> LimitPlan:
    """What the arguments come to."""
    adapter.configure_rate_limits(*given, **named)
    return adapter._parts.limits.plan


def test_without_arguments_there_are_no_limits(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """As before the first call, and as a way back."""
    assert plan(adapter, requests_per_minute=5).everyone != NO_LIMITS
    assert plan(adapter) == LimitPlan()


def test_as_the_guide_calls_it(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """Requests, burst and strategy in this order; an unset burst is a second's worth."""
    told = plan(adapter, 1000, 50, "linear")
    assert told.backoff_strategy == "linear"
    assert told.everyone == RateLimits(requests_per_minute=1000.0, burst=50)
    assert plan(adapter, 1000).everyone.burst == 17


def test_a_provider_has_from_everyone_what_it_leaves_out(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """But for the burst of a rate it does not have; None takes a limit away for it alone."""
    told = plan(
        adapter,
        600,
        20,
        tokens_per_minute=9000,
        per_provider={
            "openai": {"requests_per_minute": 60},
            "groq": {"tokens_per_minute": None, "adaptive": False},
            "anthropic": {"requests_per_minute": None, "burst_allowance": None},
            "mistral": {"burst_allowance": 3},
            "house-model": {"max_concurrency": 2},
        },
    )
    assert told.per_provider == {
        "openai": RateLimits(requests_per_minute=60.0, burst=1, tokens_per_minute=9000.0),
        "groq": RateLimits(requests_per_minute=600.0, burst=20, adaptive=False),
        "anthropic": RateLimits(tokens_per_minute=9000.0),
        "mistral": RateLimits(requests_per_minute=600.0, burst=3, tokens_per_minute=9000.0),
        "house-model": RateLimits(requests_per_minute=600.0, burst=20, tokens_per_minute=9000.0, max_concurrency=2),
    }


def test_a_provider_can_be_freed_of_everyones_rate_alone(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """`requests_per_minute: None` needs no word about the burst that belonged to it."""
    told = plan(adapter, 600, 20, per_provider={"openai": {"requests_per_minute": None}})
    assert told.of("openai") == NO_LIMITS


NAMES = ("requests_per_minute", "tokens_per_minute", "burst_allowance", "max_concurrency")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, 2e9])
@pytest.mark.parametrize("own", [False, True])
def test_a_limit_that_makes_no_sense_is_named_with_its_remedy(
    adapter: GenOpsHeliconeAsyncAdapter, name: str, value: float, own: bool
) -> None:
    """For everyone and for one provider; whole numbers where they are asked for."""
    value = int(value) if name in NAMES[2:] else value
    limits: dict[str, Any] = {"requests_per_minute": 60, name: value}
    with pytest.raises(ConfigurationError) as caught:
        plan(adapter, **({"per_provider": {"openai": limits}} if own else limits))
    where = f"per_provider['openai'].{name}" if own else name
    assert caught.value.message.startswith(f"`{where}` is {value!r}: give ")
    assert "None for no limit" in caught.value.message


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_rate_is_finite(adapter: GenOpsHeliconeAsyncAdapter, value: float) -> None:
    """No limit is None, not infinity."""
    with pytest.raises(ConfigurationError, match="or None for no limit"):
        plan(adapter, value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["60", True, [60]])
def test_a_limit_of_the_wrong_type_is_named(adapter: GenOpsHeliconeAsyncAdapter, name: str, value: object) -> None:
    """Text, booleans and lists are no numbers, even where they could be read as one."""
    with pytest.raises(TypeError, match=rf"`{name}` must be a (whole )?number, not {type(value).__name__}"):
        plan(adapter, **{"requests_per_minute": 60, name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES[2:])
def test_what_counts_calls_is_a_whole_number(adapter: GenOpsHeliconeAsyncAdapter, name: str) -> None:
    """Half a call cannot go."""
    with pytest.raises(TypeError, match=rf"`{name}` must be a whole number, not float"):
        plan(adapter, **{"requests_per_minute": 60, name: 1.5})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments, error, said",
    [
        ({"burst_allowance": 5}, ConfigurationError, "`burst_allowance` is 5 without `requests_per_minute`: give both"),
        ({"backoff_strategy": "random"}, ConfigurationError, "use one of 'exponential', 'linear', 'constant'"),
        ({"adaptive": "yes"}, TypeError, "`adaptive` must be True or False, not str"),
        ({"per_provider": ["openai"]}, TypeError, "`per_provider` must map providers to limits, not list"),
        ({"per_provider": {"openai": 60}}, TypeError, "`per_provider['openai']` must be a mapping of limits, not int"),
        ({"per_provider": {"opnai": {}}}, ConfigurationError, "which is no known provider: did you mean 'openai'?"),
        ({"per_provider": {7: {}}}, ConfigurationError, "`per_provider` names 7, which is no known provider"),
        ({"per_provider": {"groq": {"rpm": 6}}}, ConfigurationError, "has 'rpm': limits are requests_per_minute"),
        ({"per_provider": {"groq": {7: 6}}}, ConfigurationError, "`per_provider['groq']` has 7: limits are "),
    ],
)  # fmt: skip
def test_other_arguments_that_make_no_sense(
    adapter: GenOpsHeliconeAsyncAdapter, arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    """Each is named, with what would."""
    before = adapter._parts.limits.plan
    with pytest.raises(error) as caught:
        plan(adapter, **arguments)
    assert said in str(caught.value)
    assert adapter._parts.limits.plan is before
