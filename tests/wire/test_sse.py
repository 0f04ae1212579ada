"""Server-sent events: the same events whatever the bytes' split, line ends, comments and byte-order mark."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._wire.sse import SseParser


def events_of(pieces: list[bytes]) -> list[bytes]:
    """Every event of a stream that arrives in these pieces."""
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.close()


def by_the_book(stream: bytes) -> list[bytes]:
    """The HTML standard's rules, read line by line over the whole stream; an open event at the end counts."""
    events: list[bytes] = []
    data: list[bytes] = []
    for line in [*re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf")), b""]:
        name, _, value = line.partition(b":")
        if not line and data:
            events.append(b"\n".join(data))
            data = []
        elif name == b"data":
            data.append(value.removeprefix(b" "))
    return events


_LINES = st.sampled_from(
    [
        b"",
        b"",
        b"data: one",
        b"data:two",
        b"data:  kept space",
        b"data",
        b"data:",
        b"data: \xe2\x82\xac",
        b"database: no",
        b" data: no",
        b": a comment",
        b":",
        b"event: delta",
        b"id: 7",
        b"retry: 10",
    ]
)
_STREAMS = st.builds(
    lambda bom, lines, tail: bom + b"".join(lines) + tail,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.builds(bytes.__add__, _LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=12),
    _LINES,
)


@given(stream=_STREAMS, cuts=st.lists(st.integers(0, 120), max_size=8))
def test_any_split_gives_the_events_of_the_standard(stream: bytes, cuts: list[int]) -> None:
    """However the bytes are cut, empty pieces included, the events are those of the whole stream."""
    edges = [0, *sorted(cut for cut in cuts if cut <= len(stream)), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert events_of(pieces) == by_the_book(stream)


@given(stream=st.one_of(_STREAMS, st.binary(max_size=60)))
def test_a_byte_at_a_time_gives_the_same_events(stream: bytes) -> None:
    """The smallest pieces there are, of any bytes at all, change nothing."""
    assert events_of([bytes([byte]) for byte in stream]) == by_the_book(stream)


@pytest.mark.parametrize(
    "stream, expected",
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\r\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\ndata\n\n", [b"\n"]),
        (b"data:\n\n", [b""]),
        (b"event: x\n\n: keep-alive\n\n", []),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"data: {\"cut", [b'{"cut']),
        (b"", []),
        (b"\xef\xbb", []),
    ],
)  # fmt: skip
def test_known_streams_give_known_events(stream: bytes, expected: list[bytes]) -> None:
    """Line ends, joined data, bare fields, comments, a byte-order mark and an unfinished end, by example."""
    assert events_of([stream]) == expected


def test_an_event_comes_as_soon_as_its_blank_line_does() -> None:
    """Nothing is held back until more bytes arrive, also when the line ends with a lone CR."""
    parser = SseParser()
    assert [parser.feed(piece) for piece in (b"data: a\r", b"\r", b"\n", b"data: b\n", b"\n")] == [
        [], [b"a"], [], [], [b"b"],
    ]  # fmt: skip


class _Counted(bytes):
    """Bytes that count how many of them were scanned for a line end."""

    scanned = 0

    def rfind(self, *args: object) -> int:
        _Counted.scanned += len(self)
        return super().rfind(*args)  # type: ignore[arg-type]


def test_a_long_line_without_an_end_is_scanned_once() -> None:
    """The cost of a line that does not end is linear: each byte is looked at as it arrives, never again."""
    _Counted.scanned = 0
    parser, piece = SseParser(), _Counted(b"x" * 100)
    parser.feed(b"data: ")
    events = [event for _ in range(2_000) for event in parser.feed(piece)]
    assert (events, _Counted.scanned) == ([], 2 * 200_000)
    assert parser.close() == [b"x" * 200_000]
