"""What a validation finds: gateways that are up, down, hanging and wrong; keys, prices, stores, clocks, telemetry."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genops_helicone_async import GenOpsHeliconeAsyncAdapter, ValidationResult, validate_setup_async
from genops_helicone_async._assembly import open_ledger
from genops_helicone_async._rules.ledger import Scope
from genops_helicone_async._values import HttpReply
from genops_helicone_async._wire.dialects import endpoint_for
from genops_helicone_async.config import GivenSettings, resolve
from genops_helicone_async.testing import Fault, SandboxGateway
from genops_helicone_async.validation.checks import cost_tracking, state_store
from genops_helicone_async.validation.gateway import Probe, connectivity, helicone_key
from genops_helicone_async.validation.results import ValidationCheck
from loopback import Exchange, LoopbackServer
from valkey_server import ValkeyServer, program_or_skip

pytestmark = pytest.mark.anyio

CLOSED = "http://127.0.0.1:1"
ALL = (
    "helicone_key", "provider_keys", "gateway", "cost_tracking", "state_store", "clock", "telemetry",
    "self_hosted_gateway",
)  # fmt: skip


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway in order."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


async def validated(gateway: SandboxGateway, **settings: Any) -> ValidationResult:
    """What is found with this gateway."""
    told = {"helicone_api_key": gateway.api_key, "gateway_url": gateway.url, **settings}
    return await validate_setup_async(**told)


def found(check: ValidationCheck) -> tuple[str, str]:
    """Status and summary."""
    return check.status, check.summary


async def test_a_setup_in_order_passes_and_bills_nothing(gateway: SandboxGateway) -> None:
    """Every question is asked, none fails, and no call was made that costs anything."""
    result = await validated(gateway)
    assert tuple(check.name for check in result.checks) == ALL
    assert (result.ok, result.failures, result.warnings, result.performance) == (True, (), (), ())
    assert found(result.check("helicone_key")) == ("ok", "Valid")
    assert found(result.check("provider_keys")) == ("ok", "Kept at the gateway (OpenAI, Anthropic, Groq)")
    assert result.check("gateway").summary.startswith("Healthy (")
    assert found(result.check("cost_tracking")) == ("ok", "Enabled and functioning")
    assert found(result.check("clock")) == ("ok", "In step with the gateway's")
    assert found(result.check("self_hosted_gateway")) == ("ok", f"Configured ({gateway.url})")
    assert gateway.bill.total_pusd == 0


async def test_own_keys_are_each_checked_with_their_provider(gateway: SandboxGateway) -> None:
    """As the guide's sample has it: how many of how many, and which."""
    names = ("openai", "anthropic", "groq")
    urls = {name: gateway.provider_urls[name] for name in names}
    keys = {name: gateway.provider_keys[name] for name in names}
    result = await validated(gateway, provider_urls=urls, provider_keys=keys)
    assert found(result.check("provider_keys")) == ("ok", "3/3 configured (OpenAI, Anthropic, Groq)")
    result = await validated(gateway, provider_urls=urls, provider_keys={**keys, "groq": "bad-key"})
    status, summary = found(result.check("provider_keys"))
    assert (status, result.ok) == ("failed", False)
    assert summary.startswith("2/3 configured (OpenAI, Anthropic); Groq: the groq key was refused (401): ")
    assert result.recommendations[0] == "Check the key or setting of Groq"
    assert "bad-key" not in repr(result)


@pytest.mark.parametrize("key", ["sk-helicone-zzzzzzz-zzzzzzz-zzzzzzz-zzzzzzz", "nonsense"])
async def test_a_key_that_the_gateway_does_not_take_fails(gateway: SandboxGateway, key: str) -> None:
    """The gateway's words are told, and the key is not."""
    result = await validated(gateway, helicone_api_key=key)
    check = result.check("helicone_key")
    assert (check.status, result.ok) == ("failed", False)
    assert check.summary.startswith("Refused (401): ")
    assert check.remedy == "Check HELICONE_API_KEY: the gateway does not take it"
    assert result.check("gateway").status == "ok"
    assert key not in repr(result)


async def test_a_key_that_goes_to_providers_hosts_only_is_not_called_valid(gateway: SandboxGateway) -> None:
    """They take calls with any key of Helicone's, so that nothing is known of this one; the cloud is not asked."""
    urls, keys = {"groq": gateway.provider_urls["groq"]}, {"groq": gateway.provider_keys["groq"]}
    more: dict[str, Any] = {"helicone_api_key": "nonsense", "gateway_url": None}
    result = await validated(gateway, provider_urls=urls, provider_keys=keys, **more)
    assert found(result.check("helicone_key")) == (
        "info", "Set, but not checked: providers' own hosts take calls with any",
    )  # fmt: skip
    assert found(result.check("provider_keys")) == ("ok", "1/1 configured (Groq)")
    assert result.check("gateway").status == "ok"


async def test_the_gateway_is_asked_a_few_times_for_its_latency(gateway: SandboxGateway) -> None:
    """The first request opens the connection and is left out of the mean."""
    result = await validated(gateway)
    asked = [seen for seen in gateway.requests if seen.path == "/v1/chat/completions"]
    assert len(asked) == 4 + len(result.providers)


@pytest.mark.parametrize(
    "token_status, gateway_status, expected, gateway_check",
    [
        (200, 400, ("ok", "Valid"), "ok"),
        (200, 401, ("failed", "Refused (401): who are you?"), "ok"),
        (403, 400, ("failed", "no token from {url}/token: it answered 403 (no: such client)"), "warning"),
    ],
)
async def test_oauth_is_tried_to_its_end(
    token_status: int, gateway_status: int, expected: tuple[str, str], gateway_check: str
) -> None:
    """A token is fetched and shown to the gateway; the secret shows nowhere."""

    async def answer(exchange: Exchange) -> None:
        if exchange.path == "/token":
            told = (
                b'{"access_token": "hush-token", "expires_in": 60, "error": "no", "error_description": "such client"}'
            )
            await exchange.reply(token_status, told)
        else:
            await exchange.reply(gateway_status, b"who are you?" if gateway_status == 401 else b"missing model")

    async with LoopbackServer(answer) as server:
        config = {"token_url": f"{server.url}/token", "client_id": "me", "client_secret": "hush-secret"}
        result = await validate_setup_async(gateway_url=server.url, auth_mode="oauth2", oauth_config=config)
        url = server.url
    check = result.check("helicone_key")
    assert check.title == "OAuth Token"
    assert found(check) == (expected[0], expected[1].format(url=url))
    assert result.check("gateway").status == gateway_check
    assert result.ok is (expected[0] == "ok")
    assert "hush" not in repr(result)


@pytest.mark.parametrize(
    "given, status, summary",
    [
        ({"helicone_api_key": "sk-helicone-abc"}, "ok", "Valid"),
        ({"helicone_api_key": "pk-helicone-eu-abc"}, "ok", "Valid"),
        (
            {"helicone_api_key": "gsk_1234567890"}, "warning",
            "Accepted, but it does not look like a key of Helicone's (sk-helicone-…)",
        ),
        ({"helicone_api_key": "anything", "gateway_url": "https://gw.test"}, "ok", "Valid"),
        ({"gateway_url": "https://gw.test", "gateway_dialect": "openai"}, "ok", "Not needed"),
    ],
)  # fmt: skip
def test_the_key_s_shape_matters_at_helicone_s_cloud(given: dict[str, str], status: str, summary: str) -> None:
    """A gateway of one's own may have keys of any shape, or none."""
    settings = resolve(GivenSettings(**given), {}, 1024)  # type: ignore[arg-type]
    endpoint = endpoint_for(settings, "openai", "gpt-4o-mini")
    probe = Probe(endpoint=endpoint, reply=HttpReply(status=400, headers={}, body=b"missing model"), latency_s=0.1)
    assert found(helicone_key(settings, probe)) == (status, summary)


async def test_own_keys_without_helicone_s_are_a_warning(gateway: SandboxGateway) -> None:
    """Calls work, but Helicone records nothing."""
    urls, keys = {"groq": gateway.provider_urls["groq"]}, {"groq": gateway.provider_keys["groq"]}
    more: dict[str, Any] = {"helicone_api_key": None, "gateway_url": None}
    result = await validated(gateway, provider_urls=urls, provider_keys=keys, **more)
    assert result.check("helicone_key").status == "warning"
    assert found(result.check("self_hosted_gateway")) == ("warning", "Not configured (using cloud gateway)")
    assert "Consider self-hosted gateway for production workloads" in result.recommendations
    assert result.ok


async def test_a_gateway_that_is_down_fails_and_the_rest_is_told_all_the_same(gateway: SandboxGateway) -> None:
    """What could be checked was; what could not says so."""
    result = await validated(gateway, gateway_url=CLOSED)
    assert tuple(check.name for check in result.checks) == ALL
    assert found(result.check("gateway")) == (
        "failed", "Unreachable: no connection to 127.0.0.1:1 (Connection refused)",
    )  # fmt: skip
    assert found(result.check("helicone_key")) == ("warning", "Set, but not checked: the gateway did not answer")
    assert found(result.check("provider_keys")) == (
        "info", "Kept at the gateway (OpenAI, Anthropic, Groq), not checked",
    )  # fmt: skip
    assert found(result.check("clock")) == ("info", "Not compared: no date in the answer")
    assert [check.name for check in result.failures] == ["gateway"]


async def test_a_gateway_that_hangs_is_waited_for_no_longer_than_the_timeout() -> None:
    """All questions end, and the gateway's has failed."""

    async def hang(exchange: Exchange) -> None:
        await exchange.gone()

    async with LoopbackServer(hang) as server:
        result = await validate_setup_async(
            helicone_api_key="sk-helicone-x", gateway_url=server.url, timeout_seconds=0.05
        )
    assert result.check("gateway").status == "failed"
    assert result.check("gateway").summary.endswith("did not answer before the deadline")


@pytest.mark.parametrize(
    "status, body, headers, told",
    [
        (200, b"<!doctype html><title>Welcome</title>", {}, "answered 200 with a web page, not as a gateway"),
        (404, b"<html>nginx</html>", {}, "answered 404 with a web page, not as a gateway"),
        (500, b"boom", {}, "answered 500: boom"),
        (503, b"", {}, "answered 503: "),
        (302, b"", {"Location": "https://login.test"}, "answered with a redirect (302)"),
        (200, b"{}", {}, "answered 200 where the helicone dialect does not"),
        (404, b"not here", {}, "answered 404 where the helicone dialect does not"),
    ],
)
async def test_what_answers_but_is_no_gateway_fails(
    status: int, body: bytes, headers: dict[str, str], told: str
) -> None:
    """A captive portal, a web server, a crash: the answer is told, and where to look."""

    async def answer(exchange: Exchange) -> None:
        await exchange.reply(status, body, headers)

    async with LoopbackServer(answer) as server:
        result = await validate_setup_async(helicone_api_key="sk-helicone-x", gateway_url=server.url)
    assert found(result.check("gateway")) == ("failed", f"Wrong answer: it {told}")
    assert result.check("gateway").remedy == f"Check gateway_url and gateway_dialect: {server.url}/v1 {told}"
    assert found(result.check("helicone_key")) == ("warning", "Set, but not checked: the gateway gave a wrong answer")
    assert not result.ok


@pytest.mark.parametrize("body", [b"", b"OK", b"{}", b'{"error": {"message": "nope"}}'])
async def test_what_lists_no_models_is_no_openai_endpoint(body: bytes) -> None:
    """A 200 alone says nothing: a proxy, or another program, answers so as well."""

    async def answer(exchange: Exchange) -> None:
        await exchange.reply(200, body)

    async with LoopbackServer(answer) as server:
        result = await validate_setup_async(helicone_api_key="x", gateway_url=server.url, gateway_dialect="openai")
    assert found(result.check("gateway")) == ("failed", "Wrong answer: it answered 200 with no list of models")
    assert found(result.check("helicone_key")) == ("warning", "Set, but not checked: the gateway gave a wrong answer")


@pytest.mark.parametrize("dialect", ["openai", "rust"])
async def test_a_gateway_that_hides_what_it_is_passes_with_a_warning(dialect: str) -> None:
    """No list of models, no health page: calls may work, and the key was not looked at."""

    async def answer(exchange: Exchange) -> None:
        await exchange.reply(404, b"not here")

    async with LoopbackServer(answer) as server:
        result = await validate_setup_async(helicone_api_key="x", gateway_url=server.url, gateway_dialect=dialect)
    summary = "Answers, but cannot be told to be a gateway: 404 where one tells of itself"
    assert found(result.check("gateway")) == ("warning", summary)
    assert result.check("helicone_key").status == "info"
    assert result.ok


async def test_a_key_that_nobody_looked_at_is_not_called_valid(gateway: SandboxGateway) -> None:
    """The Rust gateway's health page is open to all."""
    result = await validated(
        gateway, gateway_url=gateway.rust_url, gateway_dialect="rust", helicone_api_key="sk-helicone-wrong"
    )
    summary = "Set, but not checked: only a billed call would tell whether the gateway takes it"
    assert found(result.check("helicone_key")) == ("info", summary)


@pytest.mark.parametrize(
    "latency_s, status, summary",
    [
        (0.045, "ok", "Healthy (45ms avg latency)"),
        (0.9994, "ok", "Healthy (999ms avg latency)"),
        (1.4, "warning", "Slow (1.4s avg latency)"),
    ],
)
def test_slowness_is_a_warning(latency_s: float, status: str, summary: str) -> None:
    """Above a second for an answer to an empty request."""
    settings = resolve(GivenSettings(helicone_api_key="sk-x"), {}, 1024)
    endpoint = endpoint_for(settings, "openai", "gpt-4o-mini")
    reply = HttpReply(status=400, headers={}, body=b"missing model")
    assert found(connectivity(Probe(endpoint=endpoint, reply=reply, latency_s=latency_s))) == (status, summary)


@pytest.mark.parametrize("dialect, place", [("rust", "rust_url"), ("openai", "openai_url")])
async def test_other_dialects_are_probed_in_their_own_way(gateway: SandboxGateway, dialect: str, place: str) -> None:
    """A gateway that speaks another dialect is found in order, too."""
    result = await validated(gateway, gateway_url=getattr(gateway, place), gateway_dialect=dialect)
    assert result.check("gateway").status == "ok"
    assert result.ok


@pytest.mark.parametrize(
    "hours, status, told",
    [
        (-2, "warning", "ahead of the gateway's"),
        (2, "warning", "behind the gateway's"),
        (0, "ok", "In step with the gateway's"),
        (None, "info", "Not compared: no date in the answer"),
        ("yesterday", "info", "Not compared: no date in the answer"),
    ],
)
async def test_a_clock_that_differs_is_told(hours: int | str | None, status: str, told: str) -> None:
    """By how much, and in which direction; a gateway without a date is no finding."""

    async def answer(exchange: Exchange) -> None:
        moment = datetime.now(UTC) + timedelta(hours=hours if isinstance(hours, int) else 0)
        date_header = format_datetime(moment, usegmt=True) if isinstance(hours, int) else hours
        await exchange.reply(400, b"missing model", {"Date": date_header} if date_header else {})

    async with LoopbackServer(answer) as server:
        result = await validate_setup_async(helicone_api_key="sk-helicone-x", gateway_url=server.url)
    check = result.check("clock")
    assert (check.status, check.summary.endswith(told), result.ok) == (status, True, True)
    if status == "warning":
        seconds = int(check.summary.split("s ")[0].replace(",", ""))
        assert 7100 < seconds < 7300


async def test_a_file_for_budgets_is_really_written(gateway: SandboxGateway, tmp_path: Path) -> None:
    """The file is there and durable, and nothing was booked in it."""
    path = tmp_path / "ledger.db"
    result = await validated(gateway, state_url=f"sqlite:///{path}")
    assert found(result.check("state_store")) == ("ok", "SQLite, written and durable")
    with sqlite3.connect(path) as database:
        booked = database.execute("select (select count(*) from entries), (select count(*) from accounts)").fetchone()
    database.close()
    assert booked == (0, 0)


async def test_what_was_held_for_the_check_is_given_back(gateway: SandboxGateway, tmp_path: Path) -> None:
    """At once, not only when the ledger is closed; and what another's hold refused is not given back."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    settings = resolve(GivenSettings(helicone_api_key="sk-x", state_url=url), {}, 1024)
    ledger = open_ledger(url)
    scope = Scope(name="setup-check", limit_pusd=10**15)
    try:
        assert (await state_store(settings, ledger, 10.0)).status == "ok"
        assert [account.held_pusd for account in await ledger.refresh([scope])] == [0]
        assert await ledger.hold([scope], 10**15, enforce=True) is None
        assert (await state_store(settings, ledger, 10.0)).status == "ok"
        assert [account.held_pusd for account in await ledger.refresh([scope])] == [10**15]
        ledger.settle([scope], 10**15, [], lambda _: None)
    finally:
        await ledger.aclose()


@pytest.mark.parametrize("broken", ["no-folder", "a-folder", "no-database"])
async def test_a_file_that_cannot_serve_fails(gateway: SandboxGateway, tmp_path: Path, broken: str) -> None:
    """The store's own words, and which setting to look at."""
    path = {"no-folder": tmp_path / "none" / "x.db", "a-folder": tmp_path, "no-database": tmp_path / "x.db"}[broken]
    if broken == "no-database":
        path.write_bytes(b"This is a letter, not a database.\n" * 100)
    result = await validated(gateway, state_url=f"sqlite:///{path}")
    check = result.check("state_store")
    assert (check.status, check.summary.startswith("SQLite: "), result.ok) == ("failed", True, False)
    assert check.remedy == "Check state_url (GENOPS_STATE_URL) and the SQLite store behind it"


async def test_a_valkey_that_is_dead_fails(gateway: SandboxGateway) -> None:
    """Nobody listens there."""
    result = await validated(gateway, state_url="valkey://127.0.0.1:1/0")
    check = result.check("state_store")
    assert (check.status, check.summary.startswith("Valkey: "), result.ok) == ("failed", True, False)


async def test_a_valkey_that_lives_is_really_used(gateway: SandboxGateway, tmp_path: Path) -> None:
    """A hold is taken there and given back."""
    program_or_skip()
    server = ValkeyServer(tmp_path)
    await asyncio.to_thread(server.start)
    try:
        result = await validated(gateway, state_url=server.url)
        used = await asyncio.to_thread(commands_of, server.url)
    finally:
        await asyncio.to_thread(server.stop)
    assert found(result.check("state_store")) == ("ok", "Redis, written and durable")
    assert used & {"evalsha", "eval", "fcall"}


def commands_of(url: str) -> set[str]:
    """What the server has been asked to do."""
    import redis

    with redis.Redis.from_url(url) as client:
        return {name.removeprefix("cmdstat_") for name in client.info("commandstats")}


async def test_budgets_in_memory_are_worth_a_hint(gateway: SandboxGateway) -> None:
    """No warning: it is a choice."""
    check = (await validated(gateway)).check("state_store")
    assert found(check) == ("info", "In memory (budgets end with the process)")


async def test_a_default_model_without_a_price_is_a_warning() -> None:
    """Named, with the argument that gives one."""

    class NoPrices:
        async def target(self, provider: str, model: str) -> Any:
            return SimpleNamespace(price=None)

    settings = resolve(GivenSettings(provider_keys={"openai": "sk-x"}), {}, 1024)
    pipeline: Any = SimpleNamespace(settings=settings, candidates=NoPrices())
    check = await cost_tracking(pipeline, date(2026, 11, 23))
    assert found(check) == ("warning", "Enabled, but without a price for openai/gpt-4o-mini")
    assert check.remedy == "Give prices={'openai/gpt-4o-mini': {'input': …, 'output': …}}"


async def test_an_own_gateway_is_asked_whatever_hosts_providers_have(gateway: SandboxGateway) -> None:
    """`provider_urls` lead elsewhere, which does not make the gateway any more reachable."""
    urls, keys = {"groq": gateway.provider_urls["groq"]}, {"groq": gateway.provider_keys["groq"]}
    result = await validated(gateway, gateway_url=CLOSED, provider_urls=urls, provider_keys=keys)
    assert result.check("gateway").status == "failed"
    assert found(result.check("provider_keys")) == ("ok", "1/1 configured (Groq)")


async def test_a_provider_outside_the_directory_is_asked_at_its_own_url(gateway: SandboxGateway) -> None:
    """It has no default model and no price, and is no less reachable for it."""
    urls, keys = {"my-own": gateway.openai_url}, {"my-own": gateway.api_key}
    more: dict[str, Any] = {"helicone_api_key": None, "gateway_url": None}
    result = await validated(gateway, provider_urls=urls, provider_keys=keys, **more)
    assert result.check("gateway").status == "ok"
    assert found(result.check("provider_keys")) == ("ok", "1/1 configured (my-own)")


async def test_old_prices_and_none_at_all_are_warnings(gateway: SandboxGateway) -> None:
    """Three months are old for a price list; without cost tracking budgets hold nothing."""
    async with GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter:
        pipeline = adapter._pipeline()
        fresh = await cost_tracking(pipeline, date(2026, 11, 23))
        old = await cost_tracking(pipeline, date(2036, 11, 23))
    assert found(fresh) == ("ok", "Enabled and functioning")
    assert (old.status, old.remedy) == ("warning", "Update the price list: pip install --upgrade genai-prices")
    assert fresh.details[0].startswith("openai/gpt-4o-mini: $")
    off = await validated(gateway, enable_cost_tracking=False)
    assert found(off.check("cost_tracking")) == ("warning", "Disabled")


async def test_an_otlp_endpoint_is_tried(gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that listens, and one that does not; spans have somewhere to go in these tests."""

    async def never(exchange: Exchange) -> None:
        raise AssertionError("the collector is not sent anything")

    async with LoopbackServer(never) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        up = (await validated(gateway)).check("telemetry")
    assert found(up) == ("ok", f"OpenTelemetry SDK with spans; 127.0.0.1:{collector.port} reachable")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    result = await validated(gateway)
    down = result.check("telemetry")
    assert found(down) == ("warning", "OpenTelemetry SDK with spans, but 127.0.0.1:1 cannot be reached")
    assert result.ok


async def test_a_measurement_is_announced_before_anything_is_billed(gateway: SandboxGateway) -> None:
    """One call to each provider, whose costs are those on the gateway's own bill."""
    said: list[tuple[str, int]] = []
    result = await validated(
        gateway, include_performance_tests=True, announce=lambda line: said.append((line, gateway.bill.total_pusd))
    )
    line = "Performance test: one small billed call (16 output tokens at most) to each of OpenAI, Anthropic, Groq."
    assert said == [(line, 0)]
    assert [one.title for one in result.performance] == ["OpenAI", "Anthropic", "Groq"]
    assert all(one.ok and one.latency_s for one in result.performance)
    assert [one.output_tokens for one in result.performance] == [16, 16, 16]
    assert sum(round(one.cost * 10**12) for one in result.performance) == gateway.bill.total_pusd
    assert len(gateway.bill.rows) == 3
    assert result.recommendations[-1].endswith("shows best cost/performance ratio for this test")


async def test_a_provider_that_does_not_answer_fails_the_measurement(gateway: SandboxGateway) -> None:
    """The others are measured; the verdict is that something failed."""
    gateway.faults.add(Fault(kind="status", provider="groq", status=400))
    result = await validated(gateway, include_performance_tests=True, announce=lambda _: None)
    assert [one.ok for one in result.performance] == [True, True, False]
    assert (result.status, result.failures) == ("failed", ())
    assert any(advice.startswith("Groq did not answer: ") for advice in result.recommendations)


async def test_a_measurement_is_waited_for_no_longer_than_the_timeout(gateway: SandboxGateway) -> None:
    """A provider that hangs has failed by then."""
    gateway.faults.add(Fault(kind="hang"))
    async with asyncio.timeout(20):  # a billed call's own limit is 30 s
        result = await validated(gateway, timeout_seconds=0.5, include_performance_tests=True, announce=lambda _: None)
    assert [one.ok for one in result.performance] == [False, False, False]


async def test_a_provider_whose_key_is_refused_is_not_called_for_a_measurement(gateway: SandboxGateway) -> None:
    """Its answer is known already."""
    names = ("openai", "groq")
    urls = {name: gateway.provider_urls[name] for name in names}
    said: list[str] = []
    keys = {"openai": "bad-key", "groq": "groq-key"}
    result = await validated(
        gateway, provider_urls=urls, provider_keys=keys, include_performance_tests=True, announce=said.append
    )
    assert [one.provider for one in result.performance] == ["groq"]
    assert [line.rpartition(" of ")[2] for line in said] == ["Groq."]


async def test_a_web_page_is_no_provider() -> None:
    """A captive portal answers 200 to everything, which accepts no key."""

    async def answer(exchange: Exchange) -> None:
        await exchange.reply(200, b"<html><title>Hotel</title></html>")

    async with LoopbackServer(answer) as server:
        result = await validate_setup_async(provider_urls=server.provider_urls("groq"), provider_keys={"groq": "gsk-x"})
    assert found(result.check("provider_keys")) == (
        "failed", "0/1 usable; Groq: answered 200 with a web page: Hotel",
    )  # fmt: skip
    assert result.check("gateway").status == "failed"


async def test_a_host_without_a_list_of_models_counts_as_configured() -> None:
    """Some have none: that says nothing against the key."""

    async def answer(exchange: Exchange) -> None:
        await exchange.reply(404, b'{"error": "no such path"}')

    async with LoopbackServer(answer) as server:
        result = await validate_setup_async(
            provider_urls=server.provider_urls("perplexity"), provider_keys={"perplexity": "pplx-x"}
        )
    assert found(result.check("provider_keys")) == ("ok", "1/1 configured (Perplexity)")
    assert result.check("gateway").status == "ok"


async def test_settings_that_are_refused_are_a_finding_and_no_exception() -> None:
    """No key at all: the remedy is in the finding, and nothing else is asked."""
    result = await validate_setup_async()
    (check,) = result.checks
    assert (check.name, check.status, result.ok) == ("configuration", "failed", False)
    assert check.summary.startswith("no key to authenticate with: pass helicone_api_key=")
    assert (result.gateway_url, result.providers) == ("", {})


async def test_a_setting_that_does_not_exist_is_a_type_error() -> None:
    """As it is for the adapter."""
    with pytest.raises(TypeError, match="gateway_uri"):
        await validate_setup_async(gateway_uri="x")
