"""What a job will cost before anything is sent: its tokens counted, its rows routed as they will be, its cost at most.

Every row is looked at, and memory does not grow with them. Nothing is sent, and no key is needed.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from .._edges.price_book import PriceBook
from .._edges.token_counter import counter
from .._flow.candidates import Candidates
from .._flow.estimates import Estimates, allowed_output, answers_of
from .._flow.ticket import Target
from .._rules.averages import UNKNOWN_OUTPUT_TOKENS
from .._rules.options import Option, RankContext
from .._rules.preferences import parse_preferences
from .._rules.strategies import rank
from ..chat_request import ChatRequest
from ..config import Settings
from ..errors import HeliconeError
from .batches.grouping import SHAPES
from .rows import Row
from .seen import SeenBefore
from .token_batches import CountedAhead

BATCH_ROWS = 1_000
_SEED = 7
_DIGEST_BYTES = 16


class TargetEstimate(msgspec.Struct, kw_only=True):
    """What falls on one model of one provider. Money is pico-dollars.

    Attributes:
        rows: Rows that ask it first.
        input_tokens: Tokens of these rows.
        output_tokens: Tokens of their answers, as they are likely to be.
        expected_pusd: What they are likely to cost there.
        unpriced: Those of them whose cost nobody knows.
        possible: Rows that may come to it, failovers included.
        worst_pusd: What all these cost there at most, which is what a budget sets aside.
    """

    rows: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    expected_pusd: int = 0
    unpriced: int = 0
    possible: int = 0
    worst_pusd: int = 0


class Estimate(msgspec.Struct, kw_only=True):
    """What a job comes to. Money is pico-dollars.

    Attributes:
        rows: Rows to be sent.
        copies: Rows that equal an earlier one, whose answer they get.
        refused: Rows that cannot be sent.
        again: Rows that an earlier run may have sent already; `again_pusd` is what that may have cost at most.
        assumed: Rows whose answer's length had to be assumed, for nothing limits it.
        expected_pusd: What all is likely to cost, each row at the first it asks.
        worst_pusd: The same with each row at its dearest candidate and with the longest answer.
        unpriced: Rows that may be answered by a model whose price nobody knows.
        fit_expected: Rows that the limit is likely to let through; None where it lets all.
        fit_worst: Rows that it lets through in any case; None where all.
        batch_rows: Rows that a provider's batch API could answer.
        batch_pusd: What these are likely to cost there.
        is_exact: Whether tokens were counted by a tokenizer, or by characters.
        by_target: By (provider, model).
    """

    rows: int = 0
    copies: int = 0
    refused: int = 0
    again: int = 0
    again_pusd: int = 0
    assumed: int = 0
    expected_pusd: int = 0
    worst_pusd: int = 0
    unpriced: int = 0
    fit_expected: int | None = None
    fit_worst: int | None = None
    batch_rows: int = 0
    batch_pusd: int = 0
    is_exact: bool = True
    by_target: dict[tuple[str, str], TargetEstimate] = {}


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A row that would not be sent, and why; `error` is what the call would raise."""

    row: Row
    reason: str
    error: HeliconeError | None = None


class Estimator:
    """Adds rows to an estimate; to be closed, for it keeps what it has seen in a temporary file.

    `limit_pusd` is what the job may cost, `dedupe` whether equal rows are answered once.
    """

    __slots__ = (
        "_candidates", "_count", "_dedupe", "_estimates", "_ids", "_limit_pusd", "_prices", "_random", "_requests",
        "_turns", "estimate",
    )  # fmt: skip

    def __init__(
        self, settings: Settings, prices: PriceBook, *, limit_pusd: int | None = None, dedupe: bool = True
    ) -> None:
        counted = counter()
        self.estimate = Estimate(is_exact=counted.is_exact)
        self._prices = prices
        self._candidates = Candidates(settings, prices)
        self._count = CountedAhead(counted)
        self._estimates = Estimates(self._count, settings.gateway_fee_rates)
        self._limit_pusd = limit_pusd
        self._dedupe = dedupe
        self._random = random.Random(_SEED)
        self._turns = 0
        self._ids = SeenBefore()
        self._requests = SeenBefore()

    def close(self) -> None:
        """Forgets what was seen."""
        self._ids.close()
        self._requests.close()

    async def skip(self, rows: Sequence[tuple[Row, bool]]) -> None:
        """Notes rows that need nothing any more, each with whether it was answered: those answer rows equal to them."""
        await asyncio.to_thread(self._skip_all, rows)

    def _skip_all(self, rows: Sequence[tuple[Row, bool]]) -> None:
        for row, is_answered in rows:
            self._ids.earlier(digest_of(row.custom_id.encode("utf-8", "surrogatepass")), row.line)
            if is_answered and self._dedupes(row):
                self._requests.earlier(request_digest(row.request), row.line)

    def _dedupes(self, row: Row) -> bool:
        return self._dedupe and row.request.cache is not False

    async def add(self, rows: Sequence[Row], again: Collection[int] = ()) -> list[Refusal]:
        """Adds rows, best `BATCH_ROWS` at once; gives those that would not be sent.

        Rows of the lines `again` may have been billed already, which takes room of the limit.
        """
        refusals, routed = [], []
        for row in rows:
            try:
                routed.append((row, await self._candidates.of(row.request)))
            except HeliconeError as exc:
                refusals.append(Refusal(row=row, reason=exc.message, error=exc))
        refusals += await asyncio.to_thread(self._add_all, routed, again)
        self.estimate.refused += len(refusals)
        return refusals

    def _add_all(self, routed: Sequence[tuple[Row, list[Target]]], again: Collection[int]) -> list[Refusal]:
        refusals, fresh = [], []
        for row, targets in routed:
            if (
                line := self._ids.earlier(digest_of(row.custom_id.encode("utf-8", "surrogatepass")), row.line)
            ) is not None:
                refusals.append(
                    Refusal(row=row, reason=f"`custom_id` {row.custom_id!r} is that of line {line} already")
                )
            elif self._dedupes(row) and self._requests.earlier(request_digest(row.request), row.line) is not None:
                self.estimate.copies += 1
            else:
                fresh.append((row, targets))
        self._count.count_ahead((row.request, [t.endpoint.model for t in targets]) for row, targets in fresh)
        for row, targets in fresh:
            try:
                self._add(row.request, targets, is_again=row.line in again)
            except HeliconeError as exc:
                refusals.append(Refusal(row=row, reason=exc.message, error=exc))
        return refusals

    def _add(self, request: ChatRequest, targets: list[Target], *, is_again: bool) -> None:
        first, whole = targets[self._first(request, targets)], self.estimate
        known = self._of(first)
        allowed = allowed_output(request)
        likely = UNKNOWN_OUTPUT_TOKENS * answers_of(request)
        expected = self._estimates.expected_pusd(request, first)
        known.rows += 1
        known.input_tokens += self._estimates.input_tokens(request, first.endpoint.model)
        known.output_tokens += likely if allowed is None else min(likely, allowed)
        known.expected_pusd += expected or 0
        known.unpriced += expected is None
        whole.assumed += allowed is None
        whole.rows += 1
        costs = self._worst(request, targets)
        worst = max(costs, default=0)
        if is_again:
            whole.again += 1
            whole.again_pusd += sum(costs)
        self._limit(expected or 0, worst)
        whole.expected_pusd += expected or 0
        whole.worst_pusd += worst
        self._as_batch(request, targets)

    def _as_batch(self, request: ChatRequest, targets: list[Target]) -> None:
        """What the row is likely to cost at the first that takes batches."""
        for target in targets:
            endpoint = target.endpoint
            if endpoint.provider not in SHAPES:
                continue
            price = self._prices.batch_price_now(endpoint.provider, endpoint.model)
            if price is not None:
                self.estimate.batch_rows += 1
                self.estimate.batch_pusd += self._estimates.expected_at(
                    request, endpoint.provider, endpoint.model, price
                )
            return

    def _worst(self, request: ChatRequest, targets: list[Target]) -> list[int]:
        """What the row may cost at each target whose price is known."""
        worst = [self._estimates.worst_case_pusd(request, target) for target in targets]
        for target, cost in zip(targets, worst, strict=True):
            known = self._of(target)
            known.possible += 1
            known.worst_pusd += cost or 0
        self.estimate.unpriced += None in worst
        return [cost for cost in worst if cost is not None]

    def _limit(self, expected_pusd: int, worst_pusd: int) -> None:
        """Notes after how many rows the limit is reached: before this one, where it has no room for its worst case."""
        if self._limit_pusd is None:
            return
        whole = self.estimate
        limit = self._limit_pusd - whole.again_pusd
        if whole.fit_expected is None and whole.expected_pusd + max(expected_pusd, worst_pusd) > limit:
            whole.fit_expected = whole.rows - 1
        if whole.fit_worst is None and whole.worst_pusd + worst_pusd > limit:
            whole.fit_worst = whole.rows - 1

    def _of(self, target: Target) -> TargetEstimate:
        key = target.endpoint.provider, target.endpoint.model
        known = self.estimate.by_target.get(key)
        if known is None:
            known = self.estimate.by_target[key] = TargetEstimate()
        return known

    def _first(self, request: ChatRequest, targets: list[Target]) -> int:
        """Which target a row asks first, as the router would say of a process that has sent nothing yet."""
        strategy = request.routing_strategy or ("weighted" if request.provider_preferences else "failover")
        if len(targets) == 1 or strategy == "failover":
            return 0
        weights = {}
        if request.provider_preferences:
            weights = {p.provider: p.weight for p in parse_preferences(request.provider_preferences)}
        options = [
            Option(
                index=index,
                provider=target.endpoint.provider,
                model=target.endpoint.model,
                expected_pusd=self._estimates.expected_pusd(request, target) if strategy == "cost_optimized" else None,
                weight=weights.get(target.endpoint.provider, 1.0),
            )
            for index, target in enumerate(targets)
        ]
        self._turns += 1
        return rank(strategy, options, RankContext(random=self._random.random(), counter=self._turns - 1))[0].index


def request_digest(request: ChatRequest) -> bytes:
    """What two requests have in common only if they are equal."""
    given: dict[str, Any] = {name: getattr(request, name) for name in request.__struct_fields__}
    return digest_of(msgspec.json.encode({n: v for n, v in given.items() if v is not None}, enc_hook=str))


def digest_of(data: bytes) -> bytes:
    """16 bytes that stand for any number of them."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


__all__ = ["BATCH_ROWS", "Estimate", "Estimator", "Refusal", "TargetEstimate"]
