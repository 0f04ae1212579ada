"""The sandbox gateway: a local stand-in for Helicone and the providers behind it, for tests and demos."""

import asyncio
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any, Self

from ._helicone import log_api, rest_api
from ._helicone.ai_gateway import AiGateway
from ._helicone.log_api import LogApi
from ._helicone.proxy_hosts import ProxyHosts
from ._helicone.records import LoggedCall
from ._helicone.rest_api import RestApi
from ._helicone.rust import RustGateway
from ._simulated.batches import BatchBoard
from ._simulated.catalogue import HOSTED
from ._simulated.openai_endpoint import OpenAiApi
from ._simulated.prices import PriceOverride
from ._simulated.upstream import UnknownModels
from .bill import Bill
from .control import Control
from .exchange import Arrival, Reply
from .faults import FaultPlan
from .request_log import RequestLog, SeenRequest
from .server import SandboxServer, SandboxStatistics
from .state import SandboxState

DEFAULT_KEY = "sk-helicone-sandbox-sandbox-sandbox-sandbox"
DEFAULT_REQUESTS_KEPT = 100_000


class SandboxGateway:
    """A real HTTP server on one port that answers as Helicone and its providers do, and keeps its own bill.

    Use it as an async context manager, or call `start` and `close`; `in_thread` runs it beside sync code.

    Args:
        seed: Decides replies, latencies and faults of less than certain probability.
        port: 0 lets the system choose.
        host: Address to listen on.
        latency_scale: 1 is the speed of the real providers, 0 answers at once.
        api_keys: Helicone keys that are known, whatever their shape: placeholders of examples work too.
        provider_keys: Keys the providers accept; a provider not named accepts any key but `bad-key`.
        byok: Provider keys stored at Helicone: all, none, or those of the providers named.
        credits_usd: Helicone credits. None is no credits where provider keys are stored, else endless ones.
        prices: (provider, model) → dollars per million tokens, as `(input, output[, cached[, cache_write]])`.
        cached_prompts: Let providers read long repeated prompts from a cache.
        unknown_models: Whether models without a price, or named `unknown…`, are refused or answered unbilled.
        rust_needs_key: Let the Rust dialect check Helicone keys.
        keep_requests: How many requests to remember; True for 100,000, False for none.
        keep_bill_rows: Whether the bill keeps rows beside its totals.
    """

    __slots__ = ("_api_keys", "_host", "_log", "_port", "_provider_keys", "_server", "_state")

    def __init__(
        self,
        *,
        seed: int = 0,
        port: int = 0,
        host: str = "127.0.0.1",
        latency_scale: float = 1.0,
        api_keys: Collection[str] = (DEFAULT_KEY,),
        provider_keys: Mapping[str, str] | None = None,
        byok: bool | Collection[str] = True,
        credits_usd: float | None = None,
        prices: Mapping[tuple[str, str], PriceOverride] | None = None,
        cached_prompts: bool = False,
        unknown_models: UnknownModels = "refuse",
        rust_needs_key: bool = False,
        keep_requests: bool | int = True,
        keep_bill_rows: bool = True,
    ) -> None:
        if not latency_scale >= 0:
            raise ValueError(f"latency_scale must be 0 or more, not {latency_scale!r}")
        self._host = host
        self._port = port
        self._api_keys = tuple(api_keys)
        self._provider_keys = dict(provider_keys or {})
        kept = DEFAULT_REQUESTS_KEPT if keep_requests is True else int(keep_requests)
        self._state = SandboxState(
            seed=seed,
            latency_scale=latency_scale,
            helicone_keys=self._api_keys,
            provider_keys=provider_keys,
            byok=byok,
            credits_usd=credits_usd,
            prices=prices,
            cached_prompts=cached_prompts,
            unknown_models=unknown_models,
            keep_bill_rows=keep_bill_rows,
            keep_records=kept,
        )
        self._log = RequestLog(kept)
        self._server = self._build_server(rust_needs_key)

    def _build_server(self, rust_needs_key: bool) -> SandboxServer:
        state = self._state
        control = Control(
            bill=state.bill,
            faults=state.faults,
            requests=self._log.rows,
            statistics=self.statistics,
            reset=self.reset,
            places=self._places,
        )

        async def controlled(arrival: Arrival) -> Reply:
            return control.answer(arrival)

        dialects = {
            "": ("ai_gateway", AiGateway(state).answer),
            "hosts": ("proxy", ProxyHosts(state).answer),
            "rust": ("rust", RustGateway(state, needs_key=rust_needs_key).answer),
            "openai": ("openai", OpenAiApi(state).answer),
            rest_api.PREFIX: ("rest_api", RestApi(state).answer),
            log_api.PREFIX: ("log", LogApi(state).answer),
            "__sandbox__": ("control", controlled),
        }
        return SandboxServer(dialects, log=self._log, clock=state.now_s)

    async def start(self) -> Self:
        """Listen on the port."""
        if "genai_prices" not in sys.modules:
            # Its data takes long to import, and the first reply must not wait for it on the loop.
            await asyncio.to_thread(import_module, "genai_prices")
        self._port = await self._server.start(self._host, self._port)
        return self

    async def close(self) -> None:
        """Break off what is in flight and stop listening; safe to call twice."""
        await self._server.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @classmethod
    @contextmanager
    def in_thread(cls, **settings: Any) -> "Iterator[SandboxGateway]":
        """A running sandbox on a thread and event loop of its own, for sync code; same settings."""
        gateway = cls(**settings)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="sandbox-gateway", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(gateway.start(), loop).result()
            try:
                yield gateway
            finally:
                asyncio.run_coroutine_threadsafe(gateway.close(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    @property
    def url(self) -> str:
        """The AI Gateway's base URL, without `/v1`."""
        return f"http://{self._host}:{self._port}"

    @property
    def rust_url(self) -> str:
        """The Rust gateway's base URL; `/ai/chat/completions` and `/router/{id}/…` are below it."""
        return f"{self.url}/rust"

    @property
    def openai_url(self) -> str:
        """The base URL of a plain OpenAI-compatible endpoint, `/v1` included."""
        return f"{self.url}/openai/v1"

    @property
    def api_url(self) -> str:
        """The base URL of Helicone's REST API, which takes ratings and scores."""
        return f"{self.url}/{rest_api.PREFIX}"

    @property
    def log_url(self) -> str:
        """Helicone's log of calls that did not pass it."""
        return f"{self.url}/{log_api.PREFIX}/custom/v1/log"

    @property
    def provider_urls(self) -> dict[str, str]:
        """Every provider's proxy host, up to and including the version segment."""
        return {provider.name: f"{self.url}/hosts/{provider.name}{provider.base_path}" for provider in HOSTED}

    @property
    def api_key(self) -> str:
        """A Helicone key that is known."""
        return self._api_keys[0]

    @property
    def provider_keys(self) -> dict[str, str]:
        """A key that each provider accepts."""
        return {
            provider.name: self._provider_keys.get(provider.name, f"{provider.name}-sandbox-key") for provider in HOSTED
        }

    @property
    def bill(self) -> Bill:
        """What everything would have cost."""
        return self._state.bill

    @property
    def faults(self) -> FaultPlan:
        """What goes wrong."""
        return self._state.faults

    @property
    def batches(self) -> BatchBoard:
        """The providers' batches, and the hand on their clock."""
        return self._state.batches

    @property
    def requests(self) -> tuple[SeenRequest, ...]:
        """What was asked, in order of arrival; the control interface is left out."""
        return self._log.rows()

    def accept(self, token: str) -> None:
        """Takes an OAuth token, as a gateway behind an identity provider does, or another key, from now on."""
        self._state.accept(token)

    def revoke(self, token: str) -> None:
        """Refuses a token or key from now on."""
        self._state.revoke(token)

    @property
    def feedback(self) -> dict[str, bool]:
        """Ratings by request id, as the REST API was told; True is good."""
        return dict(self._state.records.feedback)

    @property
    def scores(self) -> dict[str, dict[str, int | bool]]:
        """Scores by request id."""
        return dict(self._state.records.scores)

    @property
    def logged(self) -> tuple[LoggedCall, ...]:
        """Calls that passed Helicone by and were told to its log, in order of arrival."""
        return tuple(self._state.records.logged.values())

    async def idle(self) -> None:
        """Return once nothing is in flight and all is noted: after a client left, say. On the sandbox's loop."""
        await self._server.idle()

    def statistics(self) -> SandboxStatistics:
        """Counters since the start or the last `reset`."""
        return self._server.statistics(faults_struck=self._state.faults.struck, cache_hits=self._state.cache.hits)

    def reset(self) -> None:
        """Forget bill, requests, faults, caches, limits and counters."""
        self._state.reset()
        self._server.clear()

    def _places(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "rust_url": self.rust_url,
            "openai_url": self.openai_url,
            "api_url": self.api_url,
            "log_url": self.log_url,
            "provider_urls": self.provider_urls,
            "api_key": self.api_key,
        }

    def __repr__(self) -> str:
        statistics = self.statistics()
        return (
            f"<SandboxGateway {self.url} {statistics.calls} calls, {statistics.in_flight} in flight, "
            f"{len(self.faults)} faults, billed ${self.bill.total_usd:.6f}>"
        )


async def serve_forever(gateway: SandboxGateway) -> None:
    """Run a sandbox until cancelled, then close it."""
    async with gateway:
        await asyncio.get_running_loop().create_future()
