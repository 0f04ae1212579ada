"""Who a call is for: its own arguments over the block's around it over the adapter's defaults, and the headers."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter

from .._wire.headers import GatewayOptions, attribution_headers, gateway_headers
from ..chat_request import ChatRequest
from .ambient import ambient_attributes, blocks_around

_FIELDS = (
    "team",
    "project",
    "customer_id",
    "environment",
    "cost_center",
    "feature",
    "user_id",
    "session_id",
    "session_path",
    "session_name",
)
_MOST_REMEMBERED = 2048
_given = attrgetter(*_FIELDS)


class Attribution:
    """Merges attribution and remembers the headers of each combination, since few combinations make most calls."""

    __slots__ = ("_defaults", "_options", "_remembered")

    def __init__(self, defaults: Mapping[str, str], options: GatewayOptions | None = None) -> None:
        self._defaults = dict(defaults)
        self._options = options
        self._remembered: dict[object, tuple[dict[str, str], dict[str, str]]] = {}

    def of(self, request: ChatRequest) -> tuple[dict[str, str], dict[str, str]]:
        """The merged attribution of a call, and its `Helicone-*` headers; neither is to be changed.

        Raises:
            ConfigurationError: a value cannot travel in a header.
        """
        key: object = _given(request)
        if blocks_around() or request.attributes:
            key = key, _in_order(request.attributes), _in_order(ambient_attributes())
        return self._remembered.get(key) or self._merged(request, key)

    def _merged(self, request: ChatRequest, key: object) -> tuple[dict[str, str], dict[str, str]]:
        """The same of a combination that is not remembered; now it is."""
        merged = {**self._defaults, **ambient_attributes()}
        for name in _FIELDS:
            value = getattr(request, name)
            if value is not None:
                merged[name] = value
        merged.update(request.attributes or {})
        headers = attribution_headers(merged)
        known = merged, {**headers, **gateway_headers(self._options, headers)}
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = known
        return known


def _in_order(attributes: Mapping[str, str] | None) -> tuple[tuple[str, str], ...] | None:
    return tuple(sorted(attributes.items())) if attributes else None


__all__ = ["Attribution"]
