"""Helicone's older proxy hosts, one per provider: the provider's own API with Helicone's features in front."""

import asyncio
from urllib.parse import urlsplit

from .._simulated.api import answer_as_provider
from .._simulated.catalogue import HOSTED, Provider
from .._simulated.prices import PUSD_PER_CENT
from ..exchange import Arrival, Reply, Stream, gateway_fault_reply, json_reply, now_ms, text_reply
from ..state import SandboxState
from .headers import TOO_LARGE, Orders, WorkerCrash, crash_reply, read_orders
from .rate_limits import Verdict
from .response_cache import CacheOrder, cache_order, hit_headers

_HOSTS = {provider.name: provider for provider in HOSTED}
_TARGETS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.groq.com": "groq",
    "api.together.xyz": "together",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "xai",
    "openrouter.ai": "openrouter",
    "api.perplexity.ai": "perplexity",
    "api.fireworks.ai": "fireworks",
    "api.cerebras.ai": "cerebras",
    "generativelanguage.googleapis.com": "gemini",
}
_LIMITED = (
    "Helicone user was rate limit via Helicone-RateLimit-Policy header. Please wait before making more "
    "requests. See https://docs.helicone.ai/features/advanced-usage/custom-rate-limits for more details."
)


class ProxyHosts:
    """Answers `/hosts/{provider}/…`, and `/hosts/gateway/…` by `Helicone-Target-URL`.

    A bad or missing `Helicone-Auth` is accepted, as by the real hosts.
    """

    __slots__ = ("_state",)

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def answer(self, arrival: Arrival) -> Reply | Stream:
        """Answer one request; `arrival.path` is the whole path."""
        name, _, rest = arrival.path.removeprefix("/hosts/").partition("/")
        if arrival.method == "GET" and rest == "healthcheck":
            return Reply()
        try:
            orders = read_orders(arrival.headers)
            if orders.bucket_too_large:
                raise WorkerCrash(TOO_LARGE)
            if name == "gateway":
                target = arrival.headers.get("helicone-target-url")
                if target is None:
                    return text_reply(400, "Missing target base url")
                name = _provider_at(target)
            if name not in _HOSTS:
                raise WorkerCrash("Could not determine worker type")
        except WorkerCrash as crash:
            return crash_reply(str(crash))
        provider = _HOSTS[name]
        arrival.provider = provider.name
        if fault := self._state.faults.draw(provider.name, (), stream=False, gateway=True):
            return gateway_fault_reply(fault)
        reply = await self._through_helicone(arrival, provider, orders)
        # Set last: a provider cannot spoof them.
        reply.headers = {
            **reply.headers,
            "Helicone-Id": arrival.request_id,
            "Helicone-Status": "success",
        }
        if isinstance(reply, Reply):
            reply.chunked = True
        return reply

    async def _through_helicone(self, arrival: Arrival, provider: Provider, orders: Orders) -> Reply | Stream:
        state = self._state
        if arrival.method == "GET":
            return await answer_as_provider(state, arrival, provider)
        body = arrival.document()
        order = cache_order(arrival.headers, arrival.path, body, orders.ignored_keys)
        if hit := state.cache.find(order, state.now_s()):
            headers = {**hit.stored.headers, **hit_headers(hit)}
            content_type = headers.pop("Content-Type", "application/json")
            return Reply(headers=headers, body=hit.stored.body, content_type=content_type)
        user = body.get("user") if isinstance(body, dict) else None
        verdict = state.limits.check(
            arrival.headers,
            arrival.headers.get("helicone-auth", ""),
            user if isinstance(user, str) else None,
            state.now_s(),
        )
        if not verdict.allowed:
            return _limited(verdict)
        if orders.mock is not None:
            return json_reply(orders.mock, headers=verdict.headers)
        started_ms = now_ms()
        reply = await self._with_retries(arrival, provider, orders)
        if verdict.in_cents and verdict.bucket is not None:
            verdict.bucket.take(reply.cost_pusd / PUSD_PER_CENT, state.now_s())
        self._keep(order, reply, now_ms() - started_ms)
        reply.headers = {**reply.headers, **verdict.headers}
        if order.reads:
            reply.headers["Helicone-Cache"] = "MISS"
        return reply

    async def _with_retries(self, arrival: Arrival, provider: Provider, orders: Orders) -> Reply | Stream:
        for number in range(orders.retries.attempts):
            reply = await answer_as_provider(self._state, arrival, provider)
            if isinstance(reply, Stream) or (reply.status != 429 and reply.status < 500):
                break
            if number + 1 < orders.retries.attempts:
                await asyncio.sleep(self._state.latency_scale * orders.retries.pause_s(number))
        return reply

    def _keep(self, order: CacheOrder, reply: Reply | Stream, latency_ms: int) -> None:
        if not order.saves or reply.fault is not None:
            return
        state = self._state
        if isinstance(reply, Stream):
            kept = {**reply.headers, "Content-Type": reply.script.content_type}
            reply.keep = lambda body: state.cache.store(order, kept, body, latency_ms, state.now_s())
        elif reply.status == 200:
            kept = {**reply.headers, "Content-Type": reply.content_type or ""}
            state.cache.store(order, kept, reply.body, latency_ms, state.now_s())


def _provider_at(target: str) -> str:
    host = urlsplit(target).hostname or ""
    if host.endswith("aiplatform.googleapis.com"):
        return "vertex"
    return "azure" if host.endswith(".openai.azure.com") else _TARGETS.get(host, "")


def _limited(verdict: Verdict) -> Reply:
    headers = {**verdict.headers, "X-Helicone-Error": "rate_limited"}
    reply = json_reply({"message": _LIMITED}, 429, headers)
    reply.content_type = "application/json;charset=UTF-8"
    return reply
