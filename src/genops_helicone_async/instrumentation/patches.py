"""Puts our wrappers around the libraries' transports, as soon as each library is imported, and takes them off again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import wrapt

from .requested import Watch

LIBRARIES = ("httpx", "httpx2", "requests", "aiohttp")
Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]


class _Patch:
    """One attribute of a class with our wrapper around it."""

    __slots__ = ("_name", "_original", "_owner", "_wrapped")

    def __init__(self, owner: type, name: str, wrapper: Wrapper) -> None:
        self._owner = owner
        self._name = name
        self._original = owner.__dict__[name]
        self._wrapped = wrapt.FunctionWrapper(self._original, wrapper)
        setattr(owner, name, self._wrapped)

    def undo(self) -> None:
        """Puts back what was there; where somebody has wrapped our wrapper it stays, and passes everything on."""
        if self._owner.__dict__.get(self._name) is self._wrapped:
            setattr(self._owner, self._name, self._original)


class Patches:
    """The wrappers in place. Libraries that are not imported are not imported for them."""

    __slots__ = ("_done", "_patches", "_watch")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._done: set[str] = set()
        self._patches: list[_Patch] = []

    def __repr__(self) -> str:
        return f"Patches({', '.join(sorted(self._done)) or 'none yet'})"

    def apply(self, library: str, module: ModuleType) -> None:
        """Wraps a library that has been imported; without effect where it is wrapped already."""
        if library in self._done:
            return
        self._done.add(library)
        for owner, name, wrapper in _wrappers(library, module, self._watch):
            self._patches.append(_Patch(owner, name, wrapper))

    def undo(self) -> None:
        """Takes every wrapper off."""
        self._watch.is_on = False
        while self._patches:
            self._patches.pop().undo()
        self._done.clear()


def _wrappers(library: str, module: Any, watch: Watch) -> Iterator[tuple[type, str, Wrapper]]:
    if library in ("httpx", "httpx2"):
        from .httpx_calls import Httpx

        httpx = Httpx(module, watch)
        yield module.HTTPTransport, "handle_request", httpx.handle_request
        yield module.AsyncHTTPTransport, "handle_async_request", httpx.handle_async_request
    elif library == "requests":
        from .requests_calls import Requests

        yield module.Session, "send", Requests(watch).send
    else:
        from .aiohttp_calls import Aiohttp

        yield module.ClientSession, "_request", Aiohttp(module, watch).request


_hooked: set[str] = set()


def on_import(found: Callable[[str, ModuleType], None]) -> None:
    """Calls `found` with each of the libraries: now where it is imported, else when it will be."""
    for library in LIBRARIES:
        module = sys.modules.get(library)
        if module is not None and hasattr(module, "__version__"):
            found(library, module)
        elif library not in _hooked:
            _hooked.add(library)
            wrapt.register_post_import_hook(_hook(library, found), library)


def _hook(library: str, found: Callable[[str, ModuleType], None]) -> Callable[[ModuleType], None]:
    def imported(module: ModuleType) -> None:
        found(library, module)

    return imported


__all__ = ["LIBRARIES", "Patches", "on_import"]
