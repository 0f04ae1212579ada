"""What follows a failed attempt: a table of exact rows, and the laws that hold for any story of failures."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.rate_limits import BackoffStrategy
from genops_helicone_async._rules.retry import (
    Ask,
    Failure,
    RetryPolicy,
    RetryQuota,
    Stop,
    can_another_cure,
    decide,
    may_repeat,
    repeatable,
)
from genops_helicone_async.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    GatewayError,
    HeliconeError,
    InsufficientCreditsError,
    ProviderError,
    RateLimitExceededError,
    RoutingError,
)

DOWN = ProviderError("down", status_code=503, retry_safe=True)
REFUSED = GatewayError("no connection", retry_safe=True)
RESET = GatewayError("reset after sending", billed="maybe")
CUT = DecodeError("cut short", billed="maybe")
BAD_REQUEST = ProviderError("bad request", status_code=400)
BAD_PROVIDER_KEY = AuthenticationError("who?", which="provider", status_code=401)
BAD_HELICONE_KEY = AuthenticationError("who?", which="helicone", status_code=401)
SHARED_LIMIT = RateLimitExceededError("slow down", limited_by="helicone", retry_safe=True, throttled=True)


def limited(after_s: float | None = None) -> RateLimitExceededError:
    """A provider's rate limit."""
    return RateLimitExceededError("slow down", status_code=429, retry_safe=True, throttled=True, retry_after_s=after_s)


def story(*failed: tuple[int, HeliconeError] | tuple[int, HeliconeError, float]) -> list[Failure]:
    """Failures as (candidate, error[, when]); without a time they happened at 100 s."""
    return [Failure(candidate=row[0], error=row[1], at_s=row[2] if len(row) > 2 else 100.0) for row in failed]


def decided(
    failures: list[Failure],
    candidates: int,
    *,
    attempts: int = 3,
    now_s: float = 100.0,
    remaining_s: float = 60.0,
    random: float = 0.5,
    quota: RetryQuota | None = None,
) -> Ask | Stop:
    """The decision, under a policy whose delays are easy to reckon: 1, 2, 4, 8, 8, … times `random`."""
    return decide(
        failures,
        candidates,
        now_s=now_s,
        remaining_s=remaining_s,
        policy=RetryPolicy(attempts=attempts, base_s=1.0, cap_s=8.0),
        quota=quota or RetryQuota(),
        random=lambda: random,
    )


def ask(candidate: int, delay_s: float = 0.0, *, retry: bool = False) -> Ask:
    """The step that asks a candidate."""
    return Ask(candidate=candidate, delay_s=delay_s, is_retry=retry)


@pytest.mark.parametrize(
    ("error", "cures", "repeats"),
    [
        (DOWN, True, True),
        (REFUSED, True, True),
        (RESET, True, False),
        (CUT, True, False),
        (DecodeError("not JSON", billed="maybe"), True, False),
        (limited(), True, True),
        (SHARED_LIMIT, False, True),
        (BAD_PROVIDER_KEY, True, False),
        (BAD_HELICONE_KEY, False, False),
        (BAD_REQUEST, False, False),
        (ProviderError("unprocessable", status_code=422), False, False),
        (ProviderError("no such model", status_code=404), True, False),
        (ProviderError("too slow", status_code=408, retry_safe=True), True, True),
        (ProviderError("too large", status_code=413), True, False),
        (ProviderError("too long", status_code=400, code="context_length_exceeded"), True, False),
        (ProviderError("no such model", status_code=400, code="model_not_found"), True, False),
        (ProviderError("an error event that tells nothing"), True, False),
        (ProviderError("took its share of the time", code="attempt_timeout", billed="maybe"), True, False),
        (ProviderError("timed out upstream", status_code=504, retry_safe=True, billed="maybe"), True, False),
        (GatewayError("nobody offers it", status_code=400, code="no_available_providers"), True, False),
        (GatewayError("refused header", status_code=400), False, False),
        (GatewayError("TLS failed", code="tls_failure"), True, False),
        (InsufficientCreditsError("no money"), True, False),
        (DeadlineExceededError("too late", billed="maybe"), False, False),
        (DeadlineExceededError("too late"), False, False),
        (BudgetExceededError("no budget"), False, False),
        (ConfigurationError("wrong"), False, False),
        (RoutingError("nowhere"), False, False),
    ],
    ids=lambda value: f"{type(value).__name__} {value}" if isinstance(value, HeliconeError) else "",
)
def test_who_could_do_better(error: HeliconeError, cures: bool, repeats: bool) -> None:
    """For every kind of error: whether another candidate may cure it, and whether the same may be asked again."""
    assert (can_another_cure(error), may_repeat(error)) == (cures, repeats)


@pytest.mark.parametrize(
    ("failures", "candidates", "given", "expected"),
    [
        # the next candidate is asked at once, in order
        (story((0, DOWN)), 3, {}, ask(1)),
        (story((0, DOWN), (1, DOWN)), 3, {}, ask(2)),
        (story((1, DOWN)), 3, {}, ask(0)),
        (story((0, limited(after_s=30.0))), 2, {}, ask(1)),
        (story((0, RESET)), 2, {}, ask(1)),
        (story((0, BAD_PROVIDER_KEY)), 2, {}, ask(1)),
        (story((0, DOWN)), 2, {"attempts": 0}, ask(1)),
        (story((0, DOWN)), 2, {"remaining_s": 0.001}, ask(1)),
        # nobody can cure it
        (story((0, BAD_REQUEST)), 2, {}, Stop("no repeat can cure this error")),
        (story((0, BAD_HELICONE_KEY)), 2, {}, Stop("no repeat can cure this error")),
        (story((0, DOWN), (1, BAD_REQUEST)), 3, {}, Stop("no repeat can cure this error")),
        (story((0, DeadlineExceededError("late"))), 2, {}, Stop("no repeat can cure this error")),
        # all have been asked: wait, then ask again whom it is safe to ask
        (story((0, DOWN)), 1, {}, ask(0, 0.5, retry=True)),
        (story((0, DOWN), (0, DOWN)), 1, {}, ask(0, 1.0, retry=True)),
        (story((0, DOWN), (0, DOWN), (0, DOWN)), 1, {}, ask(0, 2.0, retry=True)),
        (story(*[(0, DOWN)] * 4), 1, {}, Stop("3 retries are used up")),
        (story(*[(0, DOWN)] * 7), 1, {"attempts": 9, "random": 1.0}, ask(0, 8.0, retry=True)),
        (story((0, DOWN)), 1, {"attempts": 0}, Stop("0 retries are used up")),
        (story((0, DOWN)), 1, {"random": 0.0}, ask(0, 0.0, retry=True)),
        (story((0, DOWN), (1, DOWN)), 2, {}, ask(0, 0.5, retry=True)),
        (story((0, RESET), (1, DOWN)), 2, {}, ask(1, 0.5, retry=True)),
        (story((0, RESET), (1, CUT)), 2, {}, Stop("no candidate may be asked again without paying twice")),
        (story((0, BAD_PROVIDER_KEY)), 1, {}, Stop("no candidate may be asked again without paying twice")),
        (story((0, DOWN), (1, DOWN), (0, RESET)), 2, {}, ask(1, 1.0, retry=True)),
        (story((0, SHARED_LIMIT)), 2, {}, ask(0, 0.5, retry=True)),
        # Retry-After is the floor of the delay, counted from when it was said
        (story((0, limited(3.0))), 1, {}, ask(0, 3.0, retry=True)),
        (story((0, limited(0.2))), 1, {}, ask(0, 0.5, retry=True)),
        (story((0, limited(3.0), 98.0)), 1, {}, ask(0, 1.0, retry=True)),
        (story((0, limited(3.0), 90.0)), 1, {}, ask(0, 0.5, retry=True)),
        (story((0, limited(9.0)), (1, limited(4.0))), 2, {}, ask(1, 4.0, retry=True)),
        (story((0, limited(9.0), 94.0), (1, limited(4.0))), 2, {}, ask(0, 3.0, retry=True)),
        # what would outlast the deadline is not waited for
        (story((0, limited(60.0))), 1, {}, Stop("waiting 60.0 s would outlast the deadline")),
        (story((0, limited(59.9))), 1, {}, ask(0, 59.9, retry=True)),
        (story((0, DOWN)), 1, {"remaining_s": 0.5}, Stop("waiting 0.5 s would outlast the deadline")),
        (story((0, DOWN)), 1, {"remaining_s": 0.0, "random": 0.0}, Stop("waiting 0.0 s would outlast the deadline")),
        (story((0, DOWN)), 1, {"remaining_s": -1.0, "random": 0.0}, Stop("waiting 0.0 s would outlast the deadline")),
    ],
)
def test_the_next_step(failures: list[Failure], candidates: int, given: dict[str, Any], expected: Ask | Stop) -> None:
    """For every story: whom to ask next and after how long, or why to stop."""
    assert decided(failures, candidates, **given) == expected


def test_a_retry_is_paid_for_and_a_failover_is_not() -> None:
    """Five are taken for a retry; nothing for the next candidate, for a stop, or where the quota is empty."""
    quota = RetryQuota()
    decided(story((0, DOWN)), 2, quota=quota)
    decided(story((0, BAD_REQUEST)), 1, quota=quota)
    decided(story((0, limited(99.0))), 1, quota=quota)
    assert quota.left == 500
    decided(story((0, DOWN)), 1, quota=quota)
    assert quota.left == 495
    empty = RetryQuota(capacity=4)
    assert decided(story((0, DOWN)), 1, quota=empty) == Stop("the client's retry quota is empty")
    assert empty.left == 4


def test_a_repeat_after_throttling_is_not_paid_for() -> None:
    """The limits pace it, so that a quota left empty by an outage does not end what only has to wait."""
    empty = RetryQuota(capacity=0)
    assert decided(story((0, limited(3.0))), 1, quota=empty) == ask(0, 3.0, retry=True)
    assert decided(story((0, SHARED_LIMIT)), 1, quota=empty) == ask(0, 0.5, retry=True)


STEPS = {
    "exponential": [0.5, 1.0, 2.0, 4.0, 4.0],
    "linear": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.0],
    "constant": [1.0] * 5,
}


@pytest.mark.parametrize("strategy", STEPS)
def test_backoff_strategies(strategy: BackoffStrategy) -> None:
    """Full jitter of a doubling wait, a wait that grows by the same, or always the same; Retry-After is the floor."""
    for retries, delay_s in enumerate(STEPS[strategy], start=1):
        for error, least_s in ((DOWN, 0.0), (limited(2.5), 2.5)):
            step = decide(
                story(*[(0, error)] * retries),
                1,
                now_s=100.0,
                remaining_s=60.0,
                policy=RetryPolicy(attempts=99, strategy=strategy, base_s=1.0, cap_s=8.0),
                quota=RetryQuota(),
                random=lambda: 0.5,
            )
            assert step == ask(0, max(delay_s, least_s), retry=True)


def test_who_may_be_asked_again_now() -> None:
    """Those whose last failure charged nothing and whose Retry-After is over."""
    failed = story((0, DOWN), (1, RESET), (2, limited(3.0)), (3, limited(3.0), 97.0), (4, DOWN), (4, BAD_REQUEST))
    assert repeatable(failed, 100.0) == {0, 3}
    assert repeatable(failed, 103.0) == {0, 2, 3}


def test_the_quota_fills_up_again_to_its_capacity() -> None:
    """A success gives back one, a successful retry five, never more than there were."""
    quota = RetryQuota(capacity=20)
    assert [quota.take() for _ in range(5)] == [True, True, True, True, False]
    assert repr(quota) == "RetryQuota(0/20)"
    quota.succeeded(after_retry=False)
    assert quota.left == 1
    quota.succeeded(after_retry=True)
    assert quota.left == 6
    for _ in range(10):
        quota.succeeded(after_retry=True)
    assert quota.left == 20


ERRORS = st.one_of(
    st.sampled_from([DOWN, REFUSED, RESET, CUT, BAD_REQUEST, BAD_PROVIDER_KEY, BAD_HELICONE_KEY, SHARED_LIMIT]),
    st.builds(limited, st.floats(0, 100)),
)


@given(
    candidates=st.integers(1, 4),
    errors=st.lists(ERRORS, max_size=30),
    attempts=st.integers(0, 5),
    random=st.floats(0, 1, exclude_max=True),
    capacity=st.integers(0, 30),
)
def test_every_story_ends(
    candidates: int, errors: list[HeliconeError], attempts: int, random: float, capacity: int
) -> None:
    """Each candidate is asked before any is asked again; retries keep to the policy, the quota and the deadline.

    Repeats of what a limit refused are not paid for: the limits pace them.
    """
    quota = RetryQuota(capacity=capacity)
    failures: list[Failure] = []
    at, now_s, deadline_s, retries, paid = 0, 0.0, 60.0, 0, 0
    for error in errors:
        failures.append(Failure(candidate=at, error=error, at_s=now_s))
        step = decided(
            failures, candidates, attempts=attempts, now_s=now_s, remaining_s=deadline_s - now_s, random=random,
            quota=quota,
        )  # fmt: skip
        if isinstance(step, Stop):
            break
        assert step.is_retry is (step.candidate in {failure.candidate for failure in failures})
        if step.is_retry:
            retries += 1
            last = [failure.error for failure in failures if failure.candidate == step.candidate][-1]
            assert last.retry_safe
            assert last.billed == "no"
            paid += not last.throttled
        else:
            assert step.delay_s == 0
        at, now_s = step.candidate, now_s + step.delay_s
        assert now_s < deadline_s
    assert retries <= attempts
    assert paid * quota.cost == capacity - quota.left
    assert len(failures) <= candidates + attempts
