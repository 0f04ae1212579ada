"""Attribution that holds for a block of code: every call begun inside has it, whichever client makes it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from .._arguments import check_label
from .._wire.headers import attribution_headers

_NONE: Mapping[str, str] = {}
_around: ContextVar[tuple[Mapping[str, str], ...]] = ContextVar("genops_helicone_attributes", default=())


class attributes:  # noqa: N801  used like a function: `with attributes(team=…):`
    """Attribution of all calls begun in the block: `with attributes(team="research", customer_id="acme"): …`.

    `async with` works, too. Tasks started inside have it (threads do not, `asyncio.to_thread` does). Blocks nest, the
    inner value of a name counts. A call's own arguments come before it, an adapter's `default_attributes` after it.
    Names besides `team`, `project`, `customer_id`, `environment`, `cost_center`, `feature`, `user_id`, `session_id`
    are attributes of your own.

    Raises:
        ConfigurationError: a value is empty or cannot travel in a header.
        TypeError: a value is no text.
    """

    __slots__ = ("_given",)

    def __init__(self, **attributes: str) -> None:
        for name, value in attributes.items():
            check_label(name, value)
        attribution_headers(attributes)
        self._given = attributes

    def __repr__(self) -> str:
        return f"attributes({', '.join(f'{name}={value!r}' for name, value in self._given.items())})"

    def __enter__(self) -> Self:
        _around.set((*_around.get(), self._given))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not by a token: a generator's block may end in another context than it began in, and blocks may overlap.
        around = _around.get()
        for at in reversed(range(len(around))):
            if around[at] is self._given:
                _around.set(around[:at] + around[at + 1 :])
                return

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, exc, trace)


blocks_around = _around.get
"""What the blocks around the running code give, the outermost first; nearly always nothing."""


def ambient_attributes() -> Mapping[str, str]:
    """The attribution around the running code."""
    around = _around.get()
    if not around:
        return _NONE
    return around[0] if len(around) == 1 else {name: value for each in around for name, value in each.items()}


__all__ = ["ambient_attributes", "attributes", "blocks_around"]
