"""Where a call goes and how it is spoken there: one `Endpoint` per provider and model.

Four dialects: `helicone` (the AI Gateway: `model/provider`, Helicone's key as bearer), `proxy` (a provider's own
Helicone host, the provider's shape and auth plus `Helicone-Auth`), `rust` (the self-hosted gateway:
`provider/model` under `/ai`) and `openai` (any OpenAI-compatible endpoint: bare model names, no Helicone headers).
A provider's key only ever goes to that provider's proxy host or to its explicit entry in `provider_urls`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote, urlsplit

import msgspec
from msgspec.structs import force_setattr

from .._arguments import check_url
from .._providers import PROVIDERS, Auth, Provider, Shape
from .._values import Credential
from ..config import Settings, is_access_token
from ..errors import ConfigurationError
from .headers import header_value

Dialect = Literal["helicone", "proxy", "rust", "openai"]
_AZURE_API_VERSION = "2024-10-21"
_VERTEX_LOCATION = "us-central1"
_ONWARD = ("Helicone-Target-URL", "Helicone-OpenAI-Api-Base")
_LOCATION = re.compile(r"[a-z0-9-]+")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One place that answers for a provider and model: URL, constant headers (secrets included), shape, wire name.

    `credential` names the token that each request needs besides; it changes, so it is in no header yet. What follows
    from the rest is worked out once, since every call asks for it: `key` names the target on boards, `host` is host and
    port, for records, without path and key.
    """

    provider: str
    model: str
    dialect: Dialect
    shape: Shape
    base_url: str
    chat_url: str
    wire_model: str
    headers: Mapping[str, str]
    stream_usage: bool = True
    credential: Credential = ""
    key: tuple[str, str] = ("", "")
    host: str = ""
    is_gateway: bool = False
    """Whether the AI Gateway writes the replies, with its own way of counting tokens and telling errors."""
    answers_by_tool: bool = False
    """Whether a structured answer must come as a tool call: Claude natively, and where a gateway speaks to it."""

    def __post_init__(self) -> None:
        speaks_to_it = self.dialect in ("helicone", "rust")
        is_claude = self.provider == "anthropic" or self.model.startswith("claude")
        for name, value in (
            ("key", (self.provider, self.model)),
            ("host", urlsplit(self.base_url).netloc),
            ("is_gateway", self.dialect == "helicone"),
            ("answers_by_tool", self.shape == "anthropic" or (speaks_to_it and is_claude)),
        ):
            force_setattr(self, name, value)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host that a call passes, as far as it is told, the one it is sent to first; without ports."""
        onward = [self.headers[name] for name in _ONWARD if name in self.headers]
        return tuple(urlsplit(url).hostname or "" for url in (self.base_url, *onward))

    def __repr__(self) -> str:
        return f"Endpoint({self.provider}/{self.model} via {self.dialect} at {self.host})"


def default_model(settings: Settings, provider: str) -> str:
    """The model a call to this provider uses when it names none.

    Raises:
        ConfigurationError: the provider is not in the directory, so there is no default.
    """
    row = PROVIDERS.get(provider)
    if row is None:
        raise ConfigurationError(f"provider {provider!r} has no default model: name one with model=…")
    if row.gateway_model is not None and dialect_of(settings, provider) == "helicone":
        return row.gateway_model
    return row.default_model


def dialect_of(settings: Settings, provider: str) -> Dialect:
    """Which dialect a provider's calls are spoken in under these settings."""
    if provider in settings.provider_urls:
        return "proxy"
    if settings.gateway_dialect == "auto":
        return "proxy" if provider in settings.provider_keys else "helicone"
    return settings.gateway_dialect  # type: ignore[return-value]


def endpoint_for(settings: Settings, provider: str, model: str) -> Endpoint:
    """Where calls of this provider and model go.

    Raises:
        ConfigurationError: the provider is unknown, not offered there, or lacks a key or setting it needs.
    """
    row = PROVIDERS.get(provider)
    if row is None and provider not in settings.provider_urls and settings.gateway_dialect != "openai":
        raise ConfigurationError(
            f"unknown provider {provider!r}: known are {', '.join(sorted(PROVIDERS))}; "
            "any other needs an entry in provider_urls"
        )
    dialect = dialect_of(settings, provider)
    if dialect == "proxy":
        return _proxy(settings, provider, row, model)
    if dialect == "helicone":
        return _ai_gateway(settings, provider, row, model)
    base, headers = settings.gateway_url, _bearer(settings)
    if dialect == "rust":
        if row is not None and row.rust_name is None:
            raise ConfigurationError(f"the Rust gateway does not offer {provider!r}: use another provider or dialect")
        path = urlsplit(base).path
        base = base if path.endswith("/ai") or "/router/" in path else f"{base}/ai"
        wire_model = f"{row.rust_name if row else provider}/{model}"
    else:
        base, wire_model = base if urlsplit(base).path else f"{base}/v1", model
    return Endpoint(
        provider=provider, model=model, dialect=dialect, shape="openai", base_url=base, headers=headers,
        chat_url=f"{base}/chat/completions", wire_model=wire_model, credential=_own_credential(settings),
    )  # fmt: skip


def _bearer(settings: Settings) -> dict[str, str]:
    key = settings.helicone_api_key
    return {} if key is None or settings.oauth else {"Authorization": f"Bearer {key.reveal()}"}


def _own_credential(settings: Settings) -> Credential:
    """At a gateway of the caller's own the OAuth token takes the place of Helicone's key."""
    return "oauth2" if settings.oauth else ""


def _ai_gateway(settings: Settings, provider: str, row: Provider | None, model: str) -> Endpoint:
    if row is None or row.gateway_name is None:
        variable = row.env[0] if row and row.env else f"{provider.upper()}_API_KEY"
        raise ConfigurationError(
            f"the AI Gateway does not offer {provider!r}: give its key (provider_keys={{{provider!r}: …}} or "
            f"{variable}) to reach it through its own Helicone host"
        )
    base = settings.gateway_url
    base = base if base.endswith("/v1") else f"{base}/v1"
    return Endpoint(
        provider=provider, model=model, dialect="helicone", shape="openai", base_url=base, headers=_bearer(settings),
        chat_url=f"{base}/chat/completions", wire_model=_gateway_model(model, row.gateway_name),
        credential=_own_credential(settings),
    )  # fmt: skip


def _gateway_model(model: str, gateway_name: str) -> str:
    """`name/provider[/keyId]`, the one provider meant: a list would let the gateway choose another, unpriced one."""
    name, *place = model.split("/")
    if (
        not name.strip()
        or "," in model
        or model.startswith("!")
        or len(place) > 2
        or place[:1] not in ([], [gateway_name])
    ):
        raise ConfigurationError(
            f"`model` {model!r} is no name in the AI Gateway: write the bare name it has there, such as gpt-4o-mini or "
            "llama-3.3-70b-instruct, or give the provider's key to use the provider's own names"
        )
    return model if place else f"{name}/{gateway_name}"


def _proxy(settings: Settings, provider: str, row: Provider | None, model: str) -> Endpoint:
    key = settings.provider_keys.get(provider)
    custom = settings.provider_urls.get(provider)
    if custom is None and key is None:
        variable = row.env[0] if row and row.env else f"{provider.upper()}_API_KEY"
        raise ConfigurationError(f"no key for {provider!r}: pass provider_keys={{{provider!r}: …}} or set {variable}")
    credential: Credential = "vertex" if provider == "vertex" and key and not is_access_token(key) else ""
    sent = None if credential else key
    headers = _auth_headers(row.auth if row else "bearer", sent.reveal()) if sent is not None else {}
    if settings.helicone_api_key is not None:
        headers["Helicone-Auth"] = f"Bearer {settings.helicone_api_key.reveal()}"
    shape: Shape = row.shape if row else "openai"
    if shape == "anthropic":
        headers["anthropic-version"] = "2023-06-01"
    if custom is not None:
        base = custom
    elif row is not None and row.base_url is not None:
        base = _special_base(settings, row, model, headers) or row.base_url
    else:
        raise ConfigurationError(
            f"Helicone has no proxy host for {provider!r} that takes a plain key: use the AI Gateway"
        )
    path = "/messages" if shape == "anthropic" else "/chat/completions"
    query = _azure_query(settings) if provider == "azure" and custom is None else ""
    return Endpoint(
        provider=provider, model=model, dialect="proxy", shape=shape, base_url=base, headers=headers,
        chat_url=f"{base}{path}{query}", wire_model=_own_name(provider, model),
        stream_usage=row.stream_usage if row else True, credential=credential,
    )  # fmt: skip


def _auth_headers(auth: Auth, key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if auth == "bearer" else {auth: key}


def _own_name(provider: str, model: str) -> str:
    """Vertex names its publishers; everybody else takes the name as it is."""
    return f"google/{model}" if provider == "vertex" and "/" not in model else model


def _special_base(settings: Settings, row: Provider, model: str, headers: dict[str, str]) -> str | None:
    """The base of the three providers that share a host and say in a header where the call is to go on to."""
    if row.target_url is not None:
        headers["Helicone-Target-URL"] = row.target_url
    if row.name == "azure":
        return _azure_base(settings, row, model, headers)
    if row.name == "vertex":
        return _vertex_base(settings, row, headers)
    return None


def _azure_base(settings: Settings, row: Provider, model: str, headers: dict[str, str]) -> str:
    endpoint = settings.environ.get("AZURE_OPENAI_ENDPOINT", "")
    if not endpoint.startswith("https://"):
        raise ConfigurationError("azure needs AZURE_OPENAI_ENDPOINT, such as https://my-resource.openai.azure.com")
    headers["Helicone-OpenAI-Api-Base"] = check_url("AZURE_OPENAI_ENDPOINT", endpoint)
    headers["Helicone-Model-Override"] = header_value("model", model)
    return f"{row.base_url}/openai/deployments/{quote(model, safe='')}"


def _vertex_base(settings: Settings, row: Provider, headers: dict[str, str]) -> str:
    environ = settings.environ
    project = environ.get("GOOGLE_CLOUD_PROJECT") or environ.get("VERTEX_PROJECT")
    if not project:
        raise ConfigurationError("vertex needs GOOGLE_CLOUD_PROJECT; its region is GOOGLE_CLOUD_LOCATION")
    location = environ.get("GOOGLE_CLOUD_LOCATION") or _VERTEX_LOCATION
    if not _LOCATION.fullmatch(location):
        raise ConfigurationError(f"GOOGLE_CLOUD_LOCATION is {location!r}: give a region such as {_VERTEX_LOCATION}")
    host = "aiplatform" if location == "global" else f"{location}-aiplatform"
    headers["Helicone-Target-URL"] = f"https://{host}.googleapis.com"
    return f"{row.base_url}/v1/projects/{quote(project, safe='')}/locations/{location}/endpoints/openapi"


def _azure_query(settings: Settings) -> str:
    return f"?api-version={quote(settings.environ.get('OPENAI_API_VERSION', _AZURE_API_VERSION), safe='')}"


def embeddings_url(endpoint: Endpoint) -> str:
    """Where embeddings of this endpoint go.

    Raises:
        ConfigurationError: the AI Gateway, the Rust gateway and Anthropic offer none.
    """
    if endpoint.dialect in ("helicone", "rust") or endpoint.shape == "anthropic":
        where = {"helicone": "the AI Gateway", "rust": "the Rust gateway"}.get(endpoint.dialect, endpoint.provider)
        raise ConfigurationError(
            f"{where} has no embeddings: give a key for a provider that has (provider_keys={{'openai': …}}) "
            "so that the call goes through that provider's own Helicone host"
        )
    query = endpoint.chat_url.partition("?")[2]
    return f"{endpoint.base_url}/embeddings" + (f"?{query}" if query else "")


__all__ = ["Dialect", "Endpoint", "default_model", "dialect_of", "embeddings_url", "endpoint_for"]
