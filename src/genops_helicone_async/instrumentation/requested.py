"""What a foreign request is for us: a call to watch, a request to send elsewhere, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .places import Places, Url
from .routes import Routes

if TYPE_CHECKING:
    from ..errors import HeliconeError
    from .foreign_call import ForeignCall
    from .governor import Governor

SendElsewhere = Callable[[Any, str, dict[str, str]], Any]
"""(request, URL without query, headers to add) → the request that is sent instead."""


class Requested:
    """A request that concerns us: the `call` it makes, if it makes one, and where it is really sent."""

    __slots__ = ("_elsewhere", "_headers", "_send_elsewhere", "call", "governor", "request")

    def __init__(
        self, request: Any, governor: Governor, call: ForeignCall | None, elsewhere: str | None,
        headers: Mapping[str, str], send_elsewhere: SendElsewhere,
    ) -> None:  # fmt: skip
        self.request = request
        self.governor = governor
        self.call = call
        self._elsewhere = elsewhere
        self._headers = headers
        self._send_elsewhere = send_elsewhere

    def admit_here(self) -> HeliconeError | None:
        """Lets the call through, waiting in this thread where it must; gives the refusal of one that may not go."""
        if self.call is None:
            return None
        from .admission import admit_here

        return admit_here(self.governor, self.call)

    async def admit_async(self) -> HeliconeError | None:
        """The same for a caller in an event loop."""
        if self.call is None:
            return None
        from .admission import admit_async

        return await admit_async(self.governor, self.call)

    def sendable(self) -> Any:
        """The request to send: the caller's own, or its copy for another host."""
        if self._elsewhere is None:
            return self.request
        told = self.call.helicone_headers if self.call is not None else {}
        return self._send_elsewhere(self.request, self._elsewhere, {**told, **self._headers})


class Watch:
    """Looks at every request of the instrumented libraries; most are somebody else's business, and cost little."""

    __slots__ = ("_governor", "_make_governor", "_places", "_routes", "is_on")

    def __init__(self, places: Places, routes: Routes, make_governor: Callable[[], Governor]) -> None:
        self._places = places
        self._routes = routes
        self._make_governor = make_governor
        self._governor: Governor | None = None
        self.is_on = True

    def look(
        self,
        request: Any,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        body: Callable[[], bytes | None],
        send_elsewhere: SendElsewhere,
    ) -> Requested | None:
        """What the request is; None where it is nothing to us. `headers` finds names in lower case."""
        if not self.is_on:
            return None
        elsewhere = self._routes.of(url)
        posts = method == "POST"
        target = url if elsewhere is None else elsewhere.url
        place = self._places.find(target, headers) if posts else None
        if place is None and elsewhere is None:
            return None
        governor, call = self._make_governor(), None
        content = body() if place is not None else None
        if place is not None and content:
            call = governor.begin(place, headers, content)
        if call is None and elsewhere is None:
            return None
        if elsewhere is None:
            return Requested(request, governor, call, None, {}, send_elsewhere)
        return Requested(request, governor, call, elsewhere.text, elsewhere.headers, send_elsewhere)


__all__ = ["Requested", "SendElsewhere", "Watch"]
