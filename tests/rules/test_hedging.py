"""The quota of extra calls: a tenth of all, ten saved, exact over any sequence."""

from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.hedging import CALLS_PER_HEDGE, MOST_SAVED, HedgeQuota


def hedges(quota: HedgeQuota, calls: int) -> int:
    """How many of so many calls may be hedged, when all want to be."""
    made = 0
    for _ in range(calls):
        quota.earn()
        made += quota.take()
    return made


def test_ten_are_saved_up_and_a_tenth_is_earned() -> None:
    """A thousand calls that all are slow: ten hedges from the start, and one for every ten calls."""
    quota = HedgeQuota()
    assert (quota.left, MOST_SAVED, CALLS_PER_HEDGE) == (10.0, 10, 10)
    assert hedges(quota, 1) == 1
    assert quota.left == 9.0  # what the first call earned found no room
    assert hedges(quota, 1_000) == 9 + 100
    assert (quota.calls, quota.hedges, quota.left) == (1_001, 110, 0.0)


def test_no_more_than_ten_are_saved() -> None:
    """However many calls went well."""
    quota = HedgeQuota()
    for _ in range(1_000):
        quota.earn()
    assert quota.left == 10.0
    assert [quota.take() for _ in range(11)] == [True] * 10 + [False]


def test_what_was_not_sent_is_given_back() -> None:
    """As if it had never been taken; and no more than ten."""
    quota = HedgeQuota()
    quota.earn()
    assert quota.take()
    quota.give_back()
    assert (quota.left, quota.hedges) == (10.0, 0)
    assert repr(quota) == "HedgeQuota(10 left, 0 hedges in 1 calls)"


@given(st.lists(st.sampled_from(("earn", "take", "take and give back"))))
def test_the_share_holds_over_any_sequence(steps: list[str]) -> None:
    """After n calls at most 10 + n/10 hedges were made, at any moment; and what is left is never below 0."""
    quota = HedgeQuota()
    for step in steps:
        if step == "earn":
            quota.earn()
        elif quota.take() and step != "take":
            quota.give_back()
        assert quota.hedges <= 10 + quota.calls / 10
        assert 0 <= quota.left <= 10
