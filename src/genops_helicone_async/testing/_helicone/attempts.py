"""The AI Gateway's model grammar: a list of names becomes an ordered list of attempts."""

from collections.abc import Collection

import msgspec

from .._simulated.catalogue import BY_GATEWAY_NAME, GATEWAY_PROVIDER_NAMES, Provider
from .._simulated.prices import PriceBook
from ..exchange import Reply, text_reply
from .catalogue import OLD_NAMES, REGISTRY, Endpoint

_MODELS_PAGE = "https://helicone.ai/models"
KEY_ID = "cuid_{provider}"
"""Ids of the stored keys, for `name/provider/keyId`."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One provider to try, with whose key."""

    name: str
    provider: Provider
    provider_name: str
    model: str
    on_credits: bool
    endpoint: Endpoint | None = None
    """The registry's entry; None for a name passed through to the organisation's own key."""
    key_id: str | None = None

    @property
    def source(self) -> str:
        """How error details name it."""
        mode = "ptb" if self.on_credits else "byok"
        key = f"/{self.key_id}" if self.key_id else ""
        return f"{self.name}/{self.provider_name}/{mode}{key}"


class ModelRefused(Exception):
    """The model string is answered with plain text before anything is tried."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.reply: Reply = text_reply(400, message)


class AttemptPlanner:
    """Turns model strings into attempts for an organisation with these stored keys."""

    __slots__ = ("_book", "_own_keys")

    def __init__(self, own_keys: Collection[str], book: PriceBook) -> None:
        self._own_keys = own_keys
        self._book = book

    def plan(self, models: str) -> list[Attempt]:
        """The attempts in order; items that name nothing usable drop out silently.

        Raises:
            ModelRefused: A malformed exclusion.
        """
        items = [item.strip() for item in models.split(",")]
        excluded = {_excluded(item) for item in items if item.startswith("!")}
        attempts: list[Attempt] = []
        for item in items:
            if item and not item.startswith("!"):
                attempts += self._expand(item, excluded)
        return attempts

    def _expand(self, item: str, excluded: Collection[str]) -> list[Attempt]:
        name, *rest = item.split("/")
        name = name.removesuffix(":online")
        name = OLD_NAMES.get(name, name)
        provider_name = rest[0] if rest else None
        key_id = rest[1] if len(rest) > 1 else None
        if provider_name is None:
            endpoints = list(REGISTRY[name].endpoints) if name in REGISTRY else []
            endpoints = [one for one in endpoints if one.provider not in excluded]
            return [*self._own(name, endpoints, None), *self._on_credits(name, endpoints)]
        if provider_name not in BY_GATEWAY_NAME or provider_name in excluded:
            return []
        offered = REGISTRY[name].endpoints if name in REGISTRY else ()
        endpoints = [one for one in offered if one.provider == provider_name]
        own = self._own(name, endpoints, key_id) or self._passed_through(name, provider_name, key_id)
        return [*own, *self._on_credits(name, endpoints)]

    def _own(self, name: str, endpoints: list[Endpoint], key_id: str | None) -> list[Attempt]:
        usable = [one for one in endpoints if self._has_key(one.provider, key_id)]
        usable.sort(key=lambda one: BY_GATEWAY_NAME[one.provider].gateway_priority or 0)
        return [_attempt(name, one, on_credits=False, key_id=key_id) for one in usable]

    def _passed_through(self, name: str, provider_name: str, key_id: str | None) -> list[Attempt]:
        if not self._has_key(provider_name, key_id):
            return []
        attempt = Attempt(
            name=name,
            provider=BY_GATEWAY_NAME[provider_name],
            provider_name=provider_name,
            model=name,
            on_credits=False,
            key_id=key_id,
        )
        return [attempt]

    def _on_credits(self, name: str, endpoints: list[Endpoint]) -> list[Attempt]:
        usable = [one for one in endpoints if one.on_credits]
        if len(usable) > 1:
            usable.sort(key=self._price_rank)
        return [_attempt(name, one, on_credits=True) for one in usable]

    def _price_rank(self, endpoint: Endpoint) -> tuple[float, int]:
        provider = BY_GATEWAY_NAME[endpoint.provider]
        price = sum(self._book.base_rates_usd(provider.name, endpoint.model))
        return float(price), provider.gateway_priority or 0

    def _has_key(self, provider_name: str, key_id: str | None) -> bool:
        provider = BY_GATEWAY_NAME[provider_name]
        if provider.name not in self._own_keys:
            return False
        # An unknown key id falls through to Helicone's own key, silently.
        return key_id is None or key_id == KEY_ID.format(provider=provider_name)


def _attempt(name: str, endpoint: Endpoint, *, on_credits: bool, key_id: str | None = None) -> Attempt:
    return Attempt(
        name=name,
        provider=BY_GATEWAY_NAME[endpoint.provider],
        provider_name=endpoint.provider,
        model=endpoint.model,
        on_credits=on_credits,
        endpoint=endpoint,
        key_id=key_id,
    )


def _excluded(item: str) -> str:
    provider = item[1:].strip()
    if not provider:
        raise ModelRefused("Invalid global ignore syntax. Use !provider (e.g., !openai)")
    if provider not in GATEWAY_PROVIDER_NAMES:
        raise ModelRefused(
            f"Invalid provider in global ignore list: {provider}. See supported providers at {_MODELS_PAGE}"
        )
    return provider
