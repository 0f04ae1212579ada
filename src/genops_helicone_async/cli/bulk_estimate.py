"""`bulk --dry-run`: what the job would cost and how long it would take, before anything is sent."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .bulk_estimate_view import JobEstimate, print_estimate
from .bulk_inputs import open_rows
from .failures import FAILED, WRONG_USAGE, CommandError
from .interrupts import Interrupts
from .money import PUSD_PER_USD
from .options import chat_keywords
from .progress import NOTES_SHOWN

if TYPE_CHECKING:
    from ..bulk.estimate import Estimator, Refusal
    from ..bulk.rows import BadLine, Row
    from ..bulk.standing import Standing
    from ..config import Settings

_NO_KEY = "dry-run"  # for the settings, where none is set; nothing is sent, so nobody sees it


def run_estimate(arguments: argparse.Namespace) -> int:
    """Looks at every row and prints what all would cost; 0 if all could be sent, 1 if not."""
    from .. import ChatRequest

    defaults = chat_keywords(arguments)
    ChatRequest(message="only to check the other options", **defaults)
    settings = settings_of(arguments)
    _quieten_prices()
    job = asyncio.run(_estimate(arguments, settings, defaults))
    print_estimate(job, as_json=arguments.json)
    return FAILED if job.refused else 0


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings that the connection options and the environment describe; a key need not be among them.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    from .._edges.open_files import open_file_limit
    from ..config import GivenSettings, resolve

    given = GivenSettings(
        helicone_api_key=None if os.environ.get("HELICONE_API_KEY") else _NO_KEY,
        gateway_url=arguments.gateway_url,
        gateway_dialect=arguments.dialect,
        provider_urls=dict(arguments.provider_url) or None,
        trust_env=arguments.trust_env,
    )
    return resolve(given, dict(os.environ), open_file_limit())


def _quieten_prices() -> None:
    """The table says of a model that it has no price; a warning need not."""
    import logging

    log = logging.getLogger("genops_helicone_async.prices")
    if not log.handlers:
        log.addHandler(logging.NullHandler())


async def _estimate(arguments: argparse.Namespace, settings: Settings, defaults: dict[str, Any]) -> JobEstimate:
    from .._edges.price_book import PriceBook
    from ..bulk.estimate import Estimator
    from ..bulk.job import rows_of
    from ..bulk.rows import RowReader

    source = await asyncio.to_thread(open_rows, arguments)
    limit_usd = arguments.max_cost
    limit_pusd = None if limit_usd is None else round(limit_usd * PUSD_PER_USD)
    notes = _Notes()
    reader = RowReader(defaults, frozenset(settings.candidates), remember_ids=False)
    items = rows_of(source, reader, arguments.from_line)
    prices, dedupe = PriceBook(settings.prices), not arguments.no_dedupe
    standing = await _standing(arguments)
    spent_pusd = 0 if standing is None else standing.spent_pusd
    left_pusd = None if limit_pusd is None else max(0, limit_pusd - spent_pusd)
    estimator = await asyncio.to_thread(Estimator, settings, prices, limit_pusd=left_pusd, dedupe=dedupe)
    with Interrupts(lambda count: source.stop()) as interrupts:
        try:
            await _add_all(estimator, items, notes, standing)
        finally:
            source.stop()
            await asyncio.to_thread(estimator.close)
            if standing is not None:
                await asyncio.to_thread(standing.close)
    return JobEstimate(
        estimate=estimator.estimate, input=source.name, bad_lines=notes.bad_lines, reasons=tuple(notes.shown),
        is_cut=bool(interrupts.count), limit_pusd=limit_pusd, max_in_flight=arguments.max_in_flight,
        requests_per_minute=arguments.requests_per_minute, tokens_per_minute=arguments.tokens_per_minute,
        done=notes.done, spent_pusd=spent_pusd,
    )  # fmt: skip


async def _standing(arguments: argparse.Namespace) -> Standing | None:
    """The job that the same command without `--dry-run` would go on with; None where it would begin one.

    Raises:
        ConfigurationError: that command would be refused.
    """
    from ..bulk.job_files import Opening
    from ..bulk.journal_file import journal_path
    from ..bulk.standing import look_at_job
    from .bulk_run import fingerprint_if_file, identity_of

    if arguments.output in (None, "-") or arguments.overwrite:
        return None
    output = Path(arguments.output)
    if not await asyncio.to_thread(lambda: journal_path(output).exists()):
        return None
    identity = identity_of(arguments, await fingerprint_if_file(arguments))
    opening = Opening(new_options=arguments.new_options, retry_failed=arguments.retry_failed)
    return await asyncio.to_thread(look_at_job, output, identity, opening)


async def _add_all(
    estimator: Estimator, items: AsyncIterator[Row | BadLine], notes: _Notes, standing: Standing | None
) -> None:
    from ..bulk.estimate import BATCH_ROWS

    batch: list[Row | BadLine] = []
    async for item in items:
        batch.append(item)
        if len(batch) >= BATCH_ROWS:
            await _add(estimator, batch, notes, standing)
            batch = []
    if batch:
        await _add(estimator, batch, notes, standing)


async def _add(estimator: Estimator, batch: list[Row | BadLine], notes: _Notes, standing: Standing | None) -> None:
    """Adds what is left to be done of these."""
    from ..bulk.rows import BadLine

    left, again = batch, frozenset[int]()
    if standing is not None:
        known = await asyncio.to_thread(standing.sort, batch)
        await estimator.skip(known.known)
        notes.done += known.done
        left, again = known.left, frozenset(known.again)
    rows: list[Row] = []
    for item in left:
        if isinstance(item, BadLine):
            notes.bad(item)
        else:
            rows.append(item)
    notes.refused(await estimator.add(rows, again))


class _Notes:
    """What cannot be sent, and what need not be: all of it counted, the first bad ones told."""

    __slots__ = ("bad_lines", "done", "shown")

    def __init__(self) -> None:
        self.bad_lines = self.done = 0
        self.shown: list[str] = []

    def bad(self, line: BadLine) -> None:
        """A line that is no row."""
        self.bad_lines += 1
        self._tell(line.line, line.reason)

    def refused(self, refusals: Sequence[Refusal]) -> None:
        """Rows that no call could be made of.

        Raises:
            CommandError: the command line itself names who cannot be asked.
        """
        for refusal in refusals:
            if refusal.row.is_default_target and isinstance(refusal.error, ConfigurationError):
                raise CommandError(refusal.reason, WRONG_USAGE)
            self._tell(refusal.row.line, refusal.reason)

    def _tell(self, line: int, reason: str) -> None:
        if len(self.shown) < NOTES_SHOWN:
            self.shown.append(f"line {line}: {reason}")


__all__ = ["run_estimate", "settings_of"]
