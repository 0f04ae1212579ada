"""Who could answer a call: the providers and models it names or implies, each with its endpoint and price."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

import msgspec

from .._providers import ALIASES, PROVIDERS, canonical, maker_of
from .._rules.policy import Way, denial_of, denial_of_body, unpriced
from .._rules.preferences import parse_preferences
from .._rules.prices import Price, parse_override
from .._wire.dialects import Endpoint, default_model, dialect_of, endpoint_for
from ..chat_request import ChatRequest
from ..config import Settings
from ..errors import ConfigurationError, HeliconeError, PolicyDeniedError
from .in_time import in_time
from .ports import Prices
from .ticket import Target

_MOST_REMEMBERED = 4096
_named = attrgetter(
    "provider", "model", "providers", "model_preferences", "provider_preferences", "fallback_strategy", "extra_body",
    "prices",
)  # fmt: skip
_NO_MORE = (None,) * 6
_log = logging.getLogger("genops_helicone_async")


class _Known(msgspec.Struct, frozen=True):
    """The targets of calls that name just this, in this edition of the prices, until the first of these expires."""

    targets: list[Target]
    edition: object
    until_s: float | None


class Candidates:
    """Finds the targets of a call; endpoints are remembered, prices looked up each time that they may have changed.

    `clock` gives Unix seconds, for prices that expire.
    """

    __slots__ = ("_clock", "_known_lists", "_prices", "_remembered", "_settings", "_told")

    def __init__(self, settings: Settings, prices: Prices, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._prices = prices
        self._clock = clock
        self._remembered: dict[tuple[str, str], Target] = {}
        self._known_lists: dict[tuple[Any, ...], _Known] = {}
        self._told: set[str] = set()

    def of_nowait(self, request: ChatRequest) -> list[Target]:
        """The targets of an ordinary call, all of them known; empty for any other: then `of` finds or refuses them.

        They are the same list for the next call, not to be changed.
        """
        named = _named(request)
        try:
            known = self._known_lists.get(named)
        except TypeError:  # a list or a mapping is given
            known = None
        if known is None or known.edition is not self._prices.edition:
            return self._looked_up(request, named)
        if known.until_s is not None and self._clock() >= known.until_s:
            return self._looked_up(request, named)
        return known.targets

    def _looked_up(self, request: ChatRequest, named: tuple[Any, ...]) -> list[Target]:
        """The same by its steps; remembered for calls that name no more than a provider and a model."""
        if request.extra_body or request.prices or request.fallback_strategy or request.provider_preferences:
            return []
        if self._settings.compliance.mode:
            return []
        edition, now_s, is_priced = self._prices.edition, self._clock(), self._settings.enable_cost_tracking
        targets: list[Target] = []
        for key in self._asked(request):
            target = self._remembered.get(key)
            if target is None or (is_priced and target.price is not self._prices.lookup(*key, now_s)):
                return []
            targets.append(target)
        if named[2:] == _NO_MORE:
            if len(self._known_lists) >= _MOST_REMEMBERED:
                self._known_lists.clear()
            ends = [target.price.valid_until_s for target in targets if target.price is not None]
            until_s = min((end for end in ends if end is not None), default=None)
            self._known_lists[named] = _Known(targets, edition, until_s)
        return targets

    async def of(self, request: ChatRequest, deadline: float | None = None) -> list[Target]:
        """The targets in the order given; waits, until `deadline` on the loop's clock, only for prices never looked up.

        Raises:
            ConfigurationError: a provider or model is unknown or lacks what it needs.
            DeadlineExceededError: a price was not found in time.
            PolicyDeniedError: the adapter's policy allows none of them.
        """
        if request.extra_body and (denial := denial_of_body(self._settings.compliance, request.extra_body)):
            raise denial
        names = self._asked(request)
        if request.provider_preferences or request.fallback_strategy:
            _refuse_contradictions(request)
        if request.provider is None and request.providers is None and request.model is None:
            targets = await self._configured(names, deadline)
        else:
            targets = await self._permitted(names, deadline)
        if request.prices:
            targets = [_at_own_price(target, request.prices) for target in targets]
        return self.accountable(targets) if self._settings.compliance.mode else targets

    async def _permitted(self, names: list[tuple[str, str]], deadline: float | None) -> list[Target]:
        """The targets of a call that names whom to ask; those that the adapter's policy denies are left out."""
        targets, denial = [], None
        for provider, model in names:
            try:
                targets.append(await self.target(provider, model, deadline))
            except PolicyDeniedError as exc:
                denial = exc
        if not targets and denial is not None:
            raise denial
        return targets

    def accountable(self, targets: list[Target]) -> list[Target]:
        """Those with a price, where the adapter's policy asks for one; raises `PolicyDeniedError` where none has."""
        if not self._settings.compliance.mode:
            return targets
        priced = [target for target in targets if target.price is not None]
        if targets and not priced:
            raise unpriced(targets[0].endpoint.provider, targets[0].endpoint.model)
        return priced

    async def _configured(self, names: list[tuple[str, str]], deadline: float | None) -> list[Target]:
        """The targets of a call that names nobody: one that lacks a setting is no candidate, which is said once."""
        targets: list[Target] = []
        missing: HeliconeError | None = None
        for provider, model in names:
            try:
                targets.append(await self.target(provider, model, deadline))
            except (ConfigurationError, PolicyDeniedError) as exc:
                missing = exc
                if provider not in self._told:
                    self._told.add(provider)
                    _log.warning("%s is no candidate of calls that name no provider: %s", provider, exc.message)
        if not targets and missing is not None:
            raise missing
        return targets

    async def target(self, provider: str, model: str, deadline: float | None = None) -> Target:
        """One target, its price looked up if it has not been; raises `PolicyDeniedError` where policy denies it."""
        key = (provider, model)
        target = self._remembered.get(key)
        price = None
        if self._settings.enable_cost_tracking:
            price = self._prices.lookup(provider, model, self._clock())
            if price is not None and not isinstance(price, Price):
                looking = f"the price of {provider}/{model} was looked up for the first time"
                price = await in_time(self._prices.resolve(provider, model), deadline, looking)
        if target is None or target.price is not price:
            target = Target(endpoint=permitted_endpoint(self._settings, provider, model), price=price)
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = target
        return target

    def _asked(self, request: ChatRequest) -> list[tuple[str, str]]:
        """The providers and models that a call names or implies, in order."""
        if request.provider is not None and request.model is not None and request.provider in PROVIDERS:
            return [(request.provider, request.model)]
        return self._names(request)

    def _names(self, request: ChatRequest) -> list[tuple[str, str]]:
        preferences = {canonical(name): model for name, model in (request.model_preferences or {}).items()}
        if request.provider_preferences:
            weighted = parse_preferences(request.provider_preferences)
            preferences.update({p.provider: p.model for p in weighted if p.model is not None})
            providers = [self._known("provider_preferences", p.provider) for p in weighted]
        else:
            providers = self._providers(request)
        model = request.model
        if model is not None and not (request.provider or request.providers or request.provider_preferences):
            model, suffix = _split_suffix(model)
            providers = [suffix] if suffix else self._makers(model)
        for name in set(preferences) - set(providers):
            raise ConfigurationError(
                f"`model_preferences` names {name!r}, which is not among the providers of this call"
            )
        return [(name, preferences.get(name) or model or default_model(self._settings, name)) for name in providers]

    def _providers(self, request: ChatRequest) -> list[str]:
        if request.provider is not None:
            provider = self._known("provider", request.provider)
            others = self._settings.candidates if request.fallback_strategy else ()
            return list(dict.fromkeys([provider, *others]))
        given: Sequence[str] = request.providers or self._settings.candidates
        return list(dict.fromkeys(self._known("providers", name) for name in given))

    def _known(self, argument: str, name: str) -> str:
        provider = canonical(name)
        if provider in PROVIDERS or provider in self._settings.provider_urls:
            return provider
        raise ConfigurationError(
            f"`{argument}` names the unknown provider {name!r}: known are {', '.join(sorted(PROVIDERS))}; "
            "any other needs an entry in provider_urls"
        )

    def _makers(self, model: str) -> list[str]:
        """The provider a bare model belongs to, read off its name."""
        settings = self._settings
        if len(settings.candidates) == 1 or settings.gateway_dialect == "openai":
            return [settings.candidates[0]]
        maker = maker_of(model)
        if maker is None:
            raise ConfigurationError(
                f"`model` is {model!r} without a provider: name one with provider=… or providers=[…]"
            )
        if (
            maker not in settings.candidates
            and dialect_of(settings, maker) == "proxy"
            and maker not in settings.provider_keys
        ):
            raise ConfigurationError(f"`model` {model!r} belongs to {maker!r}, which is not configured: give its key")
        return [maker]


def permitted_endpoint(settings: Settings, provider: str, model: str) -> Endpoint:
    """Where calls of this provider and model go, if the adapter's policy lets them.

    Raises:
        ConfigurationError: see `endpoint_for`.
        PolicyDeniedError: the provider, the model or the place is not allowed.
    """
    endpoint = endpoint_for(settings, provider, model)
    key = settings.helicone_api_key
    way = Way(
        provider=provider,
        model=model,
        hosts=endpoint.hosts,
        own_gateway=None if settings.is_cloud else urlsplit(settings.gateway_url).hostname,
        has_eu_key=key is not None and "helicone-eu" in key.reveal(),
    )
    denial = denial_of(settings.compliance, way)
    if denial is not None:
        raise denial
    return endpoint


def _refuse_contradictions(request: ChatRequest) -> None:
    if request.provider_preferences and (request.provider or request.providers):
        raise ConfigurationError("`provider_preferences` names the providers: leave `provider` and `providers` out")
    if request.fallback_strategy and request.provider and request.model:
        raise ConfigurationError("`model` with `fallback_strategy` fits one provider only: use model_preferences")


def _at_own_price(target: Target, prices: Mapping[Any, Any]) -> Target:
    """The target at the price the call itself gives for it, if it gives one."""
    own = {
        key: price for given, value in prices.items() for keys, price in [parse_override(given, value)] for key in keys
    }
    provider, model = target.endpoint.provider, target.endpoint.model
    for key in ((provider, model), f"{provider}/{model}", model):
        if key in own:
            price = msgspec.structs.replace(own[key], provider=provider, model=model)
            return Target(endpoint=target.endpoint, price=price)
    return target


def _split_suffix(model: str) -> tuple[str, str | None]:
    """The AI Gateway's `name/provider`, where what follows the slash is a provider."""
    name, _, suffix = model.rpartition("/")
    known = suffix in PROVIDERS or suffix in ALIASES
    return (name, canonical(suffix)) if name and known else (model, None)


__all__ = ["Candidates", "permitted_endpoint"]
