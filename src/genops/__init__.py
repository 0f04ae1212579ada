"""GenOps under the import names of its guide: `genops.providers.helicone` is the Helicone adapter.

`genops.init()` has the calls of other clients accounted for, too, and `genops.attributes(…)` says whose they are. The
objects are those of `genops_helicone_async`; nothing is defined here, nor imported before it is needed.
"""

from typing import TYPE_CHECKING

__all__ = ["__version__", "attributes", "init", "uninstrument"]

if TYPE_CHECKING:
    from genops_helicone_async import attributes, init, uninstrument

    __version__: str
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            import genops_helicone_async

            return getattr(genops_helicone_async, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
