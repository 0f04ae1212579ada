"""Whether spans comply with the GenOps specification v0.1.0: an independent witness for what the library exports."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from . import _awu_rules as spec


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that a span or a metric breaks: the rule's short name, what is wrong, and where."""

    rule: str
    message: str
    span: str = ""

    def __str__(self) -> str:
        return f"{self.span or 'span'}: {self.message} [{self.rule}]"


class _Event(NamedTuple):
    name: str
    attributes: Mapping[str, Any]
    at_ns: int | None


class _Awu(NamedTuple):
    """What the rules look at."""

    name: str
    attributes: Mapping[str, Any]
    events: tuple[_Event, ...]
    start_ns: int | None
    end_ns: int | None

    def has(self, event: str) -> bool:
        return any(known.name == event for known in self.events)

    @property
    def has_run(self) -> bool:
        """Whether anything shows that the AWU was executed."""
        return (
            spec.ACTUAL in self.attributes
            or self.has(spec.RECONCILIATION_EVENT)
            or any(name.startswith(spec.EXECUTED_SIGNS) for name in self.attributes)
        )


Complaints = Iterator[tuple[str, str]]


def validate_awu(spans: Any) -> tuple[Violation, ...]:
    """Every rule of GenOps v0.1.0 that the spans break, each taken for an AI Workload Unit; empty where all comply.

    `spans` is an OpenTelemetry `ReadableSpan`, or anything with its `name`, `attributes` and `events`, or several of
    them; several are also checked for doubles. Use `awu_spans` to find the AWUs among other spans.
    """
    listed: list[Any] = list(spans) if isinstance(spans, Iterable) else [spans]
    found = [violation for span in listed for violation in _violations(span)]
    seen: set[tuple[int, int]] = set()
    for span in listed:
        context = getattr(span, "context", None)
        if context is None:
            continue
        identity = (context.trace_id, context.span_id)
        if identity in seen:
            message = f"another AWU has the identity {identity[0]:032x}/{identity[1]:016x}, too"
            found.append(Violation(rule="identity", message=message, span=str(span.name)))
        seen.add(identity)
    return tuple(found)


def awu_spans(spans: Iterable[Any]) -> list[Any]:
    """The spans that present themselves as AWUs: by a version of the specification, a decision, or accounting."""
    signs = ("genops.spec.", "genops.policy.", "genops.accounting.")
    return [
        span
        for span in spans
        if any(name.startswith(signs) for name in span.attributes or {})
        or any(event.name in spec.EVENTS for event in span.events)
    ]


def validate_metrics(metrics: Any) -> tuple[Violation, ...]:
    """The cardinality rule: customers, sessions and users are on spans only, never attributes of a metric.

    `metrics` is OpenTelemetry's `MetricsData`, or anything with its `resource_metrics`.
    """
    found = []
    for resource in metrics.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                names = {str(name) for point in metric.data.data_points for name in point.attributes or {}}
                for name in sorted(names):
                    if name.removeprefix("genops.") in spec.SPANS_ONLY:
                        message = f"the metric {metric.name} has the attribute {name}, which belongs on spans only"
                        found.append(Violation(rule="cardinality", message=message, span=metric.name))
    return tuple(found)


def _violations(span: Any) -> Iterator[Violation]:
    events = tuple(
        _Event(event.name, event.attributes or {}, getattr(event, "timestamp", None)) for event in span.events
    )
    awu = _Awu(
        str(span.name),
        span.attributes or {},
        events,
        getattr(span, "start_time", None),
        getattr(span, "end_time", None),
    )
    for rules in _RULES:
        for rule, message in rules(awu):
            yield Violation(rule=rule, message=message, span=awu.name)


def _always_there(awu: _Awu) -> Complaints:
    for name in spec.ALWAYS:
        if name not in awu.attributes:
            yield "required-attribute", f"{name} is missing"
    version = awu.attributes.get("genops.spec.version", spec.SPEC_VERSION)
    if version != spec.SPEC_VERSION:
        yield "spec-version", f"genops.spec.version is {version!r}, not {spec.SPEC_VERSION!r}"


def _values(awu: _Awu) -> Complaints:
    yield from _values_of("", awu.attributes)
    for event in awu.events:
        yield from _values_of(f"{event.name}: ", event.attributes)


def _values_of(where: str, attributes: Mapping[str, Any]) -> Complaints:
    for name, value in attributes.items():
        wanted = spec.TYPES.get(name)
        if wanted is None:
            continue
        if type(value) is not wanted:
            yield "attribute-type", f"{where}{name} is {value!r}: it must be a {wanted.__name__}"
        elif wanted is str and not value.strip():
            yield "attribute-empty", f"{where}{name} is empty"
        elif wanted is float and not math.isfinite(value):
            yield "attribute-number", f"{where}{name} is {value}"
        elif name in spec.NEVER_NEGATIVE and value < 0:
            yield "attribute-number", f"{where}{name} is {value}, below zero"
        if name in spec.MEANINGFUL and isinstance(value, str) and value.strip().lower() in spec.PLACEHOLDERS:
            yield "placeholder", f"{where}{name} is {value!r}, which tells nothing"
    currency = attributes.get("genops.cost.currency")
    if isinstance(currency, str) and currency.strip() and not spec.CURRENCY.fullmatch(currency):
        yield "currency", f"{where}genops.cost.currency is {currency!r}: it must be an ISO 4217 code"


def _decision(awu: _Awu) -> Complaints:
    yield from _decision_of("", awu.attributes)
    for event in awu.events:
        if event.name == spec.POLICY_EVENT:
            yield from _decision_of(f"{event.name}: ", event.attributes)


def _decision_of(where: str, attributes: Mapping[str, Any]) -> Complaints:
    result, code = attributes.get(spec.RESULT), attributes.get(spec.REASON_CODE)
    if result is not None and result not in spec.RESULTS:
        yield "policy-result", f"{where}genops.policy.result is {result!r}: none of {', '.join(spec.RESULTS)}"
    if result == "ALLOWED" and code is not None:
        yield "reason-code-absent", f"{where}the result is ALLOWED and still has the reason code {code!r}"
    if result in spec.RESULTS and result != "ALLOWED" and code is None:
        yield "reason-code-missing", f"{where}the result is {result!r} and has no reason code"
    if isinstance(code, str) and code not in spec.REASON_CODES and not spec.OWN_REASON_CODE.fullmatch(code):
        yield "reason-code", f"{where}{code!r} is no reason code; own ones are x_ and then a-z, 0-9 and _"


def _accounting(awu: _Awu) -> Complaints:
    attributes, result = awu.attributes, awu.attributes.get(spec.RESULT)
    reserved = spec.RESERVED in attributes or awu.has(spec.RESERVATION_EVENT)
    if reserved or awu.has_run or result in spec.PROCEEDING:
        for name in (spec.RESERVED, spec.UNIT):
            if name not in attributes:
                yield "accounting-missing", f"{name} is missing although the AWU was not refused before a reservation"
    if awu.has_run and spec.ACTUAL not in attributes:
        yield "accounting-missing", f"{spec.ACTUAL} is missing although the AWU was executed"
    numbers = [attributes.get(name) for name in (spec.ACTUAL, spec.RESERVED, spec.DELTA)]
    yield from _delta("", numbers)
    for event in awu.events:
        if event.name == spec.RECONCILIATION_EVENT:
            told = [event.attributes.get(name) for name in (spec.ACTUAL, spec.RESERVED, spec.DELTA)]
            yield from _delta(f"{event.name}: ", told)


def _delta(where: str, numbers: list[Any]) -> Complaints:
    actual, reserved, delta = numbers
    if all(isinstance(number, float) for number in numbers):
        if not math.isclose(delta, actual - reserved, rel_tol=1e-9, abs_tol=1e-12):
            yield "reconciliation-delta", f"{where}the delta is {delta}, but {actual} − {reserved} is not"
    elif isinstance(delta, float):
        yield "reconciliation-delta", f"{where}there is a delta without an actual and a reserved amount"


def _events(awu: _Awu) -> Complaints:
    names = [event.name for event in awu.events]
    required = [spec.POLICY_EVENT]
    if spec.RESERVED in awu.attributes or awu.has_run or awu.attributes.get(spec.RESULT) in spec.PROCEEDING:
        required.append(spec.RESERVATION_EVENT)
    if awu.has_run:
        required.append(spec.RECONCILIATION_EVENT)
    for name in required:
        if name not in names:
            yield "event-missing", f"the event {name} is missing"
    for name in (spec.POLICY_EVENT, spec.RESERVATION_EVENT, spec.RECONCILIATION_EVENT):
        if names.count(name) > 1:
            yield "event-repeated", f"{name} is there {names.count(name)} times: another decision is another AWU"
    for event in awu.events:
        for name in spec.EVENTS.get(event.name, ()):
            if name not in event.attributes:
                yield "event-attribute", f"{event.name} lacks {name}"
        for name in spec.ECHOED:
            if name in event.attributes and name in awu.attributes and event.attributes[name] != awu.attributes[name]:
                yield "event-differs", f"{event.name} says {name} is {event.attributes[name]!r}, the AWU does not"
        if event.name == spec.POLICY_EVENT and (spec.REASON_CODE in awu.attributes) != (
            spec.REASON_CODE in event.attributes
        ):
            yield "event-differs", f"only one of the AWU and its {event.name} has a reason code"


def _order(awu: _Awu) -> Complaints:
    names = [event.name for event in awu.events]
    if spec.RECONCILIATION_EVENT in names:
        last = names.index(spec.RECONCILIATION_EVENT)
        for name in (spec.POLICY_EVENT, spec.RESERVATION_EVENT):
            if name in names[last:]:
                yield "event-order", f"{name} comes after the reconciliation: it belongs before the execution"
    times = [event.at_ns for event in awu.events if event.at_ns is not None]
    if times != sorted(times):
        yield "event-order", "the events' times go backwards"
    for event in awu.events:
        if event.at_ns is None:
            continue
        if (awu.start_ns is not None and event.at_ns < awu.start_ns) or (
            awu.end_ns is not None and event.at_ns > awu.end_ns
        ):
            yield "event-time", f"{event.name} happened outside of the AWU's time"


def _never_run(awu: _Awu) -> Complaints:
    result = awu.attributes.get(spec.RESULT)
    if result is None or result in spec.PROCEEDING:
        return
    if awu.has(spec.RECONCILIATION_EVENT):
        yield "executed-although-refused", f"the result is {result} and there is a reconciliation"
    elif awu.has_run:
        yield "executed-although-refused", f"the result is {result} and the AWU has run all the same"


def _service_level(awu: _Awu) -> Complaints:
    there = [name for name in spec.SLA if name in awu.attributes]
    if 0 < len(there) < len(spec.SLA):
        yield "sla-incomplete", f"only {', '.join(there)} of the four SLA attributes"
    if len(there) == len(spec.SLA):
        _, target, actual, met = (awu.attributes[name] for name in spec.SLA)
        if type(target) is int and type(actual) is int and met is not (actual <= target):
            yield "sla-met", f"genops.sla.met is {met} at {actual} ms of {target} ms"


def _tokens(awu: _Awu) -> Complaints:
    told = [awu.attributes.get(f"genops.tokens.{name}") for name in ("input", "output", "total")]
    if all(type(number) is int for number in told) and told[0] + told[1] != told[2]:  # type: ignore[operator]
        yield "token-total", f"{told[0]} + {told[1]} tokens are not {told[2]}"


_RULES: tuple[Callable[[_Awu], Complaints], ...] = (
    _always_there,
    _values,
    _decision,
    _accounting,
    _events,
    _order,
    _never_run,
    _service_level,
    _tokens,
)

__all__ = ["Violation", "awu_spans", "validate_awu", "validate_metrics"]
