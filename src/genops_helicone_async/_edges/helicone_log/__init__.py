"""Tells Helicone of calls that did not pass it: they wait in memory (`courier.py`), a thread posts them (`engine.py`).

No call ever waits for it. What cannot be told in time, or is too much to keep, is dropped, counted and said once.
"""

from .courier import HeliconeLogStatistics, LogCourier
from .engine import Sender

__all__ = ["HeliconeLogStatistics", "LogCourier", "Sender"]
