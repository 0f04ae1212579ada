"""What limits a plan gives to whom, in which units."""

import math

import pytest

from genops_helicone_async._rules.rate_limits import NO_LIMITS, LimitPlan, RateLimits, default_burst


@pytest.mark.parametrize("per_minute, burst", [(0.1, 1), (1, 1), (60, 1), (61, 2), (600, 10), (6001, 101)])
def test_a_burst_is_a_seconds_worth_and_at_least_one(per_minute: float, burst: int) -> None:
    """Rounded up."""
    assert default_burst(per_minute) == burst


def test_units() -> None:
    """Per minute outside, per second inside; six seconds' worth of tokens may go at once, one at least."""
    limits = RateLimits(requests_per_minute=600.0, tokens_per_minute=90_000.0)
    assert (limits.requests_per_s, limits.tokens_per_s, limits.token_burst) == (10.0, 1500.0, 9000.0)
    assert RateLimits(tokens_per_minute=1.0).token_burst == 1.0
    assert (NO_LIMITS.requests_per_s, NO_LIMITS.tokens_per_s) == (math.inf, None)


def test_a_provider_has_its_own_limits_or_everybodys() -> None:
    """Whole: what its own leave out was settled when the plan was made."""
    own, everyone = RateLimits(max_concurrency=1), RateLimits(max_concurrency=2)
    plan = LimitPlan(everyone=everyone, per_provider={"openai": own})
    assert (plan.of("openai"), plan.of("groq"), LimitPlan().of("openai")) == (own, everyone, NO_LIMITS)
