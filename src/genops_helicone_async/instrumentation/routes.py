"""Where the providers' own hosts are sent to with `route_through_gateway`: their Helicone hosts, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from .._providers import PROVIDERS
from ..config import Settings
from ..errors import ConfigurationError
from .places import Url, url_of

_DEFAULT_HOSTS = {"api.openai.com": "openai", "api.anthropic.com": "anthropic"}
_VERSION = "/v1"


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request is sent instead: the URL without its query, and the headers that go with it, a key included."""

    url: Url
    text: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Elsewhere({self.text})"


class Routes:
    """The hosts that are sent elsewhere. A provider's key goes to that provider's own Helicone host or URL only."""

    __slots__ = ("_bases", "_headers")

    def __init__(self, bases: Mapping[str, str], helicone_key: str) -> None:
        self._bases = bases
        self._headers = {"Helicone-Auth": f"Bearer {helicone_key}"} if bases else {}

    def __repr__(self) -> str:
        return f"Routes({', '.join(f'{host} → {base}' for host, base in self._bases.items()) or 'none'})"

    def of(self, url: Url) -> Elsewhere | None:
        """Where the request goes; None where it stays as it is."""
        base = self._bases.get(url.host)
        if base is None or url.scheme != "https" or url.port not in (None, 443):
            return None
        if not (url.path == _VERSION or url.path.startswith(f"{_VERSION}/")):
            return None
        text = base + url.path.removeprefix(_VERSION)
        return Elsewhere(url=url_of(text), text=text, headers=self._headers)


def no_routes() -> Routes:
    """Every request stays as it is."""
    return Routes({}, "")


def routes_of(settings: Settings) -> Routes:
    """The routes under these settings.

    Raises:
        ConfigurationError: there is no Helicone key, or a gateway of one's own that no `provider_urls` leads to.
    """
    if settings.helicone_api_key is None:
        raise ConfigurationError(
            "`route_through_gateway` needs Helicone's key: pass helicone_api_key=… or set HELICONE_API_KEY"
        )
    bases = {}
    for host, provider in _DEFAULT_HOSTS.items():
        base = settings.provider_urls.get(provider)
        if base is None and settings.is_cloud:
            base = PROVIDERS[provider].base_url
        if base is not None:
            bases[host] = base
    if not bases:
        raise ConfigurationError(
            "`route_through_gateway` with a gateway of your own needs `provider_urls`, such as "
            "{'openai': 'https://my-proxy.example/v1'}: providers' keys are sent to no other host"
        )
    return Routes(bases, settings.helicone_api_key.reveal())


__all__ = ["Elsewhere", "Routes", "no_routes", "routes_of"]
