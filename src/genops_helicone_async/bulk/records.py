"""What the kinds of input have in common: a record, and how the bytes of a file or a pipe are begun."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import ConfigurationError
from .lines import BLOCK_BYTES, Read

_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"), (b"\x00\x00\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"),
)  # fmt: skip


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of the input. `number` is its line (JSONL, CSV: the first of it) or row (Parquet), from 1.

    `data` is a line of JSON, or the row's fields. With a `reason` it cannot be sent, and `data` is what stood there.
    """

    number: int
    data: bytes | dict[str, Any]
    reason: str | None = None


class Beginning:
    """Reads bytes, having looked at the first of them: what is no UTF-8 from its beginning is refused as a whole."""

    __slots__ = ("_first", "_name", "_read")

    def __init__(self, read: Read, name: str) -> None:
        self._read = read
        self._name = name
        self._first: bytes | None = None

    def look(self) -> bytes:
        """The first block, which stays to be read.

        Raises:
            ConfigurationError: it is another encoding's, or no text at all.
        """
        if self._first is None:
            self._first = first = self._read(BLOCK_BYTES)
            self._refuse_foreign(first)
        return self._first

    def read(self, most: int) -> bytes:
        """As `Read`."""
        if self._first is None:
            self.look()
        first = self._first
        if first:
            self._first = b""
            return first
        return self._read(most)

    def _refuse_foreign(self, first: bytes) -> None:
        for mark, encoding in _MARKS:
            if first.startswith(mark):
                raise ConfigurationError(
                    f"{self._name} is {encoding}: convert it first (iconv -f {encoding.lower()} -t utf-8)"
                )
        for magic, remedy in ((b"PAR1", "--format parquet"), (b"\x1f\x8b", "gunzip it first, or name it .gz")):
            if first.startswith(magic):
                raise ConfigurationError(f"{self._name} is no text: {remedy}")
        head = first[:200]
        if len(head) > 8 and head.count(0) >= len(head) // 3:
            raise ConfigurationError(
                f"{self._name} has a NUL byte in every second place: it is UTF-16 without its mark, or no text"
            )


def not_utf8(exc: UnicodeDecodeError, data: bytes, where: str = "") -> str:
    """Which byte of a line is not UTF-8, and what it is likely to be."""
    byte = data[exc.start]
    guess = "; is it Latin-1 or Windows-1252?" if byte >= 0xA0 else ""
    return f"not UTF-8 at byte {exc.start + 1}{where} (0x{byte:02X}){guess}"


__all__ = ["Beginning", "Record", "not_utf8"]
