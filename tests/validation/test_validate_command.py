"""`genops-helicone validate`, and the module under the guide's name: statuses for CI, JSON for machines."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pytest

from genops_helicone_async.cli import main
from genops_helicone_async.testing import SandboxGateway
from genops_helicone_async.validation import ValidationResult


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxGateway]:
    """A gateway that the environment points to."""
    with SandboxGateway.in_thread(latency_scale=0) as running:
        monkeypatch.setenv("HELICONE_GATEWAY_URL", running.url)
        monkeypatch.setenv("HELICONE_API_KEY", running.api_key)
        yield running


def test_a_setup_in_order_is_success(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0, the result on standard output, nothing on standard error, nothing billed."""
    assert main(["validate"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("GenOps Helicone Setup Validation\n\n[ok] Helicone API Key: Valid\n")
    assert out.splitlines()[-1].startswith("- ")
    assert (err, gateway.bill.total_pusd) == ("", 0)


def test_a_failure_is_status_1(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipeline stops there."""
    assert main(["validate", "--gateway-url", "http://127.0.0.1:1"]) == 1
    assert "Overall Status: FAILED (with 1 error, 1 warning)" in capsys.readouterr().out


def test_no_key_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Not a wrong command line: the setup is what is wrong."""
    assert main(["validate"]) == 1
    assert "[failed] Configuration: no key to authenticate with" in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--gateway-url", "ftp://x"], ["--timeout", "-1"], ["--nonsense"]])
def test_wrong_usage_is_status_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error."""
    assert main(["validate", *options]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)


def test_performance_says_first_what_it_bills(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, so that standard output stays the result alone."""
    assert main(["validate", "--performance", "--detailed"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("Performance test: one small billed call (16 output tokens at most) to each of OpenAI, ")
    assert "Quick Performance Test:\n[ok] OpenAI via Helicone: " in out
    assert len(gateway.bill.rows) == 3


def test_json_has_every_field_and_no_other(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """The result's own fields, which read back as the same structure, and `ok`."""
    assert main(["validate", "--json", "--performance"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert list(told) == [
        "ok", "status", "checks", "providers", "performance", "recommendations", "gateway_url", "started_at",
        "duration_s",
    ]  # fmt: skip
    assert set(told["checks"][0]) == {"name", "title", "status", "summary", "details", "remedy", "latency_s"}
    assert set(told["performance"][0]) == {
        "provider", "title", "model", "ok", "latency_s", "cost", "currency", "output_tokens", "tokens_per_second",
        "error",
    }  # fmt: skip
    assert told["ok"] is True
    assert datetime.fromisoformat(told["started_at"]).tzinfo is not None
    del told["ok"]
    result = msgspec.convert(told, ValidationResult)
    assert (result.status, [one.provider for one in result.performance]) == ("passed", ["openai", "anthropic", "groq"])


def test_json_of_a_failure_is_json_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where no adapter could be made."""
    assert main(["validate", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["checks"][0]["name"]) == (False, "configuration")


def test_a_terminal_sees_the_guide_s_signs(gateway: SandboxGateway) -> None:
    """A real terminal, a real process."""
    primary, secondary = pty.openpty()
    command = [sys.executable, "-W", "error", "-m", "genops_helicone_async", "validate"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(command, stdout=secondary, stderr=subprocess.PIPE, env=environment) as process:
        os.close(secondary)
        text = b""
        try:
            while data := os.read(primary, 65536):
                text += data
        except OSError:  # what Linux gives at the other end's close
            pass
        assert process.stderr is not None
        assert process.stderr.read() == b""
    os.close(primary)
    assert process.returncode == 0
    shown = text.decode().replace("\r\n", "\n")
    assert shown.startswith("🔍 GenOps Helicone Setup Validation\n\n✅ Helicone API Key: Valid\n")
    assert "ℹ️  Telemetry Export: No OpenTelemetry SDK configured\n" in shown  # noqa: RUF001


def test_an_otlp_endpoint_that_nobody_sends_to_is_a_warning(gateway: SandboxGateway) -> None:
    """The variable is set and no SDK is there to heed it; in a process of its own, for these tests have an SDK."""
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.test:4318"}
    command = [sys.executable, "-W", "error", "-m", "genops_helicone_async", "validate", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (check,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "telemetry"]
    assert (check["status"], check["summary"]) == (
        "warning", "No OpenTelemetry SDK configured, though http://collector.test:4318 is set",
    )  # fmt: skip
    assert done.stderr == ""


def test_the_guide_s_module_has_the_same_objects() -> None:
    """`genops.providers.helicone_validation` and the package offer one thing."""
    import genops_helicone_async
    from genops.providers import helicone_validation

    for name in helicone_validation.__all__:
        assert getattr(helicone_validation, name) is getattr(genops_helicone_async, name)
    with pytest.raises(AttributeError, match="no attribute 'validate'"):
        _ = helicone_validation.validate  # type: ignore[attr-defined]


def test_it_can_be_called_inside_a_running_loop(gateway: SandboxGateway) -> None:
    """As from a notebook: it blocks the loop, and gives the result."""
    from genops_helicone_async import validate_setup

    async def call() -> bool:
        return validate_setup().ok

    assert asyncio.run(call()) is True
