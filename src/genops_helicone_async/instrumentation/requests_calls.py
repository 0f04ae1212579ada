"""Calls through `requests`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import wrapt

from .places import url_of
from .reporting import report_once
from .requested import Requested, Watch

if TYPE_CHECKING:
    from .foreign_call import ForeignCall

_inside: ContextVar[bool] = ContextVar("genops_helicone_requests", default=False)
"""A redirect is followed by another `send` inside the first."""


class Requests:
    """The wrapper for its sessions."""

    __slots__ = ("_watch",)

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def send(self, wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Around `Session.send`."""
        asked = None if _inside.get() else self._asked(args, kwargs)
        if asked is None:
            return wrapped(*args, **kwargs)
        call = asked.call
        if (refusal := asked.admit_here()) is not None:
            raise refusal
        options = {name: value for name, value in kwargs.items() if name != "request"}
        marked = _inside.set(True)
        try:
            response = wrapped(asked.sendable(), **options)
        except BaseException as exc:
            if call is not None:
                call.fail(exc)
            raise
        finally:
            _inside.reset(marked)
        if call is not None:
            call.head(response.status_code, response.headers)
            _tee(response, call)
        return response

    def _asked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Requested | None:
        try:
            request = args[0] if args else kwargs["request"]
            return self._watch.look(
                request, request.method, url_of(request.url), request.headers, lambda: _body(request), _sent_elsewhere
            )
        except Exception:  # noqa: BLE001  whatever goes wrong here, the caller's own call goes on
            report_once("reading a request of requests")
            return None


def _body(request: Any) -> bytes | None:
    """The body, where it is here as a whole."""
    body = request.body
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else None


def _sent_elsewhere(request: Any, base: str, headers: dict[str, str]) -> Any:
    """A copy that goes to another host; the caller's own stays as it is."""
    copied = request.copy()
    query = request.url.partition("?")[2]
    copied.url = f"{base}?{query}" if query else base
    copied.headers.pop("Host", None)
    for name, value in headers.items():
        copied.headers.setdefault(name, value)
    return copied


def _tee(response: Any, call: ForeignCall) -> None:
    """Shows the body to the call: at once where it is here, else as it is read."""
    try:
        if response._content_consumed:
            call.feed(response.content, decoded=True)
            call.end()
        else:
            response.raw = _TeedBody(response.raw, call)
    except Exception:  # noqa: BLE001  whatever goes wrong here, the caller's own call goes on
        report_once("reading a reply of requests")


_Proxy: Any = wrapt.ObjectProxy


class _TeedBody(_Proxy):  # type: ignore[misc]
    """urllib3's response, which is shown to the call as it is read."""

    def __init__(self, raw: Any, call: ForeignCall) -> None:
        super().__init__(raw)
        self._self_call = call

    def stream(self, amt: int | None = 65536, decode_content: bool | None = None) -> Iterator[bytes]:
        """Pieces as they arrive."""
        yield from self._shown(self.__wrapped__.stream(amt, decode_content), self._self_decodes(decode_content))

    def read_chunked(self, amt: int | None = None, decode_content: bool | None = None) -> Iterator[bytes]:
        """Pieces as the other side cut them."""
        yield from self._shown(self.__wrapped__.read_chunked(amt, decode_content), self._self_decodes(decode_content))

    def __iter__(self) -> Iterator[bytes]:
        yield from self._shown(iter(self.__wrapped__), True)

    def _shown(self, pieces: Iterator[bytes], decoded: bool) -> Iterator[bytes]:
        call = self._self_call
        try:
            for data in pieces:
                call.feed(data, decoded=decoded)
                yield data
        except GeneratorExit:
            raise
        except BaseException as exc:
            call.fail(exc)
            raise
        call.end()

    def read(self, amt: int | None = None, decode_content: bool | None = None, *args: Any, **options: Any) -> bytes:
        """The rest of the body, or some of it."""
        return self._self_told(self.__wrapped__.read, amt, self._self_decodes(decode_content), decode_content, options)

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """What is here."""
        return self._self_told(self.__wrapped__.read1, amt, self._self_decodes(decode_content), decode_content, {})

    def _self_told(
        self, read: Callable[..., bytes], amt: int | None, decoded: bool, decode_content: bool | None, options: Any
    ) -> bytes:
        call = self._self_call
        try:
            data = read(amt, decode_content=decode_content, **options)
        except BaseException as exc:
            call.fail(exc)
            raise
        call.feed(data, decoded=decoded)
        if amt is None or (not data and amt):
            call.end()
        return data

    def _self_decodes(self, decode_content: bool | None) -> bool:
        return bool(self.__wrapped__.decode_content if decode_content is None else decode_content)

    def close(self) -> None:
        """Ends it."""
        try:
            self.__wrapped__.close()
        finally:
            self._self_call.leave()

    def release_conn(self) -> None:
        """Gives the connection back."""
        try:
            self.__wrapped__.release_conn()
        finally:
            self._self_call.leave()


__all__ = ["Requests"]
