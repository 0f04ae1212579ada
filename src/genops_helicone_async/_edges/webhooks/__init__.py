"""Webhooks: alerts go into an outbox (`outbox.py`, `outbox_file.py`), a courier's thread posts them (`engine.py`).

Every alert is tried until its receiver takes it, says that it wants no more, or a day has passed; a receiver may get
one twice, with the same `webhook-id`. How it is posted is somebody else's: a sender is given.
"""

from .courier import Courier, WebhookStatistics
from .outbox import MemoryOutbox, Outbox
from .receivers import Receiver, Sender

__all__ = ["Courier", "MemoryOutbox", "Outbox", "Receiver", "Sender", "WebhookStatistics"]
