"""List prices worked out beforehand, so that a program's first call need not import `genai-prices`, which takes 160 ms.

The table beside this file holds what the price book answers for the models of one state of `genai-prices`, and the
digest of that state's files. It answers only while the installed files are the very same ones, and only within the days
between two listed changes of a price; for all else the library itself is asked. So it can be missing, but not be wrong.
`tools/make_price_table.py` writes it.
"""

from __future__ import annotations

import bisect
import hashlib
import importlib.util
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from .._rules.prices import Price, Rates

TABLE = Path(__file__).with_name("price_table.json")


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One model's price: tiers of (from so many input tokens on, the fields of `Rates` in their order).

    It holds from `since_s` on, Unix seconds, and until `until_s`, where another one is listed.
    """

    tiers: tuple[tuple[int, tuple[int, int, int, int, int, int, int]], ...]
    price_list: str = ""
    writes_cache: bool = False
    since_s: float = 0.0
    until_s: float | None = None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """The file: whose answers these are, the days on which a listed price changes, and rows by provider and model."""

    digest: str
    source: str
    change_dates: tuple[str, ...]
    rows: dict[str, msgspec.Raw]


class PriceTable:
    """Prices of the installed `genai-prices` as far as they were worked out for it; read when first asked."""

    __slots__ = ("_lock", "_path", "_rows", "_table")

    def __init__(self, path: Path = TABLE) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._table: Table | None = None
        self._rows: dict[str, dict[str, Row]] | None = None

    def find(self, provider: str, model: str, now_s: float) -> Price | None:
        """The price, None where the library has to be asked. Reads two megabytes at first: not for the event loop."""
        if "genai_prices" in sys.modules:  # asking it is cheap now, and it may have fetched newer prices
            return None
        with self._lock:
            if self._rows is None:
                self._table, self._rows = _opened(self._path), {}
            table = self._table
            if table is None:
                return None
            rows = self._rows.get(provider)
            if rows is None:
                raw = table.rows.get(provider)
                rows = self._rows[provider] = {} if raw is None else msgspec.json.decode(raw, type=dict[str, Row])
        row = rows.get(model)
        if row is None or now_s < row.since_s or (row.until_s is not None and now_s >= row.until_s):
            return None
        return _price(table, row, provider, model, now_s)

    def __repr__(self) -> str:
        return f"PriceTable({self._path.name})"


def _opened(path: Path) -> Table | None:
    """The table, if there is one and the installed price lists are those it was made from."""
    try:
        table = msgspec.json.decode(path.read_bytes(), type=Table)
    except (OSError, msgspec.DecodeError):
        return None
    return table if table.digest == digest_of_installed() else None


def digest_of_installed() -> str | None:
    """What tells one state of the installed `genai-prices` from every other: all its code and data, unexecuted."""
    spec = importlib.util.find_spec("genai_prices")
    if spec is None or spec.origin is None:
        return None
    digest = hashlib.blake2b(digest_size=16)
    try:
        for path in sorted(Path(spec.origin).parent.glob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.name} {len(content)}\n".encode())
            digest.update(content)
    except OSError:
        return None
    return digest.hexdigest()


def _price(table: Table, row: Row, provider: str, model: str, now_s: float) -> Price:
    today = datetime.fromtimestamp(now_s, UTC).date().isoformat()
    passed = bisect.bisect_right(table.change_dates, today)
    return Price(
        provider=provider,
        model=model,
        tiers=tuple(
            (start, Rates(**dict(zip(Rates.__struct_fields__, rates, strict=True)))) for start, rates in row.tiers
        ),
        source=f"{table.source} ({row.price_list})" if row.price_list else table.source,
        date=table.change_dates[passed - 1] if passed else None,
        valid_until_s=row.until_s,
        writes_cache=row.writes_cache,
    )


__all__ = ["TABLE", "PriceTable", "Row", "Table", "digest_of_installed"]
