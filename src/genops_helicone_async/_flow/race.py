"""All providers at once, and the first answer counts: the others' connections are dropped, what they cost is kept."""

from __future__ import annotations

from ..models import MultiProviderResponse
from .branches import Branch, Branches


async def race(branches: Branches) -> MultiProviderResponse:
    """The first answer; who had answered by the time the others were called off is in the responses, too.

    Raises:
        AllProvidersFailedError: none answered.
        BudgetExceededError: no budget had room for anybody; nothing was sent.
    """

    def ended(branch: Branch) -> None:
        if branch.response is not None and branches.winner is None:
            branches.win(branch)

    await branches.run(branches.start_all, ended)
    if branches.winner is None:
        raise branches.all_failed()
    return branches.together(branches.winner, f"{branches.winner.provider} answered first")


__all__ = ["race"]
