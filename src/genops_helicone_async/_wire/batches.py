"""What the providers' batch APIs have in common: requests to them, how a batch stands, what came of a row. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Literal, Protocol, TypeVar
from urllib.parse import quote

import msgspec

_PAGE = 100
BatchT = TypeVar("BatchT")
Phase = Literal["running", "ended", "refused"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a batch API: its path below the version segment. `is_piped`: Helicone hands it on as it is.

    With its own headers, too: so nothing that only Helicone may see belongs on it.
    """

    method: str
    path: str
    body: bytes = b""
    content_type: str = "application/json"
    is_piped: bool = False


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a provider refused a whole batch; `line` counts its rows from 1, None where it speaks of no row."""

    code: str
    message: str
    line: int | None = None


class BatchView(msgspec.Struct, frozen=True, kw_only=True):
    """How a batch stands at the provider, as of when it was asked. `status` is the provider's own word.

    `rows` is None where the provider does not count them yet; `mark` what we named it, where it keeps such names.
    `results` are the calls that fetch what there is. Times are Unix seconds.
    """

    id: str
    phase: Phase
    status: str
    created_s: float
    rows: int | None = None
    done: int = 0
    mark: str | None = None
    results: tuple[Call, ...] = ()
    problems: tuple[Problem, ...] = ()


class RowResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one row: a reply with its `status` and `body`; or nothing, and `unsent` says why."""

    custom_id: str
    status: int = 0
    body: bytes = b""
    unsent: str | None = None


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The most rows and bytes that a provider takes in one batch; whether all have to name one model."""

    rows: int
    bytes: int
    one_model: bool


class BatchShape(Protocol):
    """One provider's way of speaking."""

    limits: BatchLimits
    keeps_marks: bool
    """Whether a batch that is listed tells the mark it was created with."""

    def row(self, custom_id: str, body: bytes) -> bytes:
        """One row of a batch, from the body that a live call would have."""
        ...

    def upload(self, rows: Sequence[bytes], mark: str) -> Call | None:
        """The call that brings the rows there; None where they travel with the creation."""
        ...

    def file_id(self, body: bytes) -> str:
        """The id in the answer to `upload`."""
        ...

    def create(self, rows: Sequence[bytes], mark: str, file_id: str | None) -> Call:
        """The call that begins the batch. Never to be repeated without looking for the batch first."""
        ...

    def look(self, batch_id: str) -> Call:
        """The call that asks how it stands."""
        ...

    def cancel(self, batch_id: str) -> Call:
        """The call that ends it early."""
        ...

    def page(self, after: str | None) -> Call:
        """The call that lists batches, the latest first, after this id."""
        ...

    def view(self, body: bytes) -> BatchView:
        """How a batch stands, from any answer that is one; raises `msgspec.DecodeError`."""
        ...

    def views(self, body: bytes) -> tuple[tuple[BatchView, ...], str | None]:
        """The batches of a page and the id after which the next one begins; raises `msgspec.DecodeError`."""
        ...

    def result(self, line: bytes) -> RowResult:
        """What came of a row, from its line of a result file; raises `msgspec.DecodeError`."""
        ...


class BatchPage(msgspec.Struct, Generic[BatchT]):
    """A page of a list of batches, in the shape all providers give it."""

    data: list[BatchT]
    has_more: bool = False
    last_id: str | None = None


class ListedBatches(Generic[BatchT]):
    """The part of a `BatchShape` in which providers differ by names only: one of their batches below `path`, and lists.

    A list goes on behind the id that is given as `after`. `batch` and `page` decode what comes.
    """

    __slots__ = ("_after", "_batch", "_page", "_path")

    def __init__(
        self, *, path: str, after: str, batch: msgspec.json.Decoder[BatchT],
        page: msgspec.json.Decoder[BatchPage[BatchT]],
    ) -> None:  # fmt: skip
        self._path = path
        self._after = after
        self._batch = batch
        self._page = page

    def look(self, batch_id: str) -> Call:
        """Asks for one batch."""
        return Call(method="GET", path=self._path_of(batch_id))

    def cancel(self, batch_id: str) -> Call:
        """Cancels one batch; what is done by then stays done, and billed."""
        return Call(method="POST", path=f"{self._path_of(batch_id)}/cancel")

    def page(self, after: str | None) -> Call:
        """Lists batches, the latest first."""
        more = "" if after is None else f"&{self._after}={quote(after, safe='')}"
        return Call(method="GET", path=f"{self._path}?limit={_PAGE}{more}")

    def view(self, body: bytes) -> BatchView:
        """One batch."""
        return self._view(self._batch.decode(body))

    def views(self, body: bytes) -> tuple[tuple[BatchView, ...], str | None]:
        """A page of batches."""
        page = self._page.decode(body)
        return tuple(map(self._view, page.data)), page.last_id if page.has_more else None

    def _path_of(self, batch_id: str) -> str:
        return f"{self._path}/{quote(batch_id, safe='')}"

    def _view(self, batch: BatchT) -> BatchView:
        """A batch in our words."""
        raise NotImplementedError


__all__ = [
    "BatchLimits",
    "BatchPage",
    "BatchShape",
    "BatchView",
    "Call",
    "ListedBatches",
    "Phase",
    "Problem",
    "RowResult",
]
