"""Charts as small SVG files that load nothing: bars with whiskers and lines on logarithmic axes, for light and dark."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 860
_STYLE = """
svg{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}
.card{fill:#ffffff;stroke:#d0d7de}.text{fill:#1f2328}.dim{fill:#59636e;font-size:12px}
text{paint-order:stroke;stroke:#ffffff;stroke-width:3px;stroke-linejoin:round}.title{font-size:16px;font-weight:600}
.grid{stroke:#d8dee4}.mark{stroke:#59636e;stroke-dasharray:4 3}.whisker{stroke:#1f2328;stroke-opacity:.55}
.a{fill:#0f766e;stroke:#0f766e}.b{fill:#8c959f;stroke:#8c959f}.c{fill:#b4530a;stroke:#b4530a}.d{fill:#4f46a5;stroke:#4f46a5}
.line{fill:none;stroke-width:2.2}
@media (prefers-color-scheme:dark){text{stroke:#0d1117}
.card{fill:#0d1117;stroke:#30363d}.text{fill:#e6edf3}.dim{fill:#9198a1}.grid{stroke:#2a313a}.mark{stroke:#9198a1}
.whisker{stroke:#e6edf3}.a{fill:#2dd4bf;stroke:#2dd4bf}.b{fill:#6e7681;stroke:#6e7681}.c{fill:#f0883e;stroke:#f0883e}
.d{fill:#a5a0ff;stroke:#a5a0ff}.line{fill:none}}
"""
_ROW, _GROUP_GAP, _CHARACTER = 26, 30, 6.9
_COLOURS = "abcd"


@dataclass(frozen=True)
class Bar:
    """A bar: its name, value, what its end says, the quartiles if there are, and whether it is ours."""

    name: str
    value: float
    label: str
    quartiles: tuple[float, float] | None = None
    is_ours: bool = False


def spread_bar(name: str, figures: Mapping[str, float], label: str, *, is_ours: bool = False) -> Bar:
    """A bar of the median, with its quartiles."""
    return Bar(name, figures["median"], label, (figures["low"], figures["high"]), is_ours=is_ours)


@dataclass(frozen=True)
class Line:
    """A line through points (x, y) with a name at its end; `colour` is one of `abcd`."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str


def bar_chart(title: str, axis: str, groups: Mapping[str, Sequence[Bar]], caption: str, *, mark: float = 0.0) -> str:
    """Horizontal bars, by groups with headings; `mark` draws a dashed line at that value."""
    bars = [bar for group in groups.values() for bar in group]
    left = max(len(bar.name) * (_CHARACTER + bar.is_ours) for bar in bars) + 36
    right = WIDTH - 40 - max(len(bar.label) for bar in bars) * _CHARACTER
    most = max([mark, *(bar.quartiles[1] if bar.quartiles else bar.value for bar in bars)])
    ticks = _ticks(most)
    scale = (right - left) / (max(most, ticks[-1] * 0.98) or 1)
    y, parts = 62.0, []
    for heading, group in groups.items():
        if heading:
            parts.append(_text(24, y + 12, heading, "text", weight=600))
            y += 24
        top = y
        for bar in group:
            parts += _bar(bar, left, y, scale)
            y += _ROW
        grid = [f'<path class="grid" d="M{left + tick * scale:.1f} {top}V{y}"/>' for tick in ticks if tick]
        marked = [f'<path class="mark" d="M{left + mark * scale:.1f} {top - 4}V{y + 4}"/>'] if mark else []
        parts = [*grid, *parts, *marked]
        y += _GROUP_GAP - 12 if len(groups) > 1 else 0
    parts += [_text(left + tick * scale, y + 14, f"{tick:,g}", "dim", anchor="middle") for tick in ticks]
    parts.append(_text((left + right) / 2, y + 34, axis, "dim", anchor="middle"))
    return _page(title, parts, caption, y + 54)


def line_charts(title: str, panels: Mapping[str, Sequence[Line]], y_axis: str, caption: str) -> str:
    """Panels side by side with a logarithmic x axis; a panel is called after what its x axis counts."""
    wide = (WIDTH - 48) / len(panels)
    parts: list[str] = []
    ticks = _ticks(max(y for lines in panels.values() for line in lines for _, y in line.points))
    for number, (x_axis, lines) in enumerate(panels.items()):
        parts += _panel(lines, ticks, 24 + number * wide, wide, x_axis)
    parts.append(_text(24, 62, y_axis, "dim"))
    return _page(title, parts, caption, 402)


def _panel(lines: Sequence[Line], ticks: Sequence[float], left: float, wide: float, x_axis: str) -> list[str]:
    x0, x1, y0, y1 = left + 40, left + wide - 14, 348.0, 128.0
    xs = sorted({x for line in lines for x, _ in line.points})
    low, high = math.log(xs[0]), math.log(xs[-1]) if len(xs) > 1 else math.log(xs[0]) + 1

    def place(x: float, y: float) -> tuple[float, float]:
        return x0 + 18 + (x1 - x0 - 36) * (math.log(x) - low) / (high - low), y0 - (y0 - y1) * y / ticks[-1]

    parts = [f'<path class="grid" d="M{x0:.1f} {place(xs[0], t)[1]:.1f}H{x1:.1f}"/>' for t in ticks]
    parts += [_text(x0 - 6, place(xs[0], t)[1] + 4, f"{t:,g}", "dim", anchor="end") for t in ticks]
    parts += [_text(place(x, 0)[0], y0 + 17, f"{x:,g}", "dim", anchor="middle") for x in xs]
    parts.append(_text((x0 + x1) / 2, y0 + 36, x_axis, "dim", anchor="middle"))
    for number, line in enumerate(lines):
        points = [place(*point) for point in line.points]
        path = " ".join(f"{'L' if index else 'M'}{x:.1f} {y:.1f}" for index, (x, y) in enumerate(points))
        parts.append(f'<path class="{line.colour} line" d="{path}"/>')
        below = len(lines) > 1 and number == 0
        for (x, y), (_, value) in zip(points, line.points, strict=True):
            parts.append(f'<circle class="{line.colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
            parts.append(_text(x, y + (18 if below else -9), f"{value:,.3g}", "dim", anchor="middle"))
        parts.append(f'<rect class="{line.colour}" x="{x0:.1f}" y="{75 + 18 * number}" width="10" height="10"/>')
        parts.append(_text(x0 + 15, 85 + 18 * number, line.name, "text"))
    return parts


def _bar(bar: Bar, left: float, y: float, scale: float) -> list[str]:
    colour = "a" if bar.is_ours else "b"
    wide = max(bar.value * scale, 1)
    parts = [
        _text(left - 8, y + 16, bar.name, "text", anchor="end", weight=600 if bar.is_ours else 400),
        f'<rect class="{colour}" x="{left:.1f}" y="{y + 4}" width="{wide:.1f}" height="{_ROW - 9}" rx="2"/>',
    ]
    end = left + wide
    if bar.quartiles is not None:
        low, high = (left + value * scale for value in bar.quartiles)
        middle = y + 4 + (_ROW - 9) / 2
        parts.append(f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8'
                     f'M{high:.1f} {middle - 4}v8"/>')  # fmt: skip
        end = max(end, high)
    return [*parts, _text(end + 7, y + 16, bar.label, "text")]


def _text(x: float, y: float, words: str, kind: str, *, anchor: str = "start", weight: int = 400) -> str:
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{bold}>{escape(words)}</text>'


def _ticks(most: float) -> list[float]:
    """From 0 to at least `most`, in four to six even steps of a round size."""
    if most <= 0:
        return [0.0, 1.0]
    magnitude = 10.0 ** math.floor(math.log10(most / 5))
    step = next(times * magnitude for times in (1, 2, 2.5, 5, 10) if times * magnitude * 5 >= most * 0.999)
    return [round(step * index, 9) for index in range(math.ceil(most / step - 1e-9) + 1)]


def _page(title: str, parts: Sequence[str], caption: str, height: float) -> str:
    lines = textwrap.wrap(caption, 122)
    high = height + 17 * len(lines) + 8
    words = [_text(24, height + 12 + 17 * index, line, "dim") for index, line in enumerate(lines)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {high:.0f}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{high - 1:.0f}" rx="6"/>'
        f'<text class="text title" x="24" y="36">{escape(title)}</text>\n' + "\n".join([*parts, *words]) + "\n</svg>\n"
    )
