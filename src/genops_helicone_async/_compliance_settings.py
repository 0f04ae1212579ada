"""What an adapter is held to: compliance, the audit log, where data may go, which models and providers are allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from ._arguments import check_bool, check_int, check_label, refuse_plain_http
from ._providers import canonical
from ._regions import AREAS, area_of_place, is_this_machine
from .errors import ConfigurationError

AUDIT_VARIABLE = "GENOPS_AUDIT_LOG"
AUDIT_FILE = "genops-audit.jsonl"
Fsync = Literal["always", "interval", "never"]
_FSYNC = ("always", "interval", "never")
_LEAST_BYTES = 4096


class AuditOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where the audit log is and how it is written.

    `fsync`: `always` before a call goes on, `interval` once a second, `never` when the system likes. Beyond `max_bytes`
    a new file is begun. `is_strict` refuses calls that cannot be recorded.
    """

    path: Path
    fsync: Fsync = "interval"
    max_bytes: int = 100 * 1024 * 1024
    is_strict: bool = False


class Residency(msgspec.Struct, frozen=True, kw_only=True):
    """The area data has to stay in, and the hosts and providers that the user vouches for to be there."""

    area: str
    hosts: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()


class Compliance(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, complete and checked; None is no restriction. Under `mode` a model without a price is refused."""

    mode: bool = False
    audit: AuditOptions | None = None
    residency: Residency | None = None
    allowed_models: tuple[str, ...] | None = None
    allowed_providers: frozenset[str] | None = None


class GivenCompliance(msgspec.Struct, kw_only=True):
    """The constructor's arguments that concern compliance, as they were given."""

    compliance_mode: bool = False
    audit_logging: Any = None
    data_residency: Any = None
    allowed_models: Sequence[str] | None = None
    allowed_providers: Sequence[str] | None = None


def compliance_of(given: GivenCompliance, environ: Mapping[str, str], *, priced: bool) -> Compliance:
    """What the arguments mean; `priced` says whether calls are priced at all.

    Raises:
        ConfigurationError: they contradict each other, or name something unknown.
        TypeError: one is of the wrong type.
    """
    mode = check_bool("compliance_mode", given.compliance_mode)
    if mode and not priced:
        raise ConfigurationError("`compliance_mode` needs the price of every call: leave enable_cost_tracking on")
    return Compliance(
        mode=mode,
        audit=_audit(given.audit_logging, mode, environ),
        residency=_residency(given.data_residency),
        allowed_models=_models(given.allowed_models),
        allowed_providers=_providers("allowed_providers", given.allowed_providers),
    )


def refuse_insecure(
    gateway_url: str | None, provider_urls: Mapping[str, str], state_url: str | None, *, strictly: bool
) -> None:
    """Refuses what would travel unencrypted to another machine; `strictly`, as compliance asks, the store, too.

    Raises:
        ConfigurationError: which setting, and the remedy.
    """
    urls = {"gateway_url": gateway_url} if gateway_url is not None else {}
    for name, url in {**urls, **{f"provider_urls[{name!r}]": url for name, url in provider_urls.items()}}.items():
        try:
            refuse_plain_http(name, url)
        except ConfigurationError:
            if not strictly:
                raise
            raise ConfigurationError(
                f"`{name}` is plain http, which `compliance_mode` refuses, also with allow_insecure_http: use https"
            ) from None
    if strictly and state_url is not None:
        parts = urlsplit(state_url)
        if parts.scheme in ("redis", "valkey") and not is_this_machine(parts.hostname or "localhost"):
            raise ConfigurationError(
                f"`state_url` is unencrypted, which `compliance_mode` refuses: use {parts.scheme}s://…"
            )


def _audit(given: object, mode: bool, environ: Mapping[str, str]) -> AuditOptions | None:
    if given is None:
        given = mode
    if given is False:
        if mode:
            raise ConfigurationError(
                "`audit_logging` is False, but `compliance_mode` needs the audit log: leave it out"
            )
        return None
    options: Mapping[str, Any] = given if isinstance(given, Mapping) else {"path": None if given is True else given}
    if unknown := sorted(map(str, set(options) - {"path", "fsync", "max_bytes"})):
        raise ConfigurationError(f"`audit_logging` has the unknown {unknown[0]!r}: known are path, fsync, max_bytes")
    path = options.get("path") or environ.get(AUDIT_VARIABLE) or AUDIT_FILE
    if not isinstance(path, str | Path):
        raise TypeError(f"`audit_logging` must be True, False, a path or a mapping, not {type(path).__name__}")
    fsync = options.get("fsync", "always" if mode else "interval")
    if fsync not in _FSYNC:
        raise ConfigurationError(f"`audit_logging['fsync']` is {fsync!r}: use one of {', '.join(_FSYNC)}")
    if mode and fsync != "always":
        raise ConfigurationError("`audit_logging['fsync']` must be 'always' under `compliance_mode`: leave it out")
    max_bytes = options.get("max_bytes", 100 * 1024 * 1024)
    check_int(_LEAST_BYTES, f"{_LEAST_BYTES} bytes or more")("audit_logging['max_bytes']", max_bytes)
    return AuditOptions(path=Path(path).absolute(), fsync=fsync, max_bytes=max_bytes, is_strict=mode)


def _residency(given: object) -> Residency | None:
    if given is None:
        return None
    options: Mapping[str, Any] = given if isinstance(given, Mapping) else {"region": given}
    if unknown := sorted(map(str, set(options) - {"region", "hosts", "providers"})):
        raise ConfigurationError(f"`data_residency` has the unknown {unknown[0]!r}: known are region, hosts, providers")
    region = options.get("region")
    if not isinstance(region, str):
        raise TypeError(f"`data_residency` must name a region, such as 'EU' or 'us-east-1', not {region!r}")
    area = area_of_place(region)
    if area is None:
        raise ConfigurationError(
            f"`data_residency` is {region!r}, of which no area is known: use one of {', '.join(AREAS)} or a "
            "cloud region's name, such as eu-central-1, europe-west1 or westeurope"
        )
    hosts = _names("data_residency['hosts']", options.get("hosts", ()))
    providers = _providers("data_residency['providers']", options.get("providers", ())) or frozenset()
    return Residency(area=area, hosts=frozenset(host.lower() for host in hosts), providers=providers)


def _models(given: object) -> tuple[str, ...] | None:
    return None if given is None else _names("allowed_models", given)


def _providers(name: str, given: object) -> frozenset[str] | None:
    """Providers by their canonical names; one outside the directory may have an entry in `provider_urls`."""
    if given is None:
        return None
    return frozenset(canonical(each) for each in _names(name, given))


def _names(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence | set | frozenset):
        raise TypeError(f"`{name}` must be a list of names, not {type(given).__name__}")
    for each in given:
        check_label(name, each)
    return tuple(given)


__all__ = [
    "AUDIT_FILE",
    "AUDIT_VARIABLE",
    "AuditOptions",
    "Compliance",
    "GivenCompliance",
    "Residency",
    "compliance_of",
    "refuse_insecure",
]
