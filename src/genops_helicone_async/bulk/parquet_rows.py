"""Parquet as rows, by pyarrow (extra `parquet`), in record batches of about a megabyte, whatever the file's size."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from ..errors import ConfigurationError
from .cells import Column, row_of
from .records import Record

BATCH_BYTES = 1024 * 1024
_MOST_ROWS = 4096


class ParquetRows:
    """The rows of a Parquet file. Opening it reads its footer only.

    Raises:
        ConfigurationError: pyarrow is missing, the file is no Parquet, or its columns are not ours.
        OSError: it cannot be read.
    """

    __slots__ = ("_columns", "_file", "_names", "_path", "rows")

    def __init__(self, path: str, columns_of: Callable[[Sequence[str]], tuple[Column | None, ...]]) -> None:
        self._path = path
        self._file = open_parquet(path)
        try:
            found = columns_of(self._file.schema_arrow.names)
        except ConfigurationError as exc:
            self._file.close()
            raise ConfigurationError(f"{path}: {exc.message}") from None
        named = zip(self._file.schema_arrow.names, found, strict=True)
        kept = [(name, column) for name, column in named if column is not None]
        self._names = [name for name, _ in kept]
        self._columns = [column for _, column in kept]
        self.rows: int = self._file.metadata.num_rows

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def batches(self) -> Iterator[list[Record]]:
        """The rows; one that cannot be read has its reason.

        Raises:
            OSError: the file is damaged further on.
        """
        from pyarrow import ArrowException

        try:
            yield from self._batches()
        except ArrowException as exc:
            said = " ".join(str(exc).split())
            raise OSError(errno.EIO, f"damaged Parquet: {said}", self._path) from exc

    def _batches(self) -> Iterator[list[Record]]:
        number = 0
        metadata = self._file.metadata
        whole_bytes = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
        at_once = max(1, min(_MOST_ROWS, BATCH_BYTES * self.rows // max(whole_bytes, 1)))
        for batch in self._file.iter_batches(batch_size=at_once, columns=self._names, use_threads=False):
            arranged = batch.select(self._names)
            yield [self._record(number + place, row) for place, row in enumerate(_values(arranged), 1)]
            number += len(arranged)

    def _record(self, number: int, cells: Sequence[Any] | UnicodeDecodeError) -> Record:
        if isinstance(cells, UnicodeDecodeError):
            return Record(number=number, data=b"", reason=f"a text that is not UTF-8 at byte {cells.start + 1}")
        try:
            return Record(number=number, data=row_of(self._columns, cells))
        except ValueError as exc:
            raw = msgspec.json.encode(dict(zip(self._names, cells, strict=True)), enc_hook=str)
            return Record(number=number, data=raw, reason=str(exc))


def _values(batch: Any) -> Iterator[Sequence[Any] | UnicodeDecodeError]:
    """The cells of each row as Python's values."""
    try:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    except UnicodeDecodeError:
        for place in range(len(batch)):
            try:
                yield [column[place].as_py() for column in batch.columns]
            except UnicodeDecodeError as exc:
                yield exc


def open_parquet(path: str) -> Any:
    """The file, opened by pyarrow.

    Raises:
        ConfigurationError: pyarrow is missing, or the file is no Parquet.
        OSError: it cannot be read.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ConfigurationError(
            "reading Parquet needs pyarrow: pip install 'genops-helicone-async[parquet]'"
        ) from None
    try:
        # Neither whole column chunks ahead nor the file mapped: memory must not grow with its row groups.
        return ParquetFile(path, pre_buffer=False, buffer_size=BATCH_BYTES)
    except ArrowException as exc:
        raise ConfigurationError(f"{path} is no Parquet file: {' '.join(str(exc).split())}") from None


__all__ = ["ParquetRows", "open_parquet"]
