"""Processes that end without closing their adapter, or fork: Helicone is told what can be told, once."""

import os
import subprocess
import sys

import pytest

from genops_helicone_async.testing import SandboxGateway

_BEGIN = """
import asyncio, os, sys
from genops_helicone_async import GenOpsHeliconeAdapter, GenOpsHeliconeAsyncAdapter, HeliconeLog

gateway, key, url = sys.argv[1:]
settings = {"gateway_url": gateway, "gateway_dialect": "openai", "helicone_log": HeliconeLog(api_key=key, url=url)}
"""
_FORGETS = """
GenOpsHeliconeAdapter("endpoint-key", **settings).chat("Hi", provider="openai")
"""
_FORGETS_ASYNC = """
async def main():
    await GenOpsHeliconeAsyncAdapter("endpoint-key", **settings).chat_async("Hi", provider="openai")

asyncio.run(main())
"""
_FORKS = """
async def main():
    adapter = GenOpsHeliconeAsyncAdapter("endpoint-key", **settings)
    await adapter.chat_async("Hi", provider="openai")
    return adapter

adapter = asyncio.run(main())
if os.fork() == 0:
    told = adapter._parts.side.log_courier.statistics()
    os._exit(0 if told.waiting == 0 else 3)
_, status = os.wait()
asyncio.run(adapter.aclose())
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("program", [_FORGETS, _FORGETS_ASYNC], ids=["sync", "async"])
def test_the_end_of_the_process_tells_what_waits(program: str) -> None:
    """A script that closes nothing has its call told all the same, and says nothing on standard error."""
    with SandboxGateway.in_thread(latency_scale=0) as sandbox:
        assert ended(sandbox, program) == (0, "")
        assert [call.status for call in sandbox.logged] == [200]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_tells_nothing_of_its_parents() -> None:
    """What waits is the parent's, and is told once; the child goes on without the thread."""
    with SandboxGateway.in_thread(latency_scale=0) as sandbox:
        assert ended(sandbox, _FORKS) == (0, "")
        assert len([seen for seen in sandbox.requests if seen.dialect == "log"]) == 1


def ended(sandbox: SandboxGateway, program: str) -> tuple[int, str]:
    """Status and standard error of a program that has the sandbox as its endpoint and as its Helicone."""
    given = [sandbox.openai_url, sandbox.api_key, sandbox.log_url]
    # A thread beside a fork is what is tested, and what Python 3.12 warns of.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _BEGIN + program, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr
