"""Puts a cache together: which edge keeps the answers, and where."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ._edges.answers_memory import DEFAULT_MAX_BYTES, MemoryAnswers
from ._flow.caching import AnswerCache
from ._flow.ports import AnswerStore
from ._rules.cache_plan import CachePlan
from .config import Settings
from .errors import ConfigurationError

_LOCAL_SERVER = "redis://127.0.0.1:6379/0"


def open_cache(plan: CachePlan, settings: Settings) -> AnswerCache:
    """The cache of this plan; nothing is opened before it is used.

    Raises:
        ConfigurationError: the URL is not valid, its extra is not installed, or `compliance_mode` forbids it.
    """
    if settings.compliance.mode and plan.provider != "memory":
        raise ConfigurationError(
            f"cache_provider={plan.provider!r} would keep answers outside of this process: under `compliance_mode` use "
            "'memory'"
        )
    store = _store(plan, settings)
    account = () if settings.oauth is None else settings.oauth.account
    return AnswerCache(
        store, ttl_s=plan.ttl_s, strategy=plan.strategy, clock=time.time, steady=time.monotonic, account=account
    )


def _store(plan: CachePlan, settings: Settings) -> AnswerStore:
    if plan.provider == "disk":
        from ._edges import answers_disk

        path = Path(plan.path) if plan.path is not None else answers_disk.default_path(os.environ)
        return answers_disk.DiskAnswers(path, plan.max_bytes or answers_disk.DEFAULT_MAX_BYTES, time.time)
    if plan.provider == "redis":
        from ._edges.answers_redis import RedisAnswers

        return RedisAnswers(plan.url or _server(settings))
    return MemoryAnswers(plan.max_bytes or DEFAULT_MAX_BYTES, time.time)


def _server(settings: Settings) -> str:
    """That of the budgets, else `REDIS_URL`, else this machine's."""
    if settings.state_url is not None and not settings.state_url.startswith("sqlite:"):
        return settings.state_url
    return os.environ.get("REDIS_URL") or _LOCAL_SERVER


__all__ = ["open_cache"]
