"""The bytes of a reply's body as they arrive: what was compressed is read here a second time, beside the caller."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Protocol


class Unreadable(Exception):
    """The body is encoded in a way that cannot be read here."""


class _Inflater(Protocol):
    def __call__(self, data: bytes, /) -> bytes: ...


def inflater_of(encoding: str) -> Callable[[bytes], bytes]:
    """What turns the bytes of a body with this `Content-Encoding` into those of its text, piece by piece.

    Raises:
        Unreadable: the encoding is not known here, or its library is not installed.
    """
    found = [_one(name.strip().lower()) for name in reversed(encoding.split(",")) if name.strip()]
    steps = [step for step in found if step is not None]
    if not steps:
        return _as_it_is
    if len(steps) == 1:
        return _guarded(steps[0])

    def all_of_them(data: bytes) -> bytes:
        for step in steps:
            data = step(data)
        return data

    return _guarded(all_of_them)


def _as_it_is(data: bytes) -> bytes:
    return data


def _guarded(step: _Inflater) -> Callable[[bytes], bytes]:
    def inflate(data: bytes) -> bytes:
        try:
            return step(data)
        except Exception as exc:  # each library has errors of its own
            raise Unreadable(f"the body's compression is broken: {exc}") from exc

    return inflate


def _one(name: str) -> _Inflater | None:
    if name == "identity":
        return None
    if name in ("gzip", "x-gzip"):
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress
    if name == "deflate":
        return _Deflated()
    if name == "br":
        decoder: _Inflater = importlib.import_module("brotli").Decompressor().process
        return decoder
    if name == "zstd":
        return _zstd()
    raise Unreadable(f"the body's encoding {name!r} is not known")


class _Deflated:
    """`deflate` with the header that the standard asks for, or without it as some servers send it."""

    __slots__ = ("_step",)

    def __init__(self) -> None:
        self._step: _Inflater | None = None

    def __call__(self, data: bytes) -> bytes:
        if self._step is None:
            with_header = zlib.decompressobj()
            try:
                inflated = with_header.decompress(data)
            except zlib.error:
                self._step = zlib.decompressobj(-zlib.MAX_WBITS).decompress
                return self._step(data)
            self._step = with_header.decompress
            return inflated
        return self._step(data)


def _zstd() -> _Inflater:
    """Python 3.14 has it; before, whoever's client asks for it has installed one of these."""
    for module, maker in (("compression.zstd", "ZstdDecompressor"), ("backports.zstd", "ZstdDecompressor")):
        try:
            found: _Inflater = getattr(importlib.import_module(module), maker)().decompress
        except ImportError:
            continue
        return found
    try:
        step: _Inflater = importlib.import_module("zstandard").ZstdDecompressor().decompressobj().decompress
    except ImportError as exc:
        raise Unreadable("the body is encoded with zstd, for which no library is installed") from exc
    return step


__all__ = ["Unreadable", "inflater_of"]
