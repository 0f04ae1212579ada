"""The Helicone adapter under the guide's import name: all of `genops_helicone_async`, the same objects."""

from typing import TYPE_CHECKING

import genops_helicone_async

__all__: list[str] = []
__all__ += genops_helicone_async.__all__

if TYPE_CHECKING:
    from genops_helicone_async import *  # noqa: F403
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            return getattr(genops_helicone_async, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
