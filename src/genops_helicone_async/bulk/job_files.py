"""Opens the files of a job: output, errors file and journal, new or as earlier runs left them."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import msgspec

from ..errors import ConfigurationError
from .appended import AppendedFile, LaterFile
from .journal_file import close_journal, journal_path, open_journal, remove_journal
from .journal_group import JobFiles
from .journal_lookups import Lookups
from .recovery import Identity, Recovered, check_identity, correct, recover
from .rewriting import drop_failed, finish_rewrite


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """How a job is opened.

    Attributes:
        overwrite: Begin anew, whatever is there.
        new_options: Go on although options that decide answers are others now.
        retry_failed: Take the failed rows of earlier runs again.
        keeps_journal: Whether a later run can take the job up; it cannot, where the output is no file.
        window: How many rows may be sent and not yet written at once, so that a later run knows which may have been;
            None where the executor itself knows what it has sent.
    """

    overwrite: bool = False
    new_options: bool = False
    retry_failed: bool = False
    keeps_journal: bool = True
    window: int | None = None


def errors_path(output: Path | None) -> Path | None:
    """The file of bad lines beside an output; None beside standard output, a pipe or a device."""
    if output is None or (output.exists() and not output.is_file()):
        return None
    return output.with_name(f"{output.name.removesuffix('.jsonl')}.errors.jsonl")


def check_output(path: Path, *, overwrite: bool, inputs: tuple[Path, ...] = ()) -> None:
    """Refuses a path that cannot or must not be written, before anything is sent or touched.

    Raises:
        ConfigurationError: the message names the remedy.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        _check_folder(path.parent)
        return
    except OSError as exc:
        raise ConfigurationError(f"cannot write {exc.filename}: {exc.strerror}") from None
    if stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(f"{path} is a folder: give a file, such as {path / 'results.jsonl'}")
    if any(item.exists() and path.samefile(item) for item in inputs):
        raise ConfigurationError(f"{path} is the input: give another file to write to")
    if stat.S_ISREG(status.st_mode):
        if not overwrite and not journal_path(path).exists():
            raise ConfigurationError(f"{path} exists: give another name, or --overwrite to replace it")
        _check_folder(Path(os.path.realpath(path)).parent)  # the journal stands beside it
    if not os.access(path, os.W_OK):
        raise ConfigurationError(f"{path} cannot be written to: give another -o")


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder: create it first (mkdir -p)")
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(f"{folder} cannot be written to: give another -o")


def open_job(output: Path | None, identity: Identity, opening: Opening | None = None) -> JobFiles:
    """Opens all, which blocks, and takes up what is there. Standard output, a pipe or a device cannot be resumed.

    Raises:
        ConfigurationError: another run has the job, it is another one, or its files were changed.
        OSError: they cannot be read or written.
    """
    opening = opening or Opening()
    bad_lines = errors_path(output)
    if output is None or bad_lines is None or not opening.keeps_journal:
        sql = open_journal(None)
        _begin(sql, identity, opening)
        return JobFiles(
            journal=sql,
            lookups=Lookups(sql),
            output=AppendedFile(output),
            errors=None,
            recovered=Recovered(is_same_input=True),
            window=opening.window,
        )
    check_output(output, overwrite=opening.overwrite)
    path = journal_path(output)
    if opening.overwrite:
        remove_journal(path)
    is_there, is_begun = output.exists(), path.exists()
    sql = open_journal(path)
    try:
        return _opened(sql, output, identity, opening, is_there=is_there and not opening.overwrite)
    except BaseException:
        close_journal(sql, path)
        if not is_begun:
            remove_journal(path)
        raise


def _opened(sql: sqlite3.Connection, output: Path, identity: Identity, opening: Opening, *, is_there: bool) -> JobFiles:
    recovered = Recovered(journal_path=journal_path(output))
    errors_length = sql.execute("SELECT errors_length FROM job").fetchone()
    bad_lines = errors_path(output)
    assert bad_lines is not None
    if errors_length is None:
        if is_there and output.stat().st_size:
            raise ConfigurationError(f"{output} exists: give another name, or --overwrite to replace it")
        if not opening.overwrite and bad_lines.exists():
            raise ConfigurationError(f"{bad_lines} exists: give another name, or --overwrite to replace it")
        file = AppendedFile(output)
        file.cut(0)
        bad_lines.unlink(missing_ok=True)
        _begin(sql, identity, opening)
        recovered.is_same_input = True
        return JobFiles(
            journal=sql,
            lookups=Lookups(sql),
            output=file,
            errors=LaterFile(bad_lines, 0),
            recovered=recovered,
            window=opening.window,
        )
    _take_up(sql, output, identity, opening, recovered)
    return JobFiles(
        journal=sql, lookups=Lookups(sql), output=AppendedFile(output), errors=LaterFile(bad_lines, errors_length[0]),
        recovered=recovered, window=opening.window,
    )  # fmt: skip


def _take_up(sql: sqlite3.Connection, output: Path, identity: Identity, opening: Opening, recovered: Recovered) -> None:
    """Brings the files of an earlier run to agree, and begins another run."""
    check_identity(sql, identity, recovered, may_differ=opening.new_options)
    real = Path(os.path.realpath(output))
    finish_rewrite(sql, real)
    file = AppendedFile(output)
    try:
        recover(sql, file, recovered)
    finally:
        file.close()
    if opening.retry_failed and recovered.tally.failed:
        drop_failed(sql, real)
        correct(sql, recovered.tally)
        recovered.tally.failures.clear()
        recovered.is_finished = False
    sql.execute("UPDATE job SET window = ?, runs = runs + 1", (opening.window,))
    recovered.written = sql.execute("SELECT count(*) FROM row WHERE at IS NOT NULL").fetchone()[0]
    recovered.again = dict(sql.execute("SELECT line, custom_id FROM again"))
    recovered.runs = sql.execute("SELECT runs FROM job").fetchone()[0]


def _begin(sql: sqlite3.Connection, identity: Identity, opening: Opening) -> None:
    sql.execute(
        "INSERT INTO job (id, identity, window, runs) VALUES (1, ?, ?, 1)",
        (msgspec.json.encode(identity), opening.window),
    )


__all__ = ["Opening", "check_output", "errors_path", "open_job"]
