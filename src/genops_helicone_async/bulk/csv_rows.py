"""CSV as rows: the first row names the columns, a bad row costs itself only."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from ..errors import ConfigurationError
from .cells import Column, row_of
from .lines import Line, Read, line_batches
from .records import Record, not_utf8

MAX_CELL_CHARS = 16 * 1024 * 1024
"""What a quote that is never closed may take in before it is given up."""
DELIMITERS = ",;\t"

ColumnsOf = Callable[[Sequence[str]], tuple[Column | None, ...]]


class CsvRows:
    """The rows of a CSV file or pipe, in batches as they are read. `columns_of` checks and types the names."""

    __slots__ = ("_columns", "_columns_of", "_lines", "_name", "_reader")

    def __init__(self, read: Read, name: str, columns_of: ColumnsOf) -> None:
        self._lines = _Lines(line_batches(read))
        self._name = name
        self._columns_of = columns_of
        self._columns: tuple[Column | None, ...] | None = None

    def read_header(self) -> None:
        """Reads the first row, once.

        Raises:
            ConfigurationError: there is none, or its columns are not ours.
        """
        if self._columns is not None:
            return
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))  # csv's own 128 KB is less than many prompts
        first = next(self._lines, "").removeprefix("\ufeff")
        if trouble := self._lines.trouble:
            raise ConfigurationError(f"{self._name}: the row of column names is {trouble}")
        if not first.strip():
            raise ConfigurationError(f"{self._name} has no row of column names")
        form = {"delimiter": delimiter_of(first), "strict": True}
        try:
            names = [name.strip() for name in next(csv.reader(chain([first], self._lines), **form))]  # type: ignore[arg-type]
        except csv.Error as exc:
            lonely = "; its lines end in CR alone: convert it first (tr '\\r' '\\n')" if "\r" in first.rstrip() else ""
            raise ConfigurationError(f"{self._name}: the row of column names is no CSV{lonely or f': {exc}'}") from None
        while names and not names[-1]:  # spreadsheets write a comma behind the last column
            names.pop()
        try:
            self._columns = self._columns_of(names)
        except ConfigurationError as exc:
            raise ConfigurationError(f"{self._name}: {exc.message}") from None
        self._reader = csv.reader(self._lines, **form)  # type: ignore[arg-type]

    def batches(self) -> Iterator[list[Record]]:
        """The rows; those that cannot be read have their reason."""
        self.read_header()
        assert self._columns is not None
        batch: list[Record] = []
        lines, columns = self._lines, self._columns
        while True:
            number = lines.begin()
            try:
                cells = next(self._reader)
            except StopIteration:
                break
            except csv.Error as exc:
                batch.append(_bad(number, lines, lines.trouble or _reason(exc, number)))
            else:
                if cells:
                    batch.append(_record(number, lines, columns, cells))
            if lines.is_at_end and batch:
                yield batch
                batch = []
        if batch:
            yield batch


class _Lines:
    """The lines as text, one by one, as `csv` asks for them; it notes what is wrong with those of a row."""

    __slots__ = ("_batch", "_batches", "_next", "_number", "_taken", "trouble")

    def __init__(self, batches: Iterator[list[Line]]) -> None:
        self._batches = batches
        self._batch: list[Line] = []
        self._next = 0
        self._number = 0
        self._taken: list[str] = []
        self.trouble: str | None = None

    def begin(self) -> int:
        """A row begins: its line's number."""
        self._taken.clear()
        self.trouble = None
        return self._number + 1

    @property
    def is_at_end(self) -> bool:
        """Whether the next line has yet to be read."""
        return self._next >= len(self._batch)

    @property
    def taken(self) -> str:
        """The text of the row."""
        return "".join(self._taken)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._next >= len(self._batch):
            self._batch, self._next = next(self._batches), 0
        line = self._batch[self._next]
        self._next += 1
        self._number = line.number
        try:
            text = line.data.decode()
        except UnicodeDecodeError as exc:
            text = line.data.decode("utf-8", "backslashreplace")
            self.trouble = not_utf8(exc, line.data, f" of line {line.number}")
        if not line.is_whole:
            self.trouble = f"longer than {len(line.data):,} bytes"
        elif "\0" in text:
            self.trouble = f"no text: a NUL byte in line {line.number}"
        text += "\n"
        self._taken.append(text)
        return text


def _record(number: int, lines: _Lines, columns: Sequence[Column | None], cells: list[str]) -> Record:
    if lines.trouble:
        return _bad(number, lines, lines.trouble)
    if len(cells) != len(columns):
        while len(cells) > len(columns) and not cells[-1]:
            cells.pop()
        if len(cells) != len(columns):
            told = f"{len(cells)} cell{'' if len(cells) == 1 else 's'}"
            return _bad(number, lines, f"{told} in a table of {len(columns)} columns")
    try:
        return Record(number=number, data=row_of(columns, cells))
    except ValueError as exc:
        return _bad(number, lines, str(exc))


def _bad(number: int, lines: _Lines, reason: str) -> Record:
    return Record(number=number, data=lines.taken.removesuffix("\n").encode("utf-8", "surrogatepass"), reason=reason)


def _reason(exc: csv.Error, number: int) -> str:
    said = str(exc)
    if "unexpected end" in said or "field limit" in said:
        return f"a quote that is opened in the row of line {number} is never closed"
    if "expected after" in said:
        return 'a quote within a quoted cell has to be doubled (""): the row ends up in pieces without'
    return f"not CSV: {said}"


def delimiter_of(header: str) -> str:
    """What separates the columns: a comma, or the semicolon or tab that some spreadsheets write."""
    return max(DELIMITERS, key=header.count)


__all__ = ["CsvRows", "delimiter_of"]
