"""The net under every other test holds: each kind of fall is tried once, on purpose."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.fixture
def net(pytester: pytest.Pytester) -> pytest.Pytester:
    """A scratch test folder under this repository's own conftest."""
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyfile(awu_witness=CONFTEST.with_name("awu_witness.py").read_text(encoding="utf-8"))
    return pytester


def run(net: pytest.Pytester, body: str) -> pytest.RunResult:
    """Run one test module in a process of its own, as its loop and patches must not be ours."""
    net.makepyfile(f"import asyncio, os, socket, sys, threading, time, pytest\n{body}")
    return net.runpytest_subprocess("-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider")


def test_a_leaked_task_fails_the_test(net: pytest.Pytester) -> None:
    """A task that outlives its test is an error of that test, and of that test only."""
    result = run(
        net,
        """
@pytest.mark.anyio
async def test_leaks():
    asyncio.get_running_loop().forgotten = asyncio.create_task(asyncio.Event().wait(), name="forgotten")

@pytest.mark.anyio
async def test_cleans_up():
    task = asyncio.create_task(asyncio.sleep(0))
    await task
""",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*1 task(s) outlived the test: *name='forgotten'*", "ERROR *::test_leaks*"])


def test_a_task_leaked_by_a_fixture_fails_the_test(net: pytest.Pytester) -> None:
    """The check looks after the test's own fixtures have closed, so that they are held to it too."""
    result = run(
        net,
        """
@pytest.fixture
async def careless():
    asyncio.get_running_loop().forgotten = asyncio.create_task(asyncio.Event().wait())
    yield

@pytest.fixture
async def careful():
    task = asyncio.create_task(asyncio.Event().wait())
    yield
    task.cancel()

@pytest.mark.anyio
async def test_careless(careless): pass

@pytest.mark.anyio
async def test_careful(careful): pass
""",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["ERROR *::test_careless*"])


def test_a_blocking_call_of_our_own_code_fails_the_test(net: pytest.Pytester) -> None:
    """Code of the package that blocks a running loop raises; the same code off the loop does not."""
    result = run(
        net,
        """
import genops_helicone_async.errors

SLEEPER = compile("import time\\ndef sleep(): time.sleep(0)", genops_helicone_async.errors.__file__, "exec")
exec(SLEEPER)

@pytest.mark.anyio
async def test_blocks(): sleep()

@pytest.mark.anyio
async def test_in_a_thread(): await asyncio.to_thread(sleep)
""",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*BlockingError: Blocking call to time.sleep*", "FAILED *::test_blocks*"])


def test_another_machine_cannot_be_reached(net: pytest.Pytester) -> None:
    """A connection to anything but loopback is refused before a packet leaves."""
    result = run(
        net,
        """
def test_outside():
    with socket.socket() as s: s.connect(("192.0.2.1", 80))
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*a test tried to reach 192.0.2.1: tests talk to loopback only*"])


def test_private_settings_are_out_of_reach(net: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, proxies and exporters of the developer's shell are gone before a test module is imported."""
    for name in ("OPENAI_API_KEY", "HELICONE_GATEWAY_URL", "GENOPS_TEAM", "OTEL_SDK_DISABLED", "https_proxy"):
        monkeypatch.setenv(name, "mine")
    result = run(
        net,
        """
LEFT = sorted(name for name, value in os.environ.items() if value == "mine")

def test_left(): assert LEFT == []
""",
    )
    result.assert_outcomes(passed=1)


def test_a_skip_is_no_way_around_recordings_at_hand(net: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipping for want of shared recordings fails the run when they are there, and only then."""
    body = "def test_recorded(): pytest.skip('no shared recordings')"
    monkeypatch.setenv("GENOPS_SHARED_DIR", str(net.path))
    assert run(net, body).ret == pytest.ExitCode.TESTS_FAILED
    monkeypatch.delenv("GENOPS_SHARED_DIR")
    assert run(net, body).ret == pytest.ExitCode.OK


def test_a_warning_fails_the_test(net: pytest.Pytester, pytestconfig: pytest.Config) -> None:
    """The project's own settings turn warnings into errors."""
    assert pytestconfig.getini("filterwarnings")[0] == "error"


def test_a_test_has_a_time_limit(pytestconfig: pytest.Config) -> None:
    """A test that hangs is stopped after two minutes."""
    assert pytestconfig.getini("timeout") == "120"


def test_a_span_that_does_not_comply_fails_its_test(net: pytest.Pytester) -> None:
    """An AWU without what GenOps wants fails the test that made it, and no other."""
    body = """
from opentelemetry import trace

def test_a_bad_span():
    trace.get_tracer("test").start_span("chat", attributes={"genops.policy.result": "ALLOWED"}).end()

def test_another():
    trace.get_tracer("test").start_span("no business of ours").end()
"""
    result = run(net, body)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*violation(s) of GenOps v0.1.0*", "*genops.team is missing*"])
