"""What the parts of a bulk job know of each other: the outcome of a row, and whoever answers rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from ..errors import Attempt
from .rows import Row

Kind = Literal["answered", "failed", "unsent"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What came of a row. `data` is its line of the output, without a line break; it pickles.

    `unsent` rows were given back: nothing of them is billed, nothing is written, and a resumed job does them. `error`
    is the name of the error's class, `reason` what it said. `served_by` tells a row that cost nothing because it equals
    another: that row's `custom_id`.
    """

    line: int
    custom_id: str
    kind: Kind
    data: bytes = b""
    attempts: tuple[Attempt, ...] = ()
    error: str | None = None
    reason: str | None = None
    served_by: str | None = None


class Executor(Protocol):
    """Answers rows: this process's adapter, actors on other machines, a provider's batch API, or a mix of them."""

    def outcomes(self, rows: AsyncIterator[Row]) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
        """The outcome of every row taken, in any order, until the rows end.

        Rows are taken only as there is room: an executor holds a bounded number. Leaving the context cancels what is in
        flight and waits until it has ended; rows without an outcome are then in doubt, and the journal knows them.
        """
        ...


__all__ = ["Executor", "Kind", "Outcome"]
