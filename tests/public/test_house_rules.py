"""The house rules that a machine can check, over the installed packages and the tests themselves."""

import ast
import functools
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

MAX_FILE_LINES = 320
MAX_BODY_LINES = 40
BANNED_WORDS = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}

# A broad `except` that swallows belongs to a sink, the root of a task or a caller's own code, and says so on its line,
# behind the linter's code.
REASON = re.compile(r"# noqa: BLE001\s+\S+ \S+")

TESTS = Path(__file__).parents[1]
FRAGMENT = re.compile(r"\+?[a-z0-9-]+\.(added|changed|fixed|removed)\.md")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Source(NamedTuple):
    """One parsed file and the name it goes by in a failure."""

    name: str
    text: str
    tree: ast.Module

    def functions(self) -> Iterator[Function]:
        """Every function of the file, nested ones and methods included."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def handlers(self) -> Iterator[ast.ExceptHandler]:
        """Every `except` of the file."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ExceptHandler):
                yield node


@functools.cache
def sources(folder: Path) -> list[Source]:
    """All Python files under a folder, parsed once."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Source(path.relative_to(folder.parent).as_posix(), text, ast.parse(text)))
    return found


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """Forgets the parsed files at the end: so much in memory would slow every later test's garbage collection."""
    yield
    sources.cache_clear()


def shipped() -> list[Source]:
    """The files of both packages as they are imported: those of the wheel, when the wheel is under test."""
    names = ("genops", "genops_helicone_async")
    return [source for name in names for source in sources(Path(importlib.import_module(name).__path__[0]))]


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)}


def body_lines(function: Function) -> int:
    """Lines of a function from its first statement to its last; signature and docstring count for nothing."""
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def caught(handler: ast.ExceptHandler) -> set[str]:
    """The names of the exceptions that a handler takes; a bare `except` takes everything."""
    if handler.type is None:
        return {"BaseException"}
    parts = [node for node in ast.walk(handler.type) if isinstance(node, ast.Name | ast.Attribute)]
    return {part.id if isinstance(part, ast.Name) else part.attr for part in parts}


def raises(handler: ast.ExceptHandler) -> bool:
    """Whether a handler ends by raising: what it caught, or its translation."""
    return isinstance(handler.body[-1], ast.Raise)


def test_files_are_short() -> None:
    """A file tells one thing."""
    lengths = {source.name: source.text.count("\n") for source in shipped()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    """A function fits on a screen."""
    lengths = {f"{s.name}:{f.lineno} {f.name}": body_lines(f) for s in shipped() for f in s.functions()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_BODY_LINES} == {}


def test_every_module_says_what_it_owns() -> None:
    """A file begins with a docstring, tests included."""
    mute = [s.name for s in shipped() + sources(TESTS) if s.text.strip() and not ast.get_docstring(s.tree)]
    assert mute == []


def test_names_say_what_a_thing_is() -> None:
    """No module, class or function is called a helper, a manager or a utility."""
    named = [(source.name, Path(part).stem) for source in shipped() for part in Path(source.name).parts]
    for source in shipped():
        kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        named += [(source.name, node.name) for node in ast.walk(source.tree) if isinstance(node, kinds)]
    assert sorted({(where, name) for where, name in named if words(name) & BANNED_WORDS}) == []


def test_what_is_swallowed_whole_says_why() -> None:
    """Errors are caught by name; a broad `except` raises again, or gives the reason why it does not."""
    silent = []
    for source in shipped():
        lines = source.text.splitlines()
        for handler in source.handlers():
            broad = caught(handler) & {"Exception", "BaseException"}
            if broad and not raises(handler) and not REASON.search(lines[handler.lineno - 1]):
                silent.append(f"{source.name}:{handler.lineno}")
    assert silent == []


def test_cancellation_always_passes() -> None:
    """What catches a cancellation ends by raising, but at the root of a task, which says so on its line."""
    kept = []
    for source in shipped():
        lines = source.text.splitlines()
        for handler in source.handlers():
            catches = caught(handler) & {"BaseException", "CancelledError"}
            if catches and not raises(handler) and "the root of a task" not in lines[handler.lineno - 1]:
                kept.append(f"{source.name}:{handler.lineno}")
    assert kept == []


def test_every_test_states_a_behaviour() -> None:
    """A test's first line says what holds, in one sentence."""
    mute = [
        f"{source.name}:{function.lineno} {function.name}"
        for source in sources(TESTS)
        for function in source.functions()
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert mute == []


def test_no_two_test_files_have_one_name() -> None:
    """Pytest imports them by their names alone: the second would not run."""
    names = [path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_nothing_of_ours_is_patched_away() -> None:
    """Tests use real parts and public fakes: no `mock`, no `mocker`, no replaced part of our own modules."""
    mocking = re.compile(r"^\s*(from|import) (unittest\.mock|unittest import mock|pytest_mock)\b|\bmocker\b[.,)]")
    ours = re.compile(r"monkeypatch\.setattr\(\s*f?[\"']?genops")
    offending = [
        f"{source.name}:{number}"
        for source in sources(TESTS)
        if source.name != f"tests/public/{Path(__file__).name}"
        for number, line in enumerate(source.text.splitlines(), 1)
        if mocking.search(line) or ours.search(line)
    ]
    assert offending == []


def test_changelog_fragments_have_a_kind() -> None:
    """Each change has a file of its own whose name tells what kind of change it is."""
    folder = TESTS.parent / "changelog.d"
    names = sorted(path.name for path in folder.iterdir() if path.name != "README.md")
    assert [name for name in names if not FRAGMENT.fullmatch(name)] == []
