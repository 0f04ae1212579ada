"""The audit log: lines in a file that are only ever added, chained by their hashes (`_rules/audit_chain.py`).

A thread of its own writes (`writer.py`), many lines at a time (`file.py`). Processes may share a file: each takes a
lock (of the system, where it has one) to add to it, so that there is one chain. Beside `LOG` lies `LOG.seal` with the
last line's number and hash, and older parts, `LOG.000001` and on, whose chain the newest goes on with. Nothing is ever
deleted; parts that are archived away are missed by `verify.py` unless told.

What the pair cannot show is that both were replaced as a whole: for that, keep the seal somewhere else as well.
"""

from .log import AuditLog, AuditStatistics
from .verify import Verdict, verify

__all__ = ["AuditLog", "AuditStatistics", "Verdict", "verify"]
