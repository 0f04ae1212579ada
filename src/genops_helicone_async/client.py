"""The asynchronous adapter: puts the parts together and offers the verbs; no logic of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

from ._adapter_statistics import AdapterStatistics, statistics_of
from ._assembly import assemble, close, pipeline_on
from ._configuration_verbs import ConfigurationVerbs
from ._edges.open_files import open_file_limit
from ._flow.agreement import ConsensusKey
from ._flow.bulk_progress import ProgressListener
from ._flow.checks import check_providers
from ._flow.embed import Embedding
from ._flow.fanout import ask_several
from ._flow.helicone_api import Afterwards, Rated
from ._flow.many import ChatMany, OnError, Requests
from ._flow.pipeline import Pipeline
from ._flow.stream import ChatStream
from ._helicone_settings import HeliconeLog
from ._rules.hedging import HedgeQuota
from ._wire.headers import GatewayOptions
from .chat_request import ChatOptions, EmbedRequest, Message, SharedOptions, make_request
from .config import DEFAULT_MAX_RESPONSE_BYTES, GivenSettings, resolve
from .errors import ConfigurationError
from .models import EmbeddingResponse, HeliconeResponse, MultiProviderResponse, ProviderCheck


class GenOpsHeliconeAsyncAdapter(ConfigurationVerbs):
    """Sends chats through Helicone, from any number of tasks at once.

    Use it with `async with`, or call `aclose()`, or neither: it opens on first use, and the end of the event loop
    closes it. One adapter works on several event loops, one after the other or in different threads.

    Args:
        helicone_api_key: Helicone's key; unset, `HELICONE_API_KEY`.
        provider_keys: provider → key. With Helicone's cloud these providers are called through their own Helicone
            hosts with these keys, all others through the AI Gateway. Unset, `OPENAI_API_KEY` and its like.
        default_attributes: attribution of every call (`team`, `project`, …), unless the call says otherwise.
        gateway_url: the gateway, `HELICONE_GATEWAY_URL` or Helicone's cloud. A gateway of your own takes every call
            with the Helicone key; provider keys are then sent nowhere.
        gateway_dialect: `auto`, `helicone`, `proxy`, `rust` or `openai` (any OpenAI-compatible endpoint).
        provider_urls: provider → base URL up to its version segment, for that provider's calls.
        timeout_seconds: the deadline of a whole call, queueing, retries and failover included.
        retry_attempts: waits and repeats a call may make beyond asking each candidate once.
        max_connections: calls on their way at once; by default what the open-file limit allows, 10,000 at most.
        max_response_bytes: the largest reply taken, 64 MiB by default.
        enable_cost_tracking: whether calls are priced.
        cost_currency: the currency of all money a caller sees, ISO code; budgets and `max_cost` are in it too.
        exchange_rates: currency → how many of it one US dollar buys; needed for any currency but `USD`.
        prices: overrides in dollars per million tokens: `{"openai/gpt-x": {"input": 1.0, "output": 2.0}}`.
        gateway_fee_rates: `{"PTB": 0.03}`: what Helicone's credits cost on top, as a share.
        gateway_options: caching, retries, rate limits and omission of bodies on Helicone's side.
        state_url: where budgets and receipts are kept: unset in memory, `sqlite:///file.db` on this machine,
            `redis://host:6379/0` shared by many machines.
        allow_insecure_http: whether keys may travel over plain http to other machines.
        trust_env: whether `HTTPS_PROXY` and its like are honoured.
        meter_provider: OpenTelemetry's `MeterProvider` that metrics go to; unset, the process's own.
        tracer_provider: its `TracerProvider` for spans; unset, the process's own.
        logger_provider: its `LoggerProvider` for events with prompts and answers, which are made only on opt-in.
        auth_mode: `api_key`, or `oauth2`: a gateway of your own gets a token as bearer in place of Helicone's key.
        oauth_config: `token_url`, `client_id`, `client_secret`, and, if need be, `scope` or `scopes`, `audience`,
            `resource`, `extra` (form fields), `auth_method` (`client_secret_basic` or `client_secret_post`).
        compliance_mode: TLS everywhere, every call recorded before it is sent, no content in telemetry nor on
            Helicone's side, no model without a price.
        audit_logging: True, the file's path, or `{"path": …, "fsync": "always"|"interval"|"never", "max_bytes": …}`;
            True is `GENOPS_AUDIT_LOG`, else `genops-audit.jsonl`. Under `compliance_mode` it cannot be off.
        data_residency: the area data has to stay in, `EU`, `US`, …, or a cloud region's name for its area; or
            `{"region": …, "hosts": […], "providers": […]}` with those that you vouch for.
        helicone_api_url: Helicone's REST API, for `feedback_async` and `score_async`; unset, `HELICONE_API_URL`, else
            that of Helicone's cloud where the gateway is its.
        helicone_log: has Helicone told of calls that did not pass it, prompts and answers included; see `HeliconeLog`.
        allowed_models: names, `provider/model` or patterns such as `gpt-4o*`; others are refused.
        allowed_providers: others are refused.

    Raises:
        ConfigurationError: a setting is wrong, or there is no key to authenticate with; it names the remedy.
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
        meter_provider: Any = None,
        tracer_provider: Any = None,
        logger_provider: Any = None,
        auth_mode: str = "api_key",
        oauth_config: Mapping[str, Any] | None = None,
        compliance_mode: bool = False,
        audit_logging: bool | str | Path | Mapping[str, Any] | None = None,
        data_residency: str | Mapping[str, Any] | None = None,
        allowed_models: Sequence[str] | None = None,
        allowed_providers: Sequence[str] | None = None,
        helicone_api_url: str | None = None,
        helicone_log: HeliconeLog | None = None,
    ) -> None:
        arguments = locals()
        given = GivenSettings(**{name: arguments[name] for name in GivenSettings.__struct_fields__})
        self._settings = settings = resolve(given, dict(os.environ), open_file_limit())
        self._parts = assemble(settings, gateway_options)
        self._pipelines: dict[asyncio.AbstractEventLoop, Pipeline] = {}
        self._last: tuple[object, Pipeline | None] = (None, None)
        self._hedges = HedgeQuota()
        self._closed = False

    def __repr__(self) -> str:
        settings = self._settings
        where = f"{settings.gateway_url} ({settings.gateway_dialect})"
        return f"{type(self).__name__}({where}, providers={list(settings.candidates)}, closed={self._closed})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the running loop's connections; afterwards calls raise a `ConfigurationError`. Safe to repeat.

        Calls on their way fail; what they may have cost is in the ledger when this returns. Metrics are exported
        through the readers that push them, for which this waits 5 s at most.
        """
        self._closed = True
        self._last = (None, None)
        pipeline = self._pipelines.pop(asyncio.get_running_loop(), None)
        if pipeline is not None:
            await pipeline.aclose()
        await close(self._parts)

    async def chat_async(self, message: Message, **options: Unpack[ChatOptions]) -> HeliconeResponse:
        """One answer to a message, which is a string or a list of OpenAI-style messages.

        See `ChatRequest` for the keywords. Cancelling drops the connection.

        Raises:
            ConfigurationError: an argument is wrong; it is named, and nothing was sent.
            HeliconeError: the call failed; `attempts` tells every attempt.
            TypeError: an unknown keyword, or a value of the wrong type.
        """
        return await self._pipeline().run(make_request(message, options))

    def stream_async(self, message: Message, **options: Unpack[ChatOptions]) -> ChatStream:
        """A streamed answer: `async with adapter.stream_async(…) as stream: async for chunk in stream: …`.

        Raises as `chat_async` does, on entering; a wrong argument is refused at once.
        """
        return self._pipeline().stream(make_request(message, options))

    async def multi_provider_chat_async(
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
        """One message to several providers, within one deadline; `max_cost` holds for each of them.

        Args:
            message: as in `chat_async`.
            providers: whom to ask, each once.
            model_preferences: provider → model.
            routing_strategy: `fan_out` asks all at once. `race` does, too, and the first answer counts: the other
                calls are cancelled. `hedged` asks in the order given, the next one when an answer is late or has
                failed; the first answer counts. `consensus` asks all, and what most say counts. Any other strategy of
                `chat_async` makes one routed call over them.
            hedge_after_s: seconds after which an answer is late; unset, what 95 % of that model's answers have
                taken, once 20 are known. Extra calls stay below a tenth of the hedged calls, plus 10.
            consensus_key: a function of a response; answers with equal keys agree, None abstains. Unset, the text
                without case, spaces, quotes and final punctuation, or the JSON.
            **options: as in `chat_async`.

        Raises:
            AllProvidersFailedError: none answered.
            ConfigurationError: a keyword does not fit the strategy, or `consensus_key` failed: then the answers are
                paid for, and in its `attempts`.
            HeliconeError: see `chat_async`.
        """
        routed: dict[str, Any] = {
            **options,
            "providers": providers,
            "model_preferences": model_preferences,
            "routing_strategy": routing_strategy,
        }
        return await ask_several(
            self._pipeline(),
            make_request(message, routed),
            hedge_after_s=hedge_after_s,
            consensus_key=consensus_key,
            hedges=self._hedges,
        )

    def chat_many(
        self,
        requests: Requests,
        *,
        max_in_flight: int = 256,
        ordered: bool = False,
        on_error: OnError = "yield",
        on_progress: ProgressListener | None = None,
        **defaults: Unpack[ChatOptions],
    ) -> ChatMany:
        """Answers to many messages: `async for result in adapter.chat_many(…)`, in bounded memory.

        `requests` is an iterable, synchronous or not, of messages, of mappings of `ChatRequest` fields, or of
        `ChatRequest`s; it is read only as fast as results are taken. The other keywords are defaults for each row.
        A bad row is a result with its error. `on_progress` is told now and then. See `ChatMany`.
        """
        return ChatMany(
            requests,
            self._pipeline().run,
            defaults,
            max_in_flight=max_in_flight,
            ordered=ordered,
            on_error=on_error,
            on_progress=on_progress,
        )

    chat_many_async = chat_many  # the same by the rule that names every other verb here

    async def embed_async(
        self, texts: str | Sequence[str], *, provider: str = "openai", model: str | None = None, **options: Any
    ) -> EmbeddingResponse:
        """Vectors for texts, in their order. `options` are the attribution, deadline and `extra_body` of a chat.

        Raises:
            ConfigurationError: the way to the provider offers no embeddings (the AI Gateway has none).
            HeliconeError: see `chat_async`.
        """
        return await Embedding(self._pipeline(), EmbedRequest.of(texts, provider, model, options)).run()

    async def feedback_async(self, call: Rated, rating: bool, *, timeout_seconds: float | None = None) -> None:
        """Tells Helicone that an answer was good (True) or bad (False); again replaces it.

        Args:
            call: a response, or `response.request_id`. Helicone finds a call once it has logged it, which may take
                minutes; until then it may keep this waiting.
            rating: whether it was good.
            timeout_seconds: the deadline, repeats included; unset, the adapter's.

        Raises:
            ConfigurationError: the id is no UUID, the call did not pass Helicone, or nobody said where its API is.
            HeliconeError: Helicone refused it, or could not be reached.
        """
        await self._afterwards(timeout_seconds).feedback(call, rating)

    async def score_async(
        self, call: Rated, scores: Mapping[str, int | bool], *, timeout_seconds: float | None = None
    ) -> None:
        """Gives a call scores of your own, `{"accuracy": 92, "safe": True}`; see `feedback_async`.

        Raises:
            TypeError: a score is no integer and no boolean; Helicone takes no fractions.
        """
        await self._afterwards(timeout_seconds).score(call, scores)

    def _afterwards(self, timeout_s: float | None) -> Afterwards:
        shared = self._parts.shared
        return Afterwards(self._pipeline(), shared.quota, shared.random, timeout_s)

    async def validate_providers_async(self) -> dict[str, ProviderCheck]:
        """Checks every configured provider with one cheap, unbilled request each, all at once; raises nothing."""
        return await check_providers(self._pipeline())

    def statistics(self) -> AdapterStatistics:
        """What is going on, on the running event loop."""
        return statistics_of(self._pipeline(), self._parts)

    def _pipeline(self) -> Pipeline:
        """The pipeline of the running event loop."""
        loop = asyncio.get_running_loop()
        known, pipeline = self._last
        if known is loop and pipeline is not None:
            return pipeline
        if self._closed:
            raise ConfigurationError("the adapter is closed: make a new one")
        pipeline = self._pipelines.get(loop)
        if pipeline is None:
            for ended in [known for known in tuple(self._pipelines) if known.is_closed()]:
                self._pipelines.pop(ended, None)
            pipeline = self._pipelines[loop] = pipeline_on(loop, self._parts)
        self._last = (loop, pipeline)
        return pipeline


__all__ = ["AdapterStatistics", "GenOpsHeliconeAsyncAdapter"]
