"""Helicone's own services beside its gateway: its REST API, and the log of calls that did not pass it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from ._arguments import check_url, is_seen_by_the_network
from ._compliance_settings import Compliance, Residency
from ._regions import HELICONE_AREAS, is_helicone_host, is_this_machine
from ._secret import Secret, check_key
from .errors import ConfigurationError

API_VARIABLE = "HELICONE_API_URL"
CLOUD_API = "https://api.helicone.ai"
CLOUD_API_EU = "https://eu.api.helicone.ai"
CLOUD_LOG = "https://api.worker.helicone.ai/custom/v1/log"


class HeliconeLog(msgspec.Struct, frozen=True, kw_only=True):
    """Has Helicone told of the calls that did not pass it, prompts and answers included.

    Such are all calls with `gateway_dialect="openai"`, and those to hosts in `provider_urls` that are not Helicone's.

    Attributes:
        api_key: A Helicone key; unset, the adapter's own, which `gateway_dialect="openai"` gives to somebody else.
        url: Helicone's cloud, or the log of a Helicone of your own, with its whole path.
    """

    api_key: str | None = None
    url: str = CLOUD_LOG

    def __repr__(self) -> str:
        return f"HeliconeLog({urlsplit(str(self.url)).netloc})"


class LogTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls are told, checked."""

    url: str
    key: Secret

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What was configured: the REST API's base URL, and where to tell of calls that did not pass Helicone."""

    api_url: str | None = None
    log: LogTarget | None = None


class ApiTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to tell about a call afterwards: the API's base URL, and the key for it."""

    url: str
    key: Secret


def is_eu_key(key: Secret | None) -> bool:
    """Whether Helicone keeps this key's data in the EU."""
    return key is not None and "helicone-eu" in key.reveal()


class GivenServices(Protocol):
    """The constructor's arguments that concern these services, as they were given."""

    @property
    def helicone_api_url(self) -> object: ...

    @property
    def helicone_log(self) -> object: ...

    @property
    def allow_insecure_http(self) -> bool: ...


def services_of(
    given: GivenServices, environ: Mapping[str, str], own_key: Secret | None, dialect: str, compliance: Compliance
) -> Services:
    """What the arguments mean.

    Raises:
        ConfigurationError: one is wrong, or the adapter is bound not to tell anybody.
        TypeError: one is of the wrong type.
    """
    url, log = given.helicone_api_url, given.helicone_log
    url = url if url is not None else environ.get(API_VARIABLE) or None
    may_be_plain = given.allow_insecure_http and not compliance.mode
    return Services(
        api_url=None if url is None else _checked("helicone_api_url", url, may_be_plain=may_be_plain),
        log=None if log is None else _log_of(log, own_key, dialect, compliance, may_be_plain=may_be_plain),
    )


def _log_of(
    given: object, own_key: Secret | None, dialect: str, compliance: Compliance, *, may_be_plain: bool
) -> LogTarget:
    if not isinstance(given, HeliconeLog):
        raise TypeError(f"`helicone_log` must be a HeliconeLog, not {type(given).__name__}")
    if compliance.mode:
        raise ConfigurationError(
            "`helicone_log` tells Helicone prompts and answers, which `compliance_mode` keeps to itself: leave one out"
        )
    url = _checked("helicone_log.url", given.url, may_be_plain=may_be_plain)
    if given.api_key is not None:
        key = check_key("helicone_log.api_key", given.api_key)
    elif own_key is None or dialect == "openai":
        why = "`helicone_api_key` is the endpoint's" if own_key else "there is no `helicone_api_key`"
        raise ConfigurationError(f"`helicone_log` has no key, and {why}: give HeliconeLog(api_key=…)")
    else:
        key = own_key
    if compliance.residency is not None:
        _refuse_other_area((urlsplit(url).hostname or "").lower(), key, compliance.residency)
    return LogTarget(url=url, key=key)


def api_target(services: Services, own_key: Secret | None, *, gateway_url: str, dialect: str) -> ApiTarget:
    """The REST API for an adapter's calls, and the key for it.

    A Helicone key goes to a host of Helicone's cloud, or to the API that was configured, and nowhere else.

    Raises:
        ConfigurationError: there is no key for it, or nobody said where a Helicone of one's own has its API.
    """
    url, log = services.api_url, services.log
    key = log.key if log is not None and (dialect == "openai" or own_key is None) else own_key
    if dialect == "openai" and log is None:
        raise ConfigurationError(
            "calls with gateway_dialect='openai' do not pass Helicone, so it knows nothing of them: "
            "have it told with helicone_log=HeliconeLog(api_key=…)"
        )
    if key is None:
        raise ConfigurationError("Helicone's API needs a key: pass helicone_api_key=… or set HELICONE_API_KEY")
    if url is not None:
        return ApiTarget(url=url, key=key)
    place = log.url if log is not None and dialect == "openai" else gateway_url
    host = (urlsplit(place).hostname or "").lower()
    if not is_helicone_host(host):
        raise ConfigurationError(
            f"{host} is no host of Helicone's cloud, and nobody said where its API is: pass helicone_api_url=… or set "
            f"{API_VARIABLE}"
        )
    return ApiTarget(url=CLOUD_API_EU if is_eu_key(key) or "eu" in host.split(".") else CLOUD_API, key=key)


def _checked(name: str, given: object, *, may_be_plain: bool) -> str:
    url = check_url(name, given)
    if not may_be_plain and is_seen_by_the_network(url):
        raise ConfigurationError(
            f"`{name}` is plain http to {urlsplit(url).hostname}, which would show the key to the network: use https"
        )
    return url


def _refuse_other_area(host: str, key: Secret, residency: Residency) -> None:
    """Prompts must not leave the area that data has to stay in."""
    area = residency.area
    if is_this_machine(host) or host in residency.hosts:
        return
    if not is_helicone_host(host):
        raise ConfigurationError(
            f"`helicone_log.url` is at {host}, of which it is not known that it is in {area}: if it is, say so with "
            f"data_residency={{'region': '{area}', 'hosts': ['{host}']}}"
        )
    if HELICONE_AREAS[is_eu_key(key)] != area:
        raise ConfigurationError(
            f"Helicone keeps the data of `helicone_log`'s key in {HELICONE_AREAS[is_eu_key(key)]}, not in {area}: "
            "use a key of the area (sk-helicone-eu-… for the EU)"
        )


__all__ = [
    "API_VARIABLE",
    "CLOUD_API",
    "CLOUD_API_EU",
    "CLOUD_LOG",
    "ApiTarget",
    "HeliconeLog",
    "LogTarget",
    "Services",
    "api_target",
    "is_eu_key",
    "services_of",
]
