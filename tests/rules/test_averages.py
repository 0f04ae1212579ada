"""How long answers are, learnt from answers: what is expected, and what few exceed."""

from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.averages import UNKNOWN_OUTPUT_TOKENS, OutputAverages

MODEL = ("openai", "gpt-4o")


def after(*output_tokens: int) -> tuple[int, int]:
    """The expected and the cautious length after these answers."""
    averages = OutputAverages()
    for tokens in output_tokens:
        averages.observe(MODEL, tokens)
    return averages.of(MODEL).expected, averages.of(MODEL).cautious


def test_a_model_that_never_answered_gets_the_documented_guess() -> None:
    """An unknown model is assumed to answer with 1,000 tokens."""
    assert after() == (UNKNOWN_OUTPUT_TOKENS, UNKNOWN_OUTPUT_TOKENS)


def test_the_average_follows_real_answers() -> None:
    """A hundred answers of 200 tokens make 200 expected; the margin shrinks with the deviation."""
    assert after(*[200] * 100) == (200, 200)


def test_a_short_first_answer_does_not_shrink_holds_at_once() -> None:
    """One answer of three tokens is no proof: the cautious figure comes down by a tenth with each further one."""
    assert after(3) == (3, 1000)
    assert after(3, 3) == (3, 900)
    assert [after(*[3] * number)[1] for number in (5, 10, 20, 40)] == [657, 389, 138, 19]


def test_a_model_that_says_nothing_is_still_held_for_a_token() -> None:
    """However often its answers were empty."""
    assert after(*[0] * 500) == (0, 1)


def test_a_long_first_answer_leaves_a_margin_above_itself() -> None:
    """After one answer of 2,000 tokens the cautious figure is three times as long: its mean and four half-means."""
    assert after(2000) == (2000, 6000)


def test_figures_move_by_a_tenth_of_each_surprise() -> None:
    """As TCP keeps its round trips, with weights of one in ten."""
    assert after(1000, 2000) == (1100, 3300)


def test_models_are_told_apart_and_their_number_is_capped() -> None:
    """The same model at another provider is another one; beyond 4,096 nothing new is learnt."""
    averages = OutputAverages()
    for number in range(4_200):
        averages.observe(("p", str(number)), 10)
    averages.observe(("q", "0"), 10)
    assert [averages.of(key).expected for key in (("p", "4095"), ("p", "4096"), ("q", "0"))] == [10, 1000, 1000]
    averages.observe(("p", "0"), 20)
    assert (averages.of(("p", "0")).expected, repr(averages)) == (11, "OutputAverages(4096 models)")


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=50))
def test_the_cautious_figure_is_never_below_the_expected_one(lengths: list[int]) -> None:
    """A hold is at least what is likely, and at least a token."""
    expected, cautious = after(*lengths)
    assert min(lengths) <= expected <= max(lengths)
    assert max(1, expected) <= cautious
