"""HTML that cannot be broken into: every text is escaped unless it was made here."""

from __future__ import annotations

import re
from html import escape

# Characters that no page may hold, or that would turn the text around them.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: str) -> Html:
    """A text as it may stand in an element or an attribute; control characters show as their codes."""
    if isinstance(value, Html):
        return value
    return Html(escape(_UNSHOWABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", value)))


def tag(name: str, *children: str, **attributes: str | float | None) -> Html:
    """An element: `tag("td", "a < b", class_="number")`. `_` in an attribute's name is `-`; None leaves it out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{said}>{joined(*children)}</{name}>")


def joined(*parts: str) -> Html:
    """Several pieces, one after the other."""
    return Html("".join(map(text, parts)))


def foreign(value: str) -> Html:
    """A text that comes from elsewhere, whose direction of writing ends with it."""
    return tag("bdi", value)


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return text(value)
    return f"{value:.2f}".rstrip("0").rstrip(".")


__all__ = ["Html", "foreign", "joined", "tag", "text"]
