"""What README shows runs as it stands, against the sandbox."""

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.cli import main
from genops_helicone_async.testing import SandboxGateway

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def run(code: str, names: dict[str, Any]) -> None:
    """Executes a block, top-level awaits included."""
    compiled = compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    exec(compiled, names)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxGateway]:
    """A gateway that the environment points to, as README's reader has one."""
    with SandboxGateway.in_thread(latency_scale=0) as running:
        monkeypatch.setenv("HELICONE_GATEWAY_URL", running.url)
        monkeypatch.setenv("HELICONE_API_KEY", running.api_key)
        monkeypatch.setenv("HELICONE_API_URL", running.api_url)
        yield running


def test_the_first_answer_is_printed_with_its_cost(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """The first block is a whole program: it prints an answer, a provider and the gateway's own dollars."""
    run(BLOCKS[0], {})
    printed = capsys.readouterr().out
    assert printed.endswith(f" openai ${gateway.bill.total_usd:.6f}\n")


def test_every_function_shown_works(
    gateway: SandboxGateway,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each function on the page does what its text says."""
    monkeypatch.chdir(tmp_path)  # where the audit log goes
    names: dict[str, Any] = {}
    for block in BLOCKS[1:]:
        run(block, names)

    async def call_all() -> object:
        async with GenOpsHeliconeAsyncAdapter() as adapter:
            await names["classify"](adapter, ["one", "two", "three"])
            await names["careful"](adapter)
            await names["tell"](adapter)
            await names["within_limits"](adapter)
            await names["rated"](adapter)
            await names["outage"]()
            await names["at_a_steady_rate"](adapter, ["one", "two"])
            await names["several"](adapter, "What is the capital of France?")
            await names["asked_twice"](adapter)
            names["instrumented"]()
            return await names["largest"](adapter)

    assert isinstance(asyncio.run(call_all()), int)
    names["watched"]()
    assert main(["audit", "verify", "audit.jsonl"]) == 0
    assert (list(gateway.feedback.values()), len(gateway.scores)) == ([True], 1)
    assert names["ask"]().startswith("About 'Hello'")
    printed = capsys.readouterr().out
    assert re.findall(r"^([012]) About", printed, re.MULTILINE) == ["0", "1", "2"]
    assert re.search(r"^openai 200 None \S+$", printed, re.MULTILINE)
    assert "\nTrue 0.0 True\n" in printed
