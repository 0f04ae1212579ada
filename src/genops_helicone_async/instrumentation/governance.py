"""The verbs that configure what governs other clients' calls, and what they came to."""

from __future__ import annotations

from .._assembly import Parts
from .._configuration_verbs import ConfigurationVerbs
from ..models import BudgetStatus
from .governor import loop_thread


class Governance(ConfigurationVerbs):
    """Budgets, limits, webhooks and usage of instrumented calls: the verbs of an adapter, without those that send."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._parts.budgets!r})"

    def get_budget_status(self) -> tuple[BudgetStatus, ...]:
        """Every budget with its limit, what every process has spent and holds of it, what is left, when it resets.

        Raises:
            LedgerError: the store of budgets cannot be read.
        """
        return loop_thread().call(self._parts.budgets.fresh_status)


__all__ = ["Governance"]
