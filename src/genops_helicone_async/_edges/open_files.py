"""How many files and sockets the process may have open."""

from __future__ import annotations

_UNKNOWN = 1024


def open_file_limit() -> int:
    """The soft limit of open files; 1,024 where the system does not tell (Windows), at most a million."""
    try:
        import resource
    except ImportError:
        return _UNKNOWN
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else min(soft, 1_000_000)


__all__ = ["open_file_limit"]
