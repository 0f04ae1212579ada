"""Asyncio-first client for the Helicone AI gateway with hard budgets, limits, exact costs and failover.

Nothing is imported before it is asked for: `import genops_helicone_async` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._flow.ambient import attributes
    from ._flow.many import ChatMany
    from ._flow.stream import ChatStream
    from ._flow.tally import SessionSummary
    from ._flow.tracking import CostTracker, multi_provider_cost_tracking
    from ._garbage import tune_garbage_collection
    from ._helicone_settings import HeliconeLog
    from ._rules.custom_routing import RoutingCandidate, RoutingContext
    from ._wire.headers import GatewayCache, GatewayOptions, GatewayRetry, RateLimitPolicy
    from .blocking import BlockingChatMany, BlockingChatStream, GenOpsHeliconeAdapter, instrument_helicone
    from .chat_request import ChatOptions, ChatRequest
    from .client import GenOpsHeliconeAsyncAdapter
    from .cost_intelligence import (
        CostComparison,
        MigrationAnalysis,
        MigrationOption,
        compare_provider_costs,
        estimate_migration_costs,
    )
    from .errors import (
        AllProvidersFailedError,
        Attempt,
        AuthenticationError,
        BudgetExceededError,
        ConfigurationError,
        DeadlineExceededError,
        DecodeError,
        GatewayError,
        HeliconeError,
        InsufficientCreditsError,
        LedgerError,
        PolicyDeniedError,
        ProviderError,
        RateLimitExceededError,
        RoutingError,
        StreamInterruptedError,
    )
    from .instrumentation import Instrumentation, init, uninstrument
    from .models import (
        BudgetAlert,
        BudgetOverrun,
        BudgetStatus,
        BulkProgress,
        BulkResult,
        Candidate,
        EmbeddingResponse,
        HeliconeResponse,
        HeliconeUsage,
        MultiProviderResponse,
        ProviderCheck,
        RoutingDecision,
        StreamChunk,
        ToolCall,
        ToolCallDelta,
    )
    from .validation import (
        PerformanceMeasurement,
        ValidationCheck,
        ValidationResult,
        print_validation_result,
        validate_setup,
        validate_setup_async,
    )

__version__ = "0.1.0"

_HOMES = {
    "_flow.ambient": ("attributes",),
    "_flow.many": ("ChatMany",),
    "_flow.stream": ("ChatStream",),
    "_flow.tally": ("SessionSummary",),
    "_flow.tracking": ("CostTracker", "multi_provider_cost_tracking"),
    "_garbage": ("tune_garbage_collection",),
    "_helicone_settings": ("HeliconeLog",),
    "_rules.custom_routing": ("RoutingCandidate", "RoutingContext"),
    "_wire.headers": ("GatewayCache", "GatewayOptions", "GatewayRetry", "RateLimitPolicy"),
    "blocking": ("BlockingChatMany", "BlockingChatStream", "GenOpsHeliconeAdapter", "instrument_helicone"),
    "chat_request": ("ChatOptions", "ChatRequest"),
    "client": ("GenOpsHeliconeAsyncAdapter",),
    "cost_intelligence": (
        "CostComparison",
        "MigrationAnalysis",
        "MigrationOption",
        "compare_provider_costs",
        "estimate_migration_costs",
    ),
    "errors": (
        "AllProvidersFailedError",
        "Attempt",
        "AuthenticationError",
        "BudgetExceededError",
        "ConfigurationError",
        "DeadlineExceededError",
        "DecodeError",
        "GatewayError",
        "HeliconeError",
        "InsufficientCreditsError",
        "LedgerError",
        "PolicyDeniedError",
        "ProviderError",
        "RateLimitExceededError",
        "RoutingError",
        "StreamInterruptedError",
    ),
    "instrumentation": ("Instrumentation", "init", "uninstrument"),
    "models": (
        "BudgetAlert",
        "BudgetOverrun",
        "BudgetStatus",
        "BulkProgress",
        "BulkResult",
        "Candidate",
        "EmbeddingResponse",
        "HeliconeResponse",
        "HeliconeUsage",
        "MultiProviderResponse",
        "ProviderCheck",
        "RoutingDecision",
        "StreamChunk",
        "ToolCall",
        "ToolCallDelta",
    ),
    "validation": (
        "PerformanceMeasurement",
        "ValidationCheck",
        "ValidationResult",
        "print_validation_result",
        "validate_setup",
        "validate_setup_async",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AllProvidersFailedError",
    "Attempt",
    "AuthenticationError",
    "BlockingChatMany",
    "BlockingChatStream",
    "BudgetAlert",
    "BudgetExceededError",
    "BudgetOverrun",
    "BudgetStatus",
    "BulkProgress",
    "BulkResult",
    "Candidate",
    "ChatMany",
    "ChatOptions",
    "ChatRequest",
    "ChatStream",
    "ConfigurationError",
    "CostComparison",
    "CostTracker",
    "DeadlineExceededError",
    "DecodeError",
    "EmbeddingResponse",
    "GatewayCache",
    "GatewayError",
    "GatewayOptions",
    "GatewayRetry",
    "GenOpsHeliconeAdapter",
    "GenOpsHeliconeAsyncAdapter",
    "HeliconeError",
    "HeliconeLog",
    "HeliconeResponse",
    "HeliconeUsage",
    "Instrumentation",
    "InsufficientCreditsError",
    "LedgerError",
    "MigrationAnalysis",
    "MigrationOption",
    "MultiProviderResponse",
    "PerformanceMeasurement",
    "PolicyDeniedError",
    "ProviderCheck",
    "ProviderError",
    "RateLimitExceededError",
    "RateLimitPolicy",
    "RoutingCandidate",
    "RoutingContext",
    "RoutingDecision",
    "RoutingError",
    "SessionSummary",
    "StreamChunk",
    "StreamInterruptedError",
    "ToolCall",
    "ToolCallDelta",
    "ValidationCheck",
    "ValidationResult",
    "attributes",
    "compare_provider_costs",
    "estimate_migration_costs",
    "init",
    "instrument_helicone",
    "multi_provider_cost_tracking",
    "print_validation_result",
    "tune_garbage_collection",
    "uninstrument",
    "validate_setup",
    "validate_setup_async",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
