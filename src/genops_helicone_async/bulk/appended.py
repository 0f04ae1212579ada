"""A file that only grows, by whole lines: what of it is safe on disk is known, whatever interrupts the writing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

TAIL_BYTES = 4_096
_BLOCK_BYTES = 1 << 20


class AppendedFile:
    """Lines appended to a file, to standard output with `path` None, or to a device. It blocks.

    `length` is how many bytes of whole lines it holds; `rows` how many lines this object has appended.
    """

    __slots__ = ("_end", "_file", "is_regular", "length", "path", "rows")

    def __init__(self, path: Path | None) -> None:
        self.path = path
        if path is None:
            self._file = os.dup(1)
        else:
            is_other = path.exists() and not path.is_file()
            self._file = os.open(path, os.O_WRONLY if is_other else os.O_RDWR | os.O_CREAT, 0o644)
        status = os.fstat(self._file)
        self.is_regular = path is not None and stat.S_ISREG(status.st_mode)
        self.length = status.st_size if self.is_regular else 0
        self.rows = 0
        self._end = b""
        if self.is_regular:
            self._remember_end()

    def append(self, lines: list[bytes]) -> int:
        """Writes lines, each with its line break added; gives where the first of them begins.

        Raises:
            OSError: not all could be written; the whole lines among what was written stay.
        """
        begin, data = self.length, b"\n".join([*lines, b""])
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, memoryview(data)[done:] if done else data)
        except OSError:
            whole = data.rfind(b"\n", 0, done) + 1
            self._grown(data[:whole], data.count(b"\n", 0, whole))
            if self.is_regular and done > whole:
                os.ftruncate(self._file, self.length)
            raise
        self._grown(data, len(lines))
        return begin

    def sync(self) -> None:
        """Returns when all of it would survive a power failure."""
        if self.is_regular:
            getattr(os, "fdatasync", os.fsync)(self._file)

    def read(self, at: int, size: int) -> bytes:
        """Bytes that were appended before."""
        return os.pread(self._file, size, at)

    def lines_from(self, at: int) -> Iterator[tuple[int, bytes]]:
        """Each whole line from a place on, with where it begins and without its line break."""
        rest, begin = b"", at
        while block := os.pread(self._file, _BLOCK_BYTES, begin + len(rest)):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield begin, line
                begin += len(line) + 1

    def cut(self, length: int) -> None:
        """Takes back what is beyond."""
        os.ftruncate(self._file, length)
        self.length = length
        self._remember_end()

    def tail(self) -> bytes:
        """A digest of the file's end, which tells it from one that was changed there."""
        return hashlib.blake2b(self._end, digest_size=16).digest()

    def tail_at(self, length: int) -> bytes:
        """The same as it was at an earlier length."""
        at = max(0, length - TAIL_BYTES)
        return hashlib.blake2b(os.pread(self._file, length - at, at), digest_size=16).digest()

    def close(self) -> None:
        """Closes it; safe to repeat."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _grown(self, data: bytes, rows: int) -> None:
        self.length += len(data)
        self.rows += rows
        if self.is_regular and data:
            self._end = data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (self._end + data)[-TAIL_BYTES:]

    def _remember_end(self) -> None:
        at = max(0, self.length - TAIL_BYTES)
        self._end = os.pread(self._file, self.length - at, at)
        os.lseek(self._file, self.length, os.SEEK_SET)


class LaterFile:
    """A file that is opened, and made, only when there is something to write. What is beyond `length` is cut then."""

    __slots__ = ("_length", "_opened", "path")

    def __init__(self, path: Path, length: int) -> None:
        self.path = path
        self._length = length
        self._opened: AppendedFile | None = None

    def open(self) -> AppendedFile:
        """The file."""
        if self._opened is None:
            self._opened = file = AppendedFile(self.path)
            if file.is_regular and file.length > self._length:
                file.cut(self._length)
        return self._opened

    def close(self) -> None:
        """Closes it, if it was opened."""
        if self._opened is not None:
            self._opened.close()


__all__ = ["AppendedFile", "LaterFile"]
