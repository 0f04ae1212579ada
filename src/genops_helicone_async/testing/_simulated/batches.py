"""The providers' batches: rows that are answered later, at half price, in time that a test can let pass."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from .answers import Answer
from .asks import Ask, AskRefused
from .catalogue import Provider
from .errors import Refusal, refusal
from .upstream import Call, Upstream

DAY_S = 86_400.0
LOOKS_TO_CANCEL = 1
"""How often a batch that is being cancelled is still seen so."""

Fate = Literal["running", "failed", "cancelling", "cancelled", "expired", "completed"]


class BatchRow(msgspec.Struct, kw_only=True):
    """One request of a batch, and what became of it: an answer, a refusal, or nothing yet."""

    custom_id: str
    ask: Ask | AskRefused
    outcome: Answer | Refusal | None = None


class Batch(msgspec.Struct, kw_only=True):
    """A batch as the provider keeps it; times are Unix seconds of the simulated clock."""

    id: str
    provider: Provider
    rows: list[BatchRow]
    created_s: float
    fate: Fate = "running"
    done: int = 0
    ended_s: float | None = None
    looks: int = 0
    metadata: dict[str, str] = {}
    input_file_id: str = ""
    output_file_id: str | None = None
    error_file_id: str | None = None
    problems: list[dict[str, Any]] = []
    unlisted_looks: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.fate not in ("running", "cancelling")

    def counts(self) -> dict[str, int]:
        """How many rows were answered, were refused, and have no outcome."""
        answered = sum(isinstance(row.outcome, Answer) for row in self.rows)
        refused = sum(isinstance(row.outcome, Refusal) for row in self.rows)
        return {"answered": answered, "refused": refused, "open": len(self.rows) - answered - refused}


class BatchBoard:
    """Every provider's batches, and the test's hand on their clock.

    A batch takes `seconds`, of simulated time: real time plus what `pass_time` added. `stall()` stops the work on all
    batches until `resume()`; `work(rows)` then does so many of each. `expire()` lets them run out of time. Work is done
    when somebody looks. A new batch is missing from the next `unlisted_looks` lists, as it is where lists lag behind.

    A fault with the model `batches` strikes what is asked of batches, creations above all, `files` uploads, `results`
    the fetching of results, `cancel` cancelling, and `line` the check of each line of OpenAI's input files; one with a
    real model strikes rows, and with no model whatever comes first.
    """

    __slots__ = (
        "_clock", "_offset_s", "_serial", "_stalled", "_upstream", "files", "known", "most_rows", "seconds",
        "unlisted_looks",
    )  # fmt: skip

    def __init__(self, upstream: Upstream, clock: Callable[[], float] = time.time) -> None:
        self._upstream = upstream
        self._clock = clock
        self._offset_s = 0.0
        self._serial = 0
        self._stalled = False
        self.seconds = 0.0
        self.unlisted_looks = 0
        self.most_rows = {"openai": 50_000, "anthropic": 100_000}
        self.known: dict[str, Batch] = {}
        self.files: dict[str, tuple[str, bytes]] = {}

    def clear(self) -> None:
        """Forgets all batches and files."""
        self.__init__(self._upstream, self._clock)  # type: ignore[misc]

    def now_s(self) -> float:
        """Unix seconds of the simulated clock."""
        return self._clock() + self._offset_s

    def pass_time(self, seconds: float) -> None:
        """Lets simulated time go by."""
        self._offset_s += seconds

    def stall(self) -> None:
        """From now on no row is answered, until `resume`."""
        self._stalled = True

    def resume(self) -> None:
        """Work goes on."""
        self._stalled = False

    def work(self, rows: int) -> None:
        """Answers so many more rows of each running batch, stalled or not."""
        for batch in self.known.values():
            if batch.fate == "running":
                self._answer(batch, batch.done + rows)

    def expire(self) -> None:
        """Every running batch has run out of time; what was answered stays answered."""
        for batch in self.known.values():
            if batch.fate == "running":
                self._end(batch, "expired")

    def create(self, provider: Provider, rows: list[BatchRow], **more: Any) -> Batch:
        """A new batch, running."""
        prefix = "msgbatch_" if provider.shape == "anthropic" else "batch_"
        batch = Batch(
            id=self.new_id(prefix), provider=provider, rows=rows, created_s=self.now_s(),
            unlisted_looks=self.unlisted_looks, **more,
        )  # fmt: skip
        self.known[batch.id] = batch
        return batch

    def new_id(self, prefix: str) -> str:
        """An id that was never given before."""
        self._serial += 1
        return f"{prefix}sandbox{self._serial:06d}"

    def add_file(self, name: str, data: bytes) -> str:
        """Keeps a file; its id."""
        file_id = self.new_id("file-")
        self.files[file_id] = (name, data)
        return file_id

    def look(self, batch: Batch) -> Batch:
        """The batch as it stands now: what was due since the last look is done."""
        if batch.fate == "cancelling":
            batch.looks += 1
            if batch.looks > LOOKS_TO_CANCEL:
                self._end(batch, "cancelled")
        elif batch.fate == "running":
            elapsed_s = self.now_s() - batch.created_s
            if not self._stalled:
                whole = elapsed_s >= self.seconds
                self._answer(batch, len(batch.rows) if whole else int(len(batch.rows) * elapsed_s / self.seconds))
            if batch.done == len(batch.rows):
                self._end(batch, "completed")
            elif elapsed_s >= DAY_S:
                self._end(batch, "expired")
        return batch

    def cancel(self, batch: Batch) -> Batch:
        """Stops the work; it is over a look later."""
        if batch.fate == "running":
            batch.fate = "cancelling"
        return batch

    def listed(self, provider: Provider) -> Iterator[Batch]:
        """The provider's batches, the latest first, as far as its list knows of them."""
        for batch in reversed(self.known.values()):
            if batch.provider is provider:
                if batch.unlisted_looks:
                    batch.unlisted_looks -= 1
                else:
                    yield batch

    def _answer(self, batch: Batch, upto: int) -> None:
        for row in batch.rows[batch.done : upto]:
            if isinstance(row.ask, AskRefused):
                row.outcome = refusal(batch.provider, 400, row.ask.message, param=row.ask.param)
            else:
                call = Call(provider=batch.provider, request_id=f"{batch.id}/{row.custom_id}")
                row.outcome = self._upstream.answer_in_batch(call, row.ask)
            batch.done += 1

    def _end(self, batch: Batch, fate: Fate) -> None:
        batch.fate, batch.ended_s = fate, self.now_s()


__all__ = ["Batch", "BatchBoard", "BatchRow"]
