"""Charts drawn by ourselves as SVG: stacked bars over time, and ranges of latency. They load and run nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from .markup import Html, joined, tag

WIDTH: Final = 1040
_TOP, _BOTTOM, _RIGHT = 14, 26, 6
_CHARACTER: Final = 6.6  # the width of a digit of the axes, in the chart's own units
_LABEL_GAP: Final = 14
_ROW: Final = 34
_TICKS: Final = (1, 2, 2.5, 5, 10)


class Part(msgspec.Struct, frozen=True):
    """A piece of a bar: the class that colours it, its size, and how much of that is an estimate."""

    colour: str
    size: int
    estimated: int = 0


class StackedBar(msgspec.Struct, frozen=True):
    """One bar, from the bottom up; `label` stands below it where there is room, `tip` is told when it is pointed at."""

    label: str
    tip: str
    parts: Sequence[Part]

    @property
    def size(self) -> int:
        """Its height in what it measures."""
        return sum(part.size for part in self.parts)


class Titled(msgspec.Struct, frozen=True):
    """What a chart is called, what it shows in a sentence, and a name that is its own on the page."""

    title: str
    description: str
    key: str


def bar_chart(
    titled: Titled, bars: Sequence[StackedBar], axis: Callable[[Sequence[int]], list[str]], height: int
) -> Html:
    """Bars over time; `axis` words the values at its lines."""
    most = max([bar.size for bar in bars], default=0)
    ticks = ticks_to(most)
    words = axis(ticks)
    left = max(map(len, words)) * _CHARACTER + 10
    floor, room = height - _BOTTOM, height - _BOTTOM - _TOP
    scale = room / (ticks[-1] or 1)
    lines = [
        joined(
            tag("line", x1=left, x2=WIDTH - _RIGHT, y1=floor - tick * scale, y2=floor - tick * scale, class_="grid"),
            tag("text", word, x=left - 8, y=floor - tick * scale + 4, class_="axis end"),
        )
        for tick, word in zip(ticks, words, strict=True)
    ]
    slot = (WIDTH - _RIGHT - left) / max(len(bars), 1)
    drawn = [_bar(bar, left + slot * index, slot, floor, scale) for index, bar in enumerate(bars)]
    labels = _labels([bar.label for bar in bars], left, slot, height - 8)
    return _svg(titled, height, *lines, *drawn, *labels)


def ticks_to(most: int) -> list[int]:
    """From 0 to at least `most` in one to six even steps of round size."""
    if most <= 0:
        return [0, 1]
    raw = most / 5
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = max(1, math.ceil(next(round(times * magnitude, 9) for times in _TICKS if times * magnitude >= raw * 0.999)))
    return [step * index for index in range(-(-most // step) + 1)]


def _bar(bar: StackedBar, x: float, slot: float, floor: float, scale: float) -> Html:
    width = min(slot * 0.76, 40)
    left = x + (slot - width) / 2
    pieces = []
    y = floor
    for part in bar.parts:
        if part.size <= 0:
            continue
        tall = max(part.size * scale, 0.75)
        y -= tall
        pieces.append(tag("rect", x=left, y=y, width=width, height=tall, class_=part.colour))
        if part.estimated > 0:
            hatched = tall * part.estimated / part.size
            pieces.append(tag("rect", x=left, y=y, width=width, height=hatched, class_="hatch"))
    touch = tag("rect", x=x, y=_TOP, width=slot, height=floor - _TOP, class_="touch")
    return tag("g", tag("title", bar.tip), touch, *pieces, class_="bar")


def _labels(words: Sequence[str], left: float, slot: float, y: float) -> list[Html]:
    if not words:
        return []
    wide = max(map(len, words)) * _CHARACTER
    every = max(1, math.ceil((wide + _LABEL_GAP) / slot))
    places = [(left + slot * (index + 0.5), word) for index, word in enumerate(words) if index % every == 0]
    return [
        tag("text", word, x=max(x, wide / 2), y=y, class_="axis middle")
        for x, word in places
        if x + wide / 2 <= WIDTH + _RIGHT
    ]


class Range(msgspec.Struct, frozen=True):
    """A row of a range chart: half of all lie below `middle`, 95 % below `most_of`, 99 % below `nearly_all`."""

    label: str
    tip: str
    colour: str
    middle: float
    most_of: float
    nearly_all: float


def range_chart(titled: Titled, ranges: Sequence[Range], word: Callable[[float], str]) -> Html:
    """Ranges on a logarithmic axis, whose values `word` words."""
    low = max(min(row.middle for row in ranges), 1e-3)
    high = max(row.nearly_all for row in ranges)
    ticks = _powers(low, high)
    left = min(max(len(row.label) for row in ranges), 28) * 7.4 + 14
    first, last = math.log(ticks[0]), math.log(ticks[-1])
    room = WIDTH - left - 40
    height = _ROW * len(ranges) + 34
    foot = height - 28

    def x_of(value: float) -> float:
        return left + room * (math.log(max(value, ticks[0])) - first) / ((last - first) or 1)

    lines = [
        joined(
            tag("line", x1=x_of(tick), x2=x_of(tick), y1=4, y2=foot, class_="grid"),
            tag("text", word(tick), x=x_of(tick), y=height - 8, class_="axis middle"),
        )
        for tick in ticks
    ]
    drawn = [_range(row, _ROW * index + 4 + _ROW / 2, left, x_of) for index, row in enumerate(ranges)]
    return _svg(titled, height, *lines, *drawn)


def _range(row: Range, y: float, left: float, x_of: Callable[[float], float]) -> Html:
    middle, most_of, nearly_all = x_of(row.middle), x_of(row.most_of), x_of(row.nearly_all)
    label = row.label if len(row.label) <= 28 else row.label[:27] + "…"
    return tag(
        "g",
        tag("title", row.tip),
        tag("text", label, x=left - 12, y=y + 4, class_="label end"),
        tag("line", x1=middle, x2=nearly_all, y1=y, y2=y, class_=f"{row.colour} thin"),
        tag("line", x1=nearly_all, x2=nearly_all, y1=y - 5, y2=y + 5, class_=f"{row.colour} thin"),
        tag("line", x1=middle, x2=most_of, y1=y, y2=y, class_=f"{row.colour} thick"),
        tag("circle", cx=middle, cy=y, r=6, class_=f"{row.colour} dot"),
    )


def _powers(low: float, high: float) -> list[float]:
    """Round values (1, 2 and 5 of each power of ten) around a range, at most nine of them."""
    values = [
        times * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(max(high, low))) + 1)
        for times in (1, 2, 5)
    ]
    first = max(index for index, value in enumerate(values) if value <= low * 1.0001)
    last = min((index for index, value in enumerate(values) if value >= high * 0.9999), default=len(values) - 1)
    chosen = values[first : max(last, first + 1) + 1]
    if len(chosen) <= 9:
        return chosen
    whole = [value for value in values if round(math.log10(value), 9) % 1 == 0]
    begin = max(index for index, value in enumerate(whole) if value <= low * 1.0001)
    return whole[begin:]


def _svg(titled: Titled, height: float, *pieces: Html) -> Html:
    title, description = f"{titled.key}-title", f"{titled.key}-description"
    return tag(
        "svg",
        tag("title", titled.title, id=title),
        tag("desc", titled.description, id=description),
        *pieces,
        viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_labelledby=f"{title} {description}",
    )  # fmt: skip


__all__ = ["WIDTH", "Part", "Range", "StackedBar", "Titled", "bar_chart", "range_chart", "ticks_to"]
