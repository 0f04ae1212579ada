"""Metrics a user registers: what a definition must say, and which values a call may give."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal, cast, get_args

import msgspec

from ..errors import ConfigurationError

Kind = Literal["gauge", "counter", "histogram"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)
DEFAULT_BOUNDS: Final = (
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0,
)  # fmt: skip
"""OpenTelemetry's own, where a histogram's definition has no `buckets`."""
_LONGEST_UNIT = 63
_NAME = re.compile(r"[a-z][a-z0-9_.]{0,254}")
_RESERVED = ("genops_helicone_", "genops.", "gen_ai.", "gen_ai_")
_KEYS = ("name", "type", "description", "unit", "buckets")


class MetricDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A metric somebody registered; `bounds` are a histogram's."""

    name: str
    kind: Kind
    description: str = ""
    unit: str = ""
    bounds: tuple[float, ...] = ()

    @property
    def series(self) -> str:
        """The name as exporters write it: two metrics that differ only in dots would be one."""
        return self.name.replace(".", "_")


def definitions_of(given: object) -> tuple[MetricDefinition, ...]:
    """Checked definitions from the mappings a user gives.

    Raises:
        ConfigurationError: a definition is wrong or names a metric twice; it is named.
    """
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
        raise ConfigurationError(f"`definitions` must be a list of mappings, not {type(given).__name__}")
    found: dict[str, MetricDefinition] = {}
    for index, each in enumerate(given):
        definition = _definition(f"definitions[{index}]", each)
        if definition.series in found:
            raise ConfigurationError(f"`definitions` has two metrics named {definition.name!r}")
        found[definition.series] = definition
    return tuple(found.values())


def refuse_values(values: Mapping[str, float], known: Mapping[str, MetricDefinition]) -> None:
    """Refuses what a call may not give; the types of the values are checked already.

    Raises:
        ConfigurationError: nobody registered the metric, or its kind does not take the value.
    """
    for name, value in values.items():
        definition = known.get(name)
        if definition is None:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "call `register_custom_metrics` first, or leave it out"
            raise ConfigurationError(f"`custom_metrics` names {name!r}, which no one has registered: {hint}")
        if not math.isfinite(value):
            raise ConfigurationError(f"`custom_metrics[{name!r}]` is {value!r}: it must be a finite number")
        if value < 0 and definition.kind != "gauge":
            raise ConfigurationError(
                f"`custom_metrics[{name!r}]` is {value!r}: a {definition.kind} takes 0 or more, only a gauge takes less"
            )


def refuse_another(definition: MetricDefinition, known: MetricDefinition | None) -> None:
    """Refuses a metric whose name another one has.

    Raises:
        ConfigurationError: it is there already and differs.
    """
    if known is not None and known != definition:
        told = f"{known.kind} {known.name!r}, {known.description!r}, unit {known.unit!r}"
        buckets = f", buckets {known.bounds}" if known.bounds else ""
        raise ConfigurationError(f"the metric {definition.name!r} is there already and differs: {told}{buckets}")


def _definition(where: str, given: object) -> MetricDefinition:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"`{where}` must be a mapping, not {type(given).__name__}")
    name = _name(where, given.get("name"))
    for key in given:
        if key not in _KEYS:
            raise ConfigurationError(f"the metric {name!r} has the key {key!r}: known are {', '.join(_KEYS)}")
    kind = given.get("type")
    if kind not in KINDS:
        raise ConfigurationError(f"the metric {name!r} has the type {kind!r}: use one of {', '.join(KINDS)}")
    texts = {key: given.get(key, "") for key in ("description", "unit")}
    for key, text in texts.items():
        if not isinstance(text, str) or (key == "unit" and not (text.isascii() and len(text) <= _LONGEST_UNIT)):
            raise ConfigurationError(f"the metric {name!r} has the {key} {text!r}: give a short text")
    bounds = _bounds(name, given.get("buckets")) if kind == "histogram" else ()
    if kind != "histogram" and given.get("buckets") is not None:
        raise ConfigurationError(f"the metric {name!r} has `buckets`, which only a histogram has")
    return MetricDefinition(name=name, kind=cast("Kind", kind), bounds=bounds, **texts)


def _name(where: str, name: object) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"`{where}` has the name {name!r}: use lower-case letters, digits, `_` and `.`, a letter first"
        )
    if name.startswith(_RESERVED):
        raise ConfigurationError(f"`{where}` has the name {name!r}: names that begin like this are the library's own")
    return name


def _bounds(name: str, given: Any) -> tuple[float, ...]:
    if given is None:
        return DEFAULT_BOUNDS
    listed = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else ()
    numbers = all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in listed)
    if not listed or not numbers or not all(map(math.isfinite, listed)) or list(listed) != sorted(set(listed)):
        raise ConfigurationError(f"the metric {name!r} has the buckets {given!r}: give finite numbers in rising order")
    return tuple(map(float, listed))


__all__ = ["DEFAULT_BOUNDS", "KINDS", "Kind", "MetricDefinition", "definitions_of", "refuse_another", "refuse_values"]
