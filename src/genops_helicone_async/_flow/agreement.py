"""All providers at once, and the answer that most of them gave counts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from typing import Any

from .._rules.consensus import Consensus, find_consensus, normalised
from ..errors import ConfigurationError
from ..models import HeliconeResponse, MultiProviderResponse
from .branches import Branch, Branches

ConsensusKey = Callable[[HeliconeResponse], Hashable]
"""What two answers are compared by; None abstains."""


async def consensus(branches: Branches, key: ConsensusKey | None) -> MultiProviderResponse:
    """What most say, by `key`, or by the text without what only dresses it; ties go to the cheapest answer.

    Raises:
        AllProvidersFailedError: none answered.
        BudgetExceededError: no budget had room for anybody; nothing was sent.
        ConfigurationError: `key` failed, or gave what cannot be compared; the answers are paid for, and their
            receipts are in its `attempts`.
    """
    await branches.run(branches.start_all, _nothing)
    answered = branches.answered()
    if not answered:
        raise branches.all_failed()
    responses = [branch.response for branch in answered if branch.response is not None]
    try:
        found = _vote(responses, key or _content)
    except ConfigurationError as exc:
        exc.attempts = branches.attempts()
        exc.billed = "yes"
        raise
    _tell(found, answered)
    return branches.together(answered[found.winner], _summary(found, len(branches.all)))


def _nothing(_branch: Branch) -> None:
    """Nothing follows from one answer alone."""


def _content(response: HeliconeResponse) -> Hashable:
    return normalised(response.content)


def _vote(responses: list[HeliconeResponse], key: ConsensusKey) -> Consensus:
    try:
        return find_consensus(responses, _guarded(key), [response.cost for response in responses])
    except ConfigurationError:
        raise
    except Exception as exc:
        told = f"`consensus_key` gave what cannot be compared: {type(exc).__name__}: {exc}"
        raise ConfigurationError(told) from exc


def _guarded(key: ConsensusKey) -> ConsensusKey:
    """The caller's function, whose failures are told as what they are."""

    def guarded(response: HeliconeResponse) -> Hashable:
        try:
            found: Any = key(response)
            hash(found)
        except Exception as exc:
            raise ConfigurationError(
                f"`consensus_key` failed on the answer of {response.provider} with {type(exc).__name__}: {exc}; "
                "it takes a response and returns a string, a number or a tuple of such"
            ) from exc
        if inspect.isawaitable(found):
            getattr(found, "close", _ignored)()
            raise ConfigurationError("`consensus_key` is asynchronous: give a function that returns the key at once")
        return found  # type: ignore[no-any-return]

    return guarded


def _ignored() -> None:
    """What has no `close` is not closed."""


def _tell(found: Consensus, answered: list[Branch]) -> None:
    """What the vote made of each answer."""
    for branch in answered:
        branch.verdict = "abstained"
    for number, group in enumerate(found.groups):
        for index in group:
            answered[index].verdict = "says something else" if number else f"one of {len(group)} that agree"
    if found.votes:
        answered[found.winner].verdict = "speaks for all that agree" if found.votes > 1 else "stands for itself"


def _summary(found: Consensus, asked: int) -> str:
    counted = f"{found.votes} of {found.answers}"
    told = f"{counted} agree" if found.has_majority else f"no majority: {counted}"
    missing = asked - found.answers
    return f"{told}; {missing} of {asked} failed" if missing else told


__all__ = ["ConsensusKey", "consensus"]
