"""The keywords of an adapter's constructor, as the synchronous adapter passes them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from ._helicone_settings import HeliconeLog
from ._wire.headers import GatewayOptions


class AdapterSettings(TypedDict, total=False):
    """The keywords of an adapter's constructor; `GenOpsHeliconeAsyncAdapter` says what they mean."""

    default_attributes: Mapping[str, str] | None
    gateway_url: str | None
    gateway_dialect: str
    provider_urls: Mapping[str, str] | None
    timeout_seconds: float
    retry_attempts: int
    max_connections: int | None
    max_response_bytes: int
    enable_cost_tracking: bool
    cost_currency: str
    exchange_rates: Mapping[str, float] | None
    prices: Mapping[Any, Any] | None
    gateway_fee_rates: Mapping[str, float] | None
    gateway_options: GatewayOptions | None
    state_url: str | None
    allow_insecure_http: bool
    trust_env: bool
    meter_provider: Any
    tracer_provider: Any
    logger_provider: Any
    auth_mode: str
    oauth_config: Mapping[str, Any] | None
    compliance_mode: bool
    audit_logging: bool | str | Path | Mapping[str, Any] | None
    data_residency: str | Mapping[str, Any] | None
    allowed_models: Sequence[str] | None
    allowed_providers: Sequence[str] | None
    helicone_api_url: str | None
    helicone_log: HeliconeLog | None


__all__ = ["AdapterSettings"]
