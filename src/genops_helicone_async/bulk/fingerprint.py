"""Which file it was: the digest, size and rows of an input, in one pass over it."""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from .parquet_rows import open_parquet
from .sources import Kind, kind_of

BLOCK_BYTES = 4 * 1024 * 1024
_MAYBE_BLANK = re.compile(rb"\n[ \t\r\v\f\n]")
_GZIP = 31  # zlib's window for a gzip header and footer


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """What tells a file from any other: BLAKE2b of its bytes as they are, packed or not, and its size in bytes.

    `rows` is how many lines with something on them, or rows of a table, it has; None where they were not counted.
    """

    digest: str
    size: int
    rows: int | None
    seconds: float

    @property
    def mb_per_s(self) -> float:
        """Megabytes read in a second."""
        return self.size / 1e6 / max(self.seconds, 1e-9)


def fingerprint_of(path: str, kind: Kind | None = None, *, count_rows: bool = True) -> Fingerprint:
    """Reads a file from its beginning to its end, which blocks.

    Raises:
        ConfigurationError: it says that it is Parquet, and is none.
        OSError: it cannot be read.
    """
    started, kind = time.monotonic(), kind_of(path, kind)
    counting = RowCount(kind, packed=path.lower().endswith(".gz")) if count_rows and kind != "parquet" else None
    digest, size = hashlib.blake2b(digest_size=32), 0
    with Path(path).open("rb", buffering=0) as file, ThreadPoolExecutor(1, "bulk-digest") as beside:
        while block := file.read(BLOCK_BYTES):
            hashed = beside.submit(digest.update, block)  # hashing lets other threads run
            size += len(block)
            if counting is not None:
                counting.add(block)
            hashed.result()
    rows = counting.finish() if counting is not None else None
    if count_rows and kind == "parquet":
        with open_parquet(path) as parquet:
            rows = parquet.metadata.num_rows
    return Fingerprint(digest=digest.hexdigest(), size=size, rows=rows, seconds=time.monotonic() - started)


class RowCount:
    """Counts the rows of JSONL or CSV, block by block: lines that are not blank, without those within quotes."""

    __slots__ = ("_has_text", "_is_csv", "_is_quoted", "_rows", "_unpack")

    def __init__(self, kind: Kind, *, packed: bool = False) -> None:
        self._is_csv = kind == "csv"
        self._is_quoted = False
        self._has_text = False
        self._rows = 0
        self._unpack = zlib.decompressobj(_GZIP) if packed else None

    def add(self, block: bytes) -> None:
        """Counts what a block ends."""
        while self._unpack is not None:
            self._lines(self._unpack.decompress(block))
            block = self._unpack.unused_data
            if not block:
                return
            self._unpack = zlib.decompressobj(_GZIP)  # a file may be several, one after the other
        self._lines(block)

    def finish(self) -> int:
        """The number of rows, that of column names not among them."""
        return max(0, self._rows + self._has_text - self._is_csv)

    def _lines(self, block: bytes) -> None:
        if self._is_csv:
            parts = block.split(b'"')
            block = b'"' * (self._is_quoted and len(parts) > 1) + b'"'.join(parts[self._is_quoted :: 2])
            self._is_quoted ^= len(parts) % 2 == 0
        first, last = block.find(b"\n"), block.rfind(b"\n")
        if first < 0:
            self._has_text = self._has_text or bool(block.strip())
            return
        self._rows += self._has_text or bool(block[:first].strip())
        if _MAYBE_BLANK.search(block, first, last + 1):
            self._rows += sum(1 for line in block[first + 1 : last + 1].split(b"\n") if line.strip())
        else:
            self._rows += block.count(b"\n", first + 1, last + 1)
        self._has_text = bool(block[last + 1 :].strip())


__all__ = ["BLOCK_BYTES", "Fingerprint", "RowCount", "fingerprint_of"]
