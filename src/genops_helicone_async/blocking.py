"""The synchronous adapter: a thin face over the asynchronous one, on a loop thread that all share."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ._configuration_verbs import ConfigurationVerbs
from ._flow.many import ChatMany, OnError, Requests
from ._flow.stream import ChatStream
from ._wire.headers import GatewayOptions
from .chat_request import ChatOptions, Message, SharedOptions
from .client import AdapterStatistics, GenOpsHeliconeAsyncAdapter
from .config import DEFAULT_MAX_RESPONSE_BYTES
from .models import (
    BulkResult,
    EmbeddingResponse,
    HeliconeResponse,
    MultiProviderResponse,
    ProviderCheck,
    StreamChunk,
)

Result = TypeVar("Result")


class _LoopThread:
    """One event loop on a daemon thread, started when first needed, ended with the process, new after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._entered: AbstractContextManager[BlockingPortal] | None = None
        self._pid = 0

    def portal(self) -> BlockingPortal:
        """The portal into the loop thread."""
        portal = self._portal
        if portal is not None and self._pid == os.getpid():
            return portal
        with self._lock:
            if self._portal is None or self._pid != os.getpid():
                self._entered = start_blocking_portal("asyncio", name="genops-helicone")
                self._portal = self._entered.__enter__()
                self._pid = os.getpid()
                atexit.register(self._end, self._pid)
            return self._portal

    def _end(self, pid: int) -> None:
        entered, self._entered, self._portal = self._entered, None, None
        if entered is not None and pid == os.getpid():
            entered.__exit__(None, None, None)


_thread = _LoopThread()


def _call(function: Callable[..., Awaitable[Result]], *arguments: Any) -> Result:
    """Runs a coroutine function on the loop thread, in the caller's context."""
    return _thread.portal().call(function, *arguments)


class GenOpsHeliconeAdapter(ConfigurationVerbs):
    """The adapter for synchronous code: every verb of `GenOpsHeliconeAsyncAdapter` without `_async`, same arguments.

    Callable from any number of threads, also from one that runs an event loop (which it then blocks). Use it with
    `with`, or call `close()`, or neither: the end of the process closes it.
    """

    def __init__(
        self,
        helicone_api_key: str | None = None,
        provider_keys: Mapping[str, str] | None = None,
        *,
        default_attributes: Mapping[str, str] | None = None,
        gateway_url: str | None = None,
        gateway_dialect: str = "auto",
        provider_urls: Mapping[str, str] | None = None,
        timeout_seconds: float = 30.0,
        retry_attempts: int = 3,
        max_connections: int | None = None,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES,
        enable_cost_tracking: bool = True,
        cost_currency: str = "USD",
        exchange_rates: Mapping[str, float] | None = None,
        prices: Mapping[Any, Any] | None = None,
        gateway_fee_rates: Mapping[str, float] | None = None,
        gateway_options: GatewayOptions | None = None,
        state_url: str | None = None,
        allow_insecure_http: bool = False,
        trust_env: bool = False,
    ) -> None:
        self._adapter = GenOpsHeliconeAsyncAdapter(
            helicone_api_key,
            provider_keys,
            default_attributes=default_attributes,
            gateway_url=gateway_url,
            gateway_dialect=gateway_dialect,
            provider_urls=provider_urls,
            timeout_seconds=timeout_seconds,
            retry_attempts=retry_attempts,
            max_connections=max_connections,
            max_response_bytes=max_response_bytes,
            enable_cost_tracking=enable_cost_tracking,
            cost_currency=cost_currency,
            exchange_rates=exchange_rates,
            state_url=state_url,
            prices=prices,
            gateway_fee_rates=gateway_fee_rates,
            gateway_options=gateway_options,
            allow_insecure_http=allow_insecure_http,
            trust_env=trust_env,
        )

        self._parts = self._adapter._parts

    def __repr__(self) -> str:
        return f"{type(self).__name__}(over {self._adapter!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; afterwards calls raise a `ConfigurationError`. Safe to repeat."""
        _call(self._adapter.aclose)

    def chat(self, message: Message, **options: Unpack[ChatOptions]) -> HeliconeResponse:
        """One answer to a message; see `GenOpsHeliconeAsyncAdapter.chat_async`."""

        async def run() -> HeliconeResponse:
            return await self._adapter.chat_async(message, **options)

        return _call(run)

    def stream(self, message: Message, **options: Unpack[ChatOptions]) -> BlockingChatStream:
        """A streamed answer: `with adapter.stream(…) as stream: for chunk in stream: …`."""

        async def make() -> ChatStream:
            return self._adapter.stream_async(message, **options)

        return BlockingChatStream(_call(make))

    def multi_provider_chat(
        self,
        message: Message,
        providers: Sequence[str],
        model_preferences: Mapping[str, str] | None = None,
        routing_strategy: str = "fan_out",
        **options: Unpack[SharedOptions],
    ) -> MultiProviderResponse:
        """One message to several providers; see `GenOpsHeliconeAsyncAdapter.multi_provider_chat_async`."""

        async def run() -> MultiProviderResponse:
            return await self._adapter.multi_provider_chat_async(
                message, providers, model_preferences, routing_strategy, **options
            )

        return _call(run)

    def chat_many(
        self,
        requests: Requests,
        *,
        max_in_flight: int = 256,
        ordered: bool = False,
        on_error: OnError = "yield",
        **defaults: Unpack[ChatOptions],
    ) -> Iterator[BulkResult]:
        """Answers to many messages; see `GenOpsHeliconeAsyncAdapter.chat_many`. Dropping it cancels the rest."""

        async def make() -> ChatMany:
            return self._adapter.chat_many(
                requests, max_in_flight=max_in_flight, ordered=ordered, on_error=on_error, **defaults
            )

        return _iterated(_call(make))

    def embed(
        self, texts: str | Sequence[str], *, provider: str = "openai", model: str | None = None, **options: Any
    ) -> EmbeddingResponse:
        """Vectors for texts; see `GenOpsHeliconeAsyncAdapter.embed_async`."""

        async def run() -> EmbeddingResponse:
            return await self._adapter.embed_async(texts, provider=provider, model=model, **options)

        return _call(run)

    def validate_providers(self) -> dict[str, ProviderCheck]:
        """Checks every configured provider; see `GenOpsHeliconeAsyncAdapter.validate_providers_async`."""
        return _call(self._adapter.validate_providers_async)

    def statistics(self) -> AdapterStatistics:
        """What is going on, on the loop thread."""

        async def read() -> AdapterStatistics:
            return self._adapter.statistics()

        return _call(read)


def _iterated(many: ChatMany) -> Iterator[BulkResult]:
    """The results one by one; each step waits on the loop thread."""

    async def step() -> BulkResult | None:
        return await anext(many, None)

    try:
        while (result := _call(step)) is not None:
            yield result
    finally:
        _call(many.aclose)


class BlockingChatStream:
    """A streamed answer for synchronous code: a context manager and an iterator; `response` after the end."""

    def __init__(self, stream: ChatStream) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        _call(self._stream.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        _call(self._stream.__aexit__, kind, exc, trace)

    def __iter__(self) -> Iterator[StreamChunk]:
        while chunks := _call(self._stream.batch):
            yield from chunks

    @property
    def response(self) -> HeliconeResponse:
        """The whole answer with usage and cost, once the stream has been read to its end."""
        return self._stream.response

    @property
    def text(self) -> str:
        """The text that has arrived so far."""
        return self._stream.text


def instrument_helicone(
    helicone_api_key: str | None = None, provider_keys: Mapping[str, str] | None = None, **settings: Any
) -> GenOpsHeliconeAdapter:
    """A synchronous adapter; the arguments are those of `GenOpsHeliconeAdapter`."""
    return GenOpsHeliconeAdapter(helicone_api_key, provider_keys, **settings)


__all__ = ["BlockingChatStream", "GenOpsHeliconeAdapter", "instrument_helicone"]
