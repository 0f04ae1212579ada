"""Bulk jobs: a file of requests in, a file of answers out, every row exactly once.

A `BulkJob` runs the rows of a source through
an `Executor` into the `Journal` that `open_job` has opened files for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .job import BulkJob, rows_of
    from .job_files import Opening, open_job
    from .journal import Journal
    from .live import LiveRows
    from .ports import Executor, Outcome
    from .recovery import Identity, Recovered
    from .rows import BadLine, Row, RowReader
    from .sources import RowSource, open_source
    from .tally import Tally

_HOMES = {
    "BadLine": "rows", "BulkJob": "job", "Executor": "ports", "Identity": "recovery", "Journal": "journal",
    "LiveRows": "live", "Opening": "job_files", "Outcome": "ports", "Recovered": "recovery", "Row": "rows",
    "RowReader": "rows", "RowSource": "sources", "Tally": "tally", "open_job": "job_files", "open_source": "sources",
    "rows_of": "job",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{home}", __name__), name)


__all__ = [
    "BadLine",
    "BulkJob",
    "Executor",
    "Identity",
    "Journal",
    "LiveRows",
    "Opening",
    "Outcome",
    "Recovered",
    "Row",
    "RowReader",
    "RowSource",
    "Tally",
    "open_job",
    "open_source",
    "rows_of",
]
