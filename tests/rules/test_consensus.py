"""What most answers say: majorities, ties and abstentions, and what counts as the same answer."""

from collections import Counter
from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async import ConfigurationError
from genops_helicone_async._rules.consensus import Consensus, find_consensus, normalised


@pytest.mark.parametrize(
    "one, other",
    [
        ("Paris", " paris.\n"),
        ("**Paris**", "Paris"),
        ("Yes!", "“yes”"),
        ('"Yes."', "**yes**."),
        ("(4)", "4"),
        ("It\u2019s  fine", "It's fine"),
        ("a – b", "a - b"),
        ("ﬁne", "fine"),
        ("STRASSE", "straße"),
        ("cafe\u0301", "café"),
        ('{"a": 1, "b": [2, 3]}', '{ "b":[2,3],\n"a":1 }'),
        ('```json\n{"a": 1}\n```', '{"a":1}'),
        ("```\n42\n```", "42"),
        ("[1, 2]", "[1,2]"),
    ],
)
def test_what_is_only_dressed_differently_is_the_same(one: str, other: str) -> None:
    """Case, spaces, quotes, emphasis, final punctuation, Unicode forms, code fences, and the order of JSON's keys."""
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    "one, other",
    [
        ("4", "The answer is 4"),
        ("yes", "no"),
        ("3.14", "314"),
        ("-5", "5"),
        (".5", "5"),
        ("[4]", "4"),
        ('{"a": 1}', '{"a": 2}'),
        ("[1, 2]", "[2, 1]"),
        ("a b", "ab"),
        ("", "x"),
    ],
)
def test_what_says_something_else_is_different(one: str, other: str) -> None:
    """Words and figures count."""
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize("text", ["...", "", "  ", "{broken", "[" * 100_000, "```\n```"])
def test_odd_answers_are_compared_as_they_are(text: str) -> None:
    """Nothing but punctuation, nothing at all, broken or endless JSON."""
    assert isinstance(normalised(text), str)
    assert normalised("...") == "..."


@given(text=st.text(max_size=60))
def test_normalising_white_space_and_case_changes_nothing(text: str) -> None:
    """A text in other white space around it is the same text."""
    assert normalised(f"\n {text}\t") == normalised(text)


def test_the_majority_wins() -> None:
    """Its earliest answer speaks for it."""
    assert find_consensus(["no", "Yes.", "yes"], normalised) == Consensus(
        winner=1, votes=2, answers=3, has_majority=True, groups=((1, 2), (0,))
    )


def test_without_a_majority_the_largest_group_speaks_and_says_so() -> None:
    """Two of five is the most here, and is flagged."""
    assert find_consensus(["a", "b", "c", "b", "d"], normalised) == Consensus(
        winner=1, votes=2, answers=5, has_majority=False, groups=((1, 3), (0,), (2,), (4,))
    )


def test_ties_go_to_the_earlier() -> None:
    """Of two groups of two, the one whose first answer came first."""
    assert find_consensus(["b", "a", "a", "b"], normalised).groups == ((0, 3), (1, 2))
    assert find_consensus(["b", "a"], normalised).winner == 0


def test_ties_go_to_the_cheaper_where_costs_are_known() -> None:
    """Then the cheapest answer of the winning group speaks for it."""
    found = find_consensus(["b", "a", "a", "b"], normalised, costs=[0.3, 0.2, 0.1, 0.3])
    assert (found.winner, found.groups) == (2, ((1, 2), (0, 3)))
    same = find_consensus(["b", "a", "a", "b"], normalised, costs=[0.1, 0.1, 0.1, 0.1])
    assert (same.winner, same.groups) == (0, ((0, 3), (1, 2)))


def test_none_abstains() -> None:
    """An answer without a key is in no group, and counts against a majority."""
    keys: dict[str, str | None] = {"x": None, "a": "a"}
    assert find_consensus(["x", "a", "x"], keys.__getitem__) == Consensus(
        winner=1, votes=1, answers=3, has_majority=False, groups=((1,),)
    )
    assert find_consensus(["x", "x"], keys.__getitem__) == Consensus(
        winner=0, votes=0, answers=2, has_majority=False, groups=()
    )


def test_a_key_that_cannot_be_compared_is_named() -> None:
    """The error says what the function returned."""

    def listed(answer: str) -> Hashable:
        return [answer]  # type: ignore[return-value]

    with pytest.raises(ConfigurationError, match="`consensus_key` returned a list"):
        find_consensus(["a"], listed)


def test_no_answers_are_no_consensus() -> None:
    """There is nothing to choose from."""
    with pytest.raises(ConfigurationError, match="at least one answer"):
        find_consensus([], normalised)


@given(answers=st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_the_groups_are_the_answers(answers: list[str]) -> None:
    """Every answer is in exactly one group, larger groups first, and a majority is more than half."""
    found = find_consensus(answers, normalised)
    assert sorted(index for group in found.groups for index in group) == list(range(len(answers)))
    assert [len(group) for group in found.groups] == sorted(Counter(answers).values(), reverse=True)
    assert found.winner == found.groups[0][0]
    assert found.has_majority is (found.votes > len(answers) / 2)
