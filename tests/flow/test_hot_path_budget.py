"""The hot path stays within its budget of functions, bytecode and memory; a change that does not has to say why."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "hot_path.py"


@pytest.fixture(scope="module")
def hot_path() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("hot_path", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_call_runs_no_more_than_is_budgeted(hot_path: ModuleType) -> None:
    """Counted in a process of its own; what is over the budget is named with what was planned."""
    if hot_path.PYTHON not in hot_path.read_budget()["pythons"]:
        pytest.skip(f"no budget for Python {hot_path.PYTHON} yet: {SCRIPT.name} --update")
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_what_is_beyond_its_budget_and_margin_is_told(hot_path: ModuleType) -> None:
    """Each figure for itself; what has no budget yet is not judged, and cheaper is always right."""
    budget = {"bare": {"functions": 100, "opcodes": 1000}}
    at_most = {"functions": 103, "opcodes": 1030, "native": 7}
    assert hot_path.complaints({"bare": at_most, "new": {"functions": 9}}, budget) == []
    assert hot_path.complaints({"bare": {"functions": 1, "opcodes": 1}}, budget) == []
    assert hot_path.complaints({"bare": {"functions": 104, "opcodes": 1031}}, budget) == [
        "bare: 104 functions a call, budgeted are 100 and 3%",
        "bare: 1,031 opcodes a call, budgeted are 1,000 and 3%",
    ]


def test_a_changed_budget_says_why(hot_path: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is kept with the figures, those of other Pythons and of what was not measured stay."""
    monkeypatch.setattr(hot_path, "BUDGET", tmp_path / "budget.json")
    monkeypatch.setattr(hot_path, "PYTHON", "3.11")
    hot_path.update({"bare": {"functions": 100, "reference_milli": 900}}, "the first figures")
    monkeypatch.setattr(hot_path, "PYTHON", "3.12")
    hot_path.update({"bare": {"functions": 90}}, "comprehensions are no functions there")
    monkeypatch.setattr(hot_path, "PYTHON", "3.11")
    hot_path.update({"bare": {"functions": 110}}, "a call asks one more question")
    assert hot_path.read_budget()["pythons"] == {
        "3.11": {"bare": {"functions": 110, "reference_milli": 900}},
        "3.12": {"bare": {"functions": 90}},
    }
    assert [(change["python"], change["why"]) for change in hot_path.read_budget()["changes"]] == [
        ("3.11", "the first figures"),
        ("3.12", "comprehensions are no functions there"),
        ("3.11", "a call asks one more question"),
    ]


def test_a_budget_is_not_changed_without_a_reason() -> None:
    """A word is none."""
    done = subprocess.run([sys.executable, str(SCRIPT), "--update", "ok"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs the reason" in done.stderr


def test_every_figure_of_the_checked_in_budget_has_a_margin(hot_path: ModuleType) -> None:
    """So that none is compared exactly, or not at all."""
    figures = {
        name
        for settings in json.loads(hot_path.BUDGET.read_text("utf-8"))["pythons"].values()
        for figures in settings.values()
        for name in figures
    }
    assert figures <= set(hot_path.MARGINS)
