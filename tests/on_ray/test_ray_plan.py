"""What workers on Ray are told: completed here, divided there, refused where the sum would not hold, not shown."""

import pickle
from typing import Any

import pytest

from genops_helicone_async import ConfigurationError
from genops_helicone_async.integrations.ray import WorkerPlan

KEY = "sk-helicone-sandbox-onray01-onray02-onray03"
SHARED = {"state_url": "redis://cache.internal:6379/0"}


def test_a_plan_shows_no_key() -> None:
    """Neither in its repr nor in what it is printed in; it pickles whole."""
    plan = WorkerPlan(settings={"helicone_api_key": KEY, **SHARED}, budgets={"daily_limit": 1.0}).completed(
        {"OPENAI_API_KEY": "sk-other"}
    )
    assert repr(plan) == "WorkerPlan(256 in flight, budgets; keys are not shown)"
    assert KEY not in f"{plan!r} {[plan]}"
    assert "sk-other" not in repr(plan)
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_the_environment_that_matters_goes_along() -> None:
    """Keys, places and our own variables; nothing else of this machine."""
    environ = {
        "HELICONE_API_KEY": "a", "GENOPS_TEAM": "b", "OPENAI_API_KEY": "c", "GOOGLE_CLOUD_PROJECT": "d", "PATH": "e",
        "AWS_SECRET_ACCESS_KEY": "f", "HOME": "g",
    }  # fmt: skip
    plan = WorkerPlan().completed(environ)
    assert plan.environ == {
        "HELICONE_API_KEY": "a", "GENOPS_TEAM": "b", "OPENAI_API_KEY": "c", "GOOGLE_CLOUD_PROJECT": "d",
    }  # fmt: skip
    assert plan.completed({"HELICONE_API_KEY": "of another machine"}) == plan


@pytest.mark.parametrize("limits", [{"budgets": {"daily_limit": 1.0}}, {"rate_limits": {"requests_per_minute": 60}}])
def test_limits_without_a_shared_store_are_refused(limits: dict[str, Any]) -> None:
    """With the reason, and what to give; with a server they are taken, from the environment, too."""
    told = f"{next(iter(limits))} would hold for each worker on Ray by itself, and the sum would pass"
    with pytest.raises(ConfigurationError, match=told):
        WorkerPlan(**limits).completed({})
    assert WorkerPlan(settings=SHARED, **limits).completed({}).state_url == SHARED["state_url"]
    assert WorkerPlan(**limits).completed({"GENOPS_STATE_URL": "redis://h:1/0"}).state_url == "redis://h:1/0"


def test_a_store_of_one_machine_is_refused() -> None:
    """A file is on one machine only, whatever it is for."""
    with pytest.raises(ConfigurationError, match=r"a file of this machine.*give state_url='redis://"):
        WorkerPlan(settings={"state_url": "sqlite:///ledger.db"}).completed({})


def test_objects_of_this_process_are_refused() -> None:
    """They could not be sent."""
    with pytest.raises(ConfigurationError, match="`tracer_provider` belongs to this process"):
        WorkerPlan(settings={"tracer_provider": object()}).completed({})


def test_what_each_event_loop_keeps_by_itself_is_divided() -> None:
    """Calls at once and `max_concurrency`, to the last one; what is shared is told to each whole."""
    limits = {
        "requests_per_minute": 600,
        "max_concurrency": 7,
        "per_provider": {"groq": {"max_concurrency": 3, "tokens_per_minute": 9}},
    }
    plan = WorkerPlan(settings=SHARED, rate_limits=limits, max_in_flight=10)
    parts = [plan.share(number, 3) for number in range(3)]
    assert [part.max_in_flight for part in parts] == [4, 3, 3]
    assert [part.rate_limits["max_concurrency"] for part in parts if part.rate_limits] == [3, 2, 2]
    assert [part.rate_limits["per_provider"]["groq"] for part in parts if part.rate_limits] == [
        {"max_concurrency": 1, "tokens_per_minute": 9}
    ] * 3
    assert {part.rate_limits["requests_per_minute"] for part in parts if part.rate_limits} == {600}
    assert plan.most_workers() == 3


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("redis://127.0.0.1:6379/0", True), ("redis://localhost/0", True), ("redis://[::1]:1/0", True),
        ("unix:///run/valkey.sock", True), ("redis://10.0.0.7/0", False), ("rediss://cache.internal/0", False),
    ],
)  # fmt: skip
def test_a_name_that_means_another_machine_elsewhere_is_known(url: str, is_local: bool) -> None:
    """On a cluster of several machines such a store would be several."""
    assert WorkerPlan(settings={"state_url": url}).is_for_this_machine_only() is is_local
