"""The chain of an audit log: each line carries its number, the hash of the line before and its own.

A line is a JSON object whose last member is `hash`: the SHA-256 of the object's bytes without that member. Changing,
removing, inserting or reordering lines breaks the chain; removing the last ones or adding some does not, which is why
the last number and hash are kept in a second file as well (the seal). Who can replace both files can replace the whole
log: only a copy of the seal kept elsewhere shows that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

GENESIS = "0" * 64
"""What stands for the line before the first."""
_TAIL = b',"hash":"%s"}'
_TAIL_BYTES = len(_TAIL) - 2 + 64


class Link(msgspec.Struct, frozen=True):
    """A place in the chain: a line's number and hash."""

    seq: int = 0
    hash: str = GENESIS


class Seal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last line that was written, and, while a batch is being written, which one it will be then."""

    seq: int = 0
    hash: str = GENESIS
    next_seq: int | None = None
    next_hash: str | None = None

    def problem_with(self, end: Link) -> str | None:
        """Why a log cannot end there; None where it can, as it may anywhere in a batch that was begun."""
        if end.seq < self.seq:
            return (
                f"it ends with line {end.seq} of the log, but the seal knows line {self.seq}: lines are missing at "
                "its end"
            )
        known = {self.seq: self.hash, self.next_seq: self.next_hash}
        if known.get(end.seq, end.hash) != end.hash:
            return "the seal knows another line of this number: the log was rewritten"
        last = self.seq if self.next_seq is None else self.next_seq
        if end.seq > last:
            return f"the seal knows lines up to {last}: {end.seq - last} more were added after it"
        return None


class Broken(Exception):
    """A line that does not belong where it stands; the message says why."""


class _Head(msgspec.Struct):
    seq: int
    prev: str


def chained(after: Link, facts: Mapping[str, Any]) -> tuple[bytes, Link]:
    """The line, with its line break, that follows `after` and says `facts`; and its own place."""
    try:
        body = msgspec.json.encode({"seq": after.seq + 1, **facts, "prev": after.hash})
    except (UnicodeEncodeError, OverflowError):  # bytes of a header that are no text, or a sum beyond 64 bits
        body = msgspec.json.encode({"seq": after.seq + 1, **_writable(facts), "prev": after.hash})
    link = Link(after.seq + 1, hashlib.sha256(body).hexdigest())
    return body[:-1] + _TAIL % link.hash.encode() + b"\n", link


def _writable(value: Any) -> Any:
    """The same with `?` for what UTF-8 cannot say, and integers of more than 64 bits as text."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, Mapping):
        return {_writable(name): _writable(each) for name, each in value.items()}
    return [_writable(each) for each in value] if isinstance(value, list) else value


def read_link(line: bytes) -> tuple[Link, str]:
    """The place that a line, without its line break, claims and proves by its hash; and the hash it follows.

    Raises:
        Broken: it is no line of an audit log, or was changed.
    """
    body, tail = line[:-_TAIL_BYTES] + b"}", line[-_TAIL_BYTES:]
    own = hashlib.sha256(body).hexdigest()
    if tail[:9] != _TAIL[:9] or tail[-2:] != b'"}':
        raise Broken("it is no line of an audit log")
    if tail != _TAIL % own.encode():
        raise Broken("it was changed: its content does not have its hash")
    try:
        head = msgspec.json.decode(body, type=_Head)
    except msgspec.DecodeError as exc:
        raise Broken(f"it is no line of an audit log ({exc})") from None
    return Link(head.seq, own), head.prev


def follow(after: Link | None, line: bytes) -> Link:
    """The place of a line that has to follow `after`; None takes any line as the first.

    Raises:
        Broken: it does not follow.
    """
    link, prev = read_link(line)
    if after is None:
        return link
    if link.seq != after.seq + 1:
        raise Broken(f"it is line {link.seq} of the log where line {after.seq + 1} belongs")
    if prev != after.hash:
        raise Broken("it does not follow the line before it: that was changed or replaced")
    return link


__all__ = ["GENESIS", "Broken", "Link", "Seal", "chained", "follow", "read_link"]
