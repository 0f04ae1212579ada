"""What a journal works with: the files of its job, the changes of one transaction, and who is told of them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from .appended import AppendedFile, LaterFile
from .journal_lookups import Lookups
from .journal_rows import Taken
from .ports import Outcome
from .recovery import Recovered
from .rows import BadLine, Row

Offer = tuple[Sequence[Row | BadLine], asyncio.Future[Taken]]
Change = tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]


class JobFiles(msgspec.Struct, kw_only=True):
    """The files of a job, opened, agreeing with each other. Without `errors`, bad lines are only told."""

    journal: sqlite3.Connection
    lookups: Lookups
    output: AppendedFile
    errors: LaterFile | None
    recovered: Recovered
    window: int | None = None


class Group:
    """Changes that go into one transaction."""

    __slots__ = ("changes", "given_back", "is_settled", "offers", "outcomes", "size", "tally")

    def __init__(self) -> None:
        self.offers: list[Offer] = []
        self.outcomes: list[Outcome] = []
        self.given_back: list[int] = []
        self.changes: list[Change] = []
        self.size = 0
        self.tally: bytes | None = None
        self.is_settled = False
        """Whether it was told already that the outcomes are safe from the end of the process."""

    def __bool__(self) -> bool:
        return bool(self.offers or self.outcomes or self.given_back or self.changes)


class Listener(msgspec.Struct, kw_only=True):
    """Who is told on the event loop what a group of changes brought forth.

    Attributes:
        settled: Of how many outcomes that were recorded are safe now; 0 where only something else has changed.
        promoted: Of rows that have to be sent now, for the equal one that they waited for has failed.
        copied: Of rows that were answered by an equal one.
        failed: That nothing can be written any more.
    """

    settled: Callable[[int], None]
    promoted: Callable[[list[Row]], None]
    copied: Callable[[list[Outcome]], None]
    failed: Callable[[Exception], None]


__all__ = ["Group", "JobFiles", "Listener"]
