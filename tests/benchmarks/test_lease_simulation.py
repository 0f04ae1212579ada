"""The simulation of leases at a small size: no limit is passed, whoever crashes, and nearly all of it is used."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import valkey_server

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ("charts", "harness", "simulated_world", "simulated_leases", "simulated_rates", "lease_simulation")


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The benchmarks' own modules, which other tests do not see."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield {name: importlib.import_module(name) for name in NAMES}
    for name in NAMES:
        sys.modules.pop(name)


@pytest.fixture
def server_url(tmp_path: Path) -> Iterator[str]:
    """A server whose statistics nobody else is in."""
    server = valkey_server.ValkeyServer(tmp_path)
    server.start()
    yield server.url
    server.stop()


def test_no_limit_is_passed(modules: dict[str, ModuleType], server_url: str) -> None:
    """Over a few processes and many: overshoot 0, most of it is used, and the books are the truth."""
    result = modules["lease_simulation"].simulate(server_url, (2, 20), money_s=2.0, rate_s=2.0)
    assert [row["overshoot"] for rows in result.values() for row in rows] == [0, 0, 0, 0]
    assert all(row["used"] > 0.8 for row in result["moments"])
    assert result["money"][1]["used"] > 0.8  # of two processes one crashes, and takes its lease along
    assert all(row["books_agree"] and row["crashes"] > 0 for row in result["money"])
    assert "20" in modules["lease_simulation"].table_of(result)
    assert modules["lease_simulation"].chart_of(result).startswith("<svg")


def test_what_is_passed_would_be_seen(modules: dict[str, ModuleType]) -> None:
    """The measures themselves: money held beyond a limit, and two calls where one may go."""
    money = modules["simulated_leases"].Money(limit_pusd=100)
    money.move(0, 90)
    money.move(80, -90)
    money.move(0, 30)
    assert money.highest_pusd - money.limit_pusd == 10
    rate = modules["simulated_rates"].Rate(capacity=2.0, per_s=1.0, used_s=[0.0, 0.0, 1.0, 1.5])
    assert rate.overshoot() == 0.5


WRONG = {
    "holds": ("local taken = plus(plus(a.settled, a.held), amount)", "local taken = plus(a.settled, amount)"),
    "who lives": ("alive, '-inf', now,", "alive, '-inf', now + 60000,"),
}


@pytest.mark.parametrize("forgotten", WRONG)
def test_a_server_that_gives_too_much_is_found_out(
    modules: dict[str, ModuleType], server_url: str, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    """With a script that forgets what others hold, or takes the living for dead, the same run overshoots."""
    right, wrong = WRONG[forgotten]
    script = modules["simulated_world"].MONEY_SCRIPT
    assert right in script
    monkeypatch.setattr(modules["simulated_world"], "MONEY_SCRIPT", script.replace(right, wrong))
    result = modules["lease_simulation"].simulate(server_url, (8,), money_s=2.0, rate_s=0.1)
    assert result["money"][0]["overshoot"] > 0
