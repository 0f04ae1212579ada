"""Puts together what hears of calls beside their way: the audit log, alerts, Helicone's log, and their couriers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ._compliance_settings import Compliance
from ._edges.audit import AuditLog, AuditStatistics
from ._edges.helicone_log import HeliconeLogStatistics, LogCourier
from ._edges.http import HttpTransport
from ._edges.webhooks import Courier, MemoryOutbox, Outbox, Receiver, WebhookStatistics
from ._flow.alerts import Alerts, check
from ._flow.audit import AuditTrail
from ._flow.budgets import Budgets
from ._flow.helicone_log import HeliconeLogging
from ._flow.sinks import Sinks
from ._rules.alert_triggers import triggers_of
from ._wire.headers import GatewayOptions
from ._wire.webhooks import checked_webhook_url, signing_key
from .config import Settings
from .errors import ConfigurationError

_MOST_REPLY_BYTES = 64 * 1024
"""Of a webhook's reply, of which only the status matters."""


class SideChannels(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter has beside the way of its calls."""

    settings: Settings
    sinks: Sinks
    new_id: Callable[[], str]
    alerts: Alerts
    courier: Courier
    log: AuditLog | None
    trail: AuditTrail | None
    log_courier: LogCourier | None

    def configure_webhooks(
        self, cost_url: str | None, performance_url: str | None, triggers: Mapping[str, Any] | None, secret: str | None
    ) -> None:
        """Replaces the webhooks and what they are told; everything is checked before anything changes.

        Raises:
            ConfigurationError: a URL, a trigger or the secret is wrong.
        """
        key = None if secret is None else signing_key(secret)
        given = {"cost": ("cost_alert_webhook", cost_url), "performance": ("performance_webhook", performance_url)}
        receivers = {
            channel: Receiver(url=checked_webhook_url(name, url, allow_insecure_http=self._may_be_insecure), key=key)
            for channel, (name, url) in given.items()
            if url is not None
        }
        wanted = triggers_of(triggers)
        check(frozenset(receivers), wanted)
        self.sinks.remove(self.alerts)
        self.alerts.configure(frozenset(receivers), wanted)
        self.courier.aim(receivers)
        if "performance" in receivers:
            self.sinks.add(self.alerts)

    def webhook_statistics(self) -> WebhookStatistics:
        """What became of the alerts so far."""
        return self.courier.statistics()

    def audit_statistics(self) -> AuditStatistics | None:
        """What became of the audit log's lines so far; None without one."""
        return self.log.statistics() if self.log is not None else None

    def log_statistics(self) -> HeliconeLogStatistics | None:
        """What became of Helicone's log of calls that did not pass it; None without one."""
        return self.log_courier.statistics() if self.log_courier is not None else None

    async def aclose(self) -> None:
        """Writes what is still to be written, and tells what is still to be told, within seconds."""
        try:
            if self.log is not None:
                await self.log.aclose()
        finally:
            couriers = [each for each in (self.courier, self.log_courier) if each is not None]
            await asyncio.gather(*(each.aclose() for each in couriers))

    @property
    def _may_be_insecure(self) -> bool:
        return self.settings.allow_insecure_http


def side_channels(
    settings: Settings,
    sinks: Sinks,
    budgets: Budgets,
    new_id: Callable[[], str],
    options: GatewayOptions | None,
) -> SideChannels:
    """The side channels for these settings; no thread is started and nothing opened before it is used."""

    def sender() -> HttpTransport:
        return HttpTransport(max_response_bytes=_MOST_REPLY_BYTES, trust_env=settings.trust_env)

    courier = Courier(_outbox(settings.state_url), sender, random=random.Random().random)
    alerts = Alerts(
        courier,
        budgets,
        settings.currency,
        new_id=new_id,
        clock=time.time,
        steady=time.monotonic,
        about=settings.default_attributes,
    )
    sinks.listen(alerts.on_budget)
    log = AuditLog(settings.compliance.audit) if settings.compliance.audit is not None else None
    trail = None if log is None else _trail(settings, log, new_id)
    if trail is not None:
        sinks.add(trail)
    log_courier = None
    if settings.services.log is not None:
        log_courier = LogCourier(settings.services.log, sender, random=random.Random().random)
        sinks.add(HeliconeLogging(log_courier, options))
    return SideChannels(
        settings=settings, sinks=sinks, new_id=new_id, alerts=alerts, courier=courier, log=log, trail=trail,
        log_courier=log_courier,
    )  # fmt: skip


def _trail(settings: Settings, log: AuditLog, new_id: Callable[[], str]) -> AuditTrail:
    return AuditTrail(
        log,
        is_strict=settings.compliance.mode,
        currency=settings.currency,
        new_id=new_id,
        clock=time.time,
        service=settings.default_attributes.get("service_name", ""),
    )


def permitted_options(compliance: Compliance, given: GatewayOptions | None) -> GatewayOptions | None:
    """What Helicone is asked to do for every call; under compliance it keeps neither prompts nor answers.

    Raises:
        ConfigurationError: its cache would keep them.
    """
    if not compliance.mode:
        return given
    given = given or GatewayOptions()
    if given.cache is not None and given.cache.enabled:
        raise ConfigurationError(
            "`gateway_options` has a cache, in which Helicone keeps answers: leave it out under `compliance_mode`"
        )
    return msgspec.structs.replace(given, omit_request=True, omit_response=True)


def _outbox(state_url: str | None) -> Outbox:
    """Beside a ledger's file its like; with any other store the memory of this process."""
    if state_url is None or not state_url.startswith("sqlite:"):
        return MemoryOutbox()
    from ._edges.ledger_sqlite import path_of
    from ._edges.webhooks.outbox_file import FileOutbox

    ledger = path_of(state_url)
    return FileOutbox(ledger.with_name(f"{ledger.name}.outbox"))


__all__ = ["SideChannels", "permitted_options", "side_channels"]
