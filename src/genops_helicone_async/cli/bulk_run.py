"""One run of `bulk`: opens the job or takes it up, sends what is left, and says what came of it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..bulk.fingerprint import Fingerprint, fingerprint_of
from ..bulk.job import BulkJob, View, rows_of
from ..bulk.job_files import Opening, open_job
from ..bulk.journal import Journal
from ..bulk.journal_group import JobFiles
from ..bulk.live import LiveRows, check_target
from ..bulk.recovery import Identity
from ..bulk.rows import Row, RowReader
from ..bulk.sources import RowSource
from ..bulk.spending import JobSpending, lost_tries
from ..client import GenOpsHeliconeAsyncAdapter
from ..errors import ConfigurationError
from ..models import PUSD_PER_USD
from .bulk_end import MOST_NAMED, JobEnd, print_end
from .bulk_inputs import configure_limits, open_rows
from .bulk_page import write_page
from .bulk_ray import charged, released, rows_over_ray
from .bulk_via import Via, open_via, window_of
from .collector import rare_collections
from .failures import FAILED, INTERRUPTED, CommandError, reason
from .interrupts import Interrupts
from .progress import view_for
from .summary import counted

if TYPE_CHECKING:
    from ..integrations.ray import RayRows

_DECIDING = ("provider", "providers", "model", "strategy", "system", "max_tokens", "temperature")
"""Options that decide what is answered; a job goes on with the same, unless it is told that they are new."""
_OF_INPUT = ("from_line", "format", "prompt_column", "ignore_columns")


class Begun(msgspec.Struct, kw_only=True):
    """What a command works with, checked."""

    arguments: argparse.Namespace
    adapter: GenOpsHeliconeAsyncAdapter
    source: RowSource
    defaults: dict[str, Any]
    output: Path | None
    bad_lines: Path | None


async def run_job(begun: Begun) -> int:
    """Does what is left of the job, and prints the summary; gives the exit status."""
    arguments = begun.arguments
    configure_limits(begun.adapter, arguments)
    view = view_for("bulk", quiet=arguments.quiet, as_json=arguments.json_progress)
    async with begun.adapter as adapter:
        await check_target(adapter, begun.defaults)
        fingerprint = await fingerprint_if_file(arguments)
        view.total = fingerprint.rows if fingerprint is not None and arguments.from_line == 1 else None
        files = await asyncio.to_thread(
            open_job, begun.output, identity_of(arguments, fingerprint), Opening(
                overwrite=arguments.overwrite, new_options=arguments.new_options, window=window_of(arguments),
                retry_failed=arguments.retry_failed,
            ),
        )  # fmt: skip
        run = _Run(begun, files, view)
        # What a pipe brings is known only when it is read: it may be more than before, or something else.
        is_done = files.recovered.is_finished and files.recovered.is_same_input and fingerprint is not None
        return await run.finished() if is_done else await run.run(adapter)


async def fingerprint_if_file(arguments: argparse.Namespace) -> Fingerprint | None:
    """What tells the input from any other; None where it is a pipe."""
    if not await asyncio.to_thread(Path(arguments.input).is_file):
        return None  # reading a pipe would empty it
    return await asyncio.to_thread(fingerprint_of, arguments.input, arguments.format)


def identity_of(arguments: argparse.Namespace, fingerprint: Fingerprint | None) -> Identity:
    """What makes the job the same one when it is taken up again."""
    given = {name: getattr(arguments, name) for name in (*_DECIDING, *_OF_INPUT)}
    options = {f"--{name.replace('_', '-')}": str(value) for name, value in given.items() if value and value != 1}
    if fingerprint is None:
        return Identity(options=options)
    return Identity(digest=fingerprint.digest, size=fingerprint.size, options=options)


class _Run:
    """One run of a job whose files are open."""

    __slots__ = ("_arguments", "_begun", "_files", "_ray", "_rows_before", "_started", "_tries", "_via", "_view")

    def __init__(self, begun: Begun, files: JobFiles, view: View) -> None:
        self._begun = begun
        self._arguments = begun.arguments
        self._files = files
        self._view = view
        self._rows_before = files.recovered.tally.done
        self._started = time.monotonic()
        self._via: Via
        self._ray: RayRows | None = None
        self._tries: dict[int, int] = {}

    async def finished(self) -> int:
        """The job is done already: nothing is sent."""
        self._begun.source.stop()
        journal = Journal(self._files)
        await journal.close()
        tally = journal.tally
        end = self._end(tally_of=journal)
        print("this job is finished already: nothing was sent", file=sys.stderr)
        await self._tell(end)
        if tally.failed:
            print(f"{counted(tally.failed, 'row')} failed: --retry-failed sends them again", file=sys.stderr)
        return FAILED if tally.failed or tally.skipped else 0

    async def run(self, adapter: GenOpsHeliconeAsyncAdapter) -> int:
        """Sends what is left."""
        arguments, files, source = self._arguments, self._files, self._begun.source
        journal = Journal(files, is_ordered=arguments.ordered, is_deduped=not arguments.no_dedupe)
        live = LiveRows(
            adapter, max_in_flight=arguments.max_in_flight, wait_s=arguments.wait_for_gateway, note=self._view.note,
            is_limited=arguments.max_cost is not None,
        )  # fmt: skip
        spending = await self._limited(journal, live)
        reader = RowReader(self._begun.defaults, frozenset(adapter.settings.candidates), remember_ids=False)
        try:
            via = self._via = await open_via(arguments, adapter, live, journal, files, self._view.note)
        except ConfigurationError:
            await journal.close()
            raise
        await self._expect_doubted(spending, reader)
        ray = self._ray = rows_over_ray(arguments, live, spending, self._view.note)
        job = BulkJob(
            rows_of(source, reader, arguments.from_line), source.stop, ray or via.executor, journal, view=self._view,
            window=window_of(arguments), before_again=charged(ray, spending, via), was_sent=via.was_sent,
        )  # fmt: skip
        self._tell_of_earlier_runs()
        try:
            keys = Interrupts(lambda count: self._interrupted(job, interrupts, count))
            with spending.tracker, keys as interrupts, rare_collections():
                await job.run()
            job.dropped = {line: name for line, name in job.dropped.items() if not via.keeps(line)}
        except ConfigurationError:
            await asyncio.to_thread(self._leave_nothing, journal)
            raise
        except OSError as exc:
            if journal.failure is None:
                raise
            raise self._not_written(journal, exc) from None
        await self._tell(self._end(journal, job, ray.stopped if ray is not None else via.stopped))
        if job.is_interrupted:
            self._say_how_it_ended(job)
            return INTERRUPTED
        return 0 if job.is_finished and not job.tally.failed and not job.tally.skipped else FAILED

    async def _limited(self, journal: Journal, live: LiveRows) -> JobSpending:
        """The job's limit, with what earlier runs have taken of it."""
        self._tries = await asyncio.to_thread(lost_tries, self._files.journal)
        limit = self._arguments.max_cost
        spending = JobSpending(journal, None if limit is None else round(limit * PUSD_PER_USD), live.worst_case_pusd)
        live.tell_repeats_to(spending.before_repeat)
        return spending

    async def _expect_doubted(self, spending: JobSpending, reader: RowReader) -> None:
        """Sets aside what rows in doubt may have cost, wherever they stand; a pipe tells of them only as they come."""
        doubted = set(filter(self._via.was_sent, self._files.recovered.in_doubt))
        path = Path(self._arguments.input)
        if self._arguments.max_cost is None or not doubted or not await asyncio.to_thread(path.is_file):
            return
        source, last = await asyncio.to_thread(open_rows, self._arguments), max(doubted)
        rows = []
        async for record in source.records():
            if record.number in doubted and isinstance(row := reader.read_record(record), Row):
                rows.append(row)
            if record.number >= last:
                source.stop()
        await spending.expect(rows, self._tries)

    def _interrupted(self, job: BulkJob, interrupts: Interrupts, count: int) -> None:
        if count == 1 and self._via.leave():
            job.is_interrupted = True
            job.stop()
        else:
            job.interrupt(count)
        if count == 1 and interrupts.is_terminated:
            drain_s = self._arguments.drain_seconds
            self._view.note(f"SIGTERM: what is still in flight after {drain_s:g} s is dropped")
            asyncio.get_running_loop().call_later(drain_s, job.drop)

    def _tell_of_earlier_runs(self) -> None:
        recovered = self._files.recovered
        if not recovered.is_resumed:
            return
        told = [f"going on with run {recovered.runs}: {counted(self._rows_before, 'row')} done"]
        if recovered.adopted:
            told.append(f"{counted(recovered.adopted, 'answer')} of the last moment taken over")
        if recovered.torn_bytes:
            told.append(f"a torn last line of {recovered.torn_bytes:,} bytes taken away")
        if sent := sum(map(self._via.was_sent, recovered.in_doubt)):
            told.append(f"{counted(sent, 'row')} on the way when it ended, sent again")
        self._view.note("; ".join(told))

    def _end(self, tally_of: Journal, job: BulkJob | None = None, stopped: str | None = None) -> JobEnd:
        output, recovered = self._begun.output, self._files.recovered
        twice = [*_named(job.again if job else recovered.again), *released(self._ray)]
        bad_lines = self._begun.bad_lines
        go_on = None
        if recovered.journal_path is not None and job is not None and not job.is_finished:
            go_on = "the same command" + (" with a higher --max-cost" if "bulk" in (stopped or "") else "")
        return JobEnd(
            tally=tally_of.tally, wall_s=time.monotonic() - self._started, input=self._arguments.input,
            output=None if output is None else str(output), rows_before=self._rows_before, runs=recovered.runs,
            bad_lines=str(bad_lines) if bad_lines is not None and tally_of.tally.skipped else None,
            rows_total=self._view.total, is_interrupted=job is not None and job.is_interrupted, given_back=stopped,
            twice=twice, twice_count=len(twice), twice_pusd=recovered.doubt_pusd,
            dropped=_named(job.dropped) if job else (), go_on=go_on, last_line=job.last_line if job else 0,
        )  # fmt: skip

    async def _tell(self, end: JobEnd) -> None:
        out = sys.stderr if self._begun.output is None else sys.stdout
        print_end(end, out, as_json=self._arguments.json)
        page = self._arguments.report
        if page is not None:
            await asyncio.to_thread(write_page, end, page)
            print(f"the report: {page}", file=sys.stderr)

    def _say_how_it_ended(self, job: BulkJob) -> None:
        told = "interrupted: every answer that came is in the output"
        if job.dropped:
            named = ", ".join(
                f"{custom_id} (line {line})" for line, custom_id in sorted(job.dropped.items())[:MOST_NAMED]
            )
            told += f"; {counted(len(job.dropped), 'row')} dropped unanswered, perhaps billed: {named}"
        if left := self._via.left():
            told += f"; {left}"
        print(told, file=sys.stderr)

    def _not_written(self, journal: Journal, exc: OSError) -> CommandError:
        output = self._begun.output
        where = "standard output" if output is None else str(output)
        rows = journal.recovered.written + journal.output.rows
        told = f"cannot write {where}: {reason(exc)}; the {rows} rows in it are whole"
        if journal.recovered.journal_path is not None:
            told += "; make room and give the same command again to go on"
        return CommandError(told)

    def _leave_nothing(self, journal: Journal) -> None:
        """Where nothing was done, nothing is left: neither an empty output nor a journal of no rows."""
        recovered = self._files.recovered
        if recovered.is_resumed or journal.tally.done or journal.output.length or recovered.journal_path is None:
            return
        assert self._begun.output is not None
        for path in (self._begun.output, recovered.journal_path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _named(rows: Mapping[int, str]) -> list[str]:
    return [f"{custom_id} (line {line})" for line, custom_id in sorted(rows.items())]


__all__ = ["Begun", "fingerprint_if_file", "identity_of", "run_job"]
