"""The decisions behind spans, one row each: who a call is for, what a refusal is called, what a service level was."""

import asyncio

import pytest

from genops_helicone_async import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    GatewayError,
    LedgerError,
    ProviderError,
    RateLimitExceededError,
    RoutingError,
)
from genops_helicone_async._flow.awu_accounting import service_level
from genops_helicone_async._rules.policy_results import refusal_of
from genops_helicone_async._rules.span_attribution import attribution_attributes, origin_of
from genops_helicone_async._rules.telemetry_names import provider_name
from genops_helicone_async.chat_request import make_request

REFUSALS = [
    (BudgetExceededError("no room"), "BLOCKED", "BUDGET_EXCEEDED"),
    (LedgerError("disk full"), "BLOCKED", "BUDGET_RESERVATION_FAILED"),
    (RateLimitExceededError("too many", limited_by="client"), "RATE_LIMITED", "RATE_LIMITED"),
    (ProviderError("no turn", code="no_turn"), "RATE_LIMITED", "RATE_LIMITED"),
    (ProviderError("all circuits are open"), "BLOCKED", "PROVIDER_ERROR_UPSTREAM"),
    (GatewayError("unreachable"), "BLOCKED", "PROVIDER_ERROR_UPSTREAM"),
    (ConfigurationError("not here", code="POLICY_DENY_REGION"), "BLOCKED", "POLICY_DENY_REGION"),
    (ConfigurationError("not this", code="POLICY_DENY_MODEL"), "BLOCKED", "POLICY_DENY_MODEL"),
    (ConfigurationError("wrong"), "BLOCKED", "x_configuration"),
    (RoutingError("nobody"), "BLOCKED", "x_routing"),
    (AuthenticationError("who are you"), "BLOCKED", "x_authentication"),
    (ZeroDivisionError(), "BLOCKED", "x_internal_error"),
    (asyncio.CancelledError(), "BLOCKED", "x_cancelled"),
]


@pytest.mark.parametrize(("error", "result", "code"), REFUSALS, ids=[repr(row[0]) for row in REFUSALS])
def test_what_a_refusal_is_called(error: BaseException, result: str, code: str) -> None:
    """Each error of a call that was never sent has its result and reason code."""
    assert refusal_of(error, routed=False, waited_for_budget=False) == (result, code)


@pytest.mark.parametrize(
    ("routed", "waited_for_budget", "expected"),
    [
        (True, False, ("RATE_LIMITED", "RATE_LIMITED")),
        (False, True, ("BLOCKED", "BUDGET_RESERVATION_FAILED")),
        (False, False, ("BLOCKED", "x_deadline_exceeded")),
    ],
)
def test_a_deadline_says_what_was_waited_for(routed: bool, waited_for_budget: bool, expected: tuple[str, str]) -> None:
    """Waiting at a provider's limits is rate limiting, waiting for a budget's store a reservation that failed."""
    error = DeadlineExceededError("too late")
    assert refusal_of(error, routed=routed, waited_for_budget=waited_for_budget) == expected


@pytest.mark.parametrize(
    ("resource", "program", "expected"),
    [
        ({}, "batch_job", ("batch_job", "batch_job", "development")),
        ({}, "", ("python", "python", "development")),
        ({"service.name": "unknown_service:python"}, "batch_job", ("batch_job", "batch_job", "development")),
        ({"service.name": "shop"}, "batch_job", ("shop", "shop", "development")),
        ({"service.name": "shop", "service.namespace": "web"}, "x", ("web", "shop", "development")),
        ({"deployment.environment.name": "staging"}, "job", ("job", "job", "staging")),
        ({"deployment.environment": "staging"}, "job", ("job", "job", "staging")),
        ({"service.name": 3}, "job", ("job", "job", "development")),
    ],
)
def test_where_attribution_comes_from_that_nobody_gave(
    resource: dict[str, object], program: str, expected: tuple[str, str, str]
) -> None:
    """Service and environment as the resource has them, else the program's name and `development`."""
    origin = origin_of(resource, program)
    assert (origin.team, origin.project, origin.environment) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("shop", "shop", "development")),
        ({"project": "atlas"}, ("atlas", "atlas", "development")),
        ({"service_name": "cart"}, ("cart", "cart", "development")),
        ({"team": "research", "project": "atlas", "environment": "production"}, ("research", "atlas", "production")),
        ({"team": "unknown", "project": "N/A", "environment": " none "}, ("shop", "shop", "development")),
        ({"team": "", "project": "  "}, ("shop", "shop", "development")),
    ],
)
def test_what_was_given_comes_first(given: dict[str, str], expected: tuple[str, str, str]) -> None:
    """A placeholder counts as not given: it would tell nobody anything."""
    attributes = attribution_attributes(given, origin_of({"service.name": "shop"}, "x"))
    assert tuple(attributes.values()) == expected


def test_optional_attribution_is_there_only_where_it_was_given() -> None:
    """A session is a conversation, too."""
    given = {"team": "t", "project": "p", "environment": "e", "customer_id": "c", "session_id": "s", "user_id": "null"}
    told = attribution_attributes(given, origin_of({}, "x"))
    assert {name: value for name, value in told.items() if len(value) == 1 and value in "cs"} == {
        "genops.customer_id": "c",
        "genops.session_id": "s",
        "gen_ai.conversation.id": "s",
    }
    assert "genops.user_id" not in told


@pytest.mark.parametrize(
    ("tier", "target_ms", "duration_s", "expected"),
    [
        ("gold", 100.0, 0.1, (100, 100, True)),
        ("gold", 100.0, 0.1001, (100, 101, False)),
        ("gold", 0.2, 0.0001, (1, 1, True)),
        ("gold", None, 0.1, None),
        (None, 100.0, 0.1, None),
        (None, None, 0.1, None),
    ],
)
def test_a_service_level_is_told_whole_or_not_at_all(
    tier: str | None, target_ms: float | None, duration_s: float, expected: tuple[int, int, bool] | None
) -> None:
    """Four attributes where tier and target are given; a miss by less than a millisecond is a miss."""
    attributes: dict[str, object] = {}
    service_level(attributes, make_request("Hi", {"sla_tier": tier, "sla_latency_ms": target_ms}), duration_s)
    assert attributes == (
        {}
        if expected is None
        else {
            "genops.sla.tier": tier,
            "genops.sla.latency_target_ms": expected[0],
            "genops.sla.actual_latency_ms": expected[1],
            "genops.sla.met": expected[2],
        }
    )


def test_a_provider_without_a_standard_name_keeps_its_own() -> None:
    """Bedrock has one, a company's own endpoint has none."""
    assert [provider_name("bedrock"), provider_name("my-own")] == ["aws.bedrock", "my-own"]
