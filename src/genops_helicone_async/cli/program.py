"""The name under which this program was called, for lines that a user is to copy."""

from __future__ import annotations

import sys
from pathlib import Path


def program() -> str:
    """`genops-helicone`, or `python -m genops_helicone_async`."""
    return "python -m genops_helicone_async" if Path(sys.argv[0]).name == "__main__.py" else "genops-helicone"


__all__ = ["program"]
