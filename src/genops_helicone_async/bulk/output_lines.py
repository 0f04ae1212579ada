"""One line of a bulk job's output: OpenAI's batch output format, with a receipt beside it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from .. import BulkResult, HeliconeError, HeliconeResponse
from ..errors import Attempt
from ..models import PUSD_PER_USD, HeliconeUsage
from .ports import Outcome
from .receipts import cost_pusd, in_doubt_pusd, pico, whole_time_s
from .rows import Row
from .tally import attempts_of


class _Receipt(msgspec.Struct, kw_only=True, gc=False):
    """What a row has cost, and who answered it. Dollars."""

    provider: str | None = None
    model: str | None = None
    cost_usd: float = 0.0
    in_doubt_usd: float = 0.0
    cost_source: str = "none"
    input_tokens: int | None = None
    output_tokens: int | None = None
    attempts: int = 0
    seconds: float = 0.0
    line: int


class _Response(msgspec.Struct):
    status_code: int
    request_id: str
    body: Any


class _Answered(msgspec.Struct):
    """The line of a row that was answered."""

    id: str
    custom_id: str
    response: _Response
    error: None
    receipt: _Receipt


_encode = msgspec.json.Encoder().encode


def answered_line(row: Row, response: HeliconeResponse) -> bytes:
    """The line of a row that was answered, written; `output_line` has the same for every row."""
    request_id = response.request_id
    return _encode(_Answered(
        f"batch_req_{request_id}", row.custom_id, _Response(200, request_id, _body(response)), None,
        _receipt(row, response.attempts, response.usage),
    ))  # fmt: skip


def output_line(row: Row, result: BulkResult) -> dict[str, Any]:
    """The line of a row that was answered or that failed; a failed one has its `error`, and no `response`."""
    response = result.response
    told: dict[str, Any] = {"id": f"batch_req_{row.line}", "custom_id": row.custom_id, "response": None, "error": None}
    if response is not None:
        told["id"] = f"batch_req_{response.request_id}"
        told["response"] = {"status_code": 200, "request_id": response.request_id, "body": _body(response)}
    else:
        told["error"] = _error(result.error)
    usage = response.usage if response is not None else None
    told["receipt"] = msgspec.structs.asdict(_receipt(row, attempts_of(result), usage))
    return told


def interrupted_line(line: int, custom_id: str) -> dict[str, Any]:
    """The line of a row that was given up before its answer was there."""
    error = {"code": "interrupted", "message": "the job was interrupted before this row was answered"}
    return {
        "id": f"batch_req_{line}", "custom_id": custom_id, "response": None, "error": error,
        "receipt": {"line": line},
    }  # fmt: skip


class _ReadReceipt(_Receipt, kw_only=True):
    served_by: str | None = None


class _Failure(msgspec.Struct):
    type: str = "error"
    message: str = ""


class _Line(msgspec.Struct):
    custom_id: str
    receipt: _ReadReceipt
    error: _Failure | None = None


_read_line = msgspec.json.Decoder(_Line).decode


def outcome_of_line(data: bytes) -> Outcome:
    """What a line of the output tells of its row; all attempts are told as one, with the cost of all.

    Raises:
        msgspec.MsgspecError: it is no such line.
    """
    told = _read_line(data)
    receipt, error = told.receipt, told.error
    attempts: list[Attempt] = []
    if receipt.provider is not None:
        one = Attempt(
            provider=receipt.provider, model=receipt.model or "", request_id="", duration_s=receipt.seconds,
            error=error.type if error else None, billed="yes", cost=receipt.cost_usd, cost_source=receipt.cost_source,
            input_tokens=receipt.input_tokens, output_tokens=receipt.output_tokens,
        )  # fmt: skip
        attempts.append(one)
        if receipt.in_doubt_usd:
            lost = {"billed": "maybe", "cost": receipt.in_doubt_usd, "error": "GatewayError"}
            attempts.insert(0, msgspec.structs.replace(one, **lost, duration_s=0.0))
    return Outcome(
        line=receipt.line, custom_id=told.custom_id, kind="failed" if error else "answered", data=data,
        attempts=tuple(attempts), error=error.type if error else None, reason=error.message if error else None,
        served_by=receipt.served_by,
    )  # fmt: skip


def copied_line(data: bytes, row: Row) -> tuple[bytes, str]:
    """An equal row's line as the line of another, at no cost, and whose answer it is."""
    told = msgspec.json.decode(data)
    served_by = told["receipt"].get("served_by") or told["custom_id"]
    told["id"], told["custom_id"] = f"batch_req_{row.line}", row.custom_id
    told["receipt"] |= {
        "cost_usd": 0.0, "in_doubt_usd": 0.0, "input_tokens": None, "output_tokens": None, "attempts": 0,
        "seconds": 0.0, "line": row.line, "served_by": served_by,
    }  # fmt: skip
    return msgspec.json.encode(told), served_by


class _Completion(msgspec.Struct):
    object: str = ""
    choices: msgspec.Raw = msgspec.Raw(b"[]")


_look_at = msgspec.json.Decoder(_Completion).decode


def _body(response: HeliconeResponse) -> Any:
    """As `completion`; a provider's own is taken as it came, without being read and written, where it is one line."""
    raw = response.raw_body
    if raw and b"\n" not in raw:
        try:
            raw.decode()
            told = _look_at(raw)
        except (UnicodeDecodeError, msgspec.MsgspecError):
            return completion(response)
        if told.object == "chat.completion" and len(told.choices) > len(b"[]"):
            return msgspec.Raw(raw)
    return completion(response)


def completion(response: HeliconeResponse) -> Any:
    """The answer as a `chat.completion` object: the provider's own where it wrote one, else made of its parts."""
    try:
        raw = response.raw
    except msgspec.DecodeError:
        raw = None
    if isinstance(raw, dict) and raw.get("object") == "chat.completion" and raw.get("choices"):
        return raw
    message: dict[str, Any] = {"role": "assistant", "content": response.content or None}
    if response.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in response.tool_calls
        ]
    usage = response.usage
    return {
        "id": response.request_id,
        "object": "chat.completion",
        "model": response.metadata.get("served_model", response.model),
        "choices": [{"index": 0, "message": message, "finish_reason": response.finish_reason}],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
        },
    }


def _receipt(row: Row, attempts: Sequence[Attempt], usage: HeliconeUsage | None) -> _Receipt:
    last = attempts[-1] if attempts else None
    if last is not None and len(attempts) == 1 and last.billed != "maybe":  # most are so
        cost, in_doubt = pico(last.cost), 0
    else:
        cost, in_doubt = cost_pusd(attempts), in_doubt_pusd(attempts)
    return _Receipt(
        provider=last.provider if last else None,
        model=last.model if last else None,
        cost_usd=cost / PUSD_PER_USD,
        in_doubt_usd=in_doubt / PUSD_PER_USD,
        cost_source=usage.cost_source if usage else last.cost_source if last else "none",
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        attempts=len(attempts),
        seconds=round(whole_time_s(attempts), 6),
        line=row.line,
    )


def _error(error: Exception | None) -> dict[str, Any]:
    kind = type(error).__name__
    if not isinstance(error, HeliconeError):
        return {"code": _snake(kind), "message": str(error), "type": kind}
    return {
        "code": error.code or _snake(kind),
        "message": error.message,
        "type": kind,
        "status_code": error.status_code,
        "request_id": error.request_id,
        "retry_safe": error.retry_safe,
    }


def _snake(name: str) -> str:
    """`RateLimitExceededError` as `rate_limit_exceeded`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Error")).lower()


__all__ = ["answered_line", "completion", "copied_line", "interrupted_line", "outcome_of_line", "output_line"]
