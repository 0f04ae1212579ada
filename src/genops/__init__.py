"""GenOps under the import names of its guide: `genops.providers.helicone` is the Helicone adapter.

The objects are those of `genops_helicone_async`; nothing is defined here, nor imported before it is needed.
"""

from typing import TYPE_CHECKING

__all__ = ["__version__"]

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        if name == "__version__":
            from genops_helicone_async import __version__

            return __version__
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
