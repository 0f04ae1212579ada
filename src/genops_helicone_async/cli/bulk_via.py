"""The options of `bulk` that say how rows are answered, live or in batches, and the executor they stand for."""

from __future__ import annotations

import argparse
import asyncio
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .failures import WRONG_USAGE, CommandError
from .options import positive
from .summary import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from sqlite3 import Connection

    from ..bulk.batches import BatchRows, SentLive, SplitRows
    from ..bulk.batches.store import Batch
    from ..bulk.journal import Journal
    from ..bulk.journal_group import JobFiles
    from ..bulk.live import LiveRows
    from ..bulk.ports import Executor
    from ..bulk.rows import Row
    from ..client import GenOpsHeliconeAsyncAdapter

POLL_S = 60.0
READ_AHEAD_ROWS = 256
"""Rows beyond those in flight that workers on Ray are given in good time."""
_SECONDS_A_CALL = 20.0
"""What a live call is taken to last until some were measured: `--max-in-flight` over it is the rate counted on."""


def add_via_options(parser: argparse.ArgumentParser) -> None:
    """How rows are answered."""
    group = parser.add_argument_group("batches of OpenAI and Anthropic: half the price, within a day")
    group.add_argument(
        "--via", choices=("live", "batch", "auto"), default="live",
        help="answer rows live, through the provider's batch API, or each as the deadline allows (default live)",
    )  # fmt: skip
    group.add_argument(
        "--finish-by", metavar="TIME",
        help="with --via auto: when all is to be done, such as 06:30, 2h or 2026-11-24T06:30",
    )  # fmt: skip
    group.add_argument(
        "--poll-seconds", metavar="S", type=positive, default=POLL_S,
        help=f"the longest between two looks at a batch (default {POLL_S:g})",
    )  # fmt: skip
    group.add_argument(
        "--cancel-batches", action="store_true",
        help="end the job's batches at the provider: what they have done is fetched, other rows are left",
    )  # fmt: skip


def check_via(arguments: argparse.Namespace) -> None:
    """Refuses options that do not go together, before anything is opened.

    Raises:
        CommandError: wrong usage; the message names the remedy.
        ConfigurationError: the deadline is no moment to come.
    """
    if arguments.finish_by is not None and arguments.via != "auto":
        raise CommandError("--finish-by needs --via auto, which may send rows live to be in time", WRONG_USAGE)
    if arguments.cancel_batches and arguments.via == "live":
        raise CommandError("--cancel-batches needs the job's own --via batch or --via auto", WRONG_USAGE)
    if arguments.via != "live" and arguments.output == "-":
        raise CommandError(
            f"--via {arguments.via} needs an output file, -o OUTPUT.jsonl: its journal remembers the batches",
            WRONG_USAGE,
        )
    arguments.finish_at_s = _finish_at_s(arguments)  # once: a time of day that passes meanwhile is not tomorrow's


def check_overwrite(output: Path) -> None:
    """Refuses to forget batches that a provider would go on with, and bill; this blocks.

    Raises:
        CommandError: the output's journal has such; the message names the remedy.
    """
    from ..bulk.batches import running_batches
    from ..bulk.journal_file import close_journal, journal_path, open_journal

    path = journal_path(output)
    if not path.exists():
        return
    try:
        sql = open_journal(path)
    except ConfigurationError:
        return  # in use, which is refused later on, or no journal of ours, which is replaced
    try:
        found = running_batches(sql)
    finally:
        close_journal(sql, path)
    if found:
        raise CommandError(
            f"the job of {output} has {_told(found)}, which --overwrite would forget: they run on, and are billed. "
            "Give its command without --overwrite to fetch them, or with --cancel-batches to end them, before you "
            "start anew; or give another -o",
            WRONG_USAGE,
        )


def _told(batches: Sequence[Batch]) -> str:
    rows = sum(batch.rows for batch in batches)
    where = " and ".join(sorted({batch.provider for batch in batches}))
    return f"{counted(len(batches), 'batch', 'batches')} of {counted(rows, 'row')} at {where}"


def _finish_at_s(arguments: argparse.Namespace) -> float:
    from ..bulk.batches import parse_finish_by

    if arguments.finish_by is None:
        return float("inf")
    return parse_finish_by(arguments.finish_by, datetime.now().astimezone(), datetime.astimezone).timestamp()


class Via:
    """Who answers a job's rows, and what has to be known of that."""

    __slots__ = ("_batches", "_live", "_note", "_sent_live", "_split")

    def __init__(
        self, live: LiveRows, note: Callable[[str], None], *, batches: BatchRows | None = None,
        split: SplitRows | None = None, sent_live: SentLive | None = None,
    ) -> None:  # fmt: skip
        self._live = live
        self._note = note
        self._batches = batches
        self._split = split
        self._sent_live = sent_live

    @property
    def executor(self) -> Executor:
        """Who answers."""
        return self._split or self._batches or self._live

    @property
    def stopped(self) -> str | None:
        """Why rows were given back, if some were."""
        return self._live.stopped or (self._batches.stopped if self._batches is not None else None)

    def keeps(self, line: int) -> bool:
        """Whether a row that was taken is in no doubt: a batch has it, or it was never sent."""
        if self._batches is None:
            return False
        return self._sent_live is None or self._batches.has(line) or line not in self._sent_live

    def was_sent(self, line: int) -> bool:
        """Whether an earlier run, which left the row without an outcome, may have sent it live."""
        if self._batches is None:
            return True
        return self._sent_live is not None and line in self._sent_live.earlier

    def sent_again(self, rows: list[Row], connection: Connection) -> None:
        """Forgets in the journal that an earlier run sent these rows: it is counted now."""
        if self._sent_live is not None:
            from ..bulk.batches import forget_sent_live

            forget_sent_live(rows, connection)

    def leave(self) -> bool:
        """Ends the run, if batches would go on without it; they do."""
        leaving = self._split or self._batches
        if leaving is None:
            return False
        self._note("stopping: batches go on at their provider, calls in flight are finished first")
        leaving.leave()
        return True

    def left(self) -> str | None:
        """What goes on at the provider, and how to have it."""
        running = self._batches.running() if self._batches is not None else ()
        if not running:
            return None
        return (
            f"still to come, and billed: {_told(running)}; the same command fetches what they have done, and with "
            "--cancel-batches ends them"
        )


async def open_via(
    arguments: argparse.Namespace, adapter: GenOpsHeliconeAsyncAdapter, live: LiveRows, journal: Journal,
    files: JobFiles, note: Callable[[str], None],
) -> Via:  # fmt: skip
    """Who is to answer the rows, with the batches of earlier runs.

    Raises:
        ConfigurationError: the job has batches at a provider, and is to go on without them.
    """
    from ..bulk.batches import (
        BatchOptions,
        BatchRows,
        SentLive,
        SplitOptions,
        SplitRows,
        load_known,
        load_sent_live,
    )

    known = await asyncio.to_thread(load_known, files.journal)
    if arguments.via == "live":
        running = [batch for batch in known.batches.values() if batch.state in ("submitting", "running")]
        if any(known.number_of.count(batch.number) for batch in running):
            raise ConfigurationError(
                "this job has rows in batches at a provider, which would be billed twice: go on with --via batch, or "
                "end them first (--via batch --cancel-batches)"
            )
        return Via(live, note)
    first_s = min(5.0, arguments.poll_seconds)
    options = BatchOptions(
        poll_s=arguments.poll_seconds, first_poll_s=first_s, linger_s=first_s, cancels=arguments.cancel_batches,
        is_limited=arguments.max_cost is not None,
    )  # fmt: skip
    told = _say_nothing if arguments.quiet else note
    batches = BatchRows(adapter, journal, options, note=note, told=told, known=known)
    if arguments.via == "batch":
        return Via(live, note, batches=batches)
    rate = arguments.max_in_flight / _SECONDS_A_CALL
    terms = SplitOptions(finish_at_s=arguments.finish_at_s, rate=rate)
    recovered = files.recovered
    doubted = recovered.in_doubt if recovered.window is not None else ()
    earlier = await asyncio.to_thread(load_sent_live, doubted, files.journal)
    sent_live = SentLive(journal, earlier)
    split = SplitRows(batches, live, terms, note=note, sent_live=sent_live)
    return Via(live, note, batches=batches, split=split, sent_live=sent_live)


def window_of(arguments: argparse.Namespace) -> int | None:
    """How many rows may be out at once; batches know themselves what they have sent, and workers on Ray read ahead."""
    if arguments.ray is not None:
        return int(arguments.max_in_flight + READ_AHEAD_ROWS)
    return arguments.max_in_flight if arguments.via == "live" else None


def _say_nothing(line: str) -> None:
    pass


__all__ = ["Via", "add_via_options", "check_overwrite", "check_via", "open_via", "window_of"]
