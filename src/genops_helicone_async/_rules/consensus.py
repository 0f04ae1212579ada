"""What most answers say: a majority by their normalised text, or by whatever key the caller compares them by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import msgspec

from ..errors import ConfigurationError

Answer = TypeVar("Answer")

_FENCE = re.compile(r"```[\w+-]*\n(.*?)\n?```", re.DOTALL)
_WRAPPING = " \"'`*_()«»"
_ENDING = " .,;:!?"
_SIGNS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-"})  # noqa: RUF001


class Consensus(msgspec.Struct, frozen=True, kw_only=True):
    """Which answer speaks for the majority.

    `winner` is the index of the answer, `groups` are the indices of those that agree, the winner's group first and
    then by size; `votes` is the size of the winner's group. `has_majority` says whether more than half of all answers
    are in it: without one the winner speaks for the largest group only. An answer without a key is in no group, and
    counts in `answers`.
    """

    winner: int
    votes: int
    answers: int
    has_majority: bool
    groups: tuple[tuple[int, ...], ...]


def normalised(text: str) -> str:
    """The text as it is compared: what is only dressed differently is the same.

    JSON is compared as data: order of keys and spaces do not count. Other text is compared after Unicode NFKC and
    case folding, with straight quotes and dashes and single spaces, and without quotes, emphasis and parentheses
    around it or punctuation at its end. A code fence around the whole is taken off first. Words inside count, also
    "The answer is 4" against "4": for that pass a key function.
    """
    stripped = text.strip()
    if fence := _FENCE.fullmatch(stripped):
        stripped = fence[1].strip()
    if stripped[:1] in ("{", "["):
        try:
            return msgspec.json.encode(msgspec.json.decode(stripped), order="deterministic").decode()
        except (msgspec.DecodeError, RecursionError):
            pass
    folded = unicodedata.normalize("NFKC", stripped).casefold().translate(_SIGNS)
    joined = " ".join(folded.split())
    bare, before = joined, ""
    while bare != before:
        bare, before = bare.rstrip(_ENDING).strip(_WRAPPING), bare
    return bare or joined


def find_consensus(
    answers: Sequence[Answer],
    key: Callable[[Answer], Hashable | None],
    costs: Sequence[float] | None = None,
) -> Consensus:
    """The answer of the largest group with the same key; None as a key abstains.

    Of groups of the same size the one with the cheapest answer wins where `costs` tell them apart, else the one that
    has the earliest. Its earliest answer speaks for it, or its cheapest where `costs` are given.

    Raises:
        ConfigurationError: there is no answer, or a key that cannot be compared.
    """
    if not answers:
        raise ConfigurationError("a consensus needs at least one answer")
    groups: dict[Hashable, list[int]] = {}
    abstained: list[int] = []
    for index, answer in enumerate(answers):
        found = key(answer)
        try:
            (abstained if found is None else groups.setdefault(found, [])).append(index)
        except TypeError as exc:
            raise ConfigurationError(
                f"`consensus_key` returned a {type(found).__name__}, which cannot be compared: "
                "return a string, a number or a tuple of such"
            ) from exc
    price: Callable[[int], float] = costs.__getitem__ if costs is not None else lambda _: 0.0
    spoken = [(-len(group), min(map(price, group)), group[0], group) for group in groups.values()]
    ordered = [group for *_, group in sorted(spoken)]
    if not ordered:
        return Consensus(winner=0, votes=0, answers=len(answers), has_majority=False, groups=())
    first = ordered[0]
    return Consensus(
        winner=min(first, key=lambda index: (price(index), index)),
        votes=len(first),
        answers=len(answers),
        has_majority=2 * len(first) > len(answers),
        groups=tuple(tuple(group) for group in ordered),
    )


__all__ = ["Consensus", "find_consensus", "normalised"]
