"""`sandbox`: a gateway to try things against, with faults written as text, and its bill at the end."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from genops_helicone_async.cli import main
from genops_helicone_async.cli.failures import CommandError
from genops_helicone_async.cli.sandbox import add_fault
from genops_helicone_async.testing import Fault, SandboxGateway


def sandbox(*argv: str) -> subprocess.Popen[str]:
    """The command, started."""
    command = [sys.executable, "-m", "genops_helicone_async", "sandbox", "--latency-scale", "0", *argv]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_serves_until_ctrl_c_and_bills(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The places it prints can be talked to; Ctrl-C is success, and the bill is that of the calls made."""
    child = sandbox("--json", "--fault", "openai:status=503:times=1")
    assert child.stdout is not None
    places = json.loads(child.stdout.readline())
    monkeypatch.setenv("HELICONE_GATEWAY_URL", places["url"])
    monkeypatch.setenv("HELICONE_API_KEY", places["api_key"])
    status = main(["chat", "Hi", "--providers", "openai,groq", "--json"])
    child.send_signal(signal.SIGINT)
    out, err = child.communicate()
    told = json.loads(capsys.readouterr().out)
    bill = json.loads(out)
    assert (status, told["provider"], child.returncode, err) == (0, "groq", 0, "")
    assert bill == {
        "calls": 2,
        "billed": 1,
        "total_pusd": round(told["cost_usd"] * 10**12),
        "by_provider_pusd": {"groq": round(told["cost_usd"] * 10**12)},
        "faults_struck": 1,
    }


def test_its_lines_can_be_copied() -> None:
    """For people it prints what to export, and at the end a table."""
    child = sandbox()
    assert child.stdout is not None
    assert child.stderr is not None
    first = child.stdout.readline()
    child.send_signal(signal.SIGTERM)
    rest, err = child.stdout.read(), child.stderr.read()
    child.communicate()
    url = first.removeprefix("Sandbox gateway on ").partition(";")[0]
    assert (child.returncode, err) == (0, "")
    assert f"\n  export HELICONE_GATEWAY_URL={url}\n  export HELICONE_API_KEY=sk-helicone-" in f"\n{rest}"
    assert rest.endswith("\n0 calls, 0 billed, 0 hit by faults: $0.0000\n")


def test_a_taken_port_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is in use is one line with the remedy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["sandbox", "--port", str(taken.getsockname()[1])]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: cannot listen: ")
    assert err.endswith(" (--port 0 takes any free port)\n")


@pytest.mark.parametrize(
    "argv, said",
    [
        (["--port", "70000"], "--port is 70000: give 0 to 65535"),
        (["--latency-scale", "-1"], "--latency-scale is -1.0: give 0 or more"),
        (["--latency-scale", "nan"], "--latency-scale is nan: give 0 or more"),
    ],
)
def test_settings_that_make_no_sense(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong setting is status 2 before anything listens."""
    assert main(["sandbox", *argv]) == 2
    assert capsys.readouterr() == ("", f"error: {said}\n")


@pytest.mark.parametrize(
    "text, fault",
    [
        ("openai:status=500:probability=0.1", Fault(kind="status", provider="openai", status=500, probability=0.1)),
        ("*:hang", Fault(kind="hang")),
        ("groq:status=429:retry_after=2", Fault(kind="status", provider="groq", status=429, retry_after=2)),
        ("anthropic:delay=3:times=5", Fault(kind="delay", provider="anthropic", delay_s=3, times=5)),
        ("openai:cut:at_chunk=2:model=gpt-4o", Fault(kind="cut", provider="openai", at_chunk=2, model="gpt-4o")),
    ],
)  # fmt: skip
def test_a_fault_as_text(text: str, fault: Fault) -> None:
    """A fault can be written on the command line with all its settings."""
    gateway = SandboxGateway()
    add_fault(gateway, text)
    assert list(gateway.faults) == [fault]


def test_outages_and_limits_as_text() -> None:
    """An outage and a hidden limit can be written, too."""
    gateway = SandboxGateway()
    add_fault(gateway, "openai:down")
    add_fault(gateway, "groq:limit=60/2")
    assert repr(gateway.faults) == "<FaultPlan 0 faults, down ['openai'], limits on ['groq']>"


@pytest.mark.parametrize(
    "text, why",
    [
        ("openai", "write PROVIDER:WHAT, such as openai:status=500"),
        (":hang", "write PROVIDER:WHAT, such as openai:status=500"),
        ("openai:explode", "explode"),
        ("openai:status=much", "status"),
        ("openai:status=500:probability=2", "probability must be between 0 and 1, not 2.0"),
        ("openai:hang:tmes=1", "tmes"),
        ("openai:down=soon", "could not convert string to float: 'soon'"),
        ("groq:limit", "could not convert string to float: ''"),
    ],
)
def test_a_fault_that_cannot_be_read(text: str, why: str) -> None:
    """What cannot be understood is refused with the text and the part that is wrong."""
    with pytest.raises(CommandError) as caught:
        add_fault(SandboxGateway(), text)
    assert caught.value.status == 2
    assert caught.value.message.startswith(f"--fault {text!r}: ")
    assert why in caught.value.message
