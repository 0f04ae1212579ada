"""Provider batch APIs: rows answered within a day at half the price."""

from .executor import BatchRows
from .state import BatchOptions
from .store import Journal

__all__ = ["BatchOptions", "BatchRows", "Journal"]
