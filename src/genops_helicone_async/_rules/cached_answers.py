"""An answer as a cache keeps it: a frozen value and its bytes, which say themselves whether they can be trusted.

The bytes are a version, a digest, and MessagePack. What is of another version, damaged, not ours, or kept under
another call's key is no answer.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import Final, Literal

import msgspec

from .._values import Reply, TokenCounts
from ..models import StreamChunk

MOST_BYTES: Final = 8 * 2**20
"""An answer that takes more is not kept."""
_VERSION: Final = b"gha\x01"
_DIGEST_BYTES: Final = 16
_HEAD_BYTES: Final = len(_VERSION) + _DIGEST_BYTES
_WHOLE: Final = frozenset({"stop", "length", "tool_calls"})


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one call was answered, and what that cost in pico-dollars; `kept_at_s` is Unix seconds.

    `facts` are the gateway's, `chunks` those of a stream, `body` the reply's bytes where it was none.
    """

    key: bytes
    kept_at_s: float
    provider: str
    model: str
    request_id: str
    reply: Reply
    counts: TokenCounts
    cost_pusd: int
    facts: dict[str, str]
    body: bytes = b""
    chunks: tuple[StreamChunk, ...] = ()


class Later(Enum):
    """`LATER`: whether there is an answer takes a wait to find out."""

    LATER = "later"


LATER: Final = Later.LATER
Found = bytes | None | Literal[Later.LATER]


class AnswersUnavailable(Exception):
    """A store of answers cannot be used at the moment; the text says why, without any secret."""


class StoreStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a store holds, as far as this process knows; None where only a server does."""

    entries: int | None = None
    bytes: int | None = None
    evictions: int | None = None


def is_worth_keeping(reply: Reply) -> bool:
    """Whether a reply is the whole answer to its request.

    `length` is: the request itself set the limit, and it is part of the key. Not so one that a filter stopped, or
    that ended for a reason nobody here knows: those are asked again.
    """
    return not reply.partial and reply.finish_reason in _WHOLE


def encode_answer(answer: Answer) -> bytes | None:
    """The bytes to keep, None where there are too many or something has none."""
    try:
        packed = _encode(answer)
    except (OverflowError, ValueError):  # the latter: half a surrogate pair, which no text has
        return None
    if _HEAD_BYTES + len(packed) > MOST_BYTES:
        return None
    return b"".join((_VERSION, _digest(packed), packed))


def decode_answer(kept: bytes, key: bytes) -> Answer | None:
    """The answer in these bytes, None where they are none for this key."""
    packed = kept[_HEAD_BYTES:]
    if kept[: len(_VERSION)] != _VERSION or kept[len(_VERSION) : _HEAD_BYTES] != _digest(packed):
        return None
    try:
        answer = _decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return answer if answer.key == key else None


def _digest(packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=_DIGEST_BYTES).digest()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode

__all__ = [
    "LATER",
    "MOST_BYTES",
    "Answer",
    "AnswersUnavailable",
    "Found",
    "Later",
    "StoreStatistics",
    "decode_answer",
    "encode_answer",
    "is_worth_keeping",
]
