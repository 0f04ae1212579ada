"""What the measurements rest on: order and ratios of rounds, the check of the server, the server itself, the charts."""

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ("charts", "harness", "loopback_server")

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the server needs epoll, which is Linux'")


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The benchmarks' own modules, which other tests do not see."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield {name: importlib.import_module(name) for name in NAMES}
    for name in NAMES:
        sys.modules.pop(name)


def test_ratios_are_of_one_round(modules: dict[str, ModuleType]) -> None:
    """A round in which everything was slow changes no ratio."""
    base, ours = (10.0, 100.0, 30.0), (5.0, 50.0, 60.0)
    rounds = {
        "base": [{"user_us": time_us, "cpu_us": 2 * time_us} for time_us in base],
        "ours": [{"user_us": time_us, "cpu_us": 6 * time_us} for time_us in ours],
    }
    table = modules["harness"].compared(rounds, "base")
    assert table["ours"]["user_us"]["median"] == 50.0
    assert table["ours"]["user_us_ratio"] == {"median": 0.5, "low": 0.5, "high": 1.25}
    assert table["ours"]["cpu_us_ratio"]["median"] == 1.5


def test_a_round_has_an_order_of_its_own_which_the_seed_repeats(modules: dict[str, ModuleType]) -> None:
    """Sides take turns in shuffled rounds, each side once in each."""
    sides = ["a", "b", "c", "d", "e"]

    def orders(seed: int) -> list[list[str]]:
        asked: list[str] = []
        modules["harness"].in_turns(sides, argparse.Namespace(rounds=4, seed=seed), asked.append)
        return [asked[index : index + 5] for index in range(0, 20, 5)]

    assert [sorted(order) for order in orders(1)] == [sides] * 4
    assert orders(1) == orders(1) != orders(2)
    assert len({tuple(order) for order in orders(1)}) > 1


def test_a_server_dearer_than_its_client_is_refused(modules: dict[str, ModuleType]) -> None:
    """Figures that a slow server made are not told."""
    row = {"server_us": {"median": 12.0}, "cpu_us": {"median": 30.0}}
    modules["harness"].check_server({"raw protocol": row})
    with pytest.raises(SystemExit, match=r"the server is the bottleneck: 31\.0 µs a request, raw protocol 30\.0"):
        modules["harness"].check_server({"raw protocol": {**row, "server_us": {"median": 31.0}}})


@pytest.mark.anyio
async def test_the_server_answers_requests_however_they_arrive(modules: dict[str, ModuleType]) -> None:
    """Cut anywhere or several in one piece: each has its answer, and the server counts them."""
    request = b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\ncontent-length: 15\r\n\r\n{"none\r\n\r\n": 0}'
    titled = request.replace(b"content-length", b"Content-Length")
    with modules["harness"].server() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for pieces in ([titled], [request[:20], request[20:-1], request[-1:]], [request * 3]):
            for piece in pieces:
                writer.write(piece)
                await asyncio.to_thread(modules["harness"].figures_of, port)  # by then it has read the piece
            for _ in range(3 if len(pieces[0]) > len(request) else 1):
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                body = await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
                assert body == modules["loopback_server"].REPLY
        figures = await asyncio.to_thread(modules["harness"].figures_of, port)
        writer.close()
        await writer.wait_closed()
    assert (figures["requests"], figures["connections"]) == (5, 2)
    assert figures["pid"] != os.getpid()


def test_a_stream_ends_with_its_usage(modules: dict[str, ModuleType]) -> None:
    """As many writes as asked for, all events in them, then the usage and the end."""
    pieces = modules["loopback_server"].stream_pieces(10, 4)
    whole = b"".join(pieces)
    assert len(pieces) == 3
    assert whole.count(b'"content": "word "') == 10
    assert whole.index(b'"finish_reason": "stop"') < whole.index(b'"completion_tokens": 10') < whole.index(b"[DONE]")
    assert whole.endswith(b"\r\n0\r\n\r\n")


def test_charts_say_what_they_show_and_load_nothing(modules: dict[str, ModuleType]) -> None:
    """Names are escaped, values are labelled, and there is a colour for dark pages."""
    charts = modules["charts"]
    bars = [charts.Bar("a < b", 1.0, "1.00 ×", (0.9, 1.1)), charts.Bar("ours", 0.5, "0.50 ×", is_ours=True)]
    lines = [charts.Line("ours", [(10, 90.0), (10_000, 99.0)], "a")]
    for svg in (
        charts.bar_chart("Cost & more", "× bare", {"64 in flight": bars}, "As measured.", mark=1.0),
        charts.line_charts("Cost & more", {"calls in flight": lines, "64 in flight": lines}, "µs", "As measured."),
    ):
        words = [text.text for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        assert words[0] == "Cost & more"
        assert {"64 in flight", "ours", "As measured."} <= set(words)
        assert "prefers-color-scheme:dark" in svg
        assert "href" not in svg
    assert {"10,000", "99"} <= set(words)
