"""Which requests go to Helicone: by host, path and headers, without looking at a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from .._providers import PROVIDERS, canonical
from .._wire.dialects import Dialect
from ..config import Settings

Kind = Literal["chat", "messages", "responses", "generate", "embeddings"]

_CLOUD = (".helicone.ai", ".hconeai.com")
_AI_GATEWAY = "ai-gateway.helicone.ai"
_NO_CALLS = frozenset({"api.helicone.ai", "eu.api.helicone.ai", "us.helicone.ai", "eu.helicone.ai", "www.helicone.ai"})
"""Helicone's own API and pages, where no model answers."""
_ENDINGS: tuple[tuple[str, Kind], ...] = (
    ("/chat/completions", "chat"),
    ("/messages", "messages"),
    ("/responses", "responses"),
    ("/embeddings", "embeddings"),
    (":generateContent", "generate"),
    (":streamGenerateContent", "generate"),
)
_TARGETS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.groq.com": "groq",
    "api.together.xyz": "together",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "xai",
    "openrouter.ai": "openrouter",
    "api.perplexity.ai": "perplexity",
    "api.fireworks.ai": "fireworks",
    "api.cerebras.ai": "cerebras",
    "generativelanguage.googleapis.com": "gemini",
}
"""Hosts that `Helicone-Target-URL` may name."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request goes: what is asked there, who answers (None where the body tells), in which dialect."""

    kind: Kind
    host: str
    path: str
    dialect: Dialect
    provider: str | None = None

    @property
    def is_cloud(self) -> bool:
        """Whether it is Helicone's own AI Gateway."""
        return self.host == _AI_GATEWAY


class Places:
    """Knows Helicone's cloud hosts, the configured gateway and the configured provider URLs."""

    __slots__ = ("_known", "_netlocs")

    def __init__(self, settings: Settings) -> None:
        gateway: Dialect = "rust" if settings.gateway_dialect == "rust" else "helicone"
        if settings.gateway_dialect == "openai":
            gateway = "openai"
        known: list[tuple[str, str, str | None, Dialect]] = [
            (*_split(url), provider, "proxy") for provider, url in settings.provider_urls.items()
        ]
        known.append((*_split(settings.gateway_url), None, gateway))
        self._known = sorted(known, key=lambda each: -len(each[1]))  # the longest path first
        self._netlocs = frozenset(netloc for netloc, *_ in known)

    def __repr__(self) -> str:
        return f"Places({', '.join(sorted(self._netlocs))} and Helicone's cloud)"

    def find(self, url: Url, headers: Mapping[str, str]) -> Place | None:
        """The place of a POST request; None where it does not go to Helicone, or asks no model anything."""
        if url.netloc in self._netlocs:
            for netloc, prefix, provider, dialect in self._known:
                if url.netloc == netloc and (not prefix or url.path.startswith(prefix)):
                    named = provider or _named_target(headers) or _passed_to(url.path.removeprefix(prefix))
                    return _place(url, named, dialect if named is None else "proxy")
        if url.host.endswith(_CLOUD) and url.host not in _NO_CALLS:
            if url.host == _AI_GATEWAY:
                return _place(url, None, "helicone")
            return _place(url, _owner(url, headers), "proxy")
        return None


class Url(msgspec.Struct, frozen=True):
    """A URL as far as it decides; `netloc` has the port only where it is not the scheme's own."""

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def netloc(self) -> str:
        """Host and port."""
        usual = {"https": 443, "http": 80}.get(self.scheme)
        return self.host if self.port in (None, usual) else f"{self.host}:{self.port}"


def url_of(text: str) -> Url:
    """The parts of a URL; raises `ValueError` where it is none."""
    parts = urlsplit(text)
    return Url(parts.scheme, (parts.hostname or "").lower(), parts.port, parts.path)


def _split(text: str) -> tuple[str, str]:
    url = url_of(text)
    return url.netloc, url.path.rstrip("/").removesuffix("/v1")


def _place(url: Url, provider: str | None, dialect: Dialect) -> Place | None:
    path = url.path.rstrip("/")
    if dialect == "helicone" and ("/ai/" in path or "/router/" in path):
        dialect = "rust"
    for ending, kind in _ENDINGS:
        if path.endswith(ending):
            return Place(kind=kind, host=url.netloc, path=path, provider=provider, dialect=dialect)
    if dialect == "helicone" and url.host == _AI_GATEWAY:  # it takes a chat under any path
        return Place(kind="chat", host=url.netloc, path=path, provider=provider, dialect=dialect)
    return None


def _owner(url: Url, headers: Mapping[str, str]) -> str | None:
    """Whose proxy host it is."""
    if "/deployments/" in url.path or "helicone-openai-api-base" in headers:
        return "azure"
    name = url.host.split(".", 1)[0]
    if name == "gateway":
        return _named_target(headers)
    name = {"oai": "openai", "google": "gemini"}.get(name, name)
    return canonical(name)


def _named_target(headers: Mapping[str, str]) -> str | None:
    target = headers.get("helicone-target-url")
    if target is None:
        return None
    host = (urlsplit(target).hostname or "").lower()
    if host.endswith("aiplatform.googleapis.com"):
        return "vertex"
    if host.endswith(".openai.azure.com"):
        return "azure"
    return _TARGETS.get(host) or host or None


def _passed_to(path: str) -> str | None:
    """The provider whose name is in the path: gateways of one's own pass `/groq/…` on to Groq as it is."""
    return next((part for part in path.split("/") if part in PROVIDERS), None)


def known_provider(name: str) -> str | None:
    """The directory's name of a provider under any of its spellings; None where it knows none of that name."""
    found = canonical(name)
    if found in PROVIDERS:
        return found
    return next((row.name for row in PROVIDERS.values() if name in (row.gateway_name, row.rust_name)), None)


__all__ = ["Kind", "Place", "Places", "Url", "known_provider", "url_of"]
