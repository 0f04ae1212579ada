"""The chain of an audit log: each line carries its number, the hash of the line before and its own.

A line is a JSON object whose last member is `hash`: the SHA-256 of the object's bytes without that member. Changing,
removing, adding or reordering lines breaks the chain; removing the last ones does not, which is why the last number and
hash are kept in a second file as well (the seal). Who can replace both files can replace the whole log: only a copy of
the seal kept elsewhere shows that.
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


class Broken(Exception):
    """A line that does not belong where it stands; the message says why."""


class _Head(msgspec.Struct):
    seq: int
    prev: str


def chained(after: Link, facts: Mapping[str, Any]) -> tuple[bytes, Link]:
    """The line, with its line break, that follows `after` and says `facts`; and its own place."""
    body = msgspec.json.encode({"seq": after.seq + 1, **facts, "prev": after.hash})
    link = Link(after.seq + 1, hashlib.sha256(body).hexdigest())
    return body[:-1] + _TAIL % link.hash.encode() + b"\n", link


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


__all__ = ["GENESIS", "Broken", "Link", "chained", "follow", "read_link"]
