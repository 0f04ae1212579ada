"""Server-sent events: bytes in, in any split, the events' data out."""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"
_LF = 10


class SseParser:
    """Parses an event stream as the HTML standard has it; only `data` matters here.

    LF, CRLF and CR end lines, comments and other fields are skipped, several `data` lines are joined by a line
    break, a byte-order mark at the start is dropped. An event counts when its blank line arrives; `close()` gives
    what a stream ended without one still holds.
    """

    __slots__ = ("_data", "_head", "_skip_lf", "_started", "_tail")

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._data: list[bytes] = []
        self._skip_lf = False
        self._started = False
        self._head = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of every event that these bytes complete."""
        if not self._started:
            data = self._after_bom(data)
        if self._skip_lf and data:
            self._skip_lf = False
            if data[0] == _LF:
                data = data[1:]
        cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if not cut:
            if data:
                self._tail.append(data)
            return []
        self._skip_lf = data.endswith(b"\r")
        complete = data[:cut]
        if self._tail:
            self._tail.append(complete)
            complete = b"".join(self._tail)
            self._tail.clear()
        if cut < len(data):
            self._tail.append(data[cut:])
        return self._lines(complete.splitlines())

    def close(self) -> list[bytes]:
        """The event that was still open when the stream ended, if its last line is whole or not."""
        lines = [b"".join([self._head, *self._tail]), b""]
        self._tail.clear()
        self._head = b""
        return self._lines(lines if lines[0] else [b""])

    def _after_bom(self, data: bytes) -> bytes:
        self._head += data
        if len(self._head) < len(_BOM) and _BOM.startswith(self._head):
            return b""
        data, self._head, self._started = self._head, b"", True
        return data.removeprefix(_BOM)

    def _lines(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        data = self._data
        for line in lines:
            if line.startswith(b"data: "):
                data.append(line[6:])
            elif not line:
                if data:
                    events.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
            elif line.startswith(b"data:"):
                data.append(line[5:])
            elif line == b"data":
                data.append(b"")
        return events


__all__ = ["SseParser"]
