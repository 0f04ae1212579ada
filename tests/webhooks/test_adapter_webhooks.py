"""Webhooks of an adapter: what its calls lead to, on any loop, and that no call ever waits for a receiver."""

import asyncio
import base64
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from genops_helicone_async import ConfigurationError, GenOpsHeliconeAdapter, GenOpsHeliconeAsyncAdapter, HeliconeError
from loopback import Exchange, LoopbackServer, chat_body

pytestmark = pytest.mark.anyio

KEY = "sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd"
SECRET = "whsec_" + base64.b64encode(b"this key must not show up anywhere").decode()
PRICES = {"openai/gpt-4o-mini": {"input": 1_000_000.0, "output": 1_000_000.0}}
"""A dollar a token: a call of 11 + 7 tokens costs 18 dollars."""
HIGH_COST = {"high_cost": {"threshold": 40.0, "timeframe": "daily"}}


async def provider(exchange: Exchange) -> None:
    """Answers chats; a prompt with `fail` gets an error that is not tried again."""
    if b"fail" in exchange.body:
        await exchange.reply(400, b'{"error": {"message": "no", "type": "invalid_request_error"}}')
    else:
        await exchange.reply(200, chat_body())


async def receiver(exchange: Exchange) -> None:
    """Takes everything."""
    await exchange.reply(200)


@pytest.fixture
async def gateway() -> AsyncIterator[LoopbackServer]:
    """What answers the calls."""
    async with LoopbackServer(provider) as running:
        yield running


@pytest.fixture
async def hooks() -> AsyncIterator[LoopbackServer]:
    """What receives the alerts."""
    async with LoopbackServer(receiver) as running:
        yield running


def settings(gateway: LoopbackServer, **more: Any) -> dict[str, Any]:
    """The constructor's arguments for an adapter on that server."""
    return {
        "provider_urls": gateway.provider_urls("openai"),
        "provider_keys": {"openai": "provider-key"},
        "prices": PRICES,
        "helicone_api_key": KEY,
        "retry_attempts": 0,
        **more,
    }


def told(hooks: LoopbackServer) -> list[tuple[str, str]]:
    """Path and type of what was received."""
    return [(exchange.path, str(exchange.json["type"])) for exchange in hooks.exchanges]


async def test_spending_is_told_once_per_crossing(gateway: LoopbackServer, hooks: LoopbackServer) -> None:
    """The call that passes the threshold leads to one alert, those after it to none."""
    async with GenOpsHeliconeAsyncAdapter(**settings(gateway, default_attributes={"environment": "test"})) as adapter:
        adapter.configure_webhooks(f"{hooks.url}/cost", triggers=HIGH_COST)
        for _ in range(5):
            await adapter.chat_async("Hi", provider="openai")
    (got,) = hooks.exchanges
    data = got.json["data"]
    assert isinstance(data, dict)
    window = data.pop("window")
    assert len(window) == len("2026-11-23")
    assert (got.path, got.json["type"]) == ("/cost", "high_cost")
    assert data == {
        "timeframe": "daily", "threshold": 40.0, "spent": 54.0, "currency": "USD", "environment": "test",
    }  # fmt: skip


async def test_every_timeframe_counts(gateway: LoopbackServer, hooks: LoopbackServer) -> None:
    """Hours, days and months each see the spending of their window."""
    async with GenOpsHeliconeAsyncAdapter(**settings(gateway)) as adapter:
        for timeframe in ("hourly", "daily", "monthly"):
            threshold = {"hourly": 10.0, "daily": 30.0, "monthly": 50.0}[timeframe]
            adapter.configure_webhooks(
                f"{hooks.url}/{timeframe}", triggers={"high_cost": {"threshold": threshold, "timeframe": timeframe}}
            )
            await adapter.chat_async("Hi", provider="openai")
            await hooks.until(
                lambda timeframe=timeframe: hooks.exchanges[-1:] and hooks.exchanges[-1].path.endswith(timeframe)
            )
    assert told(hooks) == [("/hourly", "high_cost"), ("/daily", "high_cost"), ("/monthly", "high_cost")]


async def test_budgets_that_pass_a_threshold_are_told(gateway: LoopbackServer, hooks: LoopbackServer) -> None:
    """The cost webhook hears of `alert_thresholds`, and of a call dearer than what was set aside, too."""
    async with GenOpsHeliconeAsyncAdapter(**settings(gateway)) as adapter:
        adapter.set_budget_limits(daily_limit=40.0, alert_thresholds=(0.4,))
        adapter.configure_webhooks(f"{hooks.url}/cost")
        answered = await adapter.chat_async("Hi", provider="openai", max_tokens=7, enforce_budget=False)
    overrun, passed = [exchange.json for exchange in hooks.exchanges]
    assert (overrun["type"], passed["type"]) == ("budget_overrun", "budget_alert")
    assert passed["data"] == {"budget": "daily", "threshold": 0.4, "settled": 18.0, "limit": 40.0, "currency": "USD"}
    assert overrun["data"] == {
        "request_id": answered.request_id, "provider": "openai", "model": "gpt-4o-mini", "held": 16.0, "cost": 18.0,
        "currency": "USD",
    }  # fmt: skip


async def test_failures_and_slow_calls_are_told(gateway: LoopbackServer, hooks: LoopbackServer) -> None:
    """The performance webhook hears of an error rate and of a slow call, with the request's id."""
    async with GenOpsHeliconeAsyncAdapter(**settings(gateway)) as adapter:
        adapter.configure_webhooks(
            performance_webhook=f"{hooks.url}/performance",
            triggers={
                "slow_response": {"threshold": 0.000001, "unit": "ms"},
                "error_rate": {"threshold": 0.5, "min_requests": 2},
            },
        )
        answered = await adapter.chat_async("Hi", provider="openai")
        with pytest.raises(HeliconeError) as failed:
            await adapter.chat_async("please fail", provider="openai")
        with pytest.raises(ConfigurationError):
            await adapter.chat_async("never sent", provider="openai", providers=["groq"])
        await hooks.until(lambda: len(hooks.exchanges) == 2)
    by_type = {exchange.json["type"]: exchange.json["data"] for exchange in hooks.exchanges}
    assert set(by_type) == {"slow_response", "error_rate"}
    slow, rate = by_type["slow_response"], by_type["error_rate"]
    assert isinstance(slow, dict)
    assert (slow["request_id"], slow["provider"], slow["error"]) == (answered.request_id, "openai", None)
    assert rate == {
        "error_rate": 0.5, "errors": 1, "requests": 2, "threshold": 0.5, "window_s": 300.0,
        "last_error": type(failed.value).__name__, "last_provider": "openai",
    }  # fmt: skip


async def test_a_receiver_that_never_answers_holds_up_no_call(gateway: LoopbackServer) -> None:
    """While one alert waits for its receiver for ever, calls go on and end; nothing of them awaits it."""

    async def never(exchange: Exchange) -> None:
        await exchange.gone()

    async with GenOpsHeliconeAsyncAdapter(**settings(gateway)) as adapter, LoopbackServer(never) as dead:
        adapter.configure_webhooks(f"{dead.url}/cost", triggers={"high_cost": {"threshold": 1.0}})
        await adapter.chat_async("Hi", provider="openai")
        await dead.until(lambda: len(dead.exchanges) == 1)
        before = {task for task in asyncio.all_tasks() if "TestRunner" not in repr(task)}
        for _ in range(20):
            await adapter.chat_async("Hi", provider="openai")
        assert {task for task in asyncio.all_tasks() if "TestRunner" not in repr(task)} == before
        statistics = adapter.statistics().webhooks
        assert (statistics.waiting, statistics.delivered, dead.exchanges[0].client_left) == (1, 0, False)
    assert adapter._parts.side.webhook_statistics().dropped == 1


async def test_an_alert_waits_beside_the_ledger_for_the_next_process(
    gateway: LoopbackServer, hooks: LoopbackServer, tmp_path: Path
) -> None:
    """With an SQLite ledger an undelivered alert is delivered by whoever opens the ledger next."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with GenOpsHeliconeAsyncAdapter(**settings(gateway, state_url=url)) as first:
        first.configure_webhooks("http://127.0.0.1:9/refused", triggers=HIGH_COST)
        for _ in range(3):
            await first.chat_async("Hi", provider="openai")
    assert first._parts.side.webhook_statistics().waiting == 1
    assert (tmp_path / "ledger.db.outbox").stat().st_mode & 0o777 == 0o600
    async with GenOpsHeliconeAsyncAdapter(**settings(gateway, state_url=url)) as second:
        second.configure_webhooks(f"{hooks.url}/cost", triggers=HIGH_COST)
        await second.chat_async("Hi", provider="openai")
    assert told(hooks) == [("/cost", "high_cost")]


async def test_the_spending_of_every_process_counts(
    gateway: LoopbackServer, hooks: LoopbackServer, tmp_path: Path
) -> None:
    """Two adapters on one ledger pass a threshold together, and one of them tells."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with (
        GenOpsHeliconeAsyncAdapter(**settings(gateway, state_url=url)) as one,
        GenOpsHeliconeAsyncAdapter(**settings(gateway, state_url=url)) as two,
    ):
        for adapter in (one, two):
            adapter.configure_webhooks(f"{hooks.url}/cost", triggers=HIGH_COST)
        for adapter in (one, two, one, two):
            await adapter.chat_async("Hi", provider="openai")
    assert told(hooks) == [("/cost", "high_cost")]


def test_the_synchronous_adapter_tells_from_any_thread() -> None:
    """Threads that share an adapter, and an adapter closed by `with`: the alert is delivered before it returns."""
    ready, done, got = threading.Event(), threading.Event(), []

    async def serve() -> None:
        async with LoopbackServer(provider) as gateway, LoopbackServer(receiver) as hooks:
            got.extend([gateway, hooks])
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    gateway, hooks = got
    with GenOpsHeliconeAdapter(**settings(gateway)) as adapter:
        adapter.configure_webhooks(f"{hooks.url}/cost", triggers=HIGH_COST)
        callers = [threading.Thread(target=adapter.chat, args=("Hi",), kwargs={"provider": "openai"}) for _ in range(6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert told(hooks) == [("/cost", "high_cost")]
    done.set()
    thread.join()


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"cost_alert_webhook": "ftp://host/x"}, "`cost_alert_webhook` is no URL to post to"),
        ({"cost_alert_webhook": "https://user:pw@host/x"}, "without a user"),
        ({"cost_alert_webhook": "https://host/a b"}, "percent-encoded"),
        ({"cost_alert_webhook": "http://hooks.example/x"}, "`cost_alert_webhook` is plain http to hooks.example"),
        ({"cost_alert_webhook": "https://host:0/x"}, "is no URL to post to"),
        ({"performance_webhook": "https://host/x"}, "would never be called"),
        ({"triggers": {"high_cost": {"threshold": 1}}}, "give cost_alert_webhook=…"),
        (
            {"cost_alert_webhook": "https://h/", "triggers": {"slow_response": {"threshold": 1}}},
            "performance_webhook=…",
        ),
        ({"cost_alert_webhook": "https://h/", "secret": "short"}, "`secret` is no secret of Standard Webhooks"),
    ],
)
async def test_what_cannot_work_is_refused_and_changes_nothing(
    gateway: LoopbackServer, hooks: LoopbackServer, arguments: dict[str, Any], told: str
) -> None:
    """The error names the argument and the remedy, and what was configured before goes on."""
    async with GenOpsHeliconeAsyncAdapter(**settings(gateway)) as adapter:
        adapter.configure_webhooks(f"{hooks.url}/cost", triggers={"high_cost": {"threshold": 1.0}})
        with pytest.raises(ConfigurationError) as refused:
            adapter.configure_webhooks(**arguments)
        await adapter.chat_async("Hi", provider="openai")
    assert told in refused.value.message
    assert "pw" not in refused.value.message
    assert len(hooks.exchanges) == 1


async def test_a_refused_change_leaves_the_performance_webhook(gateway: LoopbackServer, hooks: LoopbackServer) -> None:
    """A trigger that nobody would hear of is refused before what was configured is touched."""
    async with GenOpsHeliconeAsyncAdapter(**settings(gateway)) as adapter:
        adapter.configure_webhooks(
            performance_webhook=f"{hooks.url}/p", triggers={"slow_response": {"threshold": 0.000001}}
        )
        with pytest.raises(ConfigurationError):
            adapter.configure_webhooks(triggers=HIGH_COST)
        await adapter.chat_async("Hi", provider="openai")
    assert told(hooks) == [("/p", "slow_response")]


async def test_webhooks_can_be_ended(gateway: LoopbackServer, hooks: LoopbackServer) -> None:
    """Called without arguments nothing is told any more."""
    async with GenOpsHeliconeAsyncAdapter(**settings(gateway)) as adapter:
        adapter.configure_webhooks(
            f"{hooks.url}/cost", f"{hooks.url}/performance", {**HIGH_COST, "slow_response": {"threshold": 0.000001}}
        )
        adapter.configure_webhooks()
        for _ in range(3):
            await adapter.chat_async("Hi", provider="openai")
    assert hooks.exchanges == []


async def test_plain_http_to_other_machines_needs_a_word(gateway: LoopbackServer) -> None:
    """`allow_insecure_http=True` holds for webhooks, too."""
    async with GenOpsHeliconeAsyncAdapter(**settings(gateway, allow_insecure_http=True)) as adapter:
        adapter.configure_webhooks("http://hooks.internal/x")


async def test_secrets_show_nowhere(gateway: LoopbackServer, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the key nor the URL's path and query are in a log, a repr, the statistics or an error."""
    with caplog.at_level("DEBUG", logger="genops_helicone_async"):
        async with GenOpsHeliconeAsyncAdapter(**settings(gateway)) as adapter:
            url = "http://127.0.0.1:9/services/T0KEN?sig=S1G"
            adapter.configure_webhooks(url, url, {"slow_response": {"threshold": 0.000001}}, secret=SECRET)
            await adapter.chat_async("Hi", provider="openai")
            while not adapter.statistics().webhooks.failing:
                await asyncio.sleep(0)
            shown = f"{adapter!r} {adapter.statistics()!r} {adapter._parts.side!r} {adapter._parts.side.courier!r}"
    shown += caplog.text
    assert "webhook at 127.0.0.1:9 failed" in shown
    for secret in ("T0KEN", "S1G", SECRET, SECRET.removeprefix("whsec_"), "this key must", KEY, "provider-key"):
        assert secret not in shown
