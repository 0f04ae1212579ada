"""With `enforce=True` budgets and limits hold for other clients' calls, too; without it nothing is ever refused."""

import asyncio
import subprocess
import sys
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import aiohttp
import anthropic
import groq
import httpx
import openai
import pytest
import requests
from instrumented import ASK, BEARER, MESSAGES, watching

from genops_helicone_async import BudgetExceededError, ConfigurationError, multi_provider_cost_tracking
from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async._edges.limits import Limits
from genops_helicone_async.testing import SandboxGateway

CLAUDE: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": MESSAGES}


def ask_by_sdk(gateway: SandboxGateway, sdk: str) -> object:
    """One call of an SDK that repeats failed calls by itself."""
    urls = gateway.provider_urls
    if sdk == "openai":
        with openai.OpenAI(base_url=urls["openai"], api_key="key") as client:
            return client.chat.completions.create(**ASK)
    if sdk == "openai stream":
        with openai.OpenAI(base_url=urls["openai"], api_key="key") as client:
            return client.chat.completions.create(**ASK, stream=True)
    if sdk == "groq":
        with groq.Groq(base_url=urls["groq"].removesuffix("/openai/v1"), api_key="key") as fast:
            return fast.chat.completions.create(model="llama-3.1-8b-instant", messages=MESSAGES)
    with anthropic.Anthropic(base_url=urls["anthropic"].removesuffix("/v1"), api_key="key") as claude:
        return claude.messages.create(**CLAUDE, stream=sdk.endswith("stream"))


def ask_by_httpx(gateway: SandboxGateway) -> object:
    """One call of plain httpx."""
    return httpx.post(f"{gateway.provider_urls['openai']}/chat/completions", json=ASK, headers=BEARER)


def ask_by_requests(gateway: SandboxGateway) -> object:
    """One call of requests."""
    return requests.post(f"{gateway.provider_urls['openai']}/chat/completions", json=ASK, headers=BEARER)


def ask_by_aiohttp(gateway: SandboxGateway) -> object:
    """One call of aiohttp."""

    async def ask() -> bytes:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{gateway.provider_urls['openai']}/chat/completions", json=ASK, headers=BEARER) as response,
        ):
            return await response.read()

    return asyncio.run(ask())


@pytest.mark.parametrize("sdk", ["openai", "openai stream", "anthropic", "anthropic stream", "groq"])
def test_an_sdk_raises_our_error_at_once(gateway: SandboxGateway, sdk: str) -> None:
    """Nothing is sent, and the SDK repeats nothing: there is one refusal, and it is our own error."""
    with (
        watching(gateway, enforce=True, budget_limits={"daily_limit": 0}) as watched,
        pytest.raises(BudgetExceededError, match="the budget `daily` of") as caught,
    ):
        ask_by_sdk(gateway, sdk)
    (unit,) = watched.awus()
    assert (caught.value.scope, gateway.requests) == ("daily", ())
    assert unit.attributes is not None
    assert unit.attributes["genops.policy.result"] == "BLOCKED"
    assert unit.attributes["genops.policy.reason_code"] == "BUDGET_EXCEEDED"


@pytest.mark.anyio
async def test_async_sdks_raise_our_error_at_once(gateway: SandboxGateway) -> None:
    """So do the asynchronous ones."""
    with watching(gateway, enforce=True, budget_limits={"daily_limit": 0}) as watched:
        async with openai.AsyncOpenAI(base_url=gateway.provider_urls["openai"], api_key="key") as client:
            with pytest.raises(BudgetExceededError):
                await client.chat.completions.create(**ASK)
        base = gateway.provider_urls["anthropic"].removesuffix("/v1")
        async with anthropic.AsyncAnthropic(base_url=base, api_key="key") as claude:
            with pytest.raises(BudgetExceededError):
                await claude.messages.create(**CLAUDE)
    assert (len(watched.awus()), gateway.requests) == (2, ())


@pytest.mark.parametrize("ask", [ask_by_httpx, ask_by_requests, ask_by_aiohttp])
def test_a_plain_client_raises_our_error(gateway: SandboxGateway, ask: Any) -> None:
    """A library without repeats of its own raises it from where it sends."""
    with watching(gateway, enforce=True) as watched, multi_provider_cost_tracking("night", budget=1e-9) as tracker:
        with pytest.raises(BudgetExceededError) as caught:
            ask(gateway)
        assert (caught.value.scope, gateway.requests) == ("session:night", ())
        assert tracker.get_session_summary().error_count == 1
    assert watched.usage.total_cost == 0


def test_nothing_is_refused_without_enforce(gateway: SandboxGateway, caplog: pytest.LogCaptureFixture) -> None:
    """Budgets count and warn, and every call goes through."""
    with watching(gateway, budget_limits={"daily_limit": 1e-9}) as watched:
        ask_by_httpx(gateway)
        (daily,) = watched.on.governance.get_budget_status()
    assert len(gateway.bill) == 1
    assert round(daily.settled * 1e12) == gateway.bill.total_pusd
    assert daily.held == 0
    assert {record.name.rpartition(".")[2] for record in caplog.records} == {"budgets"}


def test_no_interleaving_passes_the_limit(gateway: SandboxGateway) -> None:
    """Of calls made at once from many threads only as many go through as the budget has room for."""
    threads, refused = 12, []
    ready = Barrier(threads)
    with watching(gateway, enforce=True) as watched, httpx.Client() as client:
        url = f"{gateway.provider_urls['openai']}/chat/completions"
        asked = {**ASK, "max_tokens": 100}
        client.post(url, json=asked, headers=BEARER)
        worst = _most(watched.awus()[0].attributes)
        watched.on.governance.set_budget_limits(daily_limit=4.5 * worst)

        def ask() -> None:
            ready.wait()
            try:
                client.post(url, json=asked, headers=BEARER)
            except BudgetExceededError as exc:
                refused.append(exc)

        workers = [Thread(target=ask) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        (daily,) = watched.on.governance.get_budget_status()
    assert daily.settled <= daily.limit
    assert daily.held == 0
    assert len(gateway.bill) == 1 + threads - len(refused)
    assert round(watched.usage.total_cost * 1e12) == gateway.bill.total_pusd


def _most(attributes: Any) -> float:
    return float(attributes["genops.accounting.reserved"])


def test_a_model_without_a_price_is_refused(gateway: SandboxGateway) -> None:
    """Under an enforced budget what nobody can price is not sent."""
    url = f"{gateway.provider_urls['openai']}/chat/completions"
    with (
        watching(gateway, enforce=True, budget_limits={"daily_limit": 5}),
        pytest.raises(ConfigurationError, match="no price is known for openai/house-model"),
    ):
        httpx.post(url, json={**ASK, "model": "house-model"}, headers=BEARER)
    assert gateway.requests == ()


@pytest.mark.parametrize("ask", [ask_by_httpx, ask_by_requests, ask_by_aiohttp])
def test_a_durable_ledger_has_the_rows(gateway: SandboxGateway, tmp_path: Path, ask: Any) -> None:
    """Budgets in a file are asked on the loop thread, and after `uninstrument()` every row is on disk."""
    path = tmp_path / "ledger.db"
    with watching(gateway, enforce=True, state_url=f"sqlite:///{path}", budget_limits={"daily_limit": 1}) as watched:
        ask(gateway)
        ask(gateway)
        watched.on.governance.set_budget_limits(daily_limit=1e-9)
        with pytest.raises(BudgetExceededError):
            ask(gateway)
    rows = list(SqliteLedger(path).rows())
    assert [row.status for row in rows] == ["ok", "ok"]
    assert sum(row.cost_pusd for row in rows) == gateway.bill.total_pusd


def test_a_program_that_just_ends_has_written_its_rows(gateway: SandboxGateway, tmp_path: Path) -> None:
    """Nobody called `uninstrument()`: the end of the process waits for what was settled."""
    path = tmp_path / "ledger.db"
    code = (
        "import genops, requests\n"
        f"genops.init(provider_urls={gateway.provider_urls!r}, state_url='sqlite:///{path}')\n"
        f"for _ in range(20):\n    requests.post({gateway.provider_urls['openai'] + '/chat/completions'!r}, "
        f"json={ASK!r}, headers={BEARER!r}).raise_for_status()\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sum(row.cost_pusd for row in SqliteLedger(path).rows()) == gateway.bill.total_pusd > 0


@pytest.mark.parametrize("ask", [ask_by_httpx, ask_by_requests, ask_by_aiohttp])
def test_limits_are_entered_and_left(gateway: SandboxGateway, ask: Any) -> None:
    """A call takes its provider's turn and gives it back: with one at a time, one after the other goes through."""
    with watching(gateway, enforce=True, rate_limits={"max_concurrency": 1}) as watched:
        for _ in range(3):
            ask(gateway)
        governor = watched.on._governed()
        assert isinstance(governor._limits, Limits)
        (gate,) = governor._limits.statistics().gates
    assert len(gateway.bill) == 3
    assert gate.provider == "openai"
