"""Why a row was given back."""

from __future__ import annotations

from ..errors import HeliconeError


class UnsentError(HeliconeError):
    """The row was not sent and will not be in this run; nothing of it is billed, and a resumed job does it."""


__all__ = ["UnsentError"]
