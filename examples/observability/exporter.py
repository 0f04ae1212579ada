"""An application whose metrics Prometheus scrapes: teams that chat over several providers, under a budget.

    python exporter.py [--port 9464] [--calls 0] [--pause 0.2]

With HELICONE_API_KEY it talks to your gateway, else to a sandbox of our own, at no cost. Ctrl-C ends it.
"""

import argparse
import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import environ

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import start_http_server

from genops_helicone_async import GatewayCache, GatewayOptions, GenOpsHeliconeAsyncAdapter, HeliconeError
from genops_helicone_async.testing import Fault, SandboxGateway

TEAMS = ("research", "support", "search")
PROVIDERS = ("openai", "anthropic", "groq")


@asynccontextmanager
async def adapter_to_talk_to(meter_provider: MeterProvider) -> AsyncIterator[GenOpsHeliconeAsyncAdapter]:
    """The adapter; what matters here is one argument, and a process with a meter provider does not need even that."""
    settings = {
        "meter_provider": meter_provider,
        "default_attributes": {"project": "observability", "environment": "demo"},
        "gateway_options": GatewayOptions(cache=GatewayCache()),
    }
    if environ.get("HELICONE_API_KEY"):
        async with GenOpsHeliconeAsyncAdapter(**settings) as adapter:
            yield adapter
        return
    async with SandboxGateway() as sandbox:
        sandbox.faults.add(Fault(kind="status", status=503, provider="anthropic", probability=0.2))
        async with GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url, **settings) as adapter:
            yield adapter


async def call(adapter: GenOpsHeliconeAsyncAdapter, number: int) -> None:
    """One call: every team in turn, every fourth as a stream, every fifth a question that was asked before.

    The team `support` insists on one provider, whose failures are retried; the others go on to the next one.
    """
    question = "What is a budget?" if number % 5 == 0 else f"What is question {number}?"
    first = PROVIDERS[number // len(TEAMS) % len(PROVIDERS)]
    team = TEAMS[number % len(TEAMS)]
    others = [] if team == "support" else [name for name in PROVIDERS if name != first]
    options = {
        "team": team,
        "providers": [first, *others],
        "routing_strategy": "failover",
        "max_tokens": 60,
        "custom_metrics": {"business_value_score": 0.5 + number % 5 / 10},
    }
    try:
        if number % 4 == 0:
            async with adapter.stream_async(question, **options) as stream:
                async for _ in stream:
                    pass
        else:
            await adapter.chat_async(question, **options)
    except HeliconeError as error:
        print(f"call {number}: {error}", flush=True)


async def main() -> None:
    """Serves metrics, and makes calls for ever or as many as asked for."""
    parser = argparse.ArgumentParser(description="An application whose metrics Prometheus scrapes.")
    parser.add_argument("--port", type=int, default=9464, help="where Prometheus finds the metrics; 0 takes a free one")
    parser.add_argument("--calls", type=int, default=0, help="calls to make before it only serves; 0 never stops")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between calls")
    arguments = parser.parse_args()
    provider = MeterProvider([PrometheusMetricReader()], Resource.create({"service.name": "observability-example"}))
    server, _ = start_http_server(arguments.port, "127.0.0.1")
    print(f"metrics: http://127.0.0.1:{server.server_port}/metrics", flush=True)
    async with adapter_to_talk_to(provider) as adapter:
        adapter.set_budget_limits(daily_limit=5.0, monthly_limit=50.0, per_team_limits={"search": 0.0003})
        adapter.register_custom_metrics(
            [{"name": "business_value_score", "type": "gauge", "description": "Business value score for AI responses"}]
        )
        for number in itertools.islice(itertools.count(), arguments.calls or None):
            await call(adapter, number)
            await asyncio.sleep(arguments.pause)
        print(f"made {arguments.calls} calls", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("done")
