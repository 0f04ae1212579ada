"""The network: the only place that speaks HTTP through aiohttp; every foreign exception is translated here.

A request goes out (`transport.py`, `sending.py`), a reply comes in (`stream.py`), or it fails (`failures.py`).
"""

from .deadlines import clock_of
from .stream import HttpStream
from .transport import HttpStatistics, HttpTransport

__all__ = ["HttpStatistics", "HttpStream", "HttpTransport", "clock_of"]
