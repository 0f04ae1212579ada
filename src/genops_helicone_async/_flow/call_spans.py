"""Spans of an ended call, from its record: one AI Workload Unit for each attempt, and one for a refusal.

A decision is never changed afterwards: an attempt that was let through stays ALLOWED whatever the provider made of
it, which `error.type` tells. What was stopped before it was sent is a unit that never ran, without a reconciliation.
What our own cache answered is a unit that ran without a provider, and for nothing. Spans are made when the call has
ended, with the times it had: nothing of them has to wait for an end that may never come, and a call nobody records
costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import compress
from operator import attrgetter, is_not

from .._rules import telemetry_names as names
from .._rules.message_content import content_attributes
from .._rules.span_attribution import Origin, attribution_attributes, origin_of
from .._rules.spans import Attributes, CallSpans, Span, SpanContent, SpanEvent
from .._telemetry_settings import ContentCapture
from .._values import Currency
from ..chat_request import ChatRequest, EmbedRequest
from ..errors import Attempt
from ..models import HeliconeResponse, RoutingDecision
from .awu_accounting import accounted, alerted, service_level
from .awu_refusals import meant, refused, was_refused
from .replayed import is_replay, replayed_attempt
from .ticket import Refused, RequestRecord, Reserved

_OfTarget = tuple[str, Attributes, Attributes]
_MOST_REMEMBERED = 2048
_ALLOWED: Attributes = {names.GENOPS_POLICY_RESULT: names.ALLOWED}
_WARNING: Attributes = {
    names.GENOPS_POLICY_RESULT: names.WARNING,
    names.GENOPS_POLICY_REASON_CODE: names.BUDGET_EXCEEDED,
}
"""A budget that is not enforced has no room for the call, which goes on."""
_NOTHING = Reserved()
_SENT: tuple[tuple[str, str, type[int | float]], ...] = (
    ("max_tokens", names.REQUEST_MAX_TOKENS, int),
    ("temperature", names.REQUEST_TEMPERATURE, float),  # a double there, though callers may well write 1
    ("top_p", names.REQUEST_TOP_P, float),
    ("seed", names.REQUEST_SEED, int),
)
_sent, _NONE_SENT = attrgetter(*(field for field, _, _ in _SENT)), (None,) * len(_SENT)
_REPLY = {
    "request_id": names.REQUEST_ID,
    "http_status": names.HTTP_STATUS,
    "response_id": names.RESPONSE_ID,
    "response_model": names.RESPONSE_MODEL,
    "time_to_first_chunk_s": names.RESPONSE_FIRST_CHUNK_S,
    "input_tokens": names.USAGE_INPUT,
    "output_tokens": names.USAGE_OUTPUT,
}
"""Of an attempt, where it is known."""
_told, _NONE_TOLD = attrgetter(*_REPLY), (None,) * len(_REPLY)
_SPECIAL = {
    "cached_input_tokens": names.USAGE_CACHE_READ,
    "cache_write_tokens": names.USAGE_CACHE_WRITE,
    "reasoning_tokens": names.USAGE_REASONING,
}
"""Tokens of an attempt, where there are any."""
_special = attrgetter(*_SPECIAL)


class CallTelemetry:
    """Turns records into spans.

    `currency` is the adapter's, `capture` where prompts and answers may go, `program` the name of what runs.
    """

    __slots__ = ("_capture", "_currency", "_origin", "_program", "_resource", "_targets", "_who")

    def __init__(self, currency: Currency, capture: ContentCapture, program: str) -> None:
        self._currency = currency
        self._capture: ContentCapture = capture
        self._program = program
        self._resource: Mapping[str, object] | None = None
        self._origin: Origin
        self._who: dict[int, tuple[Mapping[str, str], dict[str, str]]] = {}
        self._targets: dict[tuple[str, str, str, str], _OfTarget] = {}

    def spans_of(self, record: RequestRecord, resource: Mapping[str, object], ended_ns: int) -> CallSpans:
        """The spans of a call that ended at `ended_ns`; `resource` has the attributes of where they will go."""
        self.look_at(resource)
        began_ns = ended_ns - round(record.duration_s * 1e9)
        kind = names.EMBEDDINGS if isinstance(record.request, EmbedRequest) else names.CHAT
        units = self._units(record, kind, began_ns, ended_ns)
        if is_replay(record):
            units.append(self._replay(record, kind, began_ns, ended_ns))
        error = record.error
        if error is not None and was_refused(record, error):
            units.append(self._refusal(record, error, kind, began_ns, ended_ns))
        parent = None
        if len(units) > 1 or (record.routing is not None and len(record.routing.candidates) > 1):
            routing = record.response.routing if record.response is not None else record.routing
            failed = None if error is None else type(error).__name__
            content = partial(self.decision_content, record.attribution, routing, failed)
            parent = Span(name=kind, kind="internal", start_ns=began_ns, end_ns=ended_ns, asked={}, content=content)
        return CallSpans(parent=parent, units=tuple(units))

    def target_of(self, attempt: Attempt) -> _OfTarget:
        """The name of a chat's attempt, what a sampler is asked with, and all that each span of its target tells."""
        key = (names.CHAT, attempt.provider, attempt.model, attempt.host)
        return self._targets.get(key) or self._target(*key)

    def only_span_of(
        self, record: RequestRecord, attempt: Attempt, told: Attributes, ended_ns: int
    ) -> tuple[int, int, Callable[[], SpanContent]]:
        """The span of a chat's only attempt, as `MakeSpan` has it; `look_at` comes before."""
        start_ns = ended_ns - round((record.duration_s - attempt.started_s) * 1e9)
        end_ns = start_ns + round(attempt.duration_s * 1e9)
        if end_ns > ended_ns:
            end_ns = ended_ns
        return start_ns, end_ns, partial(self._attempt_content, record, attempt, told, start_ns, end_ns)

    def _units(self, record: RequestRecord, kind: str, began_ns: int, ended_ns: int) -> list[Span]:
        """Attempts, and targets whose limits had no turn for the call, in their order."""
        units = [self._attempt(record, attempt, kind, began_ns, ended_ns) for attempt in record.attempts]
        for number, each in enumerate(record.refusals):
            units.insert(each.after + number, self._refused_target(record, each, kind, began_ns, ended_ns))
        return units

    def look_at(self, resource: Mapping[str, object]) -> None:
        """Takes attribution that nobody gives from this resource from now on."""
        if resource is not self._resource:
            self._resource, self._origin = resource, origin_of(resource, self._program)
            self._who.clear()

    def decision_content(
        self, attribution: Mapping[str, str], routing: RoutingDecision | None, error: str | None
    ) -> SpanContent:
        """What the span above several attempts says."""
        attributes: Attributes = {**self._attribution(attribution)}
        if routing is not None:
            attributes[names.GENOPS_ROUTING_STRATEGY] = routing.strategy
            attributes[names.GENOPS_ROUTING_CANDIDATES] = tuple(
                f"{each.provider}/{each.model}" for each in routing.candidates
            )
            attributes[names.GENOPS_ROUTING_SELECTED] = routing.selected
            attributes[names.GENOPS_ROUTING_REASON] = routing.reason
        if error is not None:
            attributes[names.ERROR_TYPE] = error
        return SpanContent(attributes, (), error)

    def _attempt(self, record: RequestRecord, attempt: Attempt, kind: str, began_ns: int, ended_ns: int) -> Span:
        start_ns = began_ns + round(attempt.started_s * 1e9)
        end_ns = min(start_ns + round(attempt.duration_s * 1e9), ended_ns)
        name, asked, target = self._target(kind, attempt.provider, attempt.model, attempt.host)
        content = partial(self._attempt_content, record, attempt, target, start_ns, end_ns)
        return Span(
            name=name,
            kind="client",
            start_ns=start_ns,
            end_ns=end_ns,
            asked=asked,
            content=content,
        )

    def _refused_target(self, record: RequestRecord, refused: Refused, kind: str, began_ns: int, ended_ns: int) -> Span:
        endpoint = refused.target.endpoint
        name, asked, target = self._target(kind, endpoint.provider, endpoint.model, endpoint.host)
        end_ns = min(began_ns + round(refused.ended_s * 1e9), ended_ns)
        return Span(
            name=name,
            kind="client",
            start_ns=min(began_ns + round(refused.began_s * 1e9), end_ns),
            end_ns=end_ns,
            asked=asked,
            content=partial(self._refusal_content, record, refused.error, target, end_ns),
        )

    def _refusal(self, record: RequestRecord, error: BaseException, kind: str, began_ns: int, ended_ns: int) -> Span:
        last = record.attempts[-1] if record.attempts else None
        start_ns = began_ns if last is None else began_ns + round((last.started_s + last.duration_s) * 1e9)
        provider, model = meant(record, error)
        name, asked, target = self._target(kind, provider, model, "")
        content = partial(self._refusal_content, record, error, target, min(start_ns, ended_ns))
        return Span(
            name=name, kind="client", start_ns=min(start_ns, ended_ns), end_ns=ended_ns, asked=asked, content=content,
        )  # fmt: skip

    def _replay(self, record: RequestRecord, kind: str, began_ns: int, ended_ns: int) -> Span:
        """A unit that ran without a provider: nothing was set aside for it, and it cost nothing."""
        response = record.response
        assert isinstance(response, HeliconeResponse)
        name, asked, target = self._target(kind, response.provider, response.model, "")
        content = partial(self._replay_content, record, response, target, began_ns, ended_ns)
        return Span(
            name=name, kind="internal", start_ns=began_ns, end_ns=ended_ns, asked=asked, content=content,
        )  # fmt: skip

    def _replay_content(
        self, record: RequestRecord, response: HeliconeResponse, target: Attributes, began_ns: int, ended_ns: int
    ) -> SpanContent:
        attributes: Attributes = {**self._attribution(record.attribution), **target, **_ALLOWED}
        attempt = replayed_attempt(response, record.duration_s)
        _request_attributes(attributes, record)
        _reply_attributes(attributes, attempt)
        attributes[names.GENOPS_CACHE_RESULT] = response.metadata["cache"]
        attributes[names.GENOPS_CACHE_SAVED] = response.usage.saved_cost
        events = [SpanEvent(names.EVENT_POLICY, _ALLOWED, began_ns)]
        events += accounted(attributes, attempt, self._currency, began_ns, ended_ns)
        service_level(attributes, record.request, record.duration_s)
        log = None
        if self._capture != "NO_CONTENT":
            log = self._captured(attributes, record, is_answer=True, at_ns=ended_ns)
        return SpanContent(attributes, tuple(events), None, log)

    def _attempt_content(
        self, record: RequestRecord, attempt: Attempt, target: Attributes, start_ns: int, end_ns: int
    ) -> SpanContent:
        reserved = record.reserved.get(attempt.request_id, _NOTHING)
        decision = _WARNING if reserved.budget is not None and reserved.budget.is_exceeded else _ALLOWED
        attributes: Attributes = {**self._attribution(record.attribution), **target, **decision}
        _request_attributes(attributes, record)
        _reply_attributes(attributes, attempt)
        booked = accounted(attributes, attempt, self._currency, start_ns, end_ns, reserved.budget)
        events = (SpanEvent(names.EVENT_POLICY, decision, start_ns), *booked)
        if record.request.sla_tier is not None:
            service_level(attributes, record.request, attempt.duration_s)
        log, error = None, attempt.error
        if is_last := attempt is record.attempts[-1]:
            if record.alerts:
                events += tuple(alerted(record.alerts, end_ns))
            if error is None and record.error is not None:  # it answered, and the answer was of no use
                error = type(record.error).__name__
        if error is not None:
            attributes[names.ERROR_TYPE] = error
        if self._capture != "NO_CONTENT" and not isinstance(record.request, EmbedRequest):
            log = self._captured(attributes, record, is_answer=is_last and attempt.ok, at_ns=end_ns)
        return SpanContent(attributes, events, error, log)

    def _refusal_content(
        self, record: RequestRecord, error: BaseException, target: Attributes, at_ns: int
    ) -> SpanContent:
        attributes: Attributes = {**self._attribution(record.attribution), **target}
        _request_attributes(attributes, record)
        events = refused(attributes, record, error, self._currency, at_ns)
        return SpanContent(attributes, tuple(events), type(error).__name__)

    def _captured(
        self, attributes: Attributes, record: RequestRecord, *, is_answer: bool, at_ns: int
    ) -> SpanEvent | None:
        """Puts prompt and answer where the caller opted for them; the event is for a log record beside the span."""
        response = record.response if is_answer and isinstance(record.response, HeliconeResponse) else None
        content = content_attributes(record.request, response)
        event = None
        if self._capture != "SPAN_ONLY":
            event = SpanEvent(names.EVENT_OPERATION_DETAILS, {**attributes, **content}, at_ns)
        if self._capture != "EVENT_ONLY":
            attributes.update(content)
        return event

    def _attribution(self, given: Mapping[str, str]) -> dict[str, str]:
        known = self._who.get(id(given))
        if known is None or known[0] is not given:
            if len(self._who) >= _MOST_REMEMBERED:
                self._who.clear()
            known = self._who[id(given)] = given, attribution_attributes(given, self._origin)
        return known[1]

    def _target(self, kind: str, provider: str, model: str, host: str) -> _OfTarget:
        """A span's name, what a sampler is asked with, and all that is the same for every call of a target."""
        key = (kind, provider, model, host)
        known = self._targets.get(key)
        if known is None:
            if len(self._targets) >= _MOST_REMEMBERED:
                self._targets.clear()
            known = self._targets[key] = _target_attributes(*key)
        return known


def _target_attributes(kind: str, provider: str, model: str, host: str) -> _OfTarget:
    name = f"{kind} {model}" if model else kind
    asked: Attributes = {names.OPERATION_NAME: kind}
    told: Attributes = {
        names.GENOPS_SPEC_VERSION: names.SPEC_VERSION,
        names.GENOPS_OPERATION_NAME: name,
        names.GENOPS_OPERATION_TYPE: names.EMBEDDING if kind == names.EMBEDDINGS else names.INFERENCE,
    }
    if provider:
        asked[names.PROVIDER_NAME] = names.provider_name(provider)
    if model:
        asked[names.REQUEST_MODEL] = model
    if host:
        address, _, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "443")
        asked[names.SERVER_ADDRESS], asked[names.SERVER_PORT] = address.strip("[]"), int(port)
    return name, asked, {**asked, **told}


def _request_attributes(attributes: Attributes, record: RequestRecord) -> None:
    request: ChatRequest = record.request
    sent = _sent(request)
    if sent != _NONE_SENT:
        attributes.update([(name, kind(v)) for (_, name, kind), v in zip(_SENT, sent, strict=True) if v is not None])
    if record.streamed:
        attributes[names.REQUEST_STREAM] = True
    if request.stop:
        attributes[names.REQUEST_STOP] = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop)


def _reply_attributes(attributes: Attributes, attempt: Attempt) -> None:
    told = _told(attempt)
    attributes.update(compress(zip(_REPLY.values(), told, strict=True), map(is_not, told, _NONE_TOLD)))
    special = _special(attempt)
    if any(special):
        attributes.update([(name, count) for name, count in zip(_SPECIAL.values(), special, strict=True) if count])
    if attempt.finish_reason is not None:
        attributes[names.RESPONSE_FINISH_REASONS] = (attempt.finish_reason,)


__all__ = ["CallTelemetry"]
