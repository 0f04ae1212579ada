"""The audit log as the flow sees it: what is only to be added, and what has to be there before a call goes on."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import msgspec

from ..._compliance_settings import AuditOptions
from .writer import Entry, Writer


class AuditStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Lines this process added, those still to be added, and those that are lost; failed attempts to write.

    `failure` is why the file takes nothing at the moment, None while it does.
    """

    lines: int
    waiting: int
    lost: int
    failures: int
    failure: str | None


class AuditLog:
    """Lines for a file, from any number of tasks, event loops and threads; opened by the first.

    A line that cannot be added is kept and tried again, unless somebody waits for it: who does, is told.
    """

    __slots__ = ("__weakref__", "_options", "_writer")

    def __init__(self, options: AuditOptions) -> None:
        self._options = options
        self._writer = Writer(options)
        weakref.finalize(self, self._writer.stop).atexit = False

    def __repr__(self) -> str:
        told = self.statistics()
        return f"AuditLog({str(self._options.path)!r}, {told.lines} lines{', failing' if told.failure else ''})"

    @property
    def path(self) -> str:
        """The file."""
        return str(self._options.path)

    def statistics(self) -> AuditStatistics:
        """What became of the lines so far."""
        writer = self._writer
        return AuditStatistics(
            lines=writer.lines,
            waiting=writer.waiting,
            lost=writer.lost,
            failures=writer.failures,
            failure=writer.failure,
        )

    def put(self, facts: Mapping[str, Any]) -> None:
        """Has a line added; never waits and never fails."""
        self._writer.put(Entry(facts))

    async def added(self, facts: Mapping[str, Any]) -> str | None:
        """Waits until a line is added, by `fsync="always"` on the disk; gives why it could not be, None where it was.

        Cancelling gives up the waiting, not the line.
        """
        done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._writer.put(Entry(facts, done))
        return await done

    async def aclose(self) -> None:
        """Adds what is still to be added, and lets go of the file. Safe to repeat."""
        done: Future[None] = Future()
        self._writer.stop(done)
        await asyncio.shield(asyncio.wrap_future(done))


__all__ = ["AuditLog", "AuditStatistics"]
