"""The rows of a bulk job: a line of JSON becomes a request, or the reason why it cannot be one. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from .. import ChatRequest, ConfigurationError
from .records import Record, not_utf8

MAX_RAW_CHARS = 100_000
"""How much of a bad line's text is kept beside its reason."""

_BODY_FIELDS = frozenset({
    "model", "max_tokens", "temperature", "top_p", "stop", "seed", "tools", "tool_choice", "response_format",
    "reasoning_effort",
})  # fmt: skip
_NOT_SENT = frozenset({"messages", "max_completion_tokens", "stream", "stream_options"})
_BATCH_FIELDS = frozenset({"custom_id", "method", "url", "body"})
_FIELDS = frozenset(ChatRequest.__struct_fields__)
_TARGET = frozenset({"provider", "providers", "model", "model_preferences"})


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A line that can be sent; `is_default_target` says that the command line alone decides who answers it."""

    line: int
    custom_id: str
    request: ChatRequest
    is_default_target: bool


class BadLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A line that cannot be sent, and why; `raw` is its text, with bytes that are no UTF-8 escaped."""

    line: int
    reason: str
    raw: str


class RowReader:
    """Turns lines into rows; `defaults` are the chat keywords of rows that do not say otherwise.

    Remembers every custom_id that a line gives, about 150 bytes each, so that none is answered under the other's name;
    not so with `remember_ids` False, where somebody else finds those that come twice.
    """

    __slots__ = (
        "_defaults", "_is_default_line", "_known", "_line_of", "_remember_ids", "_untargeted", "_without_preferences",
    )  # fmt: skip

    def __init__(
        self,
        defaults: Mapping[str, Any],
        known_providers: frozenset[str] = frozenset(),
        *,
        remember_ids: bool = True,
    ) -> None:
        self._defaults = dict(defaults)
        self._untargeted = {name: value for name, value in defaults.items() if name not in _TARGET}
        self._without_preferences = {name: value for name, value in defaults.items() if name != "model_preferences"}
        self._known = known_providers | set(defaults.get("providers") or [defaults.get("provider")])
        self._remember_ids = remember_ids
        self._line_of: dict[str, int] = {}
        self._is_default_line = bytearray()

    def read(self, line: int, data: bytes) -> Row | BadLine | None:
        """The row of line number `line`; None for a blank one."""
        if line == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if not data.strip():
            return None
        try:
            return self._row(line, msgspec.json.decode(data))
        except (ValueError, TypeError, RecursionError) as exc:  # msgspec's and our own are among them
            return bad_line(line, data, reason_of(exc, data))

    def read_record(self, record: Record) -> Row | BadLine:
        """The row of a record, whatever kind of input it comes from."""
        data = record.data
        if record.reason is not None:
            return bad_line(record.number, data if isinstance(data, bytes) else _as_json(data), record.reason)
        if isinstance(data, bytes):
            row = self.read(record.number, data)
            return row if row is not None else bad_line(record.number, data, "a blank line")
        try:
            return self._row(record.number, data)
        except (ValueError, TypeError, RecursionError) as exc:
            raw = _as_json(data)
            return bad_line(record.number, raw, reason_of(exc, raw))

    def _row(self, line: int, row: Any) -> Row:
        if not isinstance(row, dict):
            raise TypeError(f"the line is {_kind(row)}, not a JSON object")
        options = {name: value for name, value in row.items() if value is not None}
        custom_id = self._custom_id(line, options.pop("custom_id", None))
        options = _batch_options(options) if "body" in options else options
        request, is_default = self._request(options)
        self._remember(line, custom_id)
        return Row(line=line, custom_id=custom_id, request=request, is_default_target=is_default)

    def _request(self, options: dict[str, Any]) -> tuple[ChatRequest, bool]:
        if "message" in options and "messages" in options:
            raise ValueError("the row has both `message` and `messages`: give one")
        message = options.pop("message", None)
        if message is None and (message := options.pop("messages", None)) is None:
            raise ValueError("the row has no `message`, `messages` or `body`")
        if not options.keys() <= _FIELDS:
            raise ValueError(_unknown(options))
        is_default_target = _TARGET.isdisjoint(options)
        if self._defaults:
            options = {**self._defaults_for(options), **options}
        return ChatRequest(message=message, **options), is_default_target

    def _defaults_for(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The defaults a row leaves in force: naming its providers or its model, it takes none of theirs."""
        model = options.get("model")
        pinned = isinstance(model, str) and "/" in model and model.rpartition("/")[2] in self._known
        if pinned or "provider" in options or "providers" in options:
            return self._untargeted
        return self._defaults if model is None else self._without_preferences

    def _custom_id(self, line: int, given: object) -> str:
        if given is not None and (not isinstance(given, str) or not given):
            raise TypeError(f"`custom_id` is {given!r}: it must be a text")
        custom_id = given or f"line-{line}"
        if not self._remember_ids:
            return custom_id
        earlier = self._line_of.get(custom_id) or self._default_line(custom_id)
        if earlier:
            raise ValueError(f"`custom_id` {custom_id!r} is that of line {earlier} already")
        return custom_id

    def _default_line(self, custom_id: str) -> int | None:
        """The earlier line without a custom_id that bears this name by default."""
        digits = custom_id.removeprefix("line-")
        if digits == custom_id or not digits.isascii() or not digits.isdigit() or len(digits) > 12:
            return None
        line = int(digits)
        known = line < len(self._is_default_line) and self._is_default_line[line]
        return line if known and custom_id == f"line-{line}" else None

    def _remember(self, line: int, custom_id: str) -> None:
        if not self._remember_ids:
            return
        if custom_id == f"line-{line}":  # by far the most frequent where none is given: one byte instead of 150
            self._is_default_line.extend(bytes(line + 1 - len(self._is_default_line)))
            self._is_default_line[line] = 1
        else:
            self._line_of[custom_id] = line


def _batch_options(row: dict[str, Any]) -> dict[str, Any]:
    """The chat keywords of a row in OpenAI's batch format; keywords beside the body (a team, …) are kept."""
    method, url, body = row.get("method", "POST"), row.get("url", "/v1/chat/completions"), row["body"]
    if not isinstance(body, dict):
        raise TypeError(f"`body` is {_kind(body)}, not an object")
    if method != "POST":
        raise ValueError(f"`method` is {method!r}: only POST can be sent")
    if url != "/v1/chat/completions":
        raise ValueError(f"`url` is {url!r}: only /v1/chat/completions can be sent")
    given = {name: value for name, value in body.items() if value is not None}
    options = {name: value for name, value in row.items() if name not in _BATCH_FIELDS}
    options |= {name: value for name, value in given.items() if name in _BODY_FIELDS}
    options["messages"] = given.get("messages")
    if options["messages"] is None:
        raise ValueError("`body` has no `messages`")
    if "max_completion_tokens" in given:
        options["max_tokens"] = given["max_completion_tokens"]
    extra = {name: value for name, value in given.items() if name not in _BODY_FIELDS | _NOT_SENT}
    if extra:
        options["extra_body"] = extra
    return options


def _unknown(options: Mapping[str, Any]) -> str:
    """Which keyword is none, and which may have been meant."""
    name = next(name for name in options if name not in _FIELDS)
    near = get_close_matches(name, ChatRequest.__struct_fields__, n=1)
    return f"unknown field {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def bad_line(line: int, data: bytes, why: str) -> BadLine:
    """A line that cannot be sent."""
    return BadLine(line=line, reason=why, raw=data[:MAX_RAW_CHARS].decode("utf-8", "backslashreplace"))


def reason_of(exc: Exception, data: bytes) -> str:
    """Why a line cannot be sent, in a sentence."""
    try:
        data.decode()
    except UnicodeDecodeError as broken:
        return not_utf8(broken, data)
    if isinstance(exc, ConfigurationError):
        return exc.message
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    if isinstance(exc, msgspec.DecodeError) and b"\0" in data:
        return f"no text: a NUL byte at byte {data.index(0) + 1}"
    if isinstance(exc, msgspec.DecodeError):
        return f"not JSON: {str(exc).removeprefix('JSON is malformed: ')}"
    return str(exc)


def _as_json(fields: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(fields, enc_hook=str)


def _kind(value: object) -> str:
    kinds = {list: "an array", str: "a text", bool: "true or false", dict: "an object", type(None): "null"}
    return kinds.get(type(value), "a number")


__all__ = ["MAX_RAW_CHARS", "BadLine", "Row", "RowReader", "bad_line", "reason_of"]
