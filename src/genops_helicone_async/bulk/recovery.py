"""How a job is taken up again: what earlier runs left is checked and brought to agree, or refused with the remedy."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..errors import ConfigurationError
from .appended import AppendedFile
from .journal_rows import State, id_of
from .output_lines import outcome_of_line
from .tally import Tally


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a job the same one: the input, and the options that decide the answers.

    `digest` and `size` are the input's; None for a pipe, whose rows are compared one by one as they come.
    """

    digest: str | None = None
    size: int | None = None
    options: Mapping[str, str] = {}


class Recovered(msgspec.Struct, kw_only=True):
    """What earlier runs of the job have left.

    Attributes:
        tally: What the job had come to.
        runs: How many runs the job takes so far, this one included.
        is_finished: Whether it left nothing to do.
        is_same_input: Whether input and options are known to be the same.
        written: Rows in the output.
        adopted: Answers found in the output that the journal did not know yet.
        torn_bytes: Of a last line that was cut off in the middle, taken away.
        again: Line → `custom_id` of rows that earlier runs found in doubt and sent again.
        in_doubt: Lines of rows on their way when it ended: perhaps they are billed twice.
        window: How many rows the run before may have had out at once; None where its executor knows what it has sent.
        doubt_pusd: What such rows of all earlier runs may have cost at most.
        journal_path: Where the journal is; None where there is none to be kept.
    """

    tally: Tally = msgspec.field(default_factory=Tally)
    runs: int = 1
    is_finished: bool = False
    is_same_input: bool = False
    written: int = 0
    adopted: int = 0
    torn_bytes: int = 0
    again: dict[int, str] = {}
    in_doubt: tuple[int, ...] = ()
    window: int | None = None
    doubt_pusd: int = 0
    journal_path: Path | None = None

    @property
    def is_resumed(self) -> bool:
        """Whether there was an earlier run."""
        return self.runs > 1


def check_identity(sql: sqlite3.Connection, identity: Identity, recovered: Recovered, *, may_differ: bool) -> None:
    """Compares the job with the one that was begun; with `may_differ` the options may be others.

    Not those of a pipe: its rows are compared one by one, as requests, and with other options each is another request.

    Raises:
        ConfigurationError: it is another job.
    """
    before = msgspec.json.decode(sql.execute("SELECT identity FROM job").fetchone()[0], type=Identity)
    if None not in (before.digest, identity.digest) and before.digest != identity.digest:
        raise ConfigurationError(
            f"the input is not the one this job began with (it had {before.size:,} bytes, now it has "
            f"{identity.size or 0:,}, or others): restore it, give another -o, or start anew with --overwrite"
        )
    names = sorted(before.options.keys() | identity.options.keys())
    changed = [name for name in names if before.options.get(name) != identity.options.get(name)]
    recovered.is_same_input = identity.digest is not None and before.digest is not None
    if changed and not (may_differ and recovered.is_same_input):
        told = "; ".join(
            f"{name} was {before.options.get(name, 'not given')}, now it is {identity.options.get(name, 'not given')}"
            for name in changed
        )
        remedy = (
            "give the same, or --new-options to send the rows that are left with these, or --overwrite to start anew"
            if recovered.is_same_input
            else "give the same, for only with them rows through a pipe can be compared with those of before, "
            "or --overwrite to start anew"
        )
        raise ConfigurationError(f"this job was begun with other options ({told}): {remedy}")
    if changed:
        sql.execute("UPDATE job SET identity = ?", (msgspec.json.encode(identity),))


def recover(sql: sqlite3.Connection, output: AppendedFile, recovered: Recovered) -> None:
    """Brings output and journal to agree, in one transaction.

    Raises:
        ConfigurationError: the output is not what the journal left.
    """
    sql.execute("BEGIN IMMEDIATE")
    try:
        end = agree(sql, output, recovered)
        if recovered.torn_bytes:
            output.cut(end)
        output.sync()
        sql.execute("UPDATE job SET length = ?, tail = ?, tally = ?", (end, output.tail(), recovered.tally.snapshot()))
        sql.execute("COMMIT")
    except BaseException:
        if sql.in_transaction:
            sql.execute("ROLLBACK")
        raise
    correct(sql, recovered.tally)


def agree(sql: sqlite3.Connection, output: AppendedFile, recovered: Recovered, *, is_whole: bool = True) -> int:
    """Brings the journal to agree with the output, in a transaction of the caller's; gives where its whole lines end.

    Without `is_whole` the output is being written anew, and is not looked at.

    Raises:
        ConfigurationError: the output is not what the journal left.
    """
    length, tail, tally, doubt_pusd, is_finished, window = sql.execute(
        "SELECT length, tail, tally, doubt_pusd, is_finished, window FROM job"
    ).fetchone()
    recovered.tally = Tally.restore(tally) if tally is not None else Tally()
    recovered.doubt_pusd, recovered.is_finished = doubt_pusd, bool(is_finished)
    end: int = length
    if is_whole:
        if output.length < length:
            raise _changed(output, f"is shorter than this job left it ({output.length:,} bytes, not {length:,})")
        if length and output.tail_at(length) != tail:
            raise _changed(output, "is not what this job wrote")
        end = _adopt(sql, output, length, recovered)
        recovered.torn_bytes = output.length - end
    recovered.in_doubt, recovered.window = _doubted(sql, window), window
    return end


def correct(sql: sqlite3.Connection, tally: Tally) -> None:
    """Counts the rows anew: copies of answers are told to the tally only after they are safe."""
    counts = dict(sql.execute("SELECT state, count(*) FROM row GROUP BY state"))
    answered = counts.get(State.ANSWERED, 0)
    tally.copied += max(0, answered - tally.ok)
    tally.ok, tally.failed, tally.skipped = answered, counts.get(State.FAILED, 0), counts.get(State.BAD, 0)


def _adopt(sql: sqlite3.Connection, output: AppendedFile, length: int, recovered: Recovered) -> int:
    """Takes whole lines beyond the known length for what they are; gives where the last of them ends."""
    end = length
    for at, data in output.lines_from(length):
        try:
            outcome = outcome_of_line(data)
        except msgspec.MsgspecError:
            raise _changed(output, f"has a line of somebody else's at byte {at:,}") from None
        known = sql.execute("SELECT state, id, at FROM row WHERE line = ?", (outcome.line,)).fetchone()
        if known is None or known[2] is not None or known[1] != id_of(outcome.custom_id):
            raise _changed(output, f"has a line at byte {at:,} that this job did not write")
        is_held = sql.execute("DELETE FROM held WHERE line = ?", (outcome.line,)).rowcount
        state = State.ANSWERED if outcome.kind == "answered" else State.FAILED
        sql.execute("UPDATE row SET state = ?, at = ?, size = ? WHERE line = ?", (state, at, len(data), outcome.line))
        if not is_held:
            recovered.tally.add_outcome(outcome)
            recovered.adopted += 1
        end = at + len(data) + 1
    return end


def _doubted(sql: sqlite3.Connection, window: int | None) -> tuple[int, ...]:
    """The rows that were on their way. Those beyond the window were taken and never sent: nobody knows of them now.

    Rows are sent in the order of their lines, and no more at once than the window.
    """
    taken = [line for (line,) in sql.execute("SELECT line FROM row WHERE state = ? ORDER BY line", (State.TAKEN,))]
    sent = taken if window is None else taken[:window]
    mark = "UPDATE row SET state = ? WHERE line = ?"
    sql.executemany(mark, [(State.DOUBT, line) for line in sent])
    sql.execute("DELETE FROM row WHERE state IN (?, ?)", (State.TAKEN, State.WAITING))
    sql.execute("DELETE FROM waiting")
    return tuple(line for (line,) in sql.execute("SELECT line FROM row WHERE state = ? ORDER BY line", (State.DOUBT,)))


def _changed(output: AppendedFile, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{output.path} {why}: restore it, give another -o, or start anew with --overwrite, which pays for all again"
    )


__all__ = ["Identity", "Recovered", "agree", "check_identity", "correct", "recover"]
