"""Calls through `httpx` and `httpx2`, whose transports are alike: openai, anthropic, groq, litellm, … send by these.

A refused call raises our own error. SDKs that repeat whatever fails on the way to the server would repeat that, too:
they are given a reply instead that they take for final, and that raises our error as soon as they look at it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import HeliconeError
from .places import Url
from .reporting import report_once
from .requested import Requested, Watch

if TYPE_CHECKING:
    from .foreign_call import ForeignCall

_REFUSED = 402
"""Payment Required: no status that any client repeats a request for."""
_WILL_REPEAT = "x-stainless-lang"
"""A header of the SDKs that repeat by themselves."""


class Httpx:
    """Wrappers for the transports of one of the two libraries."""

    __slots__ = ("_module", "_refused", "_teed", "_teed_async", "_watch")

    def __init__(self, module: ModuleType, watch: Watch) -> None:
        self._module = module
        self._watch = watch
        self._teed, self._teed_async = _teed_stream(module), _teed_async_stream(module)
        self._refused = _refused_response(module)

    def handle_request(
        self, wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Around `HTTPTransport.handle_request`."""
        asked = self._asked(args, kwargs)
        if asked is None:
            return wrapped(*args, **kwargs)
        call = asked.call
        if (refusal := asked.admit_here()) is not None:
            return self._refuse(asked.request, refusal)
        try:
            response = wrapped(asked.sendable())
        except BaseException as exc:
            if call is not None:
                call.fail(exc)
            raise
        if call is not None:
            call.head(response.status_code, response.headers)
            response.stream = self._teed(response.stream, call)
        return response

    async def handle_async_request(
        self, wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Around `AsyncHTTPTransport.handle_async_request`."""
        asked = self._asked(args, kwargs)
        if asked is None:
            return await wrapped(*args, **kwargs)
        call = asked.call
        if (refusal := await asked.admit_async()) is not None:
            return self._refuse(asked.request, refusal)
        try:
            response = await wrapped(asked.sendable())
        except BaseException as exc:
            if call is not None:
                call.fail(exc)
            raise
        if call is not None:
            call.head(response.status_code, response.headers)
            response.stream = self._teed_async(response.stream, call)
        return response

    def _asked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Requested | None:
        """What a request is for us; None where it is nothing."""
        try:
            request = args[0] if args else kwargs["request"]
            url = request.url
            found = Url(url.scheme, url.host, url.port, url.raw_path.decode("ascii").partition("?")[0])
            return self._watch.look(
                request, request.method, found, request.headers, lambda: self._body(request), self._sent_elsewhere
            )
        except Exception:  # noqa: BLE001  whatever goes wrong here, the caller's own call goes on
            report_once("reading a request of httpx")
            return None

    def _body(self, request: Any) -> bytes | None:
        """The body, where it is here as a whole."""
        try:
            content: bytes = request.content
        except self._module.RequestNotRead:
            return None
        return content

    def _sent_elsewhere(self, request: Any, base: str, headers: dict[str, str]) -> Any:
        """A copy that goes to another host; the caller's own stays as it is."""
        query = request.url.query.decode("ascii")
        url = self._module.URL(f"{base}?{query}" if query else base)
        changed = request.headers.copy()
        changed["host"] = url.netloc.decode("ascii")
        for name, value in headers.items():
            changed.setdefault(name, value)
        return self._module.Request(
            request.method, url, headers=changed, stream=request.stream, extensions=request.extensions
        )

    def _refuse(self, request: Any, refusal: HeliconeError) -> Any:
        if _WILL_REPEAT not in request.headers:
            raise refusal
        response = self._refused(_REFUSED, headers={"x-should-retry": "false"}, content=b"")
        response.extensions["genops_refusal"] = refusal
        return response


def _teed_stream(module: ModuleType) -> Callable[[Any, ForeignCall], Any]:
    class TeedStream(module.SyncByteStream):  # type: ignore[misc,name-defined]
        """A body that is shown to the call as it passes."""

        def __init__(self, stream: Any, call: ForeignCall) -> None:
            self._stream = stream
            self._call = call

        def __iter__(self) -> Iterator[bytes]:
            call = self._call
            try:
                for data in self._stream:
                    call.feed(data)
                    yield data
            except GeneratorExit:
                raise
            except BaseException as exc:
                call.fail(exc)
                raise
            call.end()

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                self._call.leave()

    return TeedStream


def _teed_async_stream(module: ModuleType) -> Callable[[Any, ForeignCall], Any]:
    class TeedAsyncStream(module.AsyncByteStream):  # type: ignore[misc,name-defined]
        """A body that is shown to the call as it passes."""

        def __init__(self, stream: Any, call: ForeignCall) -> None:
            self._stream = stream
            self._call = call

        async def __aiter__(self) -> AsyncIterator[bytes]:
            call = self._call
            try:
                async for data in self._stream:
                    call.feed(data)
                    yield data
            except GeneratorExit:
                raise
            except BaseException as exc:
                call.fail(exc)
                raise
            call.end()

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                self._call.leave()

    return TeedAsyncStream


def _refused_response(module: ModuleType) -> Any:
    class RefusedResponse(module.Response):  # type: ignore[misc,name-defined]
        """The reply of nobody: whoever asks what it says gets the reason why nothing was sent."""

        def raise_for_status(self) -> Any:
            raise self.extensions["genops_refusal"]

        @property
        def text(self) -> str:
            raise self.extensions["genops_refusal"]

        def json(self, **options: Any) -> Any:
            raise self.extensions["genops_refusal"]

    return RefusedResponse


__all__ = ["Httpx"]
