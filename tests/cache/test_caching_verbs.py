"""`enable_caching` and `disable_caching` on both adapters: arguments, statistics, replacing, closing."""

import asyncio
import json
import math
import os
import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import valkey_server
from genops_helicone_async import (
    ConfigurationError,
    GatewayCache,
    GatewayOptions,
    GenOpsHeliconeAdapter,
    GenOpsHeliconeAsyncAdapter,
)
from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


@pytest.fixture(scope="module")
def threaded() -> Iterator[SandboxGateway]:
    """One beside code without a loop."""
    with SandboxGateway.in_thread(latency_scale=0) as running:
        yield running


def adapter_for(gateway: SandboxGateway, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter that talks to it."""
    return GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, **settings)


async def test_nothing_is_cached_before_it_is_enabled(gateway: SandboxGateway) -> None:
    """Two identical calls make two; the statistics have no cache."""
    async with adapter_for(gateway) as adapter:
        assert [(await adapter.chat_async("Hi", provider="openai")).cached for _ in range(2)] == [False, False]
        assert adapter.statistics().cache is None
    assert len(gateway.bill.rows) == 2


@pytest.mark.parametrize("kind", ["memory", "disk", "redis"])
async def test_a_cache_serves_and_tells_what_it_did(kind: str, gateway: SandboxGateway, tmp_path: Path) -> None:
    """Each kind of store, from the verb to the bill."""
    where: dict[str, Any] = {"disk": {"path": tmp_path / "a.db"}, "redis": {"url": valkey_server.shared_url()}}.get(
        kind, {}
    )
    text = f"Hi from {tmp_path}"
    async with adapter_for(gateway) as adapter:
        adapter.enable_caching(kind, 100, **where)
        first = await adapter.chat_async(text, provider="openai")
        hit = await adapter.chat_async(text, provider="openai")
        told = adapter.statistics().cache
        assert told is not None
        assert (told.provider, told.key_strategy, told.ttl_s) == (kind, "content_hash", 100.0)
        assert (told.hits, told.misses, told.joined, told.failures) == (1, 1, 0, 0)
        assert told.saved_cost == first.cost == hit.usage.saved_cost > 0
        assert adapter.get_usage_summary().saved_cost == first.cost
    assert len(gateway.bill.rows) == 1
    if kind != "memory":  # what is kept outside of the process is there for the next
        async with adapter_for(gateway) as adapter:
            adapter.enable_caching(kind, 100, **where)
            again = await adapter.chat_async(text, provider="openai")
            assert (again.cached, again.content) == (True, first.content)
        assert len(gateway.bill.rows) == 1


async def test_500_identical_calls_are_billed_once(gateway: SandboxGateway) -> None:
    """By the gateway's own bill."""
    async with adapter_for(gateway) as adapter:
        adapter.enable_caching()
        await asyncio.gather(*(adapter.chat_async("Hi", provider="openai") for _ in range(500)))
    assert len(gateway.bill.rows) == 1


@pytest.mark.parametrize("place", ["gateway_url", "helicone_api_key"])
async def test_another_gateway_or_account_is_another_cache(place: str, gateway: SandboxGateway, tmp_path: Path) -> None:
    """On one file, an answer of one gateway or account is none of another's."""
    async with SandboxGateway(latency_scale=0, api_keys=(gateway.api_key, "another-key")) as other:
        base = {"helicone_api_key": gateway.api_key, "gateway_url": other.url}
        changed = {**base, place: {"gateway_url": gateway.url, "helicone_api_key": "another-key"}[place]}
        found = []
        for settings in (base, base, changed):
            async with GenOpsHeliconeAsyncAdapter(**settings) as adapter:
                adapter.enable_caching("disk", path=tmp_path / "a.db")
                found.append((await adapter.chat_async("Hi", provider="openai")).cached)
        assert found == [False, True, False]


async def test_enabling_again_replaces_at_once(gateway: SandboxGateway) -> None:
    """The new cache begins empty; without one every call asks."""
    async with adapter_for(gateway) as adapter:
        found = []
        for step in (adapter.enable_caching, adapter.enable_caching, adapter.disable_caching, lambda: None):
            step()
            found.append((await adapter.chat_async("Hi", provider="openai")).cached)
        adapter.enable_caching()
        await adapter.chat_async("Hi", provider="openai")
        found.append((await adapter.chat_async("Hi", provider="openai")).cached)
    assert found == [False, False, False, False, True]


async def test_it_may_be_replaced_while_calls_are_in_flight(gateway: SandboxGateway, tmp_path: Path) -> None:
    """Every call is answered, whatever happens to the cache meanwhile."""
    async with adapter_for(gateway) as adapter:
        adapter.enable_caching()
        calls = [asyncio.create_task(adapter.chat_async(f"Hi {n % 7}", provider="openai")) for n in range(100)]
        for number in range(10):
            await asyncio.sleep(0)
            adapter.enable_caching("disk", path=tmp_path / f"{number}.db")
            await asyncio.sleep(0)
            adapter.disable_caching()
        responses = await asyncio.gather(*calls)
    contents: dict[int, set[str]] = {}
    for number, response in enumerate(responses):
        contents.setdefault(number % 7, set()).add(response.content)
    assert len(contents) == 7


def test_the_synchronous_adapter_caches_for_all_threads(threaded: SandboxGateway) -> None:
    """Forty threads that ask the same make one call; streams and bulk runs are served, too."""
    before = len(threaded.bill.rows)
    with GenOpsHeliconeAdapter(threaded.api_key, gateway_url=threaded.url) as adapter:
        adapter.enable_caching()
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda: found.append(adapter.chat("Hi", provider="openai").content))
            for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(found), len(set(found)), len(threaded.bill.rows) - before) == (40, 1, 1)
        for _ in range(2):
            with adapter.stream("Hi", provider="openai") as stream:
                text = "".join(chunk.content for chunk in stream)
        assert (stream.response.cached, stream.response.content) == (True, text)
        results = list(adapter.chat_many(["Hi"] * 20, provider="openai"))
        assert all(result.response is not None and result.response.cached for result in results)
        assert len(threaded.bill.rows) - before == 2
        told = adapter.statistics().cache
        assert told is not None
        assert told.hits + told.joined == 60


def test_loops_one_after_the_other_share_a_cache(threaded: SandboxGateway) -> None:
    """An adapter that is used on a second event loop finds what it kept on the first."""
    adapter = GenOpsHeliconeAsyncAdapter(threaded.api_key, gateway_url=threaded.url)
    for kind, where in (("memory", {}), ("redis", {"url": valkey_server.shared_url()})):
        adapter.enable_caching(kind, **where)  # type: ignore[arg-type]

        async def ask(text: str) -> bool:
            return (await adapter.chat_async(text, provider="openai")).cached

        async def twice() -> list[bool]:
            found = [await ask(f"Loops {kind}")]  # noqa: B023
            return [*found, await ask(f"Loops {kind}")]  # noqa: B023

        assert asyncio.run(twice())[1] is True
        assert asyncio.run(twice()) == [True, True]

    async def close() -> None:
        await adapter.aclose()

    asyncio.run(close())


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"cache_provider": "memcached"}, ConfigurationError, "`cache_provider` is 'memcached': use one of memory, disk"),
    ({"cache_provider": None}, TypeError, "`cache_provider` must be a string"),
    ({"cache_key_strategy": "fuzzy"}, ConfigurationError, "`cache_key_strategy` is 'fuzzy'"),
    ({"cache_ttl": 0}, ConfigurationError, "`cache_ttl` is 0"),
    ({"cache_ttl": -1}, ConfigurationError, "`cache_ttl` is -1"),
    ({"cache_ttl": math.inf}, ConfigurationError, "`cache_ttl` is inf"),
    ({"cache_ttl": math.nan}, ConfigurationError, "`cache_ttl` is nan"),
    ({"cache_ttl": "1h"}, TypeError, "`cache_ttl` must be a number"),
    ({"cache_ttl": True}, TypeError, "`cache_ttl` must be a number"),
    ({"url": "redis://127.0.0.1"}, ConfigurationError, "`url` is for cache_provider='redis'"),
    ({"path": "a.db"}, ConfigurationError, "`path` is for cache_provider='disk'"),
    ({"cache_provider": "disk", "path": 7}, TypeError, "`path` must be the path of a file"),
    ({"cache_provider": "disk", "path": "a/"}, ConfigurationError, "name a file"),
    ({"cache_provider": "redis", "url": 7}, TypeError, "`url` must be a string"),
    ({"cache_provider": "redis", "url": "nonsense"}, ConfigurationError, "no valid Redis URL"),
    ({"cache_provider": "redis", "max_bytes": 10**9}, ConfigurationError, "the server bounds its own memory"),
    ({"max_bytes": 10}, ConfigurationError, "give at least 65536"),
    ({"max_bytes": 1e6}, TypeError, "`max_bytes` must be an integer"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), WRONG)
async def test_a_wrong_argument_is_named_and_changes_nothing(
    arguments: dict[str, Any], kind: type[Exception], message: str, gateway: SandboxGateway
) -> None:
    """The cache that was there goes on."""
    async with adapter_for(gateway) as adapter:
        adapter.enable_caching()
        await adapter.chat_async("Hi", provider="openai")
        with pytest.raises(kind, match=re.escape(message)):
            adapter.enable_caching(**arguments)
        assert (await adapter.chat_async("Hi", provider="openai")).cached is True


@pytest.mark.parametrize("kind", ["disk", "redis"])
def test_under_compliance_answers_stay_in_the_process(kind: str, tmp_path: Path) -> None:
    """Answers on disk or on a server would outlive it: refused, with the remedy."""
    adapter = GenOpsHeliconeAsyncAdapter(
        "sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd", compliance_mode=True, audit_logging=str(tmp_path / "audit.jsonl")
    )
    with pytest.raises(ConfigurationError, match="under `compliance_mode` use 'memory'"):
        adapter.enable_caching(kind)
    adapter.enable_caching("memory")


async def test_the_guide_s_strategies_differ(gateway: SandboxGateway) -> None:
    """`exact_match` wants every byte, `content_hash` forgives white space around a text."""
    async with adapter_for(gateway) as adapter:
        found = []
        for strategy in ("exact_match", "content_hash"):
            adapter.enable_caching(cache_key_strategy=strategy)
            await adapter.chat_async("Hi", provider="openai")
            found.append((await adapter.chat_async(" Hi ", provider="openai")).cached)
    assert found == [False, True]


async def test_the_gateway_s_own_cache_stays_available(gateway: SandboxGateway) -> None:
    """Helicone's cache is asked by header, makes an attempt, and is told apart from ours."""
    options = GatewayOptions(cache=GatewayCache(ttl_s=3600))
    async with adapter_for(gateway, gateway_options=options) as adapter:
        await adapter.chat_async("Hi", provider="openai")
        theirs = await adapter.chat_async("Hi", provider="openai")
        assert (theirs.cached, len(theirs.attempts), theirs.metadata["helicone_cache"]) == (True, 1, "HIT")
        assert theirs.usage.saved_cost == 0.0
        adapter.enable_caching()
        await adapter.chat_async("Hi", provider="openai")
        ours = await adapter.chat_async("Hi", provider="openai")
        assert (ours.cached, len(ours.attempts), ours.metadata["cache"]) == (True, 0, "hit")


async def test_hits_are_counted_in_metrics_and_make_no_request(gateway: SandboxGateway) -> None:
    """`genops_helicone_cache_hits_total` has them, `genops_helicone_requests` does not."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    async with adapter_for(gateway, meter_provider=provider) as adapter:
        adapter.enable_caching()
        for _ in range(4):
            await adapter.chat_async("Hi", provider="openai", team="a")
        data = reader.get_metrics_data()
        assert data is not None
        values = {
            metric.name: sum(getattr(point, "value", 0) for point in metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        assert (values["genops_helicone_cache_hits_total"], values["genops_helicone_requests"]) == (3, 1)
    provider.shutdown()


async def test_a_closed_adapter_leaves_nothing(gateway: SandboxGateway, tmp_path: Path) -> None:
    """What was being kept is on the disk when it is closed, and closing twice is no error."""
    adapter = adapter_for(gateway)
    adapter.enable_caching("disk", path=tmp_path / "a.db")
    await adapter.chat_async("Hi", provider="openai")
    await adapter.aclose()
    await adapter.aclose()
    assert [each.name for each in tmp_path.iterdir()] == ["a.db"]
    async with adapter_for(gateway) as other:
        other.enable_caching("disk", path=tmp_path / "a.db")
        assert (await other.chat_async("Hi", provider="openai")).cached is True


ASKING = """
import asyncio, json, sys
from genops_helicone_async import GenOpsHeliconeAsyncAdapter
async def main():
    given = json.loads(sys.argv[1])
    async with GenOpsHeliconeAsyncAdapter(given["key"], gateway_url=given["gateway"]) as adapter:
        adapter.enable_caching(given["kind"], **given["where"])
        calls = (adapter.chat_async(given["text"], provider="openai") for _ in range(100))
        responses = await asyncio.gather(*calls)
        print(len({response.content for response in responses}), sum(not response.cached for response in responses))
asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["disk", "redis"])
async def test_processes_ask_once_each_at_most(kind: str, gateway: SandboxGateway, tmp_path: Path) -> None:
    """Three at the same moment with a hundred identical calls each; who comes later asks nobody."""
    where = {"disk": {"path": str(tmp_path / "a.db")}, "redis": {"url": valkey_server.shared_url()}}[kind]
    given = {"key": gateway.api_key, "gateway": gateway.url, "kind": kind, "where": where, "text": f"Hi {tmp_path}"}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    async def process() -> tuple[int, int]:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", ASKING, json.dumps(given), env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await running.communicate()
        assert (running.returncode, err) == (0, b""), err.decode()
        contents, asked = map(int, out.split())
        return contents, asked

    together = await asyncio.gather(*(process() for _ in range(3)))
    assert all(contents == 1 and asked <= 1 for contents, asked in together)
    assert len(gateway.bill.rows) == sum(asked for _, asked in together) <= 3
    assert await process() == (1, 0)
