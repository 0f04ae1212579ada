"""What the running program is called, for telemetry that nobody gave a service name."""

from __future__ import annotations

import sys
from pathlib import Path


def program_name() -> str:
    """The script's or the module's name; empty where there is none, as in an interactive session."""
    script = Path(sys.argv[0]) if sys.argv and sys.argv[0] not in ("", "-c", "-m") else None
    if script is None:
        return ""
    return script.parent.name if script.stem == "__main__" else script.stem


__all__ = ["program_name"]
