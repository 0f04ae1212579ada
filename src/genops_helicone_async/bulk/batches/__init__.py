"""Provider batch APIs: rows answered within a day at half the price."""

from .auto import SplitOptions, SplitRows
from .executor import BatchRows
from .finish_by import parse_finish_by
from .state import BatchOptions
from .store import Journal

__all__ = ["BatchOptions", "BatchRows", "Journal", "SplitOptions", "SplitRows", "parse_finish_by"]
