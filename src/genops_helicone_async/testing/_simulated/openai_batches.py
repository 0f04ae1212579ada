"""OpenAI's files and batches, as its host speaks them."""

import re
from typing import Any

import msgspec

from ..exchange import Arrival, Reply, json_reply
from ..faults import FaultPlan
from .answers import Answer
from .asks import AskRefused, openai_ask
from .batches import Batch, BatchBoard, BatchRow
from .catalogue import Provider
from .errors import Refusal
from .replies import Document, openai_reply, openai_usage

MOST_BYTES = 200 * 1000 * 1000
_ENDPOINT = "/v1/chat/completions"
_STATUSES = {"running": "in_progress"}


class Refused(Exception):
    """The request is refused with a status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class OpenAiBatches:
    """Answers what follows `/v1/`: `files`, `files/{id}/content`, `batches`, `batches/{id}`, `batches/{id}/cancel`."""

    __slots__ = ("_board", "_faults")

    def __init__(self, board: BatchBoard, faults: FaultPlan) -> None:
        self._board = board
        self._faults = faults

    def read(self, provider: Provider, path: str, query: Any) -> Reply:
        """Answers a GET."""
        if match := re.fullmatch(r"files/([^/]+)(/content)?", path):
            return self._file(match[1], whole=match[2] is not None)
        if path == "batches":
            return self._list(provider, query)
        return json_reply(self._shown(self._board.look(self._known(path.removeprefix("batches/")))))

    def write(self, provider: Provider, path: str, arrival: Arrival) -> Reply:
        """Answers a POST."""
        if path == "files":
            return self._upload(arrival)
        if path == "batches":
            return json_reply(self._shown(self._create(provider, arrival.document())))
        batch = self._known(path.removeprefix("batches/").removesuffix("/cancel"))
        if batch.is_over:
            raise Refused(409, f"Cannot cancel a batch with status '{batch.fate}'.")
        return json_reply(self._shown(self._board.cancel(batch)))

    def _known(self, batch_id: str) -> Batch:
        if batch_id not in self._board.known:
            raise Refused(404, f"No batch found with id '{batch_id}'.")
        return self._board.known[batch_id]

    def _upload(self, arrival: Arrival) -> Reply:
        fields = multipart(arrival.headers.get("content-type", ""), arrival.body)
        if fields.get("purpose", ("", b""))[1] != b"batch" or "file" not in fields:
            raise Refused(400, "A file and the purpose 'batch' are needed.")
        name, data = fields["file"]
        if len(data) > MOST_BYTES:
            raise Refused(413, "The file is larger than 200 MB.")
        return json_reply(self._shown_file(self._board.add_file(name, data)))

    def _file(self, file_id: str, *, whole: bool) -> Reply:
        if file_id not in self._board.files:
            raise Refused(404, f"No such File object: {file_id}")
        if whole:
            return Reply(body=self._board.files[file_id][1], content_type="application/octet-stream")
        return json_reply(self._shown_file(file_id))

    def _shown_file(self, file_id: str) -> Document:
        name, data = self._board.files[file_id]
        facts = {"id": file_id, "object": "file", "bytes": len(data), "created_at": int(self._board.now_s())}
        return {**facts, "filename": name, "purpose": "batch", "status": "processed"}

    def _create(self, provider: Provider, body: Any) -> Batch:
        if not isinstance(body, dict) or body.get("completion_window") != "24h" or body.get("endpoint") != _ENDPOINT:
            raise Refused(400, "A batch needs input_file_id, an endpoint that is known, and completion_window '24h'.")
        file_id = body.get("input_file_id")
        if file_id not in self._board.files:
            raise Refused(400, f"Invalid input file: {file_id!r}.")
        rows, problems = read_rows(self._board.files[file_id][1], self._board.most_rows["openai"])
        for number in range(1, len(rows) + 1):
            if fault := self._faults.draw(provider.name, ("line",), stream=False, gateway=False):
                complaint = {"code": str((fault.headers or {}).get("code", "invalid_request")), "param": None}
                problems.append({**complaint, "message": str(fault.body), "line": number})
        metadata = body.get("metadata") or {}
        batch = self._board.create(provider, rows, metadata=metadata, input_file_id=file_id, problems=problems)
        if problems:
            batch.fate, batch.ended_s = "failed", self._board.now_s()
        return batch

    def _list(self, provider: Provider, query: Any) -> Reply:
        batches = list(self._board.listed(provider))
        return json_reply(page(batches, query, after="after", show=lambda one: self._shown(self._board.look(one))))

    def _shown(self, batch: Batch) -> Document:
        if batch.is_over and batch.fate != "failed" and batch.output_file_id is None and batch.error_file_id is None:
            self._write_files(batch)
        counts, created = batch.counts(), int(batch.created_s)
        shown: Document = {
            "id": batch.id, "object": "batch", "endpoint": _ENDPOINT, "input_file_id": batch.input_file_id,
            "completion_window": "24h", "status": _STATUSES.get(batch.fate, batch.fate), "created_at": created,
            "expires_at": created + 86_400, "metadata": batch.metadata, "output_file_id": batch.output_file_id,
            "error_file_id": batch.error_file_id, "errors": None,
            "request_counts": {
                "total": len(batch.rows), "completed": counts["answered"], "failed": counts["refused"],
            },
        }  # fmt: skip
        if batch.fate == "failed":
            shown["request_counts"] = {"total": 0, "completed": 0, "failed": 0}
            shown["errors"] = {"object": "list", "data": batch.problems}
        if batch.ended_s is not None:
            shown[f"{batch.fate}_at"] = int(batch.ended_s)
        return shown

    def _write_files(self, batch: Batch) -> None:
        """A line for every row, in the one file or the other."""
        written: dict[bool, list[bytes]] = {True: [], False: []}
        for number, row in enumerate(batch.rows):
            line: Document = {
                "id": f"batch_req_{batch.id}_{number}",
                "custom_id": row.custom_id,
                "response": None,
                "error": None,
            }
            if isinstance(row.outcome, Answer):
                document = openai_reply(row.outcome, openai_usage(row.outcome.usage, batch.provider))
                line["response"] = {"status_code": 200, "request_id": f"req_{number}", "body": document}
            elif isinstance(row.outcome, Refusal):
                document = msgspec.json.decode(row.outcome.body)
                line["response"] = {"status_code": row.outcome.status, "request_id": f"req_{number}", "body": document}
            else:
                code = "batch_expired" if batch.fate == "expired" else "batch_cancelled"
                line["error"] = {"code": code, "message": f"This request was not executed: {code}."}
            written[isinstance(row.outcome, Answer)].append(msgspec.json.encode(line) + b"\n")
        if written[True]:
            batch.output_file_id = self._board.add_file(f"{batch.id}_output.jsonl", b"".join(written[True]))
        if written[False]:
            batch.error_file_id = self._board.add_file(f"{batch.id}_error.jsonl", b"".join(written[False]))


def read_rows(data: bytes, most_rows: int) -> tuple[list[BatchRow], list[Document]]:
    """The rows of an input file, and what is wrong with it: then nothing of it is done."""
    rows: list[BatchRow] = []
    problems: list[Document] = []
    seen: set[str] = set()
    models: set[Any] = set()

    def complain(code: str, message: str, line: int | None) -> None:
        problems.append({"code": code, "message": message, "line": line, "param": None})

    for number, text in enumerate(data.splitlines(), start=1):
        try:
            row = msgspec.json.decode(text)
            custom_id, body = row["custom_id"], row["body"]
        except (msgspec.DecodeError, KeyError, TypeError):
            complain("invalid_json_line", "This line is not parseable as valid JSON.", number)
            continue
        if row.get("method") != "POST" or row.get("url") != _ENDPOINT:
            complain("invalid_url", "The URL of this request does not match the batch's endpoint.", number)
        if custom_id in seen:
            complain("duplicate_custom_id", f"The custom_id '{custom_id}' was already used.", number)
        seen.add(custom_id)
        models.add(body.get("model"))
        try:
            rows.append(BatchRow(custom_id=custom_id, ask=openai_ask(body)))
        except AskRefused as refused:
            rows.append(BatchRow(custom_id=custom_id, ask=refused))
    if len(models) > 1:
        complain("mismatched_model", "All requests of a batch must use the same model.", None)
    if len(rows) > most_rows:
        complain("too_many_tasks", f"The file has more than {most_rows} requests.", None)
    if not rows and not problems:
        complain("empty_file", "The file is empty.", None)
    return rows, problems


def page(batches: list[Batch], query: Any, *, after: str, show: Any) -> Document:
    """One page of a list."""
    ids = [batch.id for batch in batches]
    start = ids.index(query[after]) + 1 if query.get(after) in ids else 0
    limit = int(query.get("limit", 20))
    shown = [show(batch) for batch in batches[start : start + limit]]
    ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
    return {"object": "list", "data": shown, **ends, "has_more": start + limit < len(batches)}


def multipart(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """The fields of a form by name: the file's name, empty for a plain field, and the bytes."""
    match = re.search(r'boundary="?([^";]+)"?', content_type)
    if not content_type.startswith("multipart/form-data") or match is None:
        raise Refused(400, "The request must be multipart/form-data.")
    fields = {}
    for part in body.split(b"--" + match[1].encode())[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        filename = re.search(rb'filename="([^"]*)"', head)
        if name is not None:
            fields[name[1].decode()] = (filename[1].decode() if filename else "", data.removesuffix(b"\r\n"))
    return fields


__all__ = ["OpenAiBatches", "Refused", "multipart", "page", "read_rows"]
