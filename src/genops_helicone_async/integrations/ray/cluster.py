"""The connection to Ray: a cluster that is joined, or one of this machine that is started and ended with the job."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from ...errors import ConfigurationError

_OBJECT_STORE_BYTES: Final = 256 * 1024 * 1024
"""A local cluster's shared memory: rows and outcomes on their way; Ray's own choice is a third of the machine's."""

_LOOK_S: Final = 10.0


def require_ray() -> Any:
    """The module `ray`.

    Raises:
        ConfigurationError: it is not installed; the message is the command to install it.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigurationError("Ray is not installed: pip install 'genops-helicone-async[ray,redis]'")
    import ray

    return ray


@contextmanager
def cluster(address: str, *, workers: int | None = None) -> Iterator[int]:
    """A connection to Ray for as long as it is entered; gives the number of workers.

    Args:
        address: `local` starts Ray on this machine, on loopback, and ends it afterwards; `auto` joins the one that
            runs here; `ray://host:10001` or `host:6379` joins another. Where this process is connected already, that
            connection is used, and left open.
        workers: How many; unset, one for each CPU that Ray has.

    Raises:
        ConfigurationError: Ray is not installed, or there is none at the address.
    """
    is_local = address == "local"
    if is_local:
        _keep_to_this_machine()
    ray = require_ray()
    is_mine = not ray.is_initialized()
    if is_mine:
        _connect(ray, address, (workers or os.cpu_count() or 1) if is_local else None)
    try:
        yield workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        if is_mine:
            ray.shutdown()


def machines() -> int:
    """How many machines the cluster has now."""
    nodes = require_ray().nodes()
    return len({node["NodeManagerAddress"] for node in nodes if node["Alive"]})


def _keep_to_this_machine() -> None:
    """Ray reads these when it is first imported: it listens on loopback only, and reports nothing to its makers."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def _look_for(address: str) -> None:
    """Finds out whether anybody listens at a host and port: Ray itself tries for minutes, and then ends the process."""
    parts = urlsplit(f"//{address.removeprefix('ray://')}")
    try:
        port = parts.port
    except ValueError:
        return  # Ray tells what is wrong with it
    if parts.hostname is None or port is None:
        return
    try:
        socket.create_connection((parts.hostname, port), timeout=_LOOK_S).close()
    except OSError as exc:
        raise ConfigurationError(
            f"no Ray at {address!r}: {exc.strerror or exc} (`local` starts one on this machine)"
        ) from exc


def _connect(ray: Any, address: str, cpus: int | None) -> None:
    _look_for(address)
    local = {} if cpus is None else {
        "num_cpus": cpus, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES,
    }  # fmt: skip
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, RuntimeError, ValueError) as exc:
        raise ConfigurationError(
            f"no Ray at {address!r}: {str(exc).strip().partition(chr(10))[0]} (`local` starts one on this machine)"
        ) from exc


__all__ = ["cluster", "machines", "require_ray"]
