"""Where a ledger's file is: the `state_url`, read."""

from __future__ import annotations

from pathlib import Path

from ...errors import ConfigurationError

SCHEME = "sqlite://"


def path_of(url: str) -> Path:
    """The file that `sqlite:///relative.db` or `sqlite:////absolute/path.db` names.

    A relative path is relative to the working directory of the moment when the ledger is made.

    Raises:
        ConfigurationError: the URL names no file.
    """
    if not url.startswith(SCHEME):
        raise ConfigurationError(f"state_url {url!r} is none of SQLite's: it begins with sqlite:///")
    host, slash, path = url.removeprefix(SCHEME).partition("/")
    if host:
        raise ConfigurationError(
            f"state_url {url!r} names a machine: write sqlite:///{host}/… for a relative path, with three slashes, "
            f"or sqlite:////{host}/… for an absolute one, with four"
        )
    if "?" in path:
        raise ConfigurationError(f"state_url {url!r} has options after the path: a ledger takes none")
    if not slash or not path or path == ":memory:":
        raise ConfigurationError(f"state_url {url!r} names no file: leave state_url out for a ledger in memory")
    if path.endswith("/") or "\0" in path:
        raise ConfigurationError(f"state_url {url!r} does not end in the name of a file")
    return Path(path)


__all__ = ["path_of"]
