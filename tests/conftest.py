"""What every test gets without asking: asyncio, no keys, no network, no blocking calls, no surviving task."""

import asyncio
import importlib.util
import ipaddress
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

import awu_witness

PACKAGE = "genops_helicone_async"
SHARED_VARIABLE = "GENOPS_SHARED_DIR"

# A developer's keys, proxies and exporters must neither be used by a test nor decide its outcome.
PRIVATE_VARIABLES = re.compile(
    rf"(?!{SHARED_VARIABLE}$)(HELICONE_|GENOPS_|OTEL_|VERTEX_AI_)|\w+_API_KEY$|(HTTPS?|ALL|NO)_PROXY$",
    re.IGNORECASE,
)

# Rounds of the event loop that a cancelled task may take to unwind; a leak survives any number.
UNWIND_ROUNDS = 20

# The same examples in every run and order; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--uvloop`, which runs every async test on uvloop instead of asyncio's own loop."""
    parser.addoption("--uvloop", action="store_true", help="run async tests on uvloop")


def pytest_configure(config: pytest.Config) -> None:
    """Settle the environment before any test module is imported."""
    for name in [name for name in os.environ if PRIVATE_VARIABLES.match(name)]:
        del os.environ[name]
    if SHARED_VARIABLE not in os.environ:
        beside_repository = Path(__file__).parents[2] / "shared"
        if (beside_repository / "fixtures").is_dir():
            os.environ[SHARED_VARIABLE] = str(beside_repository)
    if not getattr(sys, "_genops_loopback_only", False):
        sys.addaudithook(_refuse_other_machines)  # cannot be removed: in-process pytester runs share it
        sys._genops_loopback_only = True  # type: ignore[attr-defined]
        sys._genops_awu_witness = awu_witness.install()  # type: ignore[attr-defined]  # a process has one provider


def _refuse_other_machines(event: str, args: tuple[object, ...]) -> None:
    if event != "socket.connect" or not isinstance(args[1], tuple):
        return
    host = str(args[1][0]).partition("%")[0]
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise RuntimeError(f"a test tried to reach {host}: tests talk to loopback only")


def pytest_report_header() -> str:
    """Say where the recordings come from, so that a run without them is seen."""
    return f"shared recordings: {os.environ.get(SHARED_VARIABLE, 'absent, their tests are skipped')}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that skipped for want of recordings that are there."""
    for report in _wrongly_skipped(terminalreporter):
        terminalreporter.write_line(f"SKIPPED WITH THE RECORDINGS AT HAND: {report.nodeid}", red=True)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when a test skipped for want of recordings that are there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and _wrongly_skipped(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _wrongly_skipped(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    if SHARED_VARIABLE not in os.environ:
        return []
    return [report for report in reporter.stats.get("skipped", []) if "shared" in str(report.longrepr).lower()]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of recordings and design notes beside the repository; skips where there is none."""
    if SHARED_VARIABLE not in os.environ:
        pytest.skip(f"needs the shared recordings: set {SHARED_VARIABLE} or put shared/ beside the repository")
    return Path(os.environ[SHARED_VARIABLE])


@pytest.fixture(scope="session")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run async tests on asyncio only: aiohttp knows no other."""
    return "asyncio", {"use_uvloop": request.config.getoption("--uvloop")}


@pytest.fixture(scope="session", autouse=True)
def blocking_calls() -> Iterator[BlockBuster]:
    """Raise where our own code blocks a running event loop; a test may allow more with `can_block_in`."""
    # The sync facade blocks its caller by design, also one that runs a loop.
    facade = [f"{PACKAGE}.blocking", f"{PACKAGE}._edges.loop_thread", f"{PACKAGE}.validation.blocking"]
    # Alerts are delivered on a loop of a thread of their own, where using their file holds nobody up.
    own_thread = [f"{PACKAGE}._edges.webhooks"]
    excluded = [module for module in facade + own_thread if importlib.util.find_spec(module)]
    with blockbuster_ctx(PACKAGE, excluded_modules=excluded) as detector:
        for function in detector.functions.values():
            # A first import inside a call and a traceback being written are paid once, in any order of tests.
            function.can_block_in("<frozen importlib._bootstrap>", {"_find_and_load"})
            function.can_block_in("linecache.py", {"checkcache", "updatecache"})
        yield detector


@pytest.fixture(autouse=True)
def _awus_comply() -> Iterator[None]:
    witness: awu_witness.Witness = sys._genops_awu_witness  # type: ignore[attr-defined]
    yield
    violations = witness.take()
    if violations:
        told = "\n".join(map(str, violations[:20]))
        pytest.fail(f"{len(violations)} violation(s) of GenOps v0.1.0 in this test's spans:\n{told}", pytrace=False)


@pytest.fixture(autouse=True)
def _leak_check(request: pytest.FixtureRequest) -> None:
    # A sync fixture sees no running loop and could check nothing: async tests get the async one.
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("_no_task_survives")


def _tasks_of_tests() -> set[asyncio.Task[object]]:
    # anyio's runner starts a task for each fixture and test that it runs, and ends it a moment later.
    return {
        task
        for task in asyncio.all_tasks()
        if not getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")
    }


@pytest.fixture
async def _no_task_survives() -> AsyncIterator[None]:
    before = _tasks_of_tests()
    yield
    for _ in range(UNWIND_ROUNDS):
        survivors = _tasks_of_tests() - before
        if not survivors:
            return
        await asyncio.sleep(0)
    for task in survivors:
        task.cancel()
    await asyncio.gather(*survivors, return_exceptions=True)
    pytest.fail(f"{len(survivors)} task(s) outlived the test: {sorted(map(repr, survivors))}", pytrace=False)
