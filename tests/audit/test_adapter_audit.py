"""The audit log of an adapter: what its lines say and never say, and what becomes of calls that cannot be recorded."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from audit_parts import ANSWER, KEY, PROMPT, PROVIDER_KEY, lines, no_room, provider, settings

from genops_helicone_async import (
    BudgetExceededError,
    ConfigurationError,
    GenOpsHeliconeAdapter,
    GenOpsHeliconeAsyncAdapter,
    HeliconeError,
    PolicyDeniedError,
)
from genops_helicone_async._edges.audit import verify
from loopback import Exchange, LoopbackServer, chat_body

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    """What answers the calls."""
    async with LoopbackServer(provider) as running:
        yield running


async def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that is right."""
    verdict = await asyncio.to_thread(verify, path)
    assert verdict.problem is None
    return await asyncio.to_thread(lines, path)


@pytest.mark.parametrize("mode", [False, True])
async def test_a_call_has_a_line_before_and_one_after(server: LoopbackServer, tmp_path: Path, mode: bool) -> None:
    """Who, when, where to, the decision, tokens and cost to the pico-dollar, under one id."""
    path = tmp_path / "audit.jsonl"
    given = settings(server, audit_logging=path, compliance_mode=mode, default_attributes={"service_name": "billing"})
    async with GenOpsHeliconeAsyncAdapter(**given) as adapter:
        answered = await adapter.chat_async("Hi", provider="openai", team="research", customer_id="acme")
    admitted, ended = await read(path)
    assert admitted["call_id"] == ended["call_id"]
    assert {key: admitted[key] for key in ("event", "decision", "candidates", "who", "service")} == {
        "event": "admitted", "decision": "ALLOWED", "candidates": ["openai/gpt-4o-mini"],
        "who": {"team": "research", "customer_id": "acme"}, "service": "billing",
    }  # fmt: skip
    expected = {
        "event": "ended", "decision": "ALLOWED", "status": "ok", "request_id": answered.request_id,
        "provider": "openai", "model": "gpt-4o-mini", "cost_pusd": 25_000_000, "cost": 25e-6, "currency": "USD",
    }  # fmt: skip
    assert {key: ended[key] for key in expected} == expected
    (attempt,) = ended["attempts"]
    assert (attempt["request_id"], attempt["input_tokens"], attempt["output_tokens"]) == (answered.request_id, 11, 7)


async def test_neither_prompts_nor_keys_are_in_it(
    server: LoopbackServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the files, the log, a repr or a traceback, also where a provider's error quotes the prompt."""
    path = tmp_path / "audit.jsonl"
    shown = ""
    with caplog.at_level("DEBUG", logger="genops_helicone_async"):
        async with GenOpsHeliconeAsyncAdapter(**settings(server, audit_logging=path)) as adapter:
            await adapter.chat_async(PROMPT, provider="openai", system_prompt=PROMPT, attributes={"note": PROMPT})
            async with adapter.stream_async(PROMPT, provider="openai") as stream:
                assert "".join([chunk.content async for chunk in stream]) == ANSWER
            with pytest.raises(HeliconeError):
                await adapter.chat_async(f"fail {PROMPT}", provider="openai")
            with pytest.raises(ConfigurationError) as refused:
                await adapter.chat_async(PROMPT, provider="nobody")
            shown += f"{adapter!r} {adapter.statistics()!r} {adapter._parts.side!r} {adapter._parts.side.log!r}"
            shown += "".join(traceback.format_exception(refused.value))
    for file in tmp_path.iterdir():
        shown += (await asyncio.to_thread(file.read_bytes)).decode()
    events = [(line["event"], line["decision"]) for line in await read(path)]
    assert events == [("admitted", "ALLOWED"), ("ended", "ALLOWED")] * 3 + [("refused", "BLOCKED")]
    for secret in ("Rumpelstiltskin", KEY, PROVIDER_KEY):
        assert secret not in shown + caplog.text


async def test_an_answer_from_the_cache_says_so(server: LoopbackServer, tmp_path: Path) -> None:
    """It has its lines like any call, and cost nothing."""
    async with GenOpsHeliconeAsyncAdapter(**settings(server, audit_logging=tmp_path / "audit.jsonl")) as adapter:
        adapter.enable_caching()
        for _ in range(2):
            await adapter.chat_async("Hi", provider="openai", model="gpt-4o-mini", team="t")
    ended = [line for line in lines(tmp_path / "audit.jsonl") if line["event"] == "ended"]
    assert [line.get("cached") for line in ended] == [None, True]
    assert [len(line["attempts"]) for line in ended] == [1, 0]
    assert (ended[1]["who"], ended[1]["cost"]) == ({"team": "t"}, 0.0)


async def test_a_refusal_has_its_reason(server: LoopbackServer, tmp_path: Path) -> None:
    """A budget without room is BUDGET_EXCEEDED; nothing was sent, nothing was admitted."""
    path = tmp_path / "audit.jsonl"
    async with GenOpsHeliconeAsyncAdapter(**settings(server, audit_logging=path)) as adapter:
        adapter.set_budget_limits(daily_limit=1e-9)
        with pytest.raises(BudgetExceededError):
            await adapter.chat_async("Hi", provider="openai")
    (refused,) = await read(path)
    assert (refused["event"], refused["decision"], refused["reason_code"]) == ("refused", "BLOCKED", "BUDGET_EXCEEDED")
    assert server.exchanges == []


async def test_cancelled_and_abandoned_calls_end_in_the_log(tmp_path: Path) -> None:
    """A call that its caller gives up has its last line, with what it may have cost."""

    async def never(exchange: Exchange) -> None:
        await exchange.gone()

    path = tmp_path / "audit.jsonl"
    async with LoopbackServer(never) as server, GenOpsHeliconeAsyncAdapter(**settings(server, audit_logging=path)) as a:
        call = asyncio.ensure_future(a.chat_async("Hi", provider="openai"))
        await server.until(lambda: len(server.exchanges) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    _, ended = await read(path)
    assert (ended["event"], ended["status"], ended["error"]) == ("ended", "error", "CancelledError")
    assert ended["attempts"][0]["billed"] == "maybe"


async def test_under_compliance_the_line_is_there_before_anything_is_sent(tmp_path: Path) -> None:
    """When the provider hears of a call, its line can be read already."""
    path = tmp_path / "audit.jsonl"
    seen: list[list[dict[str, Any]]] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(await read(path))
        await exchange.reply(200, chat_body())

    async with (
        LoopbackServer(handler) as server,
        GenOpsHeliconeAsyncAdapter(**settings(server, audit_logging=path, compliance_mode=True)) as adapter,
    ):
        await adapter.chat_async("Hi", provider="openai")
    assert [line["event"] for line in seen[0]] == ["admitted"]


async def test_a_full_disk_refuses_calls_under_compliance(server: LoopbackServer, tmp_path: Path) -> None:
    """Nothing is sent while a call cannot be recorded; when there is room again, calls go on in the same chain."""
    path = tmp_path / "audit.jsonl"
    async with GenOpsHeliconeAsyncAdapter(**settings(server, audit_logging=path, compliance_mode=True)) as adapter:
        await adapter.chat_async("Hi", provider="openai")
        while adapter._parts.side.audit_statistics().lines < 2:  # type: ignore[union-attr]
            await asyncio.sleep(0)
        size = (await asyncio.to_thread(path.stat)).st_size
        with no_room(size + 10):
            for _ in range(3):
                with pytest.raises(PolicyDeniedError) as refused:
                    await adapter.chat_async("Hi", provider="openai")
        assert (refused.value.reason_code, refused.value.billed) == ("x_audit_unavailable", "no")
        assert str(path) in refused.value.message
        assert len(server.exchanges) == 1
        await adapter.chat_async("Hi", provider="openai")
    said = await read(path)
    assert sorted(line["event"] for line in said) == sorted(["admitted", "ended"] * 2 + ["refused"] * 3)
    assert {line["reason_code"] for line in said if line["event"] == "refused"} == {"x_audit_unavailable"}


async def test_a_full_disk_is_told_without_compliance(
    server: LoopbackServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls go on, the log says so once, and the statistics count."""
    path = tmp_path / "audit.jsonl"
    async with GenOpsHeliconeAsyncAdapter(**settings(server, audit_logging=path)) as adapter:
        with no_room(10):
            for _ in range(3):
                await adapter.chat_async("Hi", provider="openai")
            while adapter.statistics().audit.failures == 0:  # type: ignore[union-attr]
                await asyncio.sleep(0)
    assert len(server.exchanges) == 3
    assert len([message for message in caplog.messages if "cannot be written" in message]) == 1
    assert [line["event"] for line in await read(path)].count("ended") == 3


async def test_options_and_defaults(server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """True is a file in the working directory or that of the environment; parts are begun as asked."""
    monkeypatch.chdir(tmp_path)
    async with await asyncio.to_thread(GenOpsHeliconeAsyncAdapter, **settings(server, audit_logging=True)) as adapter:
        await adapter.chat_async("Hi", provider="openai")
    monkeypatch.setenv("GENOPS_AUDIT_LOG", str(tmp_path / "elsewhere.jsonl"))
    for _ in range(4):
        async with GenOpsHeliconeAsyncAdapter(**settings(server, audit_logging={"max_bytes": 4096})) as adapter:
            for _ in range(3):
                await adapter.chat_async("Hi", provider="openai")
    assert len(await read(tmp_path / "genops-audit.jsonl")) == 2
    verdict = await asyncio.to_thread(verify, tmp_path / "elsewhere.jsonl")
    assert (verdict.problem, verdict.lines) == (None, 24)
    assert verdict.parts > 1


def test_the_synchronous_adapter_takes_the_same(tmp_path: Path) -> None:
    """`audit_logging` and a denial, from the synchronous side."""
    path = tmp_path / "audit.jsonl"
    with (
        GenOpsHeliconeAdapter(KEY, audit_logging=path, allowed_providers=["groq"]) as adapter,
        pytest.raises(PolicyDeniedError) as denied,
    ):
        adapter.chat("Hi", provider="openai")
    assert denied.value.reason_code == "POLICY_DENY_MODEL"
    (line,) = lines(path)
    assert (line["event"], line["reason_code"], line["provider"]) == ("refused", "POLICY_DENY_MODEL", "openai")
