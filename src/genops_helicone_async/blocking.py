"""The synchronous adapter: a thin face over the asynchronous one, on a loop thread that all share."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Generator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from ._adapter_settings import AdapterSettings
from ._configuration_verbs import ConfigurationVerbs
from ._edges.event_loop import new_event_loop
from ._edges.loop_thread import LoopThread
from ._flow.agreement import ConsensusKey
from ._flow.bulk_progress import Guarded, ProgressListener
from ._flow.helicone_api import Rated
from ._flow.many import MORE, ChatMany, Mailbox, OnError, Requests
from ._flow.stream import ChatStream
from .chat_request import ChatOptions, Message, SharedOptions
from .client import AdapterStatistics, GenOpsHeliconeAsyncAdapter
from .models import (
    BudgetStatus,
    BulkProgress,
    BulkResult,
    EmbeddingResponse,
    HeliconeResponse,
    MultiProviderResponse,
    ProviderCheck,
    StreamChunk,
)

_thread = LoopThread(new_event_loop)
_call = _thread.call


class GenOpsHeliconeAdapter(ConfigurationVerbs):
    """The adapter for synchronous code: every verb of `GenOpsHeliconeAsyncAdapter` without `_async`, same arguments.

    Callable from any number of threads, also from one that runs an event loop (which it then blocks). Use it with
    `with`, or call `close()`, or neither: the end of the process closes it.
    """

    def __init__(
        self,
        helicone_api_key: str | None = None,
        provider_keys: Mapping[str, str] | None = None,
        **settings: Unpack[AdapterSettings],
    ) -> None:
        self._adapter = GenOpsHeliconeAsyncAdapter(helicone_api_key, provider_keys, **settings)
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
        *,
        hedge_after_s: float | None = None,
        consensus_key: ConsensusKey | None = None,
        **options: Unpack[SharedOptions],
    ) -> MultiProviderResponse:
        """One message to several providers; see `GenOpsHeliconeAsyncAdapter.multi_provider_chat_async`."""

        async def run() -> MultiProviderResponse:
            return await self._adapter.multi_provider_chat_async(
                message,
                providers,
                model_preferences,
                routing_strategy,
                hedge_after_s=hedge_after_s,
                consensus_key=consensus_key,
                **options,
            )

        return _call(run)

    def chat_many(
        self,
        requests: Requests,
        *,
        max_in_flight: int = 256,
        ordered: bool = False,
        on_error: OnError = "yield",
        on_progress: ProgressListener | None = None,
        **defaults: Unpack[ChatOptions],
    ) -> BlockingChatMany:
        """Answers to many messages; see `GenOpsHeliconeAsyncAdapter.chat_many`. Dropping it cancels the rest.

        `requests` is read in the thread that takes the results, so it may wait for its next item; `on_progress` is
        called in that thread, too.
        """
        told = None if on_progress is None else _Told(Guarded(on_progress))
        box = None if isinstance(requests, AsyncIterable | str | bytes | Mapping) else Mailbox()
        source: Iterator[Any] = iter(()) if isinstance(requests, AsyncIterable) else iter(requests)

        async def make() -> ChatMany:
            given = requests if box is None else box
            return self._adapter.chat_many(
                given,
                max_in_flight=max_in_flight,
                ordered=ordered,
                on_error=on_error,
                on_progress=None if told is None else told.heard.append,
                **defaults,
            )

        many = _call(make)
        return BlockingChatMany(many, _iterated(many, box, source, told))

    def embed(
        self, texts: str | Sequence[str], *, provider: str = "openai", model: str | None = None, **options: Any
    ) -> EmbeddingResponse:
        """Vectors for texts; see `GenOpsHeliconeAsyncAdapter.embed_async`."""

        async def run() -> EmbeddingResponse:
            return await self._adapter.embed_async(texts, provider=provider, model=model, **options)

        return _call(run)

    def feedback(self, call: Rated, rating: bool, *, timeout_seconds: float | None = None) -> None:
        """Tells Helicone that an answer was good or bad; see `GenOpsHeliconeAsyncAdapter.feedback_async`."""

        async def run() -> None:
            await self._adapter.feedback_async(call, rating, timeout_seconds=timeout_seconds)

        _call(run)

    def score(self, call: Rated, scores: Mapping[str, int | bool], *, timeout_seconds: float | None = None) -> None:
        """Gives a call scores; see `GenOpsHeliconeAsyncAdapter.score_async`."""

        async def run() -> None:
            await self._adapter.score_async(call, scores, timeout_seconds=timeout_seconds)

        _call(run)

    def get_budget_status(self) -> tuple[BudgetStatus, ...]:
        """Every budget with its limit, what every process has spent and holds of it, what is left, when it resets.

        Raises:
            LedgerError: the store of budgets cannot be read.
        """
        return _call(self._parts.budgets.fresh_status)

    def validate_providers(self) -> dict[str, ProviderCheck]:
        """Checks every configured provider; see `GenOpsHeliconeAsyncAdapter.validate_providers_async`."""
        return _call(self._adapter.validate_providers_async)

    def statistics(self) -> AdapterStatistics:
        """What is going on, on the loop thread."""

        async def read() -> AdapterStatistics:
            return self._adapter.statistics()

        return _call(read)


class BlockingChatMany:
    """An iterator of `BulkResult` for synchronous code; see `ChatMany`. Dropping or closing it cancels the rest."""

    def __init__(self, many: ChatMany, results: Generator[BulkResult, None, None]) -> None:
        self._many = many
        self._results = results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(over {self._many!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> BulkResult:
        return next(self._results)

    def close(self) -> None:
        """Cancels what is in flight and waits for it; the iteration is over. Safe to repeat."""
        self._results.close()

    @property
    def untaken(self) -> tuple[BulkResult, ...]:
        """After the end: results that were there and not given, for an error was raised or the iteration left."""
        return self._many.untaken


class _Told:
    """Progress on its way from the loop's thread to that of the caller's function."""

    __slots__ = ("_tell", "heard")

    def __init__(self, tell: ProgressListener) -> None:
        self._tell = tell
        self.heard: deque[BulkProgress] = deque()

    def pass_on(self) -> None:
        """In the caller's thread."""
        while self.heard:
            self._tell(self.heard.popleft())


def _iterated(
    many: ChatMany, box: Mailbox | None, requests: Iterator[Any], told: _Told | None
) -> Generator[BulkResult, None, None]:
    """The results one by one; each step waits on the loop thread, and requests are read here in between.

    Each request begins as soon as it is read, for the next may take its time; that is not waited for.
    """
    is_wanted = False
    try:
        while (result := _call(many.step)) is not None:
            if isinstance(result, BulkResult):
                yield result
            elif result is MORE:
                is_wanted = True
            elif told is not None:
                told.pass_on()
            while is_wanted and box is not None and many.room() > 0:
                _post(requests, box)
                _thread.post(many.begin)
    finally:
        _thread.finish(many.aclose)
        if told is not None:
            told.pass_on()


def _post(requests: Iterator[Any], box: Mailbox) -> None:
    """Reads a request into the box, or what ended them."""
    try:
        box.put(next(requests))
    except StopIteration:
        box.close()
    except Exception as exc:  # noqa: BLE001  the caller's own iterator failed: what is in flight is still given
        box.close(exc)


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
    helicone_api_key: str | None = None,
    provider_keys: Mapping[str, str] | None = None,
    **settings: Unpack[AdapterSettings],
) -> GenOpsHeliconeAdapter:
    """A synchronous adapter; the arguments are those of `GenOpsHeliconeAdapter`."""
    return GenOpsHeliconeAdapter(helicone_api_key, provider_keys, **settings)


__all__ = ["AdapterSettings", "BlockingChatMany", "BlockingChatStream", "GenOpsHeliconeAdapter", "instrument_helicone"]
