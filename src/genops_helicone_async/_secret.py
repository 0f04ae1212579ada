"""Secrets as values: text that never shows, and the check that a key fits into a header."""

from __future__ import annotations

from typing import Any

from .errors import ConfigurationError


class Secret:
    """A key that never shows in `repr`, `str`, logs or tracebacks; `reveal()` gives the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself, for the one place that puts it on the wire."""
        return self._text

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not pickled")


def check_key(name: str, key: object) -> Secret:
    """A key fit for a header; the message never quotes it."""
    if not isinstance(key, str):
        raise TypeError(f"`{name}` must be text, not {type(key).__name__}")
    if not key.strip():
        raise ConfigurationError(f"`{name}` is empty: give the key or leave it out")
    if any(ord(char) <= 32 or ord(char) >= 127 for char in key):
        raise ConfigurationError(
            f"`{name}` holds a line break, white space or a character outside ASCII: strip it (a key read from a file "
            "often ends with a line break)"
        )
    return Secret(key)


__all__ = ["Secret", "check_key"]
