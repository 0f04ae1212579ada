"""What the sandbox was asked, in order of arrival, with a cap."""

from typing import Any

import msgspec

SECRET_HEADERS = frozenset(
    {"authorization", "helicone-auth", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"}
)


class SeenHeaders(dict[str, str]):
    """Request headers, names in lower case; secrets are whole inside and hidden in `repr`."""

    __slots__ = ()

    def redacted(self) -> dict[str, str]:
        """The headers as they may be shown."""
        return {name: "…" if name in SECRET_HEADERS else value for name, value in self.items()}

    def __repr__(self) -> str:
        return repr(self.redacted())


class SeenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request the sandbox was sent."""

    provider: str | None
    """The provider that was asked last; None where the request got to none."""
    model: str | None
    """The model as the request named it."""
    path: str
    dialect: str
    """`ai_gateway`, `proxy`, `rust`, `openai`; `rest_api` and `log` are Helicone's own."""
    headers: SeenHeaders
    body: bytes
    at_s: float
    """Seconds on the sandbox's clock."""
    cancelled: bool = False
    """The client closed the connection before the reply was out."""
    status: int = 0
    """The status answered; 0 while in flight, or when the connection was broken instead."""


class RequestLog:
    """The newest requests, in order of arrival."""

    __slots__ = ("_cap", "_next", "_rows")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._rows: dict[int, SeenRequest] = {}
        self._next = 0

    def arrive(self, row: SeenRequest) -> int:
        """Note a request; the number names it to `finish`."""
        number = self._next
        self._next += 1
        if self._cap:
            if len(self._rows) >= self._cap:
                del self._rows[next(iter(self._rows))]
            self._rows[number] = row
        return number

    def finish(self, number: int, **facts: Any) -> None:
        """Complete the note with what became of the request."""
        if (row := self._rows.get(number)) is not None:
            self._rows[number] = msgspec.structs.replace(row, **facts)

    def rows(self) -> tuple[SeenRequest, ...]:
        """All notes kept."""
        return tuple(self._rows.values())

    def clear(self) -> None:
        """Forget all."""
        self._rows.clear()
