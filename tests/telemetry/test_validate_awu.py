"""The validator of AWUs: a compliant span passes, and each rule is broken once by a span that breaks nothing else."""

from types import SimpleNamespace
from typing import Any

import pytest

from genops_helicone_async.testing import awu_spans, validate_awu, validate_metrics

START_NS, END_NS = 1_000, 9_000
RAN: dict[str, Any] = {
    "genops.team": "research",
    "genops.project": "atlas",
    "genops.environment": "production",
    "genops.operation.name": "chat gpt-4o-mini",
    "genops.operation.type": "inference",
    "genops.spec.version": "0.1.0",
    "genops.policy.result": "ALLOWED",
    "genops.accounting.reserved": 0.5,
    "genops.accounting.actual": 0.25,
    "genops.accounting.unit": "USD",
    "genops.accounting.reconciliation_delta": -0.25,
    "genops.cost.total": 0.25,
    "genops.cost.currency": "USD",
    "genops.tokens.input": 3,
    "genops.tokens.output": 4,
    "genops.tokens.total": 7,
    "genops.sla.tier": "gold",
    "genops.sla.latency_target_ms": 100,
    "genops.sla.actual_latency_ms": 100,
    "genops.sla.met": True,
    "genops.customer_id": "c-1",
    "genops.session_id": "s-1",
    "genops.user_id": "u-1",
    "genops.routing.candidates": ("openai", "groq"),
}
POLICY = ("genops.policy.evaluated", {"genops.policy.result": "ALLOWED"}, START_NS)
RESERVATION = (
    "genops.budget.reservation",
    {"genops.accounting.reserved": 0.5, "genops.accounting.unit": "USD"},
    START_NS,
)
RECONCILIATION = (
    "genops.budget.reconciliation",
    {
        "genops.accounting.actual": 0.25,
        "genops.accounting.reserved": 0.5,
        "genops.accounting.unit": "USD",
        "genops.accounting.reconciliation_delta": -0.25,
    },
    END_NS,
)
REFUSED: dict[str, Any] = {
    **{name: RAN[name] for name in tuple(RAN)[:6]},
    "genops.policy.result": "BLOCKED",
    "genops.policy.reason_code": "BUDGET_EXCEEDED",
}
REFUSAL = (
    "genops.policy.evaluated",
    {"genops.policy.result": "BLOCKED", "genops.policy.reason_code": "BUDGET_EXCEEDED"},
    START_NS,
)
Events = tuple[tuple[str, dict[str, Any], int], ...]
RAN_EVENTS: Events = (POLICY, RESERVATION, RECONCILIATION)
GONE = "<gone>"


def span(attributes: dict[str, Any], events: Events, identity: int | None = None) -> Any:
    """What the validator needs of a span."""
    return SimpleNamespace(
        name="chat gpt-4o-mini",
        attributes=attributes,
        events=[SimpleNamespace(name=name, attributes=told, timestamp=at_ns) for name, told, at_ns in events],
        start_time=START_NS,
        end_time=END_NS,
        context=None if identity is None else SimpleNamespace(trace_id=1, span_id=identity),
    )


def changed(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The attributes with some changed or gone; `__` stands for a dot, `genops.` is in front."""
    merged = {**base, **{f"genops.{name.replace('__', '.')}": value for name, value in changes.items()}}
    return {name: value for name, value in merged.items() if value is not GONE}


def event(base: tuple[str, dict[str, Any], int], at_ns: int | None = None, **changes: Any) -> Any:
    """An event, changed as `changed` does."""
    return base[0], changed(base[1], **changes), base[2] if at_ns is None else at_ns


def broken(attributes: dict[str, Any], events: Events) -> list[str]:
    """The rules that are broken, in order."""
    return [violation.rule for violation in validate_awu(span(attributes, events))]


@pytest.mark.parametrize(
    ("attributes", "events"),
    [
        pytest.param(RAN, RAN_EVENTS, id="ran"),
        pytest.param(REFUSED, (REFUSAL,), id="refused before a reservation"),
        pytest.param(
            {**REFUSED, "genops.accounting.reserved": 0.5, "genops.accounting.unit": "USD"},
            (RESERVATION, REFUSAL),
            id="refused after the reservation",
        ),
        pytest.param(
            {name: RAN[name] for name in tuple(RAN)[:8]} | {"genops.accounting.unit": "USD"},
            (POLICY, RESERVATION),
            id="allowed, stopped before it ran",
        ),
        pytest.param(
            changed(REFUSED, policy__reason_code="x_closed_2"),
            (event(REFUSAL, policy__reason_code="x_closed_2"),),
            id="own reason code",
        ),
        pytest.param(
            changed(RAN, policy__result="WARNING", policy__reason_code="SLA_LATENCY_VIOLATION"),
            (
                event(POLICY, policy__result="WARNING", policy__reason_code="SLA_LATENCY_VIOLATION"),
                RESERVATION,
                RECONCILIATION,
            ),
            id="warned and ran",
        ),
    ],
)
def test_a_compliant_awu_passes(attributes: dict[str, Any], events: Events) -> None:
    """Nothing is complained of where nothing is wrong, with or without the optional attributes."""
    assert validate_awu(span(attributes, events)) == ()


BROKEN_ATTRIBUTES = [
    *(
        ({name: GONE}, "required-attribute")
        for name in ("team", "project", "environment", "operation__name", "operation__type", "spec__version")
    ),
    ({"team": ""}, "attribute-empty"),
    ({"project": "  "}, "attribute-empty"),
    ({"team": None}, "attribute-type"),
    ({"environment": 3}, "attribute-type"),
    *(({name: "unknown"}, "placeholder") for name in ("team", "project", "environment", "operation__name")),
    ({"operation__type": "N/A"}, "placeholder"),
    ({"spec__version": "0.2.0"}, "spec-version"),
    ({"sla__tier": GONE}, "sla-incomplete"),
    ({"sla__latency_target_ms": GONE}, "sla-incomplete"),
    ({"sla__actual_latency_ms": GONE}, "sla-incomplete"),
    ({"sla__met": GONE}, "sla-incomplete"),
    ({"sla__met": False}, "sla-met"),
    ({"sla__actual_latency_ms": 101}, "sla-met"),
    ({"sla__met": 1}, "attribute-type sla-met"),
    ({"sla__latency_target_ms": 100.0}, "attribute-type"),
    ({"tokens__total": 8}, "token-total"),
    ({"tokens__input": 3.0}, "attribute-type"),
    ({"tokens__input": True}, "attribute-type"),
    ({"cost__total": 1}, "attribute-type"),
    ({"cost__total": -1.0}, "attribute-number"),
    ({"cost__total": float("nan")}, "attribute-number"),
    ({"cost__currency": "dollars"}, "currency"),
    ({"customer_id": 7}, "attribute-type"),
    ({"budget__remaining": 7}, "attribute-type"),
    ({"policy__timestamp": 1.5}, "attribute-type"),
    ({"eval__passed": "yes"}, "attribute-type"),
    ({"policy__reason_code": "BUDGET_EXCEEDED"}, "reason-code-absent event-differs"),
    ({"accounting__reconciliation_delta": -0.2}, "reconciliation-delta event-differs"),
    ({"accounting__actual": GONE}, "accounting-missing reconciliation-delta"),
    ({"accounting__unit": GONE}, "accounting-missing"),
    ({"accounting__reserved": GONE}, "accounting-missing reconciliation-delta"),
    ({"policy__result": GONE}, "required-attribute"),
]


@pytest.mark.parametrize(("changes", "rules"), BROKEN_ATTRIBUTES, ids=[str(row) for row in BROKEN_ATTRIBUTES])
def test_a_wrong_attribute_is_found(changes: dict[str, Any], rules: str) -> None:
    """One attribute missing, empty, of the wrong type or untrue breaks the rule meant for it."""
    assert broken(changed(RAN, **changes), RAN_EVENTS) == rules.split()


def with_everywhere(**changes: Any) -> tuple[dict[str, Any], Events]:
    """A run AWU with attributes that are changed on the span and in the events that repeat them."""
    events = tuple(
        event(
            base, **{name: value for name, value in changes.items() if f"genops.{name.replace('__', '.')}" in base[1]}
        )
        for base in RAN_EVENTS
    )
    return changed(RAN, **changes), events


BROKEN_EVERYWHERE = [
    ({"accounting__unit": "n/a"}, ["placeholder"] * 3),
    ({"accounting__reserved": 1}, ["attribute-type"] * 3 + ["reconciliation-delta"] * 2),
    (
        {"accounting__reserved": -0.5, "accounting__reconciliation_delta": 0.75},
        ["attribute-number"] * 3,
    ),
    ({"accounting__reconciliation_delta": 0.25}, ["reconciliation-delta"] * 2),
    ({"policy__result": "allowed"}, ["policy-result"] * 2),
]


@pytest.mark.parametrize(("changes", "rules"), BROKEN_EVERYWHERE, ids=[str(row[0]) for row in BROKEN_EVERYWHERE])
def test_a_wrong_value_is_found_in_events_too(changes: dict[str, Any], rules: list[str]) -> None:
    """What events repeat is held to the same rules as the attributes."""
    attributes, events = with_everywhere(**changes)
    found = broken(attributes, events)
    assert [rule for rule in found if rule in rules] == rules
    assert set(found) - set(rules) <= {"executed-although-refused", "event-differs"}


BROKEN_EVENTS: list[tuple[str, Events, str]] = [
    ("no decision", (RESERVATION, RECONCILIATION), "event-missing"),
    ("no reservation", (POLICY, RECONCILIATION), "event-missing"),
    ("no reconciliation", (POLICY, RESERVATION), "event-missing"),
    ("two decisions", (POLICY, POLICY, RESERVATION, RECONCILIATION), "event-repeated"),
    ("two reservations", (POLICY, RESERVATION, RESERVATION, RECONCILIATION), "event-repeated"),
    ("two reconciliations", (*RAN_EVENTS, RECONCILIATION), "event-repeated"),
    (
        "decided after the fact",
        (RESERVATION, RECONCILIATION, event(POLICY, at_ns=END_NS)),
        "event-order",
    ),
    ("reserved after the fact", (POLICY, RECONCILIATION, event(RESERVATION, at_ns=END_NS)), "event-order"),
    ("times go backwards", (event(POLICY, at_ns=START_NS + 5), RESERVATION, RECONCILIATION), "event-order"),
    ("before the start", (event(POLICY, at_ns=START_NS - 1), RESERVATION, RECONCILIATION), "event-time"),
    ("after the end", (POLICY, RESERVATION, event(RECONCILIATION, at_ns=END_NS + 1)), "event-time"),
    (
        "another amount reserved",
        (POLICY, event(RESERVATION, accounting__reserved=0.75), RECONCILIATION),
        "event-differs",
    ),
    ("no unit", (POLICY, event(RESERVATION, accounting__unit=GONE), RECONCILIATION), "event-attribute"),
    ("no amount", (POLICY, event(RESERVATION, accounting__reserved=GONE), RECONCILIATION), "event-attribute"),
    ("no result", (event(POLICY, policy__result=GONE), RESERVATION, RECONCILIATION), "event-attribute"),
    (
        "no actual",
        (
            POLICY,
            RESERVATION,
            event(RECONCILIATION, accounting__actual=GONE, accounting__reconciliation_delta=GONE),
        ),
        "event-attribute",
    ),
    ("another team", (event(POLICY, team="sales"), RESERVATION, RECONCILIATION), "event-differs"),
    (
        "cost without a currency",
        (*RAN_EVENTS, ("genops.cost.calculated", {"genops.cost.total": 0.25}, END_NS)),
        "event-attribute",
    ),
    (
        "alert without an allocation",
        (*RAN_EVENTS, ("genops.budget.alert", {"genops.budget.name": "d", "genops.budget.consumed": 1.0}, END_NS)),
        "event-attribute",
    ),
    (
        "evaluation without a score",
        (*RAN_EVENTS, ("genops.evaluation.complete", {"genops.eval.metric": "bleu"}, END_NS)),
        "event-attribute",
    ),
]


@pytest.mark.parametrize(("events", "rule"), [row[1:] for row in BROKEN_EVENTS], ids=[row[0] for row in BROKEN_EVENTS])
def test_a_wrong_event_is_found(events: Events, rule: str) -> None:
    """One event missing, doubled, out of order or without what it must carry breaks the rule meant for it."""
    assert set(broken(RAN, events)) == {rule}


def test_a_refused_awu_never_reconciles() -> None:
    """A reconciliation, an actual amount or tokens on a refused AWU show that it ran all the same."""
    held = {**REFUSED, "genops.accounting.reserved": 0.5, "genops.accounting.unit": "USD"}
    ran = {**held, "genops.accounting.actual": 0.25}
    assert broken(ran, (RESERVATION, REFUSAL, RECONCILIATION)) == ["executed-although-refused"]
    assert "executed-although-refused" in broken({**held, "gen_ai.usage.input_tokens": 1}, (RESERVATION, REFUSAL))
    assert "executed-although-refused" in broken(
        {**ran, "genops.policy.result": "RATE_LIMITED"}, (RESERVATION, REFUSAL)
    )


@pytest.mark.parametrize("code", ["", "NO_MONEY", "budget_exceeded", "x_", "x_Closed", "x_a-b", "X_CLOSED", "x_a\n"])
def test_a_free_form_reason_code_is_found(code: str) -> None:
    """Reason codes are those of the list, or own ones that begin with x_."""
    attributes = changed(REFUSED, policy__reason_code=code)
    rules = set(broken(attributes, (event(REFUSAL, policy__reason_code=code),)))
    assert rules in ({"reason-code"}, {"reason-code", "attribute-empty"})


def test_a_refusal_needs_a_reason_code() -> None:
    """Without one the consumer cannot tell why."""
    without = changed(REFUSED, policy__reason_code=GONE)
    assert broken(without, (event(REFUSAL, policy__reason_code=GONE),)) == ["reason-code-missing"] * 2
    assert "event-differs" in broken(REFUSED, (event(REFUSAL, policy__reason_code=GONE),))


def test_an_allowed_awu_has_reserved() -> None:
    """An AWU that was let through has passed its reservation."""
    bare = {name: RAN[name] for name in tuple(RAN)[:7]}
    assert broken(bare, (POLICY,)) == ["accounting-missing", "accounting-missing", "event-missing"]


def test_several_spans_have_identities_of_their_own() -> None:
    """Two AWUs with one identity are found when they are checked together."""
    one, other = span(RAN, RAN_EVENTS, identity=1), span(RAN, RAN_EVENTS, identity=2)
    assert validate_awu([one, other]) == ()
    assert [violation.rule for violation in validate_awu([one, other, one])] == ["identity"]


def test_awus_are_told_from_other_spans() -> None:
    """A span with routing only, or with nothing of ours, claims nothing; one with a mere decision does."""
    parent = span({"genops.routing.strategy": "failover", "genops.team": "research"}, ())
    other = span({}, ())
    ours, decided = span(RAN, RAN_EVENTS), span({"genops.policy.result": "ALLOWED"}, ())
    told = span({}, (POLICY,))
    assert awu_spans([parent, other, ours, decided, told]) == [ours, decided, told]


def metrics(*attributes: dict[str, str]) -> Any:
    """What an in-memory reader gives, with one metric."""
    points = [SimpleNamespace(attributes=each) for each in attributes]
    metric = SimpleNamespace(name="genops_helicone_requests", data=SimpleNamespace(data_points=points))
    scope = SimpleNamespace(metrics=[metric])
    return SimpleNamespace(resource_metrics=[SimpleNamespace(scope_metrics=[scope])])


@pytest.mark.parametrize("name", ["customer_id", "session_id", "user_id", "genops.customer_id"])
def test_a_metric_per_customer_is_found(name: str) -> None:
    """Identities with many values belong on spans, not on metrics."""
    assert validate_metrics(metrics({"team": "research", "model": "m"})) == ()
    assert [violation.rule for violation in validate_metrics(metrics({"team": "a"}, {name: "1"}))] == ["cardinality"]


def test_a_violation_reads_as_a_sentence() -> None:
    """What a failing test prints names the span, what is wrong and the rule."""
    (violation,) = validate_awu(span(changed(RAN, team=GONE), RAN_EVENTS))
    assert str(violation) == "chat gpt-4o-mini: genops.team is missing [required-attribute]"
