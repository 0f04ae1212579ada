"""Whether an audit log is as it was written: every part read from the first line to the last, and the seal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..._rules.audit_chain import Broken, Link, Seal, follow
from .file import AuditFileError, parts_of, read_seal, seal_of, sealed


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: `problem` is None where nothing is wrong, else what, at which file's line.

    `lines` were found right. `unsealed` are those of a batch that the seal knows to have been begun and not finished:
    its process was killed then.
    """

    lines: int
    parts: int
    first_seq: int
    last_seq: int
    last_hash: str
    unsealed: int = 0
    problem: str | None = None
    file: str | None = None
    line: int | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None


class _Found(Exception):
    def __init__(self, problem: str, file: Path, line: int | None) -> None:
        super().__init__(problem)
        self.problem, self.file, self.line = problem, file, line


class _Walk:
    """The state of one verification."""

    def __init__(self, path: Path, *, partial: bool) -> None:
        self.path = path
        self.partial = partial
        self.link: Link | None = None if partial else Link()
        self.first: Link | None = None
        self.lines = 0
        self.seal: Seal | None = None

    def read(self, files: list[Path]) -> None:
        for file in files:
            for number, line in enumerate(_lines(file), 1):
                if not line.endswith(b"\n") and file == files[-1] and self._is_unfinished():
                    break
                try:
                    self._take(line)
                except Broken as exc:
                    raise _Found(str(exc), file, number) from None
        self._check_end(files[-1])

    def _take(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            raise Broken("it is cut off")
        link = follow(self.link, line[:-1])
        self.link = link
        self.first = self.first or link
        self.lines += 1
        if self.seal is not None and link.seq == self.seal.seq and link.hash != self.seal.hash:
            raise Broken("the seal knows another line of this number: the log was rewritten")

    def _is_unfinished(self) -> bool:
        """Whether the seal waits for more lines than there are, so that half a one is what a killed process left."""
        end = self.link.seq if self.link is not None else 0
        return self.seal is not None and self.seal.next_seq is not None and self.seal.seq <= end < self.seal.next_seq

    def _check_end(self, last: Path) -> None:
        problem = self.seal.problem_with(self.link or Link()) if self.seal is not None else None
        if problem is not None:
            raise _Found(problem, last, None)


def verify(path: Path, *, partial: bool = False) -> Verdict:
    """Reads a log and its seal; waits for whoever is writing. With `partial` it may begin anywhere.

    Raises:
        FileNotFoundError: there is no log.
        OSError: it cannot be read.
    """
    walk = _Walk(path, partial=partial)
    problem: _Found | None = None
    files: list[Path] = []
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError):
            seal = stack.enter_context(sealed(path, create=False))
            try:
                walk.seal = read_seal(seal)
            except AuditFileError as exc:
                problem = _Found(str(exc), seal_of(path), None)
        files = [*parts_of(path), *([path] if path.exists() else [])]
        if not files and walk.seal is None:
            raise FileNotFoundError(2, "there is no audit log", str(path))
        if problem is None and walk.seal is None:
            problem = _Found("its seal is missing", seal_of(path), None)
        try:
            walk.read(files or [path])
        except _Found as exc:
            problem = exc
    return _verdict(walk, files, problem)


def _verdict(walk: _Walk, files: list[Path], problem: _Found | None) -> Verdict:
    link = walk.link or Link()
    return Verdict(
        lines=walk.lines,
        parts=len(files),
        first_seq=walk.first.seq if walk.first is not None else 0,
        last_seq=link.seq,
        last_hash=link.hash,
        unsealed=max(0, link.seq - walk.seal.seq) if walk.seal is not None and problem is None else 0,
        problem=problem.problem if problem is not None else None,
        file=str(problem.file) if problem is not None else None,
        line=problem.line if problem is not None else None,
    )


def _lines(file: Path) -> Iterator[bytes]:
    with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
        yield from opened


__all__ = ["Verdict", "verify"]
