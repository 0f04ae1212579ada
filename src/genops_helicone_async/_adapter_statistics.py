"""What an adapter tells of itself: its statistics, gathered from all its parts."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ._assembly import Parts
from ._edges.audit import AuditStatistics
from ._edges.credentials import AuthorizedTransport, TokenStatistics
from ._edges.helicone_log import HeliconeLogStatistics
from ._edges.http import HttpStatistics, HttpTransport
from ._edges.limits import GateStatistics, Limits, SlotStatistics
from ._edges.webhooks import WebhookStatistics
from ._flow.caching import CacheStatistics
from ._flow.pipeline import Pipeline
from ._rules.health import HealthStatistics


class AdapterStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter is doing: slots, limits and HTTP counts on the running loop, health and retry quota over all.

    `limits` has an entry for each provider called, `health` for each provider and model, `tokens` for each credential.
    """

    slots: SlotStatistics
    http: HttpStatistics
    retry_quota_left: int
    retry_quota: int
    webhooks: WebhookStatistics
    audit: AuditStatistics | None = None
    cache: CacheStatistics | None = None
    helicone_log: HeliconeLogStatistics | None = None
    tokens: Mapping[str, TokenStatistics] = {}
    limits: tuple[GateStatistics, ...] = ()
    health: tuple[HealthStatistics, ...] = ()


def statistics_of(pipeline: Pipeline, parts: Parts) -> AdapterStatistics:
    """What is going on on the pipeline's event loop, and beside it."""
    limits, http = pipeline.limits, pipeline.transport
    http = http.inner if isinstance(http, AuthorizedTransport) else http
    assert isinstance(limits, Limits) and isinstance(http, HttpTransport)  # noqa: PT018
    quota, limited = parts.shared.quota, limits.statistics()
    return AdapterStatistics(
        slots=limited.slots,
        http=http.statistics(),
        tokens={name: keeper.statistics() for name, keeper in parts.keepers.items()},
        retry_quota_left=quota.left,
        retry_quota=quota.capacity,
        limits=limited.gates,
        health=pipeline.health.statistics(pipeline.clock()),
        webhooks=parts.side.webhook_statistics(),
        audit=parts.side.audit_statistics(),
        cache=parts.shared.caching.statistics(parts.shared.currency),
        helicone_log=parts.side.log_statistics(),
    )


__all__ = ["AdapterStatistics", "statistics_of"]
