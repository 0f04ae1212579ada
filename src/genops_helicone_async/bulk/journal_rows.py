"""What a journal knows of each row: taken, done, or equal to another; looked up and written many rows at a time."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from hashlib import blake2b
from itertools import accumulate

import msgspec

from ..errors import ConfigurationError
from .journal_lookups import Lookups
from .many_rows import ManyRows
from .output_lines import copied_line
from .ports import Outcome
from .rows import BadLine, Row

_TAKE = ManyRows(
    "INSERT INTO row (line, id, hash, rest, state) SELECT column1, column2, column3, column4, 0 FROM {rows}"
    " WHERE column1 IS NOT NULL",
    4,
)
_WRITTEN = ManyRows("UPDATE row SET state = column2, at = column3, size = column4 FROM {rows} WHERE line = column1", 4)
_encode = msgspec.msgpack.Encoder(order="deterministic", enc_hook=repr).encode
_decode = msgspec.msgpack.Decoder(Row).decode


Digest = tuple[int, int]
_HALVES = struct.Struct(">qq")


class State(IntEnum):
    """Where a row is. `WAITING` ones equal one that is on its way; `DOUBT` ones an earlier run may have sent."""

    TAKEN = 0
    ANSWERED = 1
    FAILED = 2
    BAD = 3
    WAITING = 4
    DOUBT = 5


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A line for the output."""

    line: int
    state: State
    data: bytes


class Taken(msgspec.Struct, kw_only=True):
    """What became of the rows that were offered.

    Attributes:
        rows: To be sent.
        again: Those of them that an earlier run had on its way when it ended: perhaps they are billed twice.
        bad: Lines that cannot be sent, those whose `custom_id` came before among them.
        done: How many need nothing any more, for an earlier run did them.
    """

    rows: list[Row] = []
    again: list[Row] = []
    bad: list[BadLine] = []
    done: int = 0


class Finished(msgspec.Struct, kw_only=True):
    """What a group of changes brought forth beside what was asked: lines, copies of answers, rows to be sent now."""

    pieces: list[Piece] = []
    copies: list[Outcome] = []
    ended: dict[int, Piece] = {}
    promoted: list[Row] = []
    unsent: int = 0
    waiting: int = 0


class RowTable:
    """The rows of a job in its journal. `answer_at` gives a line of the output by its place.

    Every method belongs into a transaction of the caller's.
    """

    __slots__ = ("_answer_at", "_is_deduped", "_lookups", "_sql", "is_same_input", "names_again", "waiting")

    def __init__(
        self, connection: sqlite3.Connection, lookups: Lookups, answer_at: Callable[[int, int], bytes] | None, *,
        is_deduped: bool,
    ) -> None:  # fmt: skip
        self._sql = connection
        self._lookups = lookups
        self._answer_at = answer_at
        self._is_deduped = is_deduped
        self.is_same_input = False
        """Whether the input and the options are known to be those of before; else each row is compared."""
        self.names_again = True
        """Whether rows that are sent again are kept by name; not where the executor knows what it has sent."""
        self.waiting = 0

    def take(self, offered: Sequence[Row | BadLine], finished: Finished, expect: Callable[[int], None]) -> Taken:
        """Marks rows as taken; `expect` is told of each that will have a line in the output, in their order.

        Raises:
            ConfigurationError: a row is not what it was in an earlier run.
        """
        taken = Taken()
        if not offered:
            return taken
        found = self._sql.execute(
            "SELECT line, state, hash, rest, at FROM row WHERE line BETWEEN ? AND ?",
            (offered[0].line, offered[-1].line),
        )
        known = {line: (state, (one, two), at) for line, state, one, two, at in found}
        fresh: list[Row] = []
        for item in offered:
            before = known.get(item.line)
            if before is not None:
                self._seen_before(item, *before, taken, finished, expect)
            elif isinstance(item, BadLine):
                taken.bad.append(item)
            else:
                fresh.append(item)
        if fresh:
            self._take_fresh(fresh, taken, finished, expect)
        if taken.bad:
            rows = [(bad.line, State.BAD) for bad in taken.bad]
            self._sql.executemany("INSERT INTO row (line, state) VALUES (?, ?)", rows)
        return taken

    def _seen_before(
        self, item: Row | BadLine, state: int, digest: tuple[int | None, ...], at: int | None, taken: Taken,
        finished: Finished, expect: Callable[[int], None],
    ) -> None:  # fmt: skip
        if isinstance(item, BadLine):
            if state != State.BAD:
                raise _changed(item.line)
            taken.done += 1
            return
        if not self.is_same_input and digest != (None, None) and digest != digest_of(item):
            raise _changed(item.line)
        if state == State.DOUBT:
            self._sql.execute("UPDATE row SET state = ? WHERE line = ?", (State.TAKEN, item.line))
            if self.names_again:
                self._sql.execute("INSERT OR REPLACE INTO again VALUES (?, ?)", (item.line, item.custom_id))
            taken.rows.append(item)
            taken.again.append(item)
            expect(item.line)
            return
        taken.done += 1
        if at is None and state != State.BAD:  # finished before its turn came
            held = self._sql.execute("SELECT state, data FROM held WHERE line = ?", (item.line,)).fetchone()
            if held is not None:
                self._sql.execute("DELETE FROM held WHERE line = ?", (item.line,))
                expect(item.line)
                finished.pieces.append(Piece(item.line, State(held[0]), held[1]))

    def _take_fresh(self, fresh: list[Row], taken: Taken, finished: Finished, expect: Callable[[int], None]) -> None:
        names, lines = ids_of([row.custom_id for row in fresh]), [row.line for row in fresh]
        if others := self._lookups.taken_names(names, lines):
            for row in fresh:
                if (earlier := others.get(row.line)) is not None:
                    why = f"`custom_id` {row.custom_id!r} is that of line {earlier} already"
                    taken.bad.append(BadLine(line=row.line, reason=why, raw=""))
            names = tuple(name for name, line in zip(names, lines, strict=True) if line not in others)
            fresh = [row for row in fresh if row.line not in others]
            lines = [row.line for row in fresh]
        halves = struct.unpack(f">{2 * len(fresh)}q", b"".join([_digest(row) for row in fresh]))
        hashes, rests = halves[::2], halves[1::2]
        _TAKE.run(self._sql, lines, names, hashes, rests)
        equals = self._equals(fresh, lines, hashes)
        for number, row in enumerate(fresh):
            expect(row.line)
            first = equals.get(row.line)
            if first is None or not self._joined(row, (hashes[number], rests[number]), first, finished):
                taken.rows.append(row)

    def _equals(self, rows: Sequence[Row], lines: Sequence[int], hashes: Sequence[int]) -> dict[int, int]:
        """Line → the earlier line of what seems to be an equal row."""
        if not self._is_deduped:
            return {}
        own = {row.line for row in rows if row.request.cache is False}  # these want an answer of their own
        if own:
            hashes = [one for one, line in zip(hashes, lines, strict=True) if line not in own]
            lines = [line for line in lines if line not in own]
        return self._lookups.earlier_requests(hashes, lines)

    def _joined(self, row: Row, digest: Digest, first: int, finished: Finished) -> bool:
        """Lets a row have the answer of an equal one, now or when that is there; else it is the first from now on."""
        found = self._sql.execute("SELECT hash, rest, state, at, size FROM row WHERE line = ?", (first,)).fetchone()
        if found is not None and found[:2] != digest:  # only half of the digest is the same
            return False
        state, at, size = found[2:] if found is not None else (None, None, None)
        if (just_ended := finished.ended.get(first)) is not None:
            state = just_ended.state
        if state in (State.TAKEN, State.DOUBT):
            self._sql.execute("INSERT INTO waiting VALUES (?, ?, ?)", (row.line, first, _encode(row)))
            self._sql.execute("UPDATE row SET state = ? WHERE line = ?", (State.WAITING, row.line))
            self.waiting += 1
            return True
        data = None
        if state == State.ANSWERED:
            data = just_ended.data if just_ended is not None else self._answer(first, at, size)
        if data is None:
            self._lookups.replace_first(digest[0], row.line)
            return False
        _copy(row, data, finished)
        return True

    def _answer(self, line: int, at: int | None, size: int | None) -> bytes | None:
        if at is not None and size is not None and self._answer_at is not None:
            return self._answer_at(at, size)
        held = self._sql.execute("SELECT data FROM held WHERE line = ?", (line,)).fetchone()
        return None if held is None else bytes(held[0])

    def end(self, outcomes: Iterable[Outcome], finished: Finished) -> None:
        """Notes what came of rows, for the equal ones that waited for them, too."""
        for outcome in outcomes:
            if outcome.kind == "unsent":
                finished.unsent += 1 + self.give_back([outcome.line])
                continue
            is_answered = outcome.kind == "answered"
            state = State.ANSWERED if is_answered else State.FAILED
            piece = finished.ended[outcome.line] = Piece(outcome.line, state, outcome.data)
            finished.pieces.append(piece)
            if self.waiting:
                self._end_waiting(outcome.line, outcome.data if is_answered else None, finished)

    def _end_waiting(self, first: int, data: bytes | None, finished: Finished) -> None:
        found = self._sql.execute("SELECT row FROM waiting WHERE first = ? ORDER BY line", (first,)).fetchall()
        if not found:
            return
        rows = [_decode(row) for (row,) in found]
        if data is not None:
            self._sql.execute("DELETE FROM waiting WHERE first = ?", (first,))
            self.waiting -= len(rows)
            for row in rows:
                _copy(row, data, finished)
            return
        # What failed answers nobody else: the next of them is sent, and the others wait for that.
        successor = rows[0]
        self._sql.execute("DELETE FROM waiting WHERE line = ?", (successor.line,))
        self.waiting -= 1
        self._sql.execute("UPDATE waiting SET first = ? WHERE first = ?", (successor.line, first))
        # Not TAKEN: it is sent out of the order of lines, by which a later run tells what was sent.
        self._sql.execute("UPDATE row SET state = ? WHERE line = ?", (State.DOUBT, successor.line))
        self._lookups.replace_first(digest_of(successor)[0], successor.line)
        finished.promoted.append(successor)

    def give_back(self, lines: Sequence[int]) -> int:
        """Forgets rows that were never sent, and those that waited for them; how many these are."""
        before = self.waiting
        for line in lines:
            self._lookups.forget_name(line)
            self._sql.execute("DELETE FROM row WHERE line = ?", (line,))
            if self.waiting:
                waiting = self._sql.execute("SELECT line FROM waiting WHERE first = ?", (line,)).fetchall()
                for (one,) in waiting:
                    self._lookups.forget_name(one)
                self._sql.execute("DELETE FROM row WHERE line IN (SELECT line FROM waiting WHERE first = ?)", (line,))
                self.waiting -= self._sql.execute("DELETE FROM waiting WHERE first = ?", (line,)).rowcount
        return before - self.waiting

    def written(self, pieces: Sequence[Piece], begin: int) -> None:
        """Notes lines that stand one after the other in the output now."""
        sizes = [len(piece.data) for piece in pieces]
        places = accumulate(sizes, lambda at, size: at + size + 1, initial=begin)
        _WRITTEN.run(
            self._sql, [piece.line for piece in pieces], [int(piece.state) for piece in pieces],
            list(places)[: len(sizes)], sizes,
        )  # fmt: skip

    def hold(self, pieces: Sequence[Piece]) -> None:
        """Keeps lines whose turn has not come."""
        rows = [(piece.line, piece.state, piece.data) for piece in pieces]
        self._sql.executemany("INSERT OR REPLACE INTO held VALUES (?, ?, ?)", rows)
        self._sql.executemany("UPDATE row SET state = ? WHERE line = ?", [(state, line) for line, state, _ in rows])


def _copy(row: Row, data: bytes, finished: Finished) -> None:
    copy, served_by = copied_line(data, row)
    finished.pieces.append(Piece(row.line, State.ANSWERED, copy))
    finished.copies.append(
        Outcome(line=row.line, custom_id=row.custom_id, kind="answered", data=copy, served_by=served_by)
    )


def digest_of(row: Row) -> Digest:
    """Of everything about a row but its name, in two halves."""
    return _HALVES.unpack(_digest(row))


def _digest(row: Row) -> bytes:
    values = msgspec.structs.astuple(row.request)  # without the names of forty fields, most of which are not given
    return blake2b(_encode(values), digest_size=16).digest()


def ids_of(custom_ids: Sequence[str]) -> tuple[int, ...]:
    """Names as 64 bits each: two of a million different ones are taken for equal once in 37 million jobs."""
    hashed = [blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in custom_ids]
    return struct.unpack(f">{len(hashed)}q", b"".join(hashed))


def id_of(custom_id: str) -> int:
    """One name as 64 bits."""
    return ids_of((custom_id,))[0]


def _changed(line: int) -> ConfigurationError:
    return ConfigurationError(
        f"line {line} of the input is not what it was when this job began: give the same input, or --overwrite to "
        "start anew"
    )


__all__ = ["Finished", "Piece", "RowTable", "State", "Taken", "digest_of", "id_of", "ids_of"]
