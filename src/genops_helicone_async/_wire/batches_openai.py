"""OpenAI's files and batches: requests out, batches and result lines in."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from .batches import BatchLimits, BatchPage, BatchView, Call, ListedBatches, Phase, Problem, RowResult

PATH = "/v1/chat/completions"
MARK = "genops_batch"
"""The key of a batch's metadata that holds our mark."""
_PHASES: dict[str, Phase] = {
    "failed": "refused", "completed": "ended", "expired": "ended", "cancelled": "ended",
}  # fmt: skip


class _Error(msgspec.Struct):
    code: str | None = None
    message: str | None = None
    line: int | None = None


class _Errors(msgspec.Struct):
    data: list[_Error] | None = None


class _Counts(msgspec.Struct):
    total: int = 0
    completed: int = 0
    failed: int = 0


class _Batch(msgspec.Struct):
    id: str
    status: str
    created_at: float
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Errors | None = None
    request_counts: _Counts | None = None
    metadata: dict[str, str] | None = None


class _File(msgspec.Struct):
    id: str


class _Response(msgspec.Struct):
    status_code: int
    body: msgspec.Raw


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_file = msgspec.json.Decoder(_File).decode
_encode = msgspec.json.Encoder().encode


class OpenAiBatchShape(ListedBatches[_Batch]):
    """How OpenAI is spoken to: the rows are a file, and the batch's metadata keep our mark."""

    __slots__ = ()

    limits = BatchLimits(rows=50_000, bytes=200_000_000, one_model=True)
    keeps_marks = True

    def __init__(self) -> None:
        super().__init__(
            path="/batches", after="after", batch=msgspec.json.Decoder(_Batch),
            page=msgspec.json.Decoder(BatchPage[_Batch]),
        )  # fmt: skip

    def row(self, custom_id: str, body: bytes) -> bytes:
        """A line of the input file."""
        return _encode({"custom_id": custom_id, "method": "POST", "url": PATH, "body": msgspec.Raw(body)})

    def upload(self, rows: Sequence[bytes], mark: str) -> Call:
        """A form with the file. JSON writes no line break inside a row, so no row can look like the boundary."""
        boundary = f"batch-{mark}"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{mark}.jsonl"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        body = b"".join([head.encode(), b"\n".join(rows), f"\n\r\n--{boundary}--\r\n".encode()])
        kind = f"multipart/form-data; boundary={boundary}"
        return Call(method="POST", path="/files", body=body, content_type=kind, is_piped=True)

    def file_id(self, body: bytes) -> str:
        """The uploaded file's id."""
        return _decode_file(body).id

    def create(self, rows: Sequence[bytes], mark: str, file_id: str | None) -> Call:
        """Begins a batch over an uploaded file."""
        wanted = {"input_file_id": file_id, "endpoint": PATH, "completion_window": "24h", "metadata": {MARK: mark}}
        return Call(method="POST", path="/batches", body=_encode(wanted))

    def result(self, line: bytes) -> RowResult:
        """A line of the output file or of the error file."""
        found = _decode_line(line)
        if found.response is not None:
            body = bytes(found.response.body)
            return RowResult(custom_id=found.custom_id, status=found.response.status_code, body=body)
        error = found.error or _Error()
        return RowResult(custom_id=found.custom_id, unsent=error.message or error.code or "no reason was given")

    def _view(self, batch: _Batch) -> BatchView:
        counts = batch.request_counts or _Counts()
        files = [file_id for file_id in (batch.output_file_id, batch.error_file_id) if file_id is not None]
        results = [Call(method="GET", path=f"/files/{quote(name, safe='')}/content", is_piped=True) for name in files]
        errors = (batch.errors.data if batch.errors is not None else None) or []
        return BatchView(
            id=batch.id, phase=_PHASES.get(batch.status, "running"), status=batch.status, created_s=batch.created_at,
            rows=counts.total or None, done=counts.completed + counts.failed, mark=(batch.metadata or {}).get(MARK),
            results=tuple(results),
            problems=tuple(Problem(code=one.code or "", message=one.message or "", line=one.line) for one in errors),
        )  # fmt: skip


__all__ = ["MARK", "PATH", "OpenAiBatchShape"]
