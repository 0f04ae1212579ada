"""Where a job's rows come from: JSONL, CSV or Parquet, from a path or standard input, alike to whoever takes them."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import PurePath
from typing import Literal

from ..errors import ConfigurationError
from .cells import Column, columns_of
from .csv_rows import CsvRows
from .lines import Line, Read, line_batches
from .parquet_rows import ParquetRows
from .reading_ahead import ReadingAhead
from .records import Beginning, Record

Kind = Literal["jsonl", "csv", "parquet"]
_SUFFIXES: dict[str, Kind] = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet"}
STDIN = "standard input"


class RowSource:
    """The records of one input, once: `async for record in source.records()`."""

    __slots__ = ("_reading", "kind", "name", "rows")

    def __init__(
        self, kind: Kind, name: str, batches: Callable[[], Iterator[list[Record]]], close: Callable[[], None],
        rows: int | None = None,
    ) -> None:  # fmt: skip
        self.kind = kind
        self.name = name
        self.rows = rows
        """How many there are, where the file itself says so (Parquet)."""
        self._reading = ReadingAhead(batches, close)

    def __repr__(self) -> str:
        return f"RowSource({self.name}, {self.kind})"

    def stop(self) -> None:
        """No further record will be given."""
        self._reading.stop()

    def records(self) -> AsyncIterator[Record]:
        """The records in their order, read on a thread, a few batches ahead of who takes them; blank lines are none.

        Raises:
            ConfigurationError: what came through a pipe is another encoding's, or its columns are not ours.
            OSError: reading failed.
        """
        return self._reading.items()


def kind_of(path: str | None, given: Kind | None = None) -> Kind:
    """What kind of rows a path has by its suffix, `.gz` aside, unless it is given; JSONL where nothing tells."""
    if given is not None or path is None:
        return given or "jsonl"
    return _SUFFIXES.get(PurePath(path.lower().removesuffix(".gz")).suffix, "jsonl")


def open_source(
    path: str | None,
    *,
    kind: Kind | None = None,
    prompt_column: str | None = None,
    ignore_columns: Collection[str] = (),
) -> RowSource:
    """Opens a file, or standard input with None, and looks at its beginning; a pipe's is looked at as it is read.

    It blocks for as long as that takes.

    Args:
        path: The file; one that ends in `.gz` is unpacked.
        kind: Of the rows; by default the suffix tells.
        prompt_column: Of CSV and Parquet, which column is the `message`.
        ignore_columns: Columns that are not for us; `*` is every one that is no keyword.

    Raises:
        ConfigurationError: it is no such file, or its columns are not ours; the message names the remedy.
        OSError: it cannot be read.
    """
    kind, name = kind_of(path, kind), path or STDIN
    columns = partial(columns_of, prompt_column=prompt_column, ignored=frozenset(ignore_columns))
    if kind == "jsonl" and (prompt_column is not None or ignore_columns):
        raise ConfigurationError("columns are named for CSV and Parquet: a row of JSON has its prompt as `message`")
    if path is not None and os.path.isdir(path):  # noqa: PTH112  a path may be bytes that no Path prints
        raise ConfigurationError(f"cannot read {path}: it is a folder, give a file of rows")
    if kind == "parquet":
        return _parquet(path, columns)
    read, close = _reader(path)
    try:
        return _text(kind, name, read, close, columns, is_file=path is not None and _is_file(path))
    except BaseException:
        close()
        raise


def _parquet(path: str | None, columns: Callable[[Sequence[str]], tuple[Column | None, ...]]) -> RowSource:
    if path is None or not _is_file(path):
        raise ConfigurationError(
            "Parquet cannot be read from a pipe, for its footer comes last: give the file's path, or convert it to CSV"
        )
    if path.lower().endswith(".gz"):
        raise ConfigurationError(f"{path}: Parquet is compressed within; gunzip it first")
    rows = ParquetRows(path, columns)
    return RowSource("parquet", path, rows.batches, rows.close, rows.rows)


def _text(
    kind: Kind, name: str, read: Read, close: Callable[[], None],
    columns: Callable[[Sequence[str]], tuple[Column | None, ...]], *, is_file: bool,
) -> RowSource:  # fmt: skip
    beginning = Beginning(read, name)
    if is_file:
        beginning.look()
    if kind == "csv":
        table = CsvRows(beginning.read, name, columns)
        if is_file:
            table.read_header()
        return RowSource(kind, name, table.batches, close)
    return RowSource(kind, name, partial(_json_records, beginning.read), close)


def _json_records(read: Read) -> Iterator[list[Record]]:
    for batch in line_batches(read):
        yield [_json_record(line) for line in batch if line.data.strip()]


def _json_record(line: Line) -> Record:
    reason = None if line.is_whole else f"longer than {len(line.data):,} bytes"
    return Record(number=line.number, data=line.data, reason=reason)


def _reader(path: str | None) -> tuple[Read, Callable[[], None]]:
    """What reads a path or standard input, and what closes that."""
    if path is None:
        return partial(os.read, 0), lambda: None
    if path.lower().endswith(".gz"):
        packed = gzip.open(path, "rb")  # noqa: SIM115
        return partial(_unpacked, packed, path), packed.close
    descriptor = os.open(path, os.O_RDONLY)
    return partial(os.read, descriptor), partial(os.close, descriptor)


def _unpacked(packed: gzip.GzipFile, path: str, most: int) -> bytes:
    try:
        return packed.read1(most)
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise OSError(None, f"no whole gzip file: {exc}", path) from exc


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except FileNotFoundError:
        return True  # what opens it says so


__all__ = ["STDIN", "Kind", "RowSource", "kind_of", "open_source"]
