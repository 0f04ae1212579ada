"""The public interface as a user's own code meets it: type-checked by mypy and pyright, never run."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from opentelemetry.metrics import MeterProvider

import genops
from genops.providers.helicone import GenOpsHeliconeAdapter as GuideAdapter
from genops.providers.helicone import HeliconeError as GuideError
from genops.providers.helicone import instrument_helicone
from genops_helicone_async import (
    AllProvidersFailedError,
    AuthenticationError,
    BudgetExceededError,
    BulkProgress,
    BulkResult,
    ChatRequest,
    ConfigurationError,
    DeadlineExceededError,
    EmbeddingResponse,
    GenOpsHeliconeAdapter,
    GenOpsHeliconeAsyncAdapter,
    HeliconeError,
    HeliconeLog,
    HeliconeResponse,
    HeliconeUsage,
    MultiProviderResponse,
    PolicyDeniedError,
    ProviderCheck,
    ProviderError,
    RateLimitExceededError,
    RoutingDecision,
    StreamChunk,
    StreamInterruptedError,
    ValidationResult,
    print_validation_result,
    validate_setup,
)


class City(msgspec.Struct):
    """A reply's shape as a msgspec Struct."""

    name: str
    population: int


@dataclasses.dataclass
class Verdict:
    """A reply's shape as a dataclass."""

    verdict: str


def behind_an_identity_provider() -> str:
    """A gateway that takes OAuth tokens, and a look at whether it all works."""
    config = {"token_url": "https://auth.example/token", "client_id": "me", "client_secret": "…", "scopes": ["chat"]}
    adapter = GenOpsHeliconeAdapter(gateway_url="https://gateway.example", auth_mode="oauth2", oauth_config=config)
    result: ValidationResult = validate_setup(include_performance_tests=True, timeout_seconds=5.0)
    print_validation_result(result, detailed=True)
    served_s: float | None = adapter.statistics().tokens["oauth2"].serves_s
    first: str | None = result.checks[0].remedy if result.failures else result.performance[0].error
    return f"{served_s} {first} {result.ok} {result.check('gateway').summary}"


def hold_to_account() -> str:
    """Compliance, the audit log, where data may go, and who is told: on either adapter."""
    adapter = GenOpsHeliconeAdapter(
        compliance_mode=True,
        audit_logging={"path": "audit.jsonl", "max_bytes": 10_000_000},
        data_residency={"region": "EU", "hosts": ["gateway.example"]},
        allowed_models=["gpt-4o*"],
        allowed_providers=("openai", "mistral"),
    )
    adapter.configure_webhooks(
        "https://hooks.example/cost",
        "https://hooks.example/performance",
        {"high_cost": {"threshold": 10.0, "timeframe": "hourly"}, "slow_response": {"threshold": 5000, "unit": "ms"}},
        secret="whsec_…",
    )
    try:
        adapter.chat("Hi")
    except PolicyDeniedError as denied:
        return denied.reason_code
    statistics = adapter.statistics()
    lost = statistics.audit.lost if statistics.audit is not None else 0
    return f"{statistics.webhooks.dropped} {lost}"


def ask_once() -> str:
    """A cache, what it did, and what an answer from it was worth."""
    adapter = GenOpsHeliconeAdapter()
    adapter.enable_caching("disk", 60, "exact_match", path=Path("answers.db"), max_bytes=10_000_000)
    response = adapter.chat("Hi", cache=True)
    told = adapter.statistics().cache
    adapter.disable_caching()
    saved: float = response.usage.saved_cost + adapter.get_usage_summary().saved_cost
    return f"{response.cached} {saved} {told.hits if told is not None else 0}"


def construct() -> GenOpsHeliconeAsyncAdapter:
    """Keys alone are enough; every other setting has a name."""
    GenOpsHeliconeAsyncAdapter()
    GenOpsHeliconeAsyncAdapter("sk-helicone-key", {"openai": "sk-key"})
    return GenOpsHeliconeAsyncAdapter(
        helicone_api_key="sk-helicone-key",
        provider_keys={"openai": "sk-key", "groq": "gsk-key"},
        default_attributes={"team": "ai-platform", "environment": "production", "cost_center": "engineering"},
        gateway_url="http://127.0.0.1:8787/v1",
        gateway_dialect="openai",
        provider_urls={"openai": "https://oai.helicone.ai/v1"},
        timeout_seconds=30,
        retry_attempts=3,
        max_connections=512,
        enable_cost_tracking=True,
        cost_currency="USD",
        allow_insecure_http=False,
    )


async def chat(adapter: GenOpsHeliconeAsyncAdapter) -> str:
    """One call; the reply's fields have their own types."""
    response: HeliconeResponse = await adapter.chat_async(
        "Explain quantum computing",
        provider="openai",
        model="gpt-4o-mini",
        system_prompt="Be brief.",
        temperature=0.2,
        max_tokens=200,
        top_p=0.9,
        stop=["\n\n"],
        seed=7,
        timeout_seconds=10.0,
        max_cost=0.05,
        session_id="session-1",
        team="research-team",
        project="quantum-ai",
        customer_id="customer_123",
        attributes={"experiment": "a"},
    )
    usage: HeliconeUsage = response.usage
    tokens: int = usage.input_tokens + usage.output_tokens
    cost: float = response.cost + usage.total_cost
    routing: RoutingDecision = response.routing
    tried: list[str] = [attempt.provider for attempt in response.attempts]
    return f"{response.content} {tokens} {cost} {routing.selected} {tried} {response.request_id}"


async def converse(adapter: GenOpsHeliconeAsyncAdapter) -> list[str]:
    """A message may be a conversation, with images and tools; a reply may have a shape."""
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    seen = await adapter.chat_async(
        [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}],
        providers=["openai", "anthropic"],
        model_preferences={"openai": "gpt-4o", "anthropic": "claude-3-5-sonnet"},
        routing_strategy="failover",
        tools=[{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}],
        tool_choice="auto",
    )
    await adapter.chat_async("Which city?", response_model=City)
    await adapter.chat_async("Guilty?", response_model=Verdict, extra_body={"user": "u-1"})
    return [f"{call.name}({call.arguments})" for call in seen.tool_calls]


async def stream(adapter: GenOpsHeliconeAsyncAdapter) -> float:
    """A stream is a context manager and an iterator; its end carries usage and cost."""
    async with adapter.stream_async("Tell a story", provider="anthropic", model="claude-3-haiku") as story:
        async for chunk in story:
            piece: StreamChunk = chunk
            print(piece.content, end="")
    return story.response.cost


async def prompts() -> AsyncIterator[str | ChatRequest]:
    """Requests may come as they are made."""
    yield "one"
    yield ChatRequest(message="two", provider="groq")


async def chat_many(adapter: GenOpsHeliconeAsyncAdapter) -> list[str]:
    """Requests are strings, mappings or `ChatRequest`s, from any iterable."""
    done: list[str] = []
    async for result in adapter.chat_many(prompts(), max_in_flight=64, ordered=True, provider="openai"):
        row: BulkResult = result
        done.append(row.response.content if row.response is not None else f"{row.index}: {row.error}")
    mixed = adapter.chat_many(["a", {"message": "b", "provider": "groq"}], on_error="raise")
    return done + [str(result.index) async for result in mixed]


def on_progress(progress: BulkProgress) -> None:
    """A function that is told how many rows are done, and what they cost."""
    left: int = progress.read - progress.done
    print(f"{progress.done} done, {progress.failed} failed, {left} left, {progress.in_flight} in flight")
    print(f"${progress.cost:.4f} after {progress.elapsed_s:.1f} s{', over' if progress.is_over else ''}")


async def chat_many_with_progress(adapter: GenOpsHeliconeAsyncAdapter, blocking: GenOpsHeliconeAdapter) -> int:
    """Progress is told to a function; what was not given after an error is there to be taken."""
    async with adapter.chat_many(["a"], on_progress=on_progress, on_error="raise", ordered=True) as results:
        given: list[BulkResult] = [result async for result in results]
    with blocking.chat_many(["a"], on_progress=on_progress, on_error="raise") as rows:
        given += list(rows)
    kept: tuple[BulkResult, ...] = results.untaken + rows.untaken
    return len(given) + len(kept)


async def other_verbs(adapter: GenOpsHeliconeAsyncAdapter) -> dict[str, str]:
    """Embeddings, several providers at once, and a check that bills nothing."""
    embedding: EmbeddingResponse = await adapter.embed_async(
        ["a", "b"], provider="openai", model="text-embedding-3-small"
    )
    vectors = [len(vector) for vector in embedding.embeddings]
    fan: MultiProviderResponse = await adapter.multi_provider_chat_async(
        message="What is the future of AI?",
        providers=["openai", "anthropic"],
        model_preferences={"openai": "gpt-4", "anthropic": "claude-3-sonnet"},
        routing_strategy="fan_out",
        team="ai-research",
    )
    per_provider: dict[str, float] = dict(fan.cost_comparison)
    checks: dict[str, ProviderCheck] = await adapter.validate_providers_async()
    print(vectors, per_provider, fan.content, fan.cost, fan.primary_response.provider)
    return {provider: check.status for provider, check in checks.items()}


async def afterwards(adapter: GenOpsHeliconeAsyncAdapter, blocking: GenOpsHeliconeAdapter) -> None:
    """What is thought of an answer is told to Helicone, by its response or its id."""
    response = await adapter.chat_async("Hello", session_id="s-1")
    await adapter.feedback_async(response, True)
    await adapter.feedback_async(response.request_id, False, timeout_seconds=60)
    await adapter.score_async(response, {"accuracy": 92, "safe": True})
    blocking.feedback(response, True)
    blocking.score(response.request_id, {"accuracy": 92})


def told_of_other_calls() -> GenOpsHeliconeAsyncAdapter:
    """Calls that do not pass Helicone can be told to it."""
    log = HeliconeLog(api_key="sk-helicone-key")
    GenOpsHeliconeAdapter("endpoint-key", gateway_dialect="openai", helicone_log=log, helicone_api_url="https://api.x")
    return GenOpsHeliconeAsyncAdapter("endpoint-key", gateway_dialect="openai", helicone_log=log)


async def lifetime() -> str:
    """An async adapter is a context manager, or is closed by hand."""
    async with construct() as adapter:
        content = await chat(adapter)
    await adapter.aclose()
    return content


def handle_errors(adapter: GenOpsHeliconeAdapter) -> str | None:
    """Every error has one root and carries facts of known types."""
    try:
        return adapter.chat("Hello", provider="openai", model="gpt-4").content
    except BudgetExceededError as error:
        return f"{error.current_usage} of {error.budget_limit} {error.scope} {error.period}"
    except RateLimitExceededError as error:
        wait: float = error.retry_after_s or 0.0
        return f"wait {wait}"
    except StreamInterruptedError as error:
        return str(error.partial)
    except AllProvidersFailedError as error:
        return ", ".join(f"{attempt.provider}: {attempt.error}" for attempt in error.attempts)
    except ProviderError as error:
        return f"{error.provider} {error.model} {error.status_code} {error.error_message}"
    except AuthenticationError as error:
        return error.which
    except (ConfigurationError, DeadlineExceededError):
        return None
    except HeliconeError as error:
        safe: bool = error.retry_safe and not error.throttled and error.billed == "no"
        return f"{error.message} {error.request_id} {safe}"


def sync_twins() -> float:
    """The sync adapter has the same verbs without the suffix."""
    with GenOpsHeliconeAdapter(helicone_api_key="sk-helicone-key") as adapter:
        response: HeliconeResponse = adapter.chat("Task 1", provider="openai")
        with adapter.stream("Task 2", provider="openai") as chunks:
            text = "".join(chunk.content for chunk in chunks)
        rows: list[BulkResult] = list(adapter.chat_many(["Task 3", "Task 4"], max_in_flight=2))
        embedded = adapter.embed(["a"], provider="openai", model="text-embedding-3-small")
        fan = adapter.multi_provider_chat("Task 5", ["openai", "groq"], routing_strategy="fan_out")
        checks = adapter.validate_providers()
    adapter.close()
    print(text, len(rows), len(checks))
    return response.cost + embedded.cost + fan.cost


def guide_names() -> str:
    """The guide's import names are the same types."""
    adapter: GuideAdapter = instrument_helicone(
        helicone_api_key="your_helicone_key", provider_keys={"openai": "your_openai_key"}
    )
    same: GenOpsHeliconeAdapter = adapter
    try:
        return same.chat(message="Hi", provider="openai", model="gpt-4", team="research-team").content
    except GuideError as error:
        return error.error_message


def other_clients() -> float:
    """Auto-instrumentation, and what it came to."""
    watched = genops.init(team="research", enforce=True, budget_limits={"daily_limit": 5.0}, state_url="sqlite:///l.db")
    with genops.attributes(customer_id="acme", feature="search"):
        active: bool = watched.is_active
    watched.governance.configure_rate_limits(requests_per_minute=60)
    spent = watched.governance.get_usage_summary().total_cost
    genops.uninstrument()
    return spent if active else 0.0


def own_metrics(meter_provider: MeterProvider) -> float:
    """Metrics of one's own, and where they go."""
    with GenOpsHeliconeAdapter("key", meter_provider=meter_provider) as adapter:
        adapter.register_custom_metrics([
            {"name": "score", "type": "gauge", "description": "How good it was"},
            {"name": "pages", "type": "histogram", "buckets": [1, 10, 100]},
        ])  # fmt: skip
        return adapter.chat("Hello", provider="openai", custom_metrics={"score": 0.95, "pages": 3}).cost
