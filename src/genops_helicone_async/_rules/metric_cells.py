"""Metrics while they are counted: plain cells per label set, a fraction of a microsecond an addition.

An SDK instrument takes 6 to 13 µs for each value; a cell 0.1. Whoever adds or reads holds `MetricCells.lock`. What
nobody has to know at once is put off and counted in one go, which is half as dear again: `later` and `catch_up`. Label
sets are capped: what comes after goes to one overflow set, whose labels are the empty tuple.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from operator import attrgetter, itemgetter, truediv
from typing import Final, Generic, TypeVar

from .custom_metrics import MetricDefinition
from .ledger import LedgerRow
from .put_off import grouped, taken
from .telemetry_names import CHAT

MOST_SETS: Final = 1_999
"""Label sets of an instrument, but for the overflow: with it 2,000, where the SDK would begin one of its own."""
OVERFLOW: Final[tuple[str, ...]] = ()
"""The labels of the overflow set."""
_MOST_PUT_OFF: Final = 256
DURATION_BOUNDS_S: Final = tuple(0.01 * 2**step for step in range(14))
TOKEN_BOUNDS: Final = tuple(float(4**step) for step in range(14))

Labels = tuple[str, ...]
Cell = TypeVar("Cell")


class Capped(Generic[Cell]):
    """Cells by label set, at most `most` of them and one for the overflow; `make` makes one for its labels."""

    __slots__ = ("_cells", "_make", "most")

    def __init__(self, make: Callable[[Labels], Cell], most: int = MOST_SETS) -> None:
        self._make = make
        self.most = most
        self._cells: dict[Labels, Cell] = {}

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[tuple[Labels, Cell]]:
        return iter(list(self._cells.items()))

    def of(self, labels: Labels) -> Cell:
        """The cell of a label set, made when first asked for; the overflow's where there are too many."""
        cell = self._cells.get(labels)
        if cell is None:
            if len(self._cells) >= self.most:
                cell = self._cells.get(OVERFLOW)
                if cell is not None:
                    return cell
                labels = OVERFLOW
            cell = self._cells[labels] = self._make(labels)
        return cell


class Total:
    """A sum, or the latest value of a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Mean:
    """The mean of the interval since it was last read; without a value since, that of the interval before."""

    __slots__ = ("_last", "count", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0
        self._last: float | None = None

    def add(self, value: float) -> None:
        """Counts one value."""
        self.total += value
        self.count += 1

    def add_all(self, values: Sequence[float]) -> None:
        """Counts several."""
        self.total += sum(values)
        self.count += len(values)

    def take(self) -> float | None:
        """The mean, None where there never was a value; the next interval begins."""
        if self.count:
            self._last = self.total / self.count
            self.total, self.count = 0.0, 0
        return self._last


class Buckets:
    """A histogram's values since they were last taken: counts per bucket, sum, least and most."""

    __slots__ = ("bounds", "counts", "least", "most", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._clear()

    def _clear(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)
        self.total: float = 0
        self.least = math.inf
        self.most = -math.inf

    def add(self, value: float) -> None:
        """Counts one value; a bound belongs to the bucket below it, as in OpenTelemetry."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        if value < self.least:
            self.least = value
        if value > self.most:
            self.most = value

    def add_all(self, values: Sequence[float]) -> None:
        """Counts several, at least one."""
        if len(values) == 1:
            self.add(values[0])
            return
        counts = self.counts
        for at, number in Counter(map(bisect_left, repeat(self.bounds), values)).items():
            counts[at] += number
        self.total += sum(values)
        self.least = min(self.least, *values)
        self.most = max(self.most, *values)

    def take(self) -> Buckets | None:
        """What came since the last time, None for nothing; counting begins anew."""
        if self.most == -math.inf:
            return None
        taken = Buckets(self.bounds)
        taken.counts, taken.total, taken.least, taken.most = self.counts, self.total, self.least, self.most
        self._clear()
        return taken


class Line:
    """The sums of the attempts of one label set, and the cells of coarser label sets in which they count, too."""

    __slots__ = (
        "cost_pusd", "duration_s", "input_tokens", "input_usage", "interval_ms", "output_tokens", "output_usage",
        "requests",
    )  # fmt: skip

    def __init__(self, interval_ms: Mean, duration_s: Buckets, input_usage: Buckets, output_usage: Buckets) -> None:
        self.requests = self.cost_pusd = self.input_tokens = self.output_tokens = 0
        self.interval_ms = interval_ms
        self.duration_s = duration_s
        self.input_usage = input_usage
        self.output_usage = output_usage

    def point_at(self, other: Line) -> None:
        """Counts in the other line's cells from now on."""
        self.interval_ms, self.duration_s = other.interval_ms, other.duration_s
        self.input_usage, self.output_usage = other.input_usage, other.output_usage


LINE_LABELS: Final = ("operation", "provider", "model", "team", "project", "environment", "status")
_labels_of = attrgetter(*LINE_LABELS[1:])  # of a row
_cost_pusd_of, _cost_source_of, _duration_ms_of = map(attrgetter, ("cost_pusd", "cost_source", "duration_ms"))
_input_tokens_of, _output_tokens_of = attrgetter("input_tokens"), attrgetter("output_tokens")
_row_of = itemgetter(0)  # of what is put off
TARGET_LABELS: Final = ("provider", "model", "team")
OPERATION_LABELS: Final = ("operation", "provider", "model", "status")


class MetricCells:
    """Every cell there is: `lines` by `LINE_LABELS`, `intervals_ms` and custom ones by `TARGET_LABELS`.

    Histograms are by `OPERATION_LABELS`, `waits_ms` by provider; `counts` and custom cells by name first.
    """

    __slots__ = (
        "_lines", "_put_off", "counts", "custom", "custom_buckets", "defers", "durations_s", "first_chunks_s",
        "input_usages", "intervals_ms", "lock", "most", "output_usages", "waits_ms",
    )  # fmt: skip

    def __init__(self, most: int = MOST_SETS) -> None:
        self.lock = threading.Lock()
        self.most = most
        self._lines: dict[Labels, Line] = {}
        self._put_off: deque[tuple[LedgerRow, float]] = deque()
        self.defers = True
        """Whether counting may be put off: not where values are recorded one by one."""
        self.intervals_ms = Capped(lambda _: Mean(), most)
        self.waits_ms = Capped(lambda _: Mean(), most)
        halved = most // 2  # two series of tokens come of each
        self.durations_s = Capped(lambda _: Buckets(DURATION_BOUNDS_S), halved)
        self.first_chunks_s = Capped(lambda _: Buckets(DURATION_BOUNDS_S), halved)
        self.input_usages = Capped(lambda _: Buckets(TOKEN_BOUNDS), halved)
        self.output_usages = Capped(lambda _: Buckets(TOKEN_BOUNDS), halved)
        self.counts: dict[str, Capped[Total]] = {}
        self.custom: dict[str, Capped[Total]] = {}
        self.custom_buckets: dict[str, Capped[Buckets]] = {}

    def __repr__(self) -> str:
        return f"MetricCells({len(self._lines)} label sets)"

    def lines(self) -> list[tuple[Labels, Line]]:
        """Every line with its labels, in the order in which they were first seen; the caller does not hold the lock."""
        self.catch_up()
        return list(self._lines.items())

    def later(self, row: LedgerRow, wait_ms: float) -> None:
        """Counts a chat's only attempt, and how long it had waited, before anybody reads; without the lock."""
        put_off = self._put_off
        put_off.append((row, wait_ms))
        if len(put_off) >= _MOST_PUT_OFF:
            self.catch_up()

    def catch_up(self) -> None:
        """Counts what was put off; the caller does not hold the lock."""
        with self.lock:
            every = taken(self._put_off)
            for labels, group in grouped(every, map(_labels_of, map(_row_of, every))).items():
                rows, waits_ms = zip(*group, strict=True)
                self._attempts((CHAT, *labels), rows)
                self.waits_ms.of((labels[0],)).add_all(waits_ms)

    def attempt(self, operation: str, row: LedgerRow) -> None:
        """Counts one attempt; its tokens reach the histogram only where the provider counted them."""
        self._attempts((operation, *_labels_of(row)), (row,))

    def _attempts(self, labels: Labels, rows: Sequence[LedgerRow]) -> None:
        """Counts attempts of one label set, at least one."""
        line = self._lines.get(labels) or self._new_line(labels)
        durations_ms, inputs = [*map(_duration_ms_of, rows)], [*map(_input_tokens_of, rows)]
        outputs = [*map(_output_tokens_of, rows)]
        line.requests += len(rows)
        line.cost_pusd += sum(map(_cost_pusd_of, rows))
        line.interval_ms.add_all(durations_ms)
        line.duration_s.add_all([*map(truediv, durations_ms, repeat(1000))])
        line.input_tokens += sum(inputs)
        line.output_tokens += sum(outputs)
        if not all(inputs) or "estimated" in map(_cost_source_of, rows):  # what nobody counted is in no histogram
            told = [row for row in rows if row.cost_source != "estimated" and (row.input_tokens or row.output_tokens)]
            inputs, outputs = [*map(_input_tokens_of, told)], [*map(_output_tokens_of, told)]
        if inputs:
            line.input_usage.add_all(inputs)
            if some := [*filter(None, outputs)]:
                line.output_usage.add_all(some)

    def count(self, name: str, labels: Labels, amount: float = 1) -> None:
        """Adds to a counter that moves rarely."""
        cells = self.counts.get(name)
        if cells is None:
            cells = self.counts[name] = Capped(lambda _: Total(), self.most)
        cells.of(labels).value += amount

    def customize(self, definition: MetricDefinition) -> None:
        """Makes room for a metric that somebody registered; a second time it changes nothing."""
        if definition.kind == "histogram":
            bounds = definition.bounds
            self.custom_buckets.setdefault(definition.name, Capped(lambda _: Buckets(bounds), self.most))
        else:
            self.custom.setdefault(definition.name, Capped(lambda _: Total(), self.most))

    def observe(self, definition: MetricDefinition, labels: Labels, value: float) -> None:
        """Takes one value of a metric that somebody registered; without effect where there is no room made for it."""
        name = definition.name
        if definition.kind == "histogram":
            if name in self.custom_buckets:
                self.custom_buckets[name].of(labels).add(value)
        elif name in self.custom:
            cell = self.custom[name].of(labels)
            cell.value = value if definition.kind == "gauge" else cell.value + value

    def _new_line(self, labels: Labels) -> Line:
        """The line of a label set not seen yet, or the overflow's.

        The overflow's is pointed at the coarser cells of this label set each time: they have caps of their own, and a
        program with many teams still has all its latencies by model.
        """
        operation, provider, model, team, _, _, status = labels
        line = self._line((provider, model, team), (operation, provider, model, status))
        if len(self._lines) < self.most:
            self._lines[labels] = line
            return line
        overflow = self._lines.setdefault(OVERFLOW, line)
        overflow.point_at(line)
        return overflow

    def _line(self, target: Labels, operation: Labels) -> Line:
        return Line(
            self.intervals_ms.of(target),
            self.durations_s.of(operation),
            self.input_usages.of(operation),
            self.output_usages.of(operation),
        )


__all__ = [
    "DURATION_BOUNDS_S",
    "LINE_LABELS",
    "MOST_SETS",
    "OPERATION_LABELS",
    "OVERFLOW",
    "TARGET_LABELS",
    "TOKEN_BOUNDS",
    "Buckets",
    "Capped",
    "Labels",
    "Line",
    "Mean",
    "MetricCells",
    "Total",
]
