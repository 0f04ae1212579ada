"""The files of an audit log: adding lines under a lock, beginning new parts, and what the seal is kept for.

The seal is written twice for each batch: before, that these lines are to come, and after, that they are there. So a
process may be killed anywhere, and yet no line can be added or taken away that the seal does not know of.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..._rules.audit_chain import Broken, Link, Seal, chained, read_link

try:
    import fcntl
except ImportError:  # Windows: there, one process to a file
    fcntl = None  # type: ignore[assignment]

_SEAL_BYTES = 256
_TAIL_BYTES = 64 * 1024
"""Longer than all but odd lines."""


class AuditFileError(OSError):
    """The files are not as they were left; the message says what to do."""


class AuditFile:
    """Adds lines, for one thread. Opened anew for each batch, since another process may have begun a new part."""

    __slots__ = ("_known", "_max_bytes", "path")

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._known: tuple[int, int, int, Link] | None = None  # device, inode, size and last link of our last look

    def append(self, entries: Sequence[Mapping[str, Any]], *, sync: bool) -> None:
        """Adds the entries, all or none; with `sync` they are on the disk when this returns.

        Raises:
            OSError: they could not be added: a full disk, no permission, lines that are missing.
        """
        with sealed(self.path, create=True) as seal:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                link, size = self._end_of(descriptor, seal)
                if size >= self._max_bytes:
                    self._begin_part(link)
                    os.close(descriptor)
                    descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                    size = 0
                self._write(descriptor, seal, link, size, entries, sync)
            finally:
                os.close(descriptor)

    def _write(
        self, descriptor: int, seal: int, link: Link, size: int, entries: Sequence[Mapping[str, Any]], sync: bool
    ) -> None:
        lines, before = [], link
        for entry in entries:
            line, link = chained(link, entry)
            lines.append(line)
        data = b"".join(lines)
        self._known = None
        write_seal(seal, Seal(before.seq, before.hash, link.seq, link.hash), sync=sync)
        try:
            _write_all(descriptor, data)
            if sync:
                os.fsync(descriptor)
            write_seal(seal, Seal(link.seq, link.hash), sync=False)  # the disk's already tells of these lines
        except BaseException:
            os.ftruncate(descriptor, size)  # what was begun is taken back, so that no half a line stays
            write_seal(seal, Seal(before.seq, before.hash), sync=False)
            raise
        status = os.fstat(descriptor)
        self._known = status.st_dev, status.st_ino, status.st_size, link

    def _end_of(self, descriptor: int, seal: int) -> tuple[Link, int]:
        """The last link and the size, after a torn last line has been taken off."""
        status = os.fstat(descriptor)
        if self._known is not None and self._known[:3] == (status.st_dev, status.st_ino, status.st_size):
            return self._known[3], status.st_size
        link, size = last_link(descriptor, status.st_size)
        if link is None:
            link = self._end_of_parts()
        self._check(status, link, read_seal(seal))
        if size < status.st_size:  # half a line, of a process that ended while it wrote
            os.ftruncate(descriptor, size)
        return link, size

    def _check(self, status: os.stat_result, link: Link, kept: Seal | None) -> None:
        """Refuses to go on where that would hide what was done to the log."""
        problem = Seal().problem_with(link) if kept is None else kept.problem_with(link)
        if kept is None and problem is not None:
            problem = "its seal is missing"
        known = self._known
        if known is not None and known[:2] == (status.st_dev, status.st_ino) and link.seq < known[3].seq:
            problem = problem or f"it was cut back to line {link.seq}, its seal with it"
        if problem is not None:
            raise AuditFileError(
                f"the audit log {self.path} is not as it was left: {problem}. Run `genops-helicone audit verify`, and "
                "move the log, its parts and its seal away to begin a new one"
            )

    def _end_of_parts(self) -> Link:
        parts = parts_of(self.path)
        if not parts:
            return Link()
        with parts[-1].open("rb") as newest:
            link, _ = last_link(newest.fileno(), os.fstat(newest.fileno()).st_size)
        return link if link is not None else Link()

    def _begin_part(self, link: Link) -> None:
        parts = parts_of(self.path)
        number = int(parts[-1].suffix[1:]) + 1 if parts else 1
        self.path.rename(self.path.with_name(f"{self.path.name}.{number:06d}"))


def parts_of(path: Path) -> list[Path]:
    """The older parts of a log, oldest first."""
    found = path.parent.glob(f"{glob.escape(path.name)}.[0-9][0-9][0-9][0-9][0-9][0-9]*")
    return sorted((part for part in found if part.suffix[1:].isdecimal()), key=lambda part: int(part.suffix[1:]))


def last_link(descriptor: int, size: int) -> tuple[Link | None, int]:
    """The last whole line's place, None without one, and the size up to its end.

    Raises:
        AuditFileError: the last line is none of a log's.
    """
    length = _TAIL_BYTES
    while True:
        begin = max(0, size - length)
        whole, _, _ = _read(descriptor, begin, size - begin).rpartition(b"\n")
        if begin == 0 or b"\n" in whole:
            break
        length *= 4
    if not whole:
        return None, 0
    line = whole.rpartition(b"\n")[2]
    try:
        link, _ = read_link(line)
    except Broken as exc:
        raise AuditFileError(f"the last line of the audit log cannot be continued: {exc}") from None
    return link, begin + len(whole) + 1


@contextlib.contextmanager
def sealed(path: Path, *, create: bool) -> Iterator[int]:
    """The seal's descriptor, with the lock that all who use the log take."""
    seal = os.open(seal_of(path), (os.O_RDWR | os.O_CREAT) if create else os.O_RDONLY, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(seal, fcntl.LOCK_EX if create else fcntl.LOCK_SH)
        yield seal
    finally:
        os.close(seal)


def seal_of(path: Path) -> Path:
    """Where the seal is."""
    return path.with_name(f"{path.name}.seal")


def read_seal(seal: int) -> Seal | None:
    """What the seal says, None where it was never written.

    Raises:
        AuditFileError: it is damaged.
    """
    os.lseek(seal, 0, os.SEEK_SET)
    data = os.read(seal, _SEAL_BYTES).strip()
    if not data:
        return None
    try:
        return msgspec.json.decode(data, type=Seal)
    except msgspec.DecodeError:
        raise AuditFileError("the seal of the audit log is damaged: run `genops-helicone audit verify`") from None


def write_seal(seal: int, kept: Seal, *, sync: bool) -> None:
    """Replaces the seal, in place: it always has the same length, so that a full disk does not matter to it."""
    os.lseek(seal, 0, os.SEEK_SET)
    try:
        _write_all(seal, msgspec.json.encode(kept).ljust(_SEAL_BYTES - 1) + b"\n")
    except OSError:
        if os.fstat(seal).st_size < _SEAL_BYTES:  # the first one found no room: half of it would be damaged
            os.ftruncate(seal, 0)
        raise
    if sync:
        os.fsync(seal)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read(descriptor: int, begin: int, length: int) -> bytes:
    os.lseek(descriptor, begin, os.SEEK_SET)  # lines are added at the end wherever this is
    chunks = []
    while length > 0 and (chunk := os.read(descriptor, length)):
        chunks.append(chunk)
        length -= len(chunk)
    return b"".join(chunks)


__all__ = ["AuditFile", "AuditFileError", "last_link", "parts_of", "read_seal", "seal_of", "sealed", "write_seal"]
