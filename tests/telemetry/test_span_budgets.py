"""What spans tell of budgets and of our own limits: where a budget stands, when it runs low, who was not asked."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from exported import Spans, events, told
from metric_points import named, points
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan

from genops_helicone_async import BudgetExceededError, GenOpsHeliconeAsyncAdapter, HeliconeError
from genops_helicone_async._flow.budget_standing import BudgetStanding
from genops_helicone_async._rules.ledger import Scope
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

WHO = {"team": "research", "project": "atlas", "environment": "production"}
RAN = ["genops.policy.evaluated", "genops.budget.reservation", "genops.cost.calculated", "genops.budget.reconciliation"]


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


@pytest.fixture
def spans() -> Spans:
    """What is exported."""
    return Spans()


def adapter_for(gateway: SandboxGateway, spans: Spans, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter that exports its spans there."""
    return GenOpsHeliconeAsyncAdapter(
        gateway.api_key, gateway_url=gateway.url, tracer_provider=spans.provider, default_attributes=WHO, **settings
    )


def of_event(span: ReadableSpan, name: str) -> dict[str, Any]:
    """The attributes of the one event of this name."""
    (event,) = (event for event in span.events if event.name == name)
    return dict(event.attributes or {})


def budget_of(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes that tell of a budget."""
    return {
        name.removeprefix("genops.budget."): value
        for name, value in attributes.items()
        if name.startswith("genops.budget.")
    }


async def test_an_awu_tells_of_its_tightest_budget(gateway: SandboxGateway, spans: Spans) -> None:
    """As it stood when the attempt was sent, what was reserved for it counted; its events name the budget, too."""
    async with adapter_for(gateway, spans) as adapter:
        adapter.set_budget_limits(daily_limit=5.0, per_team_limits={"research": 2.0, "search": 0.5})
        first = await adapter.chat_async("Hello", provider="openai", max_tokens=50)
        await adapter.chat_async("Hello", provider="openai", max_tokens=50)
    one, two = spans.awus()
    reserved = told(one)["genops.accounting.reserved"]
    assert budget_of(told(one)) == {
        "name": "team:research",
        "period": "month",
        "allocated": 2.0,
        "consumed": reserved,
        "remaining": 2.0 - reserved,
    }
    assert told(two)["genops.budget.consumed"] == pytest.approx(first.cost + reserved, rel=1e-12)
    assert of_event(one, "genops.budget.reservation")["genops.budget.name"] == "team:research"
    assert of_event(one, "genops.budget.reservation")["genops.budget.remaining"] == 2.0 - reserved
    assert of_event(one, "genops.budget.reconciliation")["genops.budget.name"] == "team:research"
    assert told(one)["genops.policy.result"] == "ALLOWED"


async def test_a_refusal_names_who_was_meant(gateway: SandboxGateway, spans: Spans) -> None:
    """Before a choice was made that is the first candidate, with the model it would have been asked for."""
    async with adapter_for(gateway, spans) as adapter:
        adapter.set_budget_limits(daily_limit=0.0000001)
        for options in (
            {"provider": "openai"},
            {"providers": ["groq", "openai"]},
            {"provider": "groq", "max_cost": 1e-9},
        ):
            with pytest.raises(BudgetExceededError):
                await adapter.chat_async("Hello", **options)
    assert [(span.name, told(span)["gen_ai.provider.name"]) for span in spans.awus()] == [
        ("chat gpt-4o-mini", "openai"),
        ("chat llama-3.1-8b-instant", "groq"),
        ("chat llama-3.1-8b-instant", "groq"),
    ]


async def test_a_budget_that_refuses_nobody_warns(gateway: SandboxGateway, spans: Spans) -> None:
    """Beyond a limit that is not enforced calls go on, and their decision says so; up to it they are simply allowed."""
    async with adapter_for(gateway, spans) as adapter:
        adapter.set_budget_limits(daily_limit=0.000001, enforce=False)
        response = await adapter.chat_async("Hello", provider="openai")
        adapter.set_budget_limits(daily_limit=1.0, enforce=False)
        await adapter.chat_async("Hello", provider="openai")
    beyond, within = spans.awus()
    decision = {"genops.policy.result": "WARNING", "genops.policy.reason_code": "BUDGET_EXCEEDED"}
    assert of_event(beyond, "genops.policy.evaluated") == decision
    assert {name: told(beyond).get(name) for name in decision} == decision
    assert (told(beyond)["genops.accounting.actual"], told(beyond)["genops.budget.remaining"] < 0) == (
        response.cost,
        True,
    )
    assert told(within)["genops.policy.result"] == "ALLOWED"


async def test_a_threshold_that_a_call_passes_is_an_event(gateway: SandboxGateway, spans: Spans) -> None:
    """Of the AWU whose cost passed it, once for each budget, after the reconciliation; and of no other."""
    async with adapter_for(gateway, spans) as adapter:
        adapter.set_budget_limits(daily_limit=0.001, monthly_limit=1000.0, alert_thresholds=(1e-6, 2e-6))
        response = await adapter.chat_async("Hello", provider="openai", max_tokens=50)
        await adapter.chat_async("Hello", provider="openai", max_tokens=50)
    passed, later = spans.awus()
    assert events(passed) == [*RAN, "genops.budget.alert"]
    assert of_event(passed, "genops.budget.alert") == {
        "genops.budget.name": "daily",
        "genops.budget.consumed": response.cost,
        "genops.budget.allocated": 0.001,
    }
    assert events(later) == RAN


async def test_who_had_no_turn_for_a_call_is_an_awu_of_its_own(gateway: SandboxGateway, spans: Spans) -> None:
    """The first candidate's limits are used up: it is told as rate limited, in its place, and counted as that."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    async with adapter_for(gateway, spans, meter_provider=meters) as adapter:
        adapter.configure_rate_limits(per_provider={"openai": {"requests_per_minute": 1, "burst_allowance": 1}})
        await adapter.chat_async("Hello", provider="openai")
        response = await adapter.chat_async(
            "Hello", providers=["openai", "groq"], routing_strategy="failover", timeout_seconds=0.3
        )
    assert response.provider == "groq"
    _, refused, answered = spans.awus()
    (parent,) = spans.parents()
    assert [refused.parent, answered.parent] == [parent.context, parent.context]
    attributes = told(refused)
    assert (refused.name, events(refused)) == ("chat gpt-4o-mini", ["genops.policy.evaluated"])
    assert attributes["genops.policy.result"] == attributes["genops.policy.reason_code"] == "RATE_LIMITED"
    assert (attributes["gen_ai.provider.name"], attributes["server.address"]) == ("openai", "127.0.0.1")
    assert attributes["error.type"] == "DeadlineExceededError"
    assert (refused.end_time or 0) <= (answered.start_time or 0)
    limited = named(provider="openai", model="gpt-4o-mini", team="research")
    assert points(reader, "genops_helicone_rate_limited_total") == {limited: 1}


async def test_a_refusal_is_told_once(gateway: SandboxGateway, spans: Spans) -> None:
    """A call that ends with its last target's limits has one AWU for each target, and none for itself."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    gateway.faults.add(Fault(kind="status", provider="groq", status=500))
    async with adapter_for(gateway, spans, meter_provider=meters, retry_attempts=0) as adapter:
        adapter.configure_rate_limits(per_provider={"openai": {"requests_per_minute": 1, "burst_allowance": 1}})
        await adapter.chat_async("Hello", provider="openai")
        with pytest.raises(HeliconeError):
            await adapter.chat_async("Hello", provider="openai", timeout_seconds=0.1)
        with pytest.raises(HeliconeError):
            await adapter.chat_async(
                "Hello", providers=["groq", "openai"], routing_strategy="failover", timeout_seconds=0.3
            )
    results = [(told(unit)["gen_ai.provider.name"], told(unit)["genops.policy.result"]) for unit in spans.awus()]
    assert results == [
        ("openai", "ALLOWED"),
        ("openai", "RATE_LIMITED"),
        ("groq", "ALLOWED"),
        ("openai", "RATE_LIMITED"),
    ]
    limited = named(provider="openai", model="gpt-4o-mini", team="research")
    assert points(reader, "genops_helicone_rate_limited_total") == {limited: 2}


async def test_the_attempt_that_failed_passed_no_threshold(gateway: SandboxGateway, spans: Spans) -> None:
    """A call settles once, at its end: the alert is its last attempt's."""
    gateway.faults.add(Fault(kind="status", provider="openai", status=500))
    async with adapter_for(gateway, spans, retry_attempts=1) as adapter:
        adapter.set_budget_limits(daily_limit=0.01, alert_thresholds=(1e-6,))
        await adapter.chat_async("Hello", providers=["openai", "groq"], routing_strategy="failover", max_tokens=50)
    assert ["genops.budget.alert" in events(unit) for unit in spans.awus()] == [False, True]


def test_an_enforced_budget_never_warns() -> None:
    """Where others have spent more than they had set aside, whoever was granted room before is allowed all the same."""
    told = [BudgetStanding(Scope(name="daily", limit_pusd=5), 6, enforced) for enforced in (True, False)]
    assert [(each.left_pusd, each.is_exceeded) for each in told] == [(-1, False), (-1, True)]
