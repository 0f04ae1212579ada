"""The adapter's settings: arguments completed from the environment, checked once, secrets kept out of sight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ._arguments import check_bool, check_int, check_label, check_positive, check_url
from ._compliance_settings import Compliance, GivenCompliance, compliance_of, refuse_insecure
from ._helicone_settings import HeliconeLog, Services, services_of
from ._money_settings import checked_currency, checked_fee_rates, checked_state_url
from ._oauth_settings import OAuth, oauth_of
from ._providers import DEFAULT_PROVIDERS, PROVIDERS, canonical
from ._secret import Secret, check_key
from ._telemetry_settings import ContentCapture, capture_of, checked_provider
from ._values import Currency
from .errors import ConfigurationError

CLOUD_GATEWAY = "https://ai-gateway.helicone.ai"
DIALECTS = ("auto", "helicone", "proxy", "rust", "openai")
DEFAULT_MAX_RESPONSE_BYTES = 64 * 1024 * 1024
PLACES = (
    "AZURE_OPENAI_ENDPOINT", "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_PROJECT", "OPENAI_API_VERSION", "VERTEX_PROJECT",
)  # fmt: skip
"""What the environment tells of places; `Settings` keeps these variables and no other, for others hold keys."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an adapter was told, complete and checked.

    `gateway_url` has no trailing slash; `is_cloud` says that it is Helicone's own AI Gateway; `candidates` are the
    providers a call may go to when it names none. `environ` has the variables in `PLACES`. Times are seconds.
    `record_histograms` (`GENOPS_RECORD_HISTOGRAMS`) trades speed for exemplars, `by_session`
    (`GENOPS_TRANSPORT=session`) for requests that use nothing of aiohttp but its session.
    """

    helicone_api_key: Secret | None
    provider_keys: Mapping[str, Secret]
    provider_urls: Mapping[str, str]
    gateway_url: str
    gateway_dialect: str
    is_cloud: bool
    candidates: tuple[str, ...]
    default_attributes: Mapping[str, str]
    timeout_s: float
    retry_attempts: int
    max_connections: int
    max_response_bytes: int
    enable_cost_tracking: bool
    gateway_fee_rates: Mapping[str, float]
    currency: Currency
    prices: Mapping[Any, Any]
    state_url: str | None
    trust_env: bool
    meter_provider: Any = None
    tracer_provider: Any = None
    logger_provider: Any = None
    content_capture: ContentCapture = "NO_CONTENT"
    record_histograms: bool = False
    by_session: bool = False
    allow_insecure_http: bool = False
    compliance: Compliance = Compliance()
    oauth: OAuth | None = None
    services: Services = Services()
    environ: Mapping[str, str] = {}

    def secrets(self) -> tuple[str, ...]:
        """Every secret's text, for scrubbing messages that quote what we sent."""
        oauth, log = self.oauth, self.services.log
        others = (self.helicone_api_key, oauth.client_secret if oauth else None, log.key if log else None)
        return tuple(key.reveal() for key in (*self.provider_keys.values(), *others) if key is not None)


class GivenSettings(GivenCompliance, kw_only=True):
    """The constructor's arguments as they were given; None stands for "not given"."""

    helicone_api_key: str | None = None
    provider_keys: Mapping[str, str] | None = None
    default_attributes: Mapping[str, str] | None = None
    gateway_url: str | None = None
    gateway_dialect: str = "auto"
    provider_urls: Mapping[str, str] | None = None
    timeout_seconds: float = 30.0
    retry_attempts: int = 3
    max_connections: int | None = None
    max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES
    enable_cost_tracking: bool = True
    cost_currency: str = "USD"
    exchange_rates: Mapping[str, float] | None = None
    state_url: str | None = None
    gateway_fee_rates: Mapping[str, float] | None = None
    prices: Mapping[Any, Any] | None = None
    allow_insecure_http: bool = False
    trust_env: bool = False
    meter_provider: Any = None
    tracer_provider: Any = None
    logger_provider: Any = None
    auth_mode: str = "api_key"
    oauth_config: Mapping[str, Any] | None = None
    helicone_api_url: str | None = None
    helicone_log: HeliconeLog | None = None

    def __repr__(self) -> str:
        return "GivenSettings(<not shown: the keys are still plain text>)"


def resolve(given: GivenSettings, environ: Mapping[str, str], open_file_limit: int) -> Settings:
    """Completes the given settings from the environment and checks them.

    `open_file_limit` is the process's own; without a `max_connections` the pool takes what it allows, 10,000 at most.

    Raises:
        ConfigurationError: a setting is wrong, or nothing is there to authenticate with.
        TypeError: a setting has the wrong type.
    """
    gateway_url, dialect, is_cloud = _gateway(given, environ)
    urls = _provider_urls(given)
    keys = _provider_keys(given, environ, frozenset(urls))
    helicone_key = _helicone_key(given, environ)
    may_be_plain = check_bool("allow_insecure_http", given.allow_insecure_http)
    compliance = compliance_of(given, environ, priced=given.enable_cost_tracking)
    settings = Settings(
        helicone_api_key=helicone_key,
        provider_keys=keys,
        provider_urls=urls,
        gateway_url=gateway_url,
        gateway_dialect=dialect,
        is_cloud=is_cloud,
        candidates=_candidates(keys, urls, dialect, environ),
        default_attributes=_attributes(given, environ),
        timeout_s=_positive("timeout_seconds", given.timeout_seconds),
        retry_attempts=_count("retry_attempts", given.retry_attempts, 0),
        max_connections=_max_connections(given.max_connections, open_file_limit),
        max_response_bytes=_count("max_response_bytes", given.max_response_bytes, 1),
        enable_cost_tracking=check_bool("enable_cost_tracking", given.enable_cost_tracking),
        gateway_fee_rates=checked_fee_rates(_pairs("gateway_fee_rates", given.gateway_fee_rates)),
        currency=checked_currency(given.cost_currency, dict(_pairs("exchange_rates", given.exchange_rates))),
        prices=dict(_pairs("prices", given.prices, names=False)),
        state_url=checked_state_url(given.state_url or environ.get("GENOPS_STATE_URL") or None),
        trust_env=check_bool("trust_env", given.trust_env),
        meter_provider=checked_provider("meter_provider", "get_meter", given.meter_provider),
        tracer_provider=checked_provider("tracer_provider", "get_tracer", given.tracer_provider),
        logger_provider=checked_provider("logger_provider", "get_logger", given.logger_provider),
        content_capture="NO_CONTENT" if compliance.mode else capture_of(environ),
        by_session=environ.get("GENOPS_TRANSPORT", "").lower() == "session",
        record_histograms=environ.get("GENOPS_RECORD_HISTOGRAMS", "").lower() in ("1", "true", "yes"),
        allow_insecure_http=may_be_plain and not compliance.mode,
        compliance=compliance,
        oauth=oauth_of(given.auth_mode, given.oauth_config, is_cloud=is_cloud),
        services=services_of(given, environ, helicone_key, dialect, compliance),
        environ={name: environ[name] for name in PLACES if environ.get(name)},
    )
    _check_authentication(settings)
    _refuse_insecure(settings)
    return settings


def _refuse_insecure(settings: Settings) -> None:
    """Refuses ways on which a key or token, or under compliance anything at all, would show to the network."""
    if settings.allow_insecure_http:  # which compliance overrules
        return
    keys, urls, strictly = settings.provider_keys, settings.provider_urls, settings.compliance.mode
    all_of_them = strictly or settings.helicone_api_key is not None
    keyed = urls if all_of_them else {name: url for name, url in urls.items() if name in keys}
    gateway_url = settings.gateway_url if all_of_them or settings.oauth is not None else None
    refuse_insecure(gateway_url, keyed, settings.state_url, strictly=strictly)


def _gateway(given: GivenSettings, environ: Mapping[str, str]) -> tuple[str, str, bool]:
    """The gateway's URL, the dialect spoken there, and whether it is Helicone's cloud."""
    url = given.gateway_url if given.gateway_url is not None else environ.get("HELICONE_GATEWAY_URL") or CLOUD_GATEWAY
    url = check_url("gateway_url", url)
    dialect = given.gateway_dialect
    if dialect not in DIALECTS:
        raise ConfigurationError(f"`gateway_dialect` is {dialect!r}: use one of {', '.join(DIALECTS)}")
    is_cloud = url in (CLOUD_GATEWAY, CLOUD_GATEWAY + "/v1")
    if dialect == "proxy" and not is_cloud:
        raise ConfigurationError(
            "`gateway_dialect` 'proxy' goes to each provider's own Helicone host, not to `gateway_url`: "
            "name your hosts in `provider_urls`, or leave the dialect to 'auto'"
        )
    if dialect == "rust" and is_cloud:
        raise ConfigurationError("`gateway_dialect` 'rust' is spoken by a gateway of your own: give its `gateway_url`")
    return url, "helicone" if dialect == "auto" and not is_cloud else dialect, is_cloud


def _provider_urls(given: GivenSettings) -> dict[str, str]:
    return {
        canonical(name): check_url(f"provider_urls[{name!r}]", url)
        for name, url in _pairs("provider_urls", given.provider_urls)
    }


def _helicone_key(given: GivenSettings, environ: Mapping[str, str]) -> Secret | None:
    if given.helicone_api_key is not None:
        return check_key("helicone_api_key", given.helicone_api_key)
    text = environ.get("HELICONE_API_KEY")
    return check_key("HELICONE_API_KEY", text) if text else None


def _provider_keys(given: GivenSettings, environ: Mapping[str, str], custom: frozenset[str]) -> dict[str, Secret]:
    """Explicit keys in the order given, else those of the environment in the directory's order."""
    if given.provider_keys is not None:
        keys = {}
        for name, key in _pairs("provider_keys", given.provider_keys):
            provider = canonical(name)
            if provider not in PROVIDERS and provider not in custom:
                raise ConfigurationError(
                    f"`provider_keys` names the unknown provider {name!r}: known are {', '.join(sorted(PROVIDERS))}; "
                    "any other needs an entry in `provider_urls`"
                )
            if provider in keys:
                raise ConfigurationError(
                    f"`provider_keys` has two keys for {provider!r}: {name!r} is another name of it"
                )
            keys[provider] = check_key(f"provider_keys[{name!r}]", key)
        return keys
    found = {}
    for provider, row in PROVIDERS.items():
        for variable in row.env:
            if text := environ.get(variable):
                found[provider] = Secret(text) if provider == "vertex" else check_key(variable, text)
                break
    return found


def is_access_token(key: Secret) -> bool:
    """Whether a vertex credential can be sent as it is; what VERTEX_AI_CREDENTIALS holds is usually a file's path."""
    text = key.reveal()
    return not ("/" in text or "\\" in text or text.endswith(".json") or any(not "!" <= char <= "~" for char in text))


def _candidates(
    keys: Mapping[str, Secret], urls: Mapping[str, str], dialect: str, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """The providers with a key or URL of their own, but for a vertex that lacks its project."""
    own_hosts = dialect in ("auto", "proxy")
    ready = not own_hosts or environ.get("GOOGLE_CLOUD_PROJECT") or environ.get("VERTEX_PROJECT")
    usable = [name for name, key in keys.items() if name != "vertex" or ready or is_access_token(key)]
    configured = tuple(dict.fromkeys([*usable, *urls]))
    if configured:
        return configured
    return DEFAULT_PROVIDERS if dialect != "openai" else DEFAULT_PROVIDERS[:1]


def _attributes(given: GivenSettings, environ: Mapping[str, str]) -> dict[str, str]:
    attributes = {}
    for name, variable in (
        ("team", "GENOPS_TEAM"),
        ("project", "GENOPS_PROJECT"),
        ("environment", "GENOPS_ENVIRONMENT"),
    ):
        if text := environ.get(variable):
            check_label(variable, text)
            attributes[name] = text
    if text := environ.get("GENOPS_SERVICE_NAME"):
        check_label("GENOPS_SERVICE_NAME", text)
        attributes["service_name"] = text
    for name, text in _pairs("default_attributes", given.default_attributes):
        check_label(f"default_attributes[{name!r}]", text)
        attributes[name] = text
    return attributes


def _check_authentication(settings: Settings) -> None:
    if settings.helicone_api_key or settings.oauth or settings.gateway_dialect in ("openai", "rust"):
        return
    if settings.provider_urls or (settings.gateway_dialect in ("auto", "proxy") and settings.provider_keys):
        return
    raise ConfigurationError(
        "no key to authenticate with: pass helicone_api_key=… or set HELICONE_API_KEY "
        "(try it without any key: `python -m genops_helicone_async demo`)"
    )


def _max_connections(given: int | None, open_file_limit: int) -> int:
    if given is not None:
        return _count("max_connections", given, 1)
    spare = max(open_file_limit // 16, 64)  # logs, databases, other clients of the process
    return max(16, min(10_000, open_file_limit - spare))


def _pairs(name: str, value: Mapping[Any, Any] | None, *, names: bool = True) -> list[tuple[Any, Any]]:
    """The items of a mapping, whose keys are names unless `names` says otherwise."""
    if value is None:
        return []
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` must be a mapping, not {type(value).__name__}")
    for key in value if names else ():
        if not isinstance(key, str) or not key.strip():
            raise ConfigurationError(f"`{name}` has the key {key!r}: keys are non-empty names")
    return list(value.items())


def _positive(name: str, value: Any) -> float:
    check_positive(name, value)
    return float(value)


def _count(name: str, value: Any, least: int) -> int:
    check_int(least, f"{least} or more")(name, value)
    return int(value)


__all__ = ["CLOUD_GATEWAY", "DIALECTS", "GivenSettings", "Secret", "Settings", "resolve"]
