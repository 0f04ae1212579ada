"""What a process and the script say to each other, as msgpack; `script.py` tells what each figure means.

Money is a decimal string of pico-dollars: msgpack reaches Lua as doubles, and a string is exact at any size.
"""

from __future__ import annotations

import msgspec


class AccountAsk(msgspec.Struct, frozen=True, array_like=True):
    """One account as this process sees it: its part of what is held and of the slack, and what it would like to have.

    `lasting` marks an account without a window. `extra_micro` is slack asked for, in micro-dollars, granted within
    `limit`. `floor` is what was settled at least, told to a server that lost its data.
    """

    field: str
    lasting: bool
    held: str
    slack: str
    extra_micro: int
    limit: str
    floor: str


GroupAsk = tuple[list[int], str, list[str]]
"""Rows that count in the same accounts: the numbers of these accounts, from 1 as Lua has it, and the rows' sum.

Each row is three strings: its request id, the row as JSON, its cost.
"""

WantAsk = tuple[str, list[int], list[str]]
"""A hold: its amount, the numbers of its accounts, and the limit in each."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange. `seq` grows with every one: a repeat is known by it, and one that arrives late is refused."""

    schema: str
    process: str
    seq: int
    born: str
    seed: str
    lease_ms: int
    press_ms: int
    keep_ms: int
    keep_rows: int
    window_s: int
    lasting_s: int
    bye: bool
    accounts: list[AccountAsk]
    groups: list[GroupAsk]
    wants: list[WantAsk]


class AccountAnswer(msgspec.Struct, frozen=True, array_like=True):
    """One account after the exchange: settled before and after it, held by others, slack granted, whether it is short.

    Where it is short, slack in it is asked back.
    """

    before: str
    settled: str
    others_held: str
    granted_micro: int
    pressed: bool


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """What became of a hold: `scope` is 0 where it was granted, else the number of the first scope without room.

    `firm` is False where other processes' unused slack is what takes the room.
    """

    scope: int
    firm: bool = True
    settled: str = "0"
    held: str = "0"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The script's answer. `status` is `ok`, or why nothing was done: `stale`, `lost` (the data) or `schema`.

    `known` is False where the server knew of no lease of this process: slack it believed to have is then gone.
    `repeats` are the numbers, from 1, of rows that had been booked before.
    """

    status: str
    born: str = ""
    known: bool = False
    accounts: list[AccountAnswer] = []
    verdicts: list[Verdict] = []
    repeats: list[int] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


def encode_ask(ask: Ask) -> bytes:
    """The script's argument."""
    return _encode(ask)


def decode_answer(body: bytes) -> Answer:
    """The script's answer.

    Raises:
        msgspec.DecodeError: it is no answer of ours.
    """
    return _decode(body)


__all__ = ["AccountAnswer", "AccountAsk", "Answer", "Ask", "GroupAsk", "Verdict", "WantAsk"]
__all__ += ["decode_answer", "encode_ask"]
