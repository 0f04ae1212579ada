"""Calls through `aiohttp`: a middleware behind those of the session, for every session there is.

It is added to each request rather than to each session, so that sessions made before `init()` have it, too, and none
keeps it after `uninstrument()`. Sessions of our own adapters are left alone: their calls are accounted for already.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from .places import Url
from .reporting import report_once
from .requested import Requested, Watch

if TYPE_CHECKING:
    from .foreign_call import ForeignCall


class Aiohttp:
    """The wrapper for its sessions."""

    __slots__ = ("_module", "_url", "_watch")

    def __init__(self, module: ModuleType, watch: Watch) -> None:
        self._module = module
        self._watch = watch
        self._url = sys.modules["yarl"].URL

    async def request(
        self, wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Around `ClientSession._request`, which all its verbs come through."""
        if not self._watch.is_on or _is_our_own(instance):
            return await wrapped(*args, **kwargs)
        given: Any = kwargs.get("middlewares")
        decoded: Any = kwargs.get("auto_decompress")
        if given is None:
            given = getattr(instance, "_middlewares", ())
        if decoded is None:
            decoded = instance.auto_decompress
        ours = partial(self._middleware, decoded=decoded)
        return await wrapped(*args, **{**kwargs, "middlewares": (*given, ours)})

    async def _middleware(self, request: Any, handler: Callable[[Any], Any], *, decoded: bool) -> Any:
        """The last before the wire."""
        asked = self._asked(request)
        if asked is None:
            return await handler(request)
        call = asked.call
        if (refusal := await asked.admit_async()) is not None:
            raise refusal
        try:
            response = await handler(asked.sendable())
        except BaseException as exc:
            if call is not None:
                call.fail(exc)
            raise
        if call is not None:
            call.head(response.status, response.headers)
            response.content = _TeedReader(response.content, call, decoded)
        return response

    def _asked(self, request: Any) -> Requested | None:
        try:
            url = request.url
            found = Url(url.scheme, (url.host or "").lower(), url.explicit_port, url.raw_path)
            return self._watch.look(
                request, request.method, found, request.headers, lambda: self._body(request), self._sent_elsewhere
            )
        except Exception:  # noqa: BLE001  whatever goes wrong here, the caller's own call goes on
            report_once("reading a request of aiohttp")
            return None

    def _body(self, request: Any) -> bytes | None:
        """The body, where it is here as a whole."""
        body = request.body
        if not isinstance(body, self._module.payload.BytesPayload):
            return body if isinstance(body, bytes) else None
        text: str = body.decode("utf-8")
        return text.encode()

    def _sent_elsewhere(self, request: Any, base: str, headers: dict[str, str]) -> Any:
        """The request for another host; aiohttp has made it for this one call."""
        query = request.url.raw_query_string
        request.url = self._url(f"{base}?{query}" if query else base, encoded=True)
        request.headers["Host"] = request.url.raw_authority
        for name, value in headers.items():
            request.headers.setdefault(name, value)
        return request


def _is_our_own(session: Any) -> bool:
    """Whether an adapter's own transport owns the session; its connector tells, if there is any of its kind."""
    sending = sys.modules.get(f"{__package__.rpartition('.')[0]}._edges.http.sending")
    return sending is not None and isinstance(session.connector, sending.Connector)


_Proxy: Any = wrapt.ObjectProxy


class _TeedReader(_Proxy):  # type: ignore[misc]
    """aiohttp's `StreamReader`, which is shown to the call as it is read."""

    def __init__(self, reader: Any, call: ForeignCall, decoded: bool) -> None:
        super().__init__(reader)
        self._self_call = call
        self._self_decoded = decoded
        if reader.at_eof():
            call.end()

    async def _self_read(self, reading: Any) -> Any:
        try:
            data = await reading
        except asyncio.IncompleteReadError as exc:
            self._self_shown(exc.partial)
            raise
        except BaseException as exc:
            self._self_call.fail(exc)
            raise
        return self._self_shown(data)

    def _self_shown(self, data: Any) -> Any:
        self._self_call.feed(data[0] if isinstance(data, tuple) else data, decoded=self._self_decoded)
        if self.__wrapped__.at_eof():
            self._self_call.end()
        return data

    async def read(self, n: int = -1) -> bytes:
        """All of it, or some."""
        data: bytes = await self._self_read(self.__wrapped__.read(n))
        return data

    async def readany(self) -> bytes:
        """What is here."""
        data: bytes = await self._self_read(self.__wrapped__.readany())
        return data

    async def readchunk(self) -> tuple[bytes, bool]:
        """A piece as the other side cut it."""
        data: tuple[bytes, bool] = await self._self_read(self.__wrapped__.readchunk())
        return data

    async def readline(self, **options: Any) -> bytes:
        """A line."""
        data: bytes = await self._self_read(self.__wrapped__.readline(**options))
        return data

    async def readuntil(self, *args: Any, **options: Any) -> bytes:
        """Up to a separator."""
        data: bytes = await self._self_read(self.__wrapped__.readuntil(*args, **options))
        return data

    async def readexactly(self, n: int) -> bytes:
        """So many bytes."""
        data: bytes = await self._self_read(self.__wrapped__.readexactly(n))
        return data

    def read_nowait(self, n: int = -1) -> bytes:
        """What is here, at once."""
        data: bytes = self._self_shown(self.__wrapped__.read_nowait(n))
        return data

    def __aiter__(self) -> Any:
        return type(self.__wrapped__).__aiter__(self)

    def iter_any(self) -> Any:
        """Pieces as they arrive."""
        return type(self.__wrapped__).iter_any(self)

    def iter_chunked(self, n: int) -> Any:
        """Pieces of a size."""
        return type(self.__wrapped__).iter_chunked(self, n)

    def iter_chunks(self) -> Any:
        """Pieces as the other side cut them."""
        return type(self.__wrapped__).iter_chunks(self)

    def set_exception(self, *args: Any, **options: Any) -> None:
        """What aiohttp does when the response is released or closed: nobody will read on."""
        self.__wrapped__.set_exception(*args, **options)
        self._self_call.leave()


__all__ = ["Aiohttp"]
