"""Anthropic's message batches: requests out, batches and result lines in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

import msgspec

from .batches import BatchLimits, BatchPage, BatchView, Call, ListedBatches, RowResult
from .usage import ABSENT

_STATUS_OF = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip
"""What the status of a live call would have been: a batch tells only the type."""


class _Counts(msgspec.Struct):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class _Batch(msgspec.Struct):
    id: str
    processing_status: str
    created_at: datetime
    request_counts: _Counts
    results_url: str | None = None


class _Error(msgspec.Struct):
    type: str = ""


class _ErrorBody(msgspec.Struct):
    error: _Error | None = None


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_error = msgspec.json.Decoder(_ErrorBody).decode
_encode = msgspec.json.Encoder().encode


class AnthropicBatchShape(ListedBatches[_Batch]):
    """How Anthropic is spoken to: the rows travel with the creation, and a batch has no name but those of its rows."""

    __slots__ = ()

    limits = BatchLimits(rows=100_000, bytes=256_000_000, one_model=False)
    keeps_marks = False

    def __init__(self) -> None:
        super().__init__(
            path="/messages/batches", after="after_id", batch=msgspec.json.Decoder(_Batch),
            page=msgspec.json.Decoder(BatchPage[_Batch]),
        )  # fmt: skip

    def row(self, custom_id: str, body: bytes) -> bytes:
        """One of the requests."""
        return _encode({"custom_id": custom_id, "params": msgspec.Raw(body)})

    def upload(self, rows: Sequence[bytes], mark: str) -> None:
        """There is nothing to upload."""

    def file_id(self, body: bytes) -> str:
        """There is no file."""
        raise NotImplementedError("message batches have no files")

    def create(self, rows: Sequence[bytes], mark: str, file_id: str | None) -> Call:
        """Begins a batch; its rows' ids begin with the mark."""
        return Call(method="POST", path="/messages/batches", body=b'{"requests":[' + b",".join(rows) + b"]}")

    def result(self, line: bytes) -> RowResult:
        """A line of the results."""
        found = _decode_line(line)
        result = found.result
        if result.type == "succeeded":
            return RowResult(custom_id=found.custom_id, status=200, body=bytes(result.message))
        if result.type == "errored":
            body = bytes(result.error)
            return RowResult(custom_id=found.custom_id, status=_status_of(body), body=body)
        return RowResult(custom_id=found.custom_id, unsent=f"the row was {result.type} before its turn came")

    def _view(self, batch: _Batch) -> BatchView:
        counts = batch.request_counts
        done = counts.succeeded + counts.errored + counts.canceled + counts.expired
        ended = batch.processing_status == "ended"
        # Never the URL that is told: our key goes nowhere but to the host that was configured for it.
        fetch = Call(method="GET", path=f"/messages/batches/{quote(batch.id, safe='')}/results")
        return BatchView(
            id=batch.id, phase="ended" if ended else "running", status=batch.processing_status,
            created_s=batch.created_at.timestamp(), rows=counts.processing + done, done=done,
            results=(fetch,) if ended else (),
        )  # fmt: skip


def _status_of(body: bytes) -> int:
    error = _decode_error(body).error
    return _STATUS_OF.get(error.type if error is not None else "", 500)


__all__ = ["AnthropicBatchShape"]
