"""The rows of any durable ledger, one after the other, whatever store keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import closing
from typing import Final, Protocol, cast

from .._assembly import open_ledger
from .._money_settings import checked_state_url
from .._rules.ledger import LedgerRow
from .._rules.report_time import LATEST_S
from ..errors import ConfigurationError

_PAGE: Final = 1_000
_CLOCKS_APART_S: Final = 3_600.0
"""A shared store finds rows by its own clock and when they reached it, which is after the call."""


class _Store(Protocol):
    def rows(
        self, *, since_s: float | None = None, until_s: float | None = None
    ) -> Iterator[LedgerRow] | AsyncIterator[LedgerRow]: ...

    async def aclose(self) -> None: ...


class _SharedStore(Protocol):
    def rows(self, *, since_s: float | None = None, clock_lag_s: float) -> AsyncIterator[LedgerRow]: ...

    async def aclose(self) -> None: ...


def ledger_rows(
    state_url: str, *, since_s: float | None = None, until_s: float | None = None
) -> Generator[LedgerRow, None, None]:
    """The rows of the ledger that a `state_url` names, from `since_s` up to and without `until_s` (Unix seconds).

    Nothing is written, and a ledger that is not there is not made. A file gives its rows by time; a shared store by
    when they reached it, those of its last 40 days. It blocks, so it is not for an event loop's thread.

    Raises:
        ConfigurationError: the URL is wrong, or names no durable ledger.
        LedgerError: at the first row: there is no ledger, or it cannot be read.
    """
    if not state_url or checked_state_url(state_url) is None:
        raise ConfigurationError("`state_url` is empty: a ledger in memory cannot be read from outside")
    return _between(cast(_Store, open_ledger(state_url)), since_s, until_s)


def recent_rows(state_url: str, *, since_s: float, clocks_apart_s: float) -> Generator[LedgerRow, None, None]:
    """The rows since then, as `ledger_rows` gives them, of a ledger that is written now.

    In a shared store whose clock is further than `clocks_apart_s` from those of the writers, some may be missing; the
    closer the clocks, the less is read.

    Raises:
        ConfigurationError: the URL is wrong, or names no durable ledger.
        LedgerError: at the first row: there is no ledger, or it cannot be read.
    """
    if state_url.startswith("sqlite:"):
        yield from ledger_rows(state_url, since_s=since_s)
        return
    if not state_url or checked_state_url(state_url) is None:
        raise ConfigurationError("`state_url` is empty: a ledger in memory cannot be read from outside")
    store = cast(_SharedStore, open_ledger(state_url))
    for row in _waited_for(store, store.rows(since_s=since_s, clock_lag_s=clocks_apart_s)):
        if row.at_s >= since_s:
            yield row


def check_readable(state_url: str) -> None:
    """Sees to it that there is a ledger, before something is asked of it that would make one.

    Raises:
        ConfigurationError: the URL is wrong, or names no durable ledger.
        LedgerError: there is no ledger, or it cannot be read.
    """
    with closing(ledger_rows(state_url, since_s=LATEST_S)) as rows:
        next(rows, None)


def _between(store: _Store, since_s: float | None, until_s: float | None) -> Generator[LedgerRow, None, None]:
    rows = store.rows(since_s=since_s, until_s=until_s)
    if isinstance(rows, Iterator):
        yield from rows
        return
    booked_since_s = None if since_s is None else max(since_s - _CLOCKS_APART_S, 0.0)
    for row in _waited_for(store, cast(AsyncIterator[LedgerRow], store.rows(since_s=booked_since_s))):
        if (since_s is None or row.at_s >= since_s) and (until_s is None or row.at_s < until_s):
            yield row


def _waited_for(store: _Store | _SharedStore, rows: AsyncIterator[LedgerRow]) -> Iterator[LedgerRow]:
    with asyncio.Runner() as runner:
        try:
            while page := runner.run(_page(rows)):
                yield from page
        finally:
            runner.run(_close(store, rows))


async def _close(store: _Store | _SharedStore, rows: AsyncIterator[LedgerRow]) -> None:
    if isinstance(rows, AsyncGenerator):
        await rows.aclose()
    await store.aclose()


async def _page(rows: AsyncIterator[LedgerRow]) -> list[LedgerRow]:
    page: list[LedgerRow] = []
    while len(page) < _PAGE:
        try:
            page.append(await anext(rows))
        except StopAsyncIteration:
            break
    return page


__all__ = ["check_readable", "ledger_rows", "recent_rows"]
