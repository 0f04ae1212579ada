"""One request as it arrived, and the reply to be sent: what every dialect takes and gives back."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ._simulated.streams import StreamScript
from ._simulated.upstream import Meter
from .faults import Fault

Headers = Mapping[str, str]


class Arrival(msgspec.Struct, kw_only=True):
    """A request read whole."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Headers
    """Names in lower case."""
    body: bytes
    request_id: str
    provider: str | None = None
    model: str | None = None
    dialect: str = ""

    def document(self) -> Any:
        """The body as JSON, None where it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


class Reply(msgspec.Struct, kw_only=True):
    """A reply with a body of known length."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b""
    content_type: str | None = "application/json"
    chunked: bool = False
    cost_pusd: int = 0
    fault: Fault | None = None
    streaming: bool = False
    """The request asked for a stream, which shapes what a fault sends in its place."""
    bare: bool = False
    """Answer as a crashed runtime does: a 500 without a type, connection closed."""


class Stream(msgspec.Struct, kw_only=True):
    """A reply of server-sent events."""

    headers: dict[str, str]
    script: StreamScript
    meter: Meter
    pace_s: float = 0.0
    cost_pusd: int = 0
    """What it will cost if it goes out whole."""
    fault: Fault | None = None
    keep: Callable[[bytes], None] | None = None
    """Called with the whole body once it went out undisturbed."""


def json_reply(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """A JSON reply."""
    return Reply(status=status, headers=headers or {}, body=msgspec.json.encode(document))


def text_reply(status: int, text: str, headers: dict[str, str] | None = None) -> Reply:
    """A plain-text reply, with the content type Helicone's worker gives its own errors."""
    return Reply(status=status, headers=headers or {}, body=text.encode(), content_type="text/plain;charset=UTF-8")


def gateway_fault_reply(fault: Fault) -> Reply:
    """What a `gateway_status` fault answers: the gateway's own plain text."""
    body = fault.body if fault.body is not None else f"error code: {fault.status}"
    if not isinstance(body, (str, bytes)):
        body = msgspec.json.encode(body)
    return Reply(
        status=fault.status,
        headers={**fault.retry_headers(), **(fault.headers or {})},
        body=body.encode() if isinstance(body, str) else body,
        content_type=fault.content_type or "text/plain;charset=UTF-8",
    )


def now_ms() -> int:
    """Milliseconds on a clock that never goes back."""
    return int(time.monotonic() * 1000)
