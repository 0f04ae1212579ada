"""Anthropic's message batches, as its host speaks them."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..exchange import Arrival, Reply, json_reply
from .answers import Answer
from .asks import AskRefused, anthropic_ask
from .batches import Batch, BatchBoard, BatchRow
from .catalogue import Provider
from .errors import Refusal
from .openai_batches import Refused, page
from .replies import Document, anthropic_reply, anthropic_usage

MOST_BYTES = 256 * 1000 * 1000
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_STATUSES = {"running": "in_progress", "cancelling": "canceling"}


class AnthropicBatches:
    """Answers what follows `/v1/messages/`: `batches`, and of one batch itself, its `results` and `cancel`."""

    __slots__ = ("_board",)

    def __init__(self, board: BatchBoard) -> None:
        self._board = board

    def read(self, provider: Provider, path: str, query: Any) -> Reply:
        """Answers a GET."""
        if path == "batches":
            batches = list(self._board.listed(provider))
            return json_reply(page(batches, query, after="after_id", show=lambda one: shown(self._board.look(one))))
        batch = self._known(path.removeprefix("batches/").removesuffix("/results"))
        if not path.endswith("/results"):
            return json_reply(shown(self._board.look(batch)))
        if not batch.is_over:
            raise Refused(404, "The results of this batch are not there yet.")
        return Reply(
            body=b"".join(map(_line, batch.rows, [batch] * len(batch.rows))), content_type="application/x-jsonl"
        )

    def write(self, provider: Provider, path: str, arrival: Arrival) -> Reply:
        """Answers a POST."""
        if path == "batches":
            return json_reply(shown(self._create(provider, arrival)))
        batch = self._known(path.removeprefix("batches/").removesuffix("/cancel"))
        if batch.is_over:
            raise Refused(400, "This batch has ended and cannot be canceled.")
        return json_reply(shown(self._board.cancel(batch)))

    def _known(self, batch_id: str) -> Batch:
        if batch_id not in self._board.known:
            raise Refused(404, f"Batch {batch_id} was not found.")
        return self._board.known[batch_id]

    def _create(self, provider: Provider, arrival: Arrival) -> Batch:
        if len(arrival.body) > MOST_BYTES:
            raise Refused(413, "Request exceeds the maximum size.")
        body = arrival.document()
        requests = body.get("requests") if isinstance(body, dict) else None
        if not isinstance(requests, list) or not 1 <= len(requests) <= self._board.most_rows["anthropic"]:
            raise Refused(400, "requests: a list of 1 to 100000 is needed")
        rows, seen = [], set()
        for number, request in enumerate(requests):
            custom_id = request.get("custom_id")
            if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id) or custom_id in seen:
                problem = "is a duplicate" if custom_id in seen else f"must match {_CUSTOM_ID.pattern}"
                raise Refused(400, f"requests.{number}.custom_id: {problem}")
            seen.add(custom_id)
            try:
                rows.append(BatchRow(custom_id=custom_id, ask=anthropic_ask(request.get("params") or {})))
            except AskRefused as refused:
                rows.append(BatchRow(custom_id=custom_id, ask=refused))
        return self._board.create(provider, rows)


def shown(batch: Batch) -> Document:
    """A `message_batch`; its counts stay at `processing` until it has ended."""
    counts = {"processing": len(batch.rows), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    if batch.is_over:
        found = batch.counts()
        unsent = "canceled" if batch.fate == "cancelled" else "expired"
        counts = {**counts, "processing": 0, "succeeded": found["answered"], "errored": found["refused"]}
        counts[unsent] += found["open"]
    cancelled = batch.fate in ("cancelling", "cancelled")
    results = f"https://api.anthropic.com/v1/messages/batches/{batch.id}/results" if batch.is_over else None
    return {
        "id": batch.id, "type": "message_batch", "processing_status": _STATUSES.get(batch.fate, "ended"),
        "request_counts": counts, "created_at": _rfc3339(batch.created_s), "results_url": results,
        "expires_at": _rfc3339(batch.created_s + 86_400), "ended_at": _rfc3339(batch.ended_s), "archived_at": None,
        "cancel_initiated_at": _rfc3339(batch.created_s) if cancelled else None,
    }  # fmt: skip


def _rfc3339(at_s: float | None) -> str | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")


def _line(row: BatchRow, batch: Batch) -> bytes:
    result: Document
    if isinstance(row.outcome, Answer):
        message = anthropic_reply(row.outcome, anthropic_usage(row.outcome.usage))
        result = {"type": "succeeded", "message": message}
    elif isinstance(row.outcome, Refusal):
        result = {"type": "errored", "error": msgspec.json.decode(row.outcome.body)}
    else:
        result = {"type": "canceled" if batch.fate == "cancelled" else "expired"}
    return msgspec.json.encode({"custom_id": row.custom_id, "result": result}) + b"\n"


__all__ = ["AnthropicBatches", "shown"]
