"""Cost debugging: every receipt in the log, prices held against a second source, costs held against the estimate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from .._rules.ledger import LedgerRow
from .._rules.prices import Price, rates_for
from ..models import PUSD_PER_USD, HeliconeResponse
from .estimates import Estimates
from .ports import Prices
from .ticket import RequestRecord

_log = logging.getLogger("genops_helicone_async.costs")
TOLERANCE = 0.005
"""Prices of two sources that differ by more than this share are told."""
UNEXPECTED_FACTOR = 3.0
"""A cost this many times above or below its estimate is told."""
_LEAST_TOLD_PUSD = PUSD_PER_USD // 10_000  # a hundredth of a cent: below it nobody cares for a factor

SecondPrices = Callable[[], Mapping[str, tuple[float, float]]]


class CostDebugging:
    """A sink that writes to the logger `genops_helicone_async.costs`; configured anew at any time."""

    __slots__ = ("_checked", "_estimates", "_load", "_log_all", "_prices", "_second", "_unexpected")

    def __init__(self, prices: Prices, estimates: Estimates, load_second: SecondPrices) -> None:
        self._prices = prices
        self._estimates = estimates
        self._load = load_second
        self._second: Mapping[str, tuple[float, float]] | None = None
        self._checked: set[tuple[str, str]] = set()
        self._log_all = self._unexpected = False

    def configure(self, *, log_all: bool, validate: bool, unexpected: bool) -> None:
        """Switches the three checks on or off; loads the second source's table where it is needed."""
        self._log_all = log_all
        self._unexpected = unexpected
        self._checked.clear()
        self._second = self._load() if validate else None
        if validate and not self._second:
            _log.warning("prices cannot be validated: no second source is installed (pip install litellm)")

    def __call__(self, record: RequestRecord) -> None:
        """Looks at an ended call."""
        is_hit = isinstance(record.response, HeliconeResponse) and record.response.cached
        for row in record.rows:
            if self._log_all:
                _log.info(
                    "%s %s/%s %s: %d in, %d out, $%.9f (%s)%s", row.request_id, row.provider, row.model, row.status,
                    row.input_tokens, row.output_tokens, row.cost_pusd / PUSD_PER_USD, row.cost_source,
                    f", team {row.team}" if row.team else "",
                )  # fmt: skip
            price = self._prices.lookup(row.provider, row.model, row.at_s)
            if not isinstance(price, Price):
                continue
            if self._second:
                self._validate(row, price, self._second)
            if self._unexpected and row.status == "ok" and not is_hit:
                self._compare(record, row, price)

    def _validate(self, row: LedgerRow, price: Price, second: Mapping[str, tuple[float, float]]) -> None:
        """Tells once per model of a price that the second source has otherwise."""
        key = (row.provider, row.model)
        if key in self._checked:
            return
        self._checked.add(key)
        theirs = second.get(f"{row.provider}/{row.model}") or second.get(row.model)
        if theirs is None:
            _log.info("the second source has no price for %s/%s", *key)
            return
        rates = rates_for(price, 0)
        for what, ours, other in (("input", rates.input, theirs[0]), ("output", rates.output, theirs[1])):
            per_token = ours / PUSD_PER_USD
            if abs(per_token - other) > TOLERANCE * max(per_token, other):
                _log.warning(
                    "the price of %s/%s is doubtful: %s costs $%.4f per million tokens here (%s), "
                    "$%.4f in the second source",
                    *key, what, per_token * 1e6, price.source, other * 1e6,
                )  # fmt: skip

    def _compare(self, record: RequestRecord, row: LedgerRow, price: Price) -> None:
        """Tells of a cost far from what the call was expected to cost."""
        expected = self._estimates.expected_at(record.request, row.provider, row.model, price)
        high, low = max(expected, row.cost_pusd), min(expected, row.cost_pusd)
        if high > _LEAST_TOLD_PUSD and high > UNEXPECTED_FACTOR * max(low, 1):
            _log.warning(
                "call %s to %s/%s cost $%.6f, expected was about $%.6f", row.request_id, row.provider, row.model,
                row.cost_pusd / PUSD_PER_USD, expected / PUSD_PER_USD,
            )  # fmt: skip


__all__ = ["TOLERANCE", "UNEXPECTED_FACTOR", "CostDebugging"]
