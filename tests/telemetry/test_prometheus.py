"""The example of Prometheus and Grafana, as it stands: its exporter, its scrape config, its rules and its dashboard.

A real Prometheus scrapes the example's process while that talks to a sandbox gateway; what it then says is held
against the gateway's bill, and every query of the guide, the dashboard and the alert rules is asked.
"""

import asyncio
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_server import Prometheus, program_or_skip

from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

EXAMPLE = Path(__file__).parents[2] / "examples" / "observability"
CALLS = 60
PATIENCE_S = 60
GUIDE = {
    "AI Gateway Requests/sec": "rate(genops_helicone_requests_total[5m])",
    "Average Response Time by Provider": "avg by (provider) (genops_helicone_request_duration_ms)",
    "Cost per Hour by Team": "sum by (team) (increase(genops_helicone_cost_usd[1h]))",
}
"""The guide's own, verbatim."""
COMPARISON = re.compile(r" (?:[<>]=?|==) [\d.]+$")


def expressions_of_dashboard() -> dict[str, str]:
    """Every query of the dashboard, by panel and letter."""
    dashboard = json.loads((EXAMPLE / "dashboard.json").read_text(encoding="utf-8"))
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }


class Scraped:
    """What the tests look at: the Prometheus, and the gateway that the scraped process talked to."""

    def __init__(self, prometheus: Prometheus, gateway: SandboxGateway) -> None:
        self.prometheus = prometheus
        self.gateway = gateway


@pytest.fixture(scope="module")
async def scraped(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scraped]:
    """The example at work until it has made its calls and Prometheus has seen the last of them."""
    program_or_skip()
    folder = tmp_path_factory.mktemp("prometheus")
    async with SandboxGateway(latency_scale=0.02) as gateway:
        for provider, times in (("anthropic", 3), ("openai", 2)):
            gateway.faults.add(Fault(kind="status", status=503, provider=provider, times=times, retry_after_ms=1))
        gateway.faults.add(Fault(kind="status", status=429, provider="groq", times=1, after=11, retry_after_ms=1))
        example = Example(gateway)
        try:
            port = await asyncio.to_thread(example.start)
            with Prometheus(configured(folder, port), folder / "data") as prometheus:
                await asyncio.to_thread(wait_for_the_last, prometheus, example)
                yield Scraped(prometheus, gateway)
        finally:
            await asyncio.to_thread(example.stop)


class Example:
    """The example's process, talking to a gateway of the test's."""

    def __init__(self, gateway: SandboxGateway) -> None:
        self._environ = {**os.environ, "HELICONE_API_KEY": gateway.api_key, "HELICONE_GATEWAY_URL": gateway.url}
        self._process: subprocess.Popen[str] | None = None
        self._told: list[str] = []

    def start(self) -> int:
        """Starts it and gives the port of its metrics."""
        # so slow that Prometheus, which takes a second to start, sees every kind of call come after its first scrape
        arguments = ["--port", "0", "--calls", str(CALLS), "--pause", "0.15"]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(EXAMPLE / "exporter.py"), *arguments],
            env=self._environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return int(self._until(r"metrics: http://127\.0\.0\.1:(\d+)/metrics")[1])

    def wait(self) -> None:
        """Returns when it has made its calls."""
        self._until(f"made {CALLS} calls")

    def stop(self) -> None:
        """Ends it as Ctrl-C does."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        told, _ = self._process.communicate(timeout=PATIENCE_S)
        assert (self._process.returncode, told) == (0, "done\n"), "".join(self._told)

    def _until(self, pattern: str) -> re.Match[str]:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told.append(line)
            if found := re.fullmatch(pattern, line.strip()):
                return found
        raise RuntimeError(f"the example ended:\n{''.join(self._told)}")


def configured(folder: Path, port: int) -> Path:
    """The example's own configuration and rules, but for the port and the pace."""
    text = (EXAMPLE / "prometheus.yml").read_text(encoding="utf-8")
    for known, ours in (("127.0.0.1:9464", f"127.0.0.1:{port}"), ("15s", "250ms")):
        assert known in text
        text = text.replace(known, ours)
    config = folder / "prometheus.yml"
    config.write_text(text, encoding="utf-8")
    (folder / "alerts.yml").write_bytes((EXAMPLE / "alerts.yml").read_bytes())
    return config


def wait_for_the_last(prometheus: Prometheus, example: Example) -> None:
    """Returns when all calls were made, a scrape came after the last of them, and after that every rule's turn."""
    example.wait()
    done_s, until_s = time.time(), time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        scraped_s = prometheus.number("max(timestamp(genops_helicone_in_flight))") or 0
        turns = [datetime.fromisoformat(rule["lastEvaluation"]).timestamp() for rule in rules(prometheus)]
        if scraped_s > done_s and min(turns) > scraped_s:
            return
        time.sleep(0.05)
    raise TimeoutError(f"Prometheus has not scraped within {PATIENCE_S} s")


def rules(prometheus: Prometheus) -> list[dict[str, Any]]:
    """The alert rules as Prometheus has them."""
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]


@pytest.fixture
def prometheus(scraped: Scraped) -> Iterator[Prometheus]:
    """The server that has scraped everything."""
    return scraped.prometheus


async def test_cost_requests_and_tokens_are_those_of_the_bill(scraped: Scraped) -> None:
    """To the pico-dollar, the request and the token; by provider, too."""
    bill, ask = scraped.gateway.bill, scraped.prometheus.number
    assert round((ask("sum(genops_helicone_cost_usd)") or 0) * 1e12) == bill.total_pusd > 0
    answered = 'sum(genops_helicone_requests_total{status="ok"}) - sum(genops_helicone_cache_hits_total)'
    assert ask(answered) == len(bill) > 0
    by_provider = {
        labels["provider"]: round(cost * 1e12)
        for labels, cost in scraped.prometheus.query("sum by (provider) (genops_helicone_cost_usd)")
        if cost
    }
    assert by_provider == bill.by_provider


async def test_tokens_are_those_of_every_answer(scraped: Scraped) -> None:
    """In the counter and in the histogram: what was billed, and what came out of the cache again."""
    bill, ask = scraped.gateway.bill, scraped.prometheus.number
    for kind, billed in (
        ("input", sum(row.input_tokens for row in bill.rows)),
        ("output", sum(row.output_tokens for row in bill.rows)),
    ):
        counted = ask(f'sum(genops_helicone_tokens_total{{type="{kind}"}})')
        usage = ask(f'sum(gen_ai_client_token_usage_sum{{gen_ai_token_type="{kind}"}})')
        assert counted == usage
        assert counted is not None
        assert counted >= billed > 0
    sent = ask("sum(genops_helicone_requests_total)")
    assert ask("sum(gen_ai_client_operation_duration_seconds_count)") == sent == len(scraped.gateway.requests)


@pytest.mark.parametrize("title", GUIDE)
async def test_the_guide_s_queries_give_values(prometheus: Prometheus, title: str) -> None:
    """As they are written there, and as the dashboard has them."""
    samples = prometheus.query(GUIDE[title])
    assert samples != []
    assert all(math.isfinite(value) and value >= 0 for _, value in samples)
    assert GUIDE[title] in expressions_of_dashboard().values()


async def test_the_guide_s_queries_are_by_what_they_say(prometheus: Prometheus) -> None:
    """Providers and teams; a rate moved while calls were made, and so did the cost of each team."""
    requests, times, costs = (prometheus.query(expression) for expression in GUIDE.values())
    assert {labels["provider"] for labels, _ in times} == {"openai", "anthropic", "groq"}
    assert {labels["team"] for labels, _ in costs} == {"research", "support", "search"}
    assert sum(value for _, value in requests) > 0
    assert sum(value for _, value in costs) > 0
    assert all(value > 0 for _, value in times)


async def test_every_query_of_the_dashboard_gives_values(prometheus: Prometheus) -> None:
    """No panel is empty."""
    found = {name: prometheus.query(expression) for name, expression in expressions_of_dashboard().items()}
    assert len(found) > 20
    assert [name for name, samples in found.items() if not samples] == []
    assert [name for name, samples in found.items() if not any(math.isfinite(value) for _, value in samples)] == []


async def test_every_alert_rule_is_sound(prometheus: Prometheus) -> None:
    """Prometheus has evaluated each without an error, and what it compares with its threshold is there."""
    loaded = {rule["name"]: rule["query"] for rule in rules(prometheus)}
    assert len(loaded) == (EXAMPLE / "alerts.yml").read_text(encoding="utf-8").count("- alert:") > 5
    assert [name for name, query in loaded.items() if COMPARISON.search(query) is None] == []
    assert [name for name, query in loaded.items() if not prometheus.query(COMPARISON.sub("", query))] == []


async def test_the_alert_of_a_budget_that_blocks_fires(prometheus: Prometheus) -> None:
    """The example's team `search` has used its budget up."""
    firing = {
        (alert["labels"]["alertname"], alert["labels"].get("team"))
        for alert in prometheus.get("alerts")["alerts"]
        if alert["state"] == "firing"
    }
    assert ("HeliconeBudgetBlocksCalls", "search") in firing


async def test_a_scrape_is_what_the_contract_names(prometheus: Prometheus) -> None:
    """The series of the table, by their exact names."""
    named = {labels["__name__"] for labels, _ in prometheus.query('{job="genops-helicone"}')}
    ours = {name for name in named if name.startswith(("genops_", "gen_ai_"))}
    histograms = (
        "gen_ai_client_operation_duration_seconds",
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "gen_ai_client_token_usage",
    )
    assert ours == {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")} | {
        "genops_helicone_requests_total", "genops_helicone_request_duration_ms", "genops_helicone_cost_usd",
        "genops_helicone_tokens_total", "genops_helicone_retries_total", "genops_helicone_failovers_total",
        "genops_helicone_cache_hits_total", "genops_helicone_budget_blocked_total",
        "genops_helicone_rate_limited_total", "genops_helicone_budget_remaining_usd", "genops_helicone_in_flight",
        "genops_helicone_queue_wait_ms",
    }  # fmt: skip
    assert "business_value_score" in named
