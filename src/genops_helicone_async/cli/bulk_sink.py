"""Where a bulk job's lines go: a file that is never overwritten unasked, written on a thread of its own."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from .failures import WRONG_USAGE, CommandError, reason

FLUSH_S = 0.25
"""The longest a finished row waits before it is written."""
_FULL_BYTES = 4 * 1024 * 1024


def check_output(path: Path, *, overwrite: bool, inputs: tuple[Path, ...] = ()) -> None:
    """Refuses a path that cannot or must not be written, before anything is sent or touched.

    Raises:
        CommandError: wrong usage; the message names the remedy.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        parent = path.parent
        if not parent.is_dir():
            raise CommandError(f"{parent} is no folder: create it first (mkdir -p)", WRONG_USAGE) from None
        if not os.access(parent, os.W_OK):
            raise CommandError(f"{parent} cannot be written to: give another -o", WRONG_USAGE) from None
        return
    except OSError as exc:
        raise CommandError(f"cannot write {reason(exc)}", WRONG_USAGE) from None
    if stat.S_ISDIR(status.st_mode):
        raise CommandError(f"{path} is a folder: give a file, such as {path / 'results.jsonl'}", WRONG_USAGE)
    if any(item.exists() and path.samefile(item) for item in inputs):
        raise CommandError(f"{path} is the input: give another file to write to", WRONG_USAGE)
    if stat.S_ISREG(status.st_mode) and not overwrite:
        raise CommandError(f"{path} exists: give another name, or --overwrite to replace it", WRONG_USAGE)
    if not os.access(path, os.W_OK):
        raise CommandError(f"{path} cannot be written to: give another -o", WRONG_USAGE)


class JsonlSink:
    """Writes values as JSON lines to a file, or to standard output with `path` None.

    `put` never waits; a thread writes within `FLUSH_S`. Where writing fails, whole lines are what stays in the file,
    and `failed` is called once on the event loop. `rows` counts the lines that are written.
    """

    __slots__ = (
        "_buffer", "_closing", "_failed", "_failure", "_file", "_is_abandoned", "_is_new", "_is_regular",
        "_is_untouched", "_is_unused", "_loop", "_overwrite", "_room", "_size", "_thread", "_wake", "path", "rows",
    )  # fmt: skip

    def __init__(self, path: Path | None, *, overwrite: bool = False) -> None:
        self.path = path
        self.rows = 0
        self._overwrite = overwrite
        self._file: int | None = None
        self._is_new = self._is_regular = self._is_untouched = self._is_abandoned = self._closing = False
        self._is_unused = True
        self._buffer: list[bytes] = []
        self._size = 0
        self._wake = threading.Condition()
        self._failure: OSError | None = None
        self._thread: threading.Thread | None = None
        self._room = asyncio.Event()
        self._room.set()

    def open(self) -> Self:
        """Opens the file now, on this thread, instead of when writing begins; what is in it stays until then."""
        path = self.path
        if path is None:
            self._file = os.dup(1)
        else:
            self._is_new = not path.exists()
            only_new = os.O_EXCL if self._is_new or (path.is_file() and not self._overwrite) else 0
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | only_new, 0o644)
        self._is_regular = self._is_untouched = stat.S_ISREG(os.fstat(self._file).st_mode)
        return self

    def start(self, failed: Callable[[OSError], Any]) -> None:
        """Begins to write; `failed` is told if that ends."""
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_all, name="bulk-sink", daemon=True)
        self._thread.start()

    def put(self, value: Any) -> None:
        """Takes a value to be written; after a failure it is dropped."""
        data = msgspec.json.encode(value) + b"\n"
        with self._wake:
            if self._failure is None and not self._is_abandoned:
                self._is_unused = False
                self._buffer.append(data)
                self._size += len(data)
                if self._size > _FULL_BYTES:
                    self._room.clear()
                    self._wake.notify()

    def abandon(self) -> None:
        """Leaves things as they were before, if nothing has been put in yet: no new file, nothing overwritten."""
        self._is_abandoned = self._is_unused

    async def room(self) -> None:
        """Waits while more is taken than written: what reads slowly must not fill memory."""
        await self._room.wait()

    async def close(self) -> None:
        """Writes what is left and closes the file.

        Raises:
            OSError: not everything could be written.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        if self._failure is not None:
            raise self._failure

    def _write_all(self) -> None:
        try:
            if self._file is None:
                self.open()
            while True:
                with self._wake:
                    self._wake.wait_for(lambda: self._closing or self._size > _FULL_BYTES, FLUSH_S)
                    data, self._buffer, self._size = b"".join(self._buffer), [], 0
                    is_last = self._closing
                if is_last and self._is_abandoned and self._is_untouched:
                    return self._leave()
                self._write(data, is_last=is_last)
                self._call(self._room.set)
                if is_last:
                    return None
        except OSError as exc:
            with self._wake:
                self._failure, self._buffer = exc, []
            self._call(self._room.set)
            self._call(self._failed, exc)
        finally:
            if self._file is not None:
                os.close(self._file)

    def _leave(self) -> None:
        if self._is_new and self.path is not None:
            self.path.unlink(missing_ok=True)

    def _write(self, data: bytes, *, is_last: bool) -> None:
        """Writes all of it; where that fails half way, the torn line is taken back."""
        assert self._file is not None
        if self._is_untouched and (data or is_last):
            os.ftruncate(self._file, 0)
            self._is_untouched = False
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, memoryview(data)[done:])
            if is_last and self._is_regular:
                os.fsync(self._file)
        except OSError:
            whole = data.rfind(b"\n", 0, done) + 1
            self.rows += data.count(b"\n", 0, whole)
            if self._is_regular and done > whole:
                os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_CUR) - (done - whole))
            raise
        self.rows += data.count(b"\n")

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the event loop has ended: nobody is left to tell
            pass


__all__ = ["FLUSH_S", "JsonlSink", "check_output"]
