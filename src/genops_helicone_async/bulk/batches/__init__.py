"""Provider batch APIs: rows answered within a day at half the price."""

from .auto import SplitOptions, SplitRows
from .executor import BatchRows
from .finish_by import parse_finish_by
from .sent_live import SentLive, forget_sent_live, load_sent_live
from .state import BatchOptions
from .store import Journal, Known
from .store import load as load_known
from .store import running as running_batches

__all__ = [
    "BatchOptions",
    "BatchRows",
    "Journal",
    "Known",
    "SentLive",
    "SplitOptions",
    "SplitRows",
    "forget_sent_live",
    "load_known",
    "load_sent_live",
    "parse_finish_by",
    "running_batches",
]
