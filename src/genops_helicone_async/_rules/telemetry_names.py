"""Every name telemetry uses: spans, attributes, events, metrics, and the closed lists of values. Strings only.

Our own constants: OpenTelemetry's GenAI conventions are still in development and have moved to a repository of their
own, so every constant of theirs in the installed package is deprecated. GenOps' names are those of its v0.1.0 draft.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

SCOPE: Final = "genops_helicone_async"
"""The instrumentation scope of tracer, meter and logger."""
SPEC_VERSION: Final = "0.1.0"
"""The version of the GenOps specification that the spans follow."""

# spans

CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
MULTI_PROVIDER_CHAT: Final = "multi_provider_chat"
INFERENCE: Final = "inference"
EMBEDDING: Final = "embedding"

# genops.*: attribution and operation

GENOPS_TEAM: Final = "genops.team"
GENOPS_PROJECT: Final = "genops.project"
GENOPS_ENVIRONMENT: Final = "genops.environment"
GENOPS_CUSTOMER_ID: Final = "genops.customer_id"
GENOPS_USER_ID: Final = "genops.user_id"
GENOPS_SESSION_ID: Final = "genops.session_id"
GENOPS_FEATURE: Final = "genops.feature"
GENOPS_COST_CENTER: Final = "genops.cost_center"
GENOPS_OPERATION_NAME: Final = "genops.operation.name"
GENOPS_OPERATION_TYPE: Final = "genops.operation.type"
GENOPS_SPEC_VERSION: Final = "genops.spec.version"

# genops.*: policy

GENOPS_POLICY_RESULT: Final = "genops.policy.result"
GENOPS_POLICY_REASON_CODE: Final = "genops.policy.reason_code"
GENOPS_POLICY_NAME: Final = "genops.policy.name"
GENOPS_POLICY_REASON: Final = "genops.policy.reason"
GENOPS_POLICY_TIMESTAMP: Final = "genops.policy.timestamp"

ALLOWED: Final = "ALLOWED"
BLOCKED: Final = "BLOCKED"
WARNING: Final = "WARNING"
RATE_LIMITED: Final = "RATE_LIMITED"

BUDGET_EXCEEDED: Final = "BUDGET_EXCEEDED"
BUDGET_RESERVATION_FAILED: Final = "BUDGET_RESERVATION_FAILED"
POLICY_DENY_MODEL: Final = "POLICY_DENY_MODEL"
POLICY_DENY_REGION: Final = "POLICY_DENY_REGION"
POLICY_DENY_CONTENT: Final = "POLICY_DENY_CONTENT"
SLA_LATENCY_VIOLATION: Final = "SLA_LATENCY_VIOLATION"
PROVIDER_ERROR_UPSTREAM: Final = "PROVIDER_ERROR_UPSTREAM"
ACCOUNTING_INVARIANT_VIOLATION: Final = "ACCOUNTING_INVARIANT_VIOLATION"
# `RATE_LIMITED` is a reason code, too. Own codes begin with `x_`.
X_CONFIGURATION: Final = "x_configuration"
X_DEADLINE: Final = "x_deadline_exceeded"
X_CANCELLED: Final = "x_cancelled"
X_ROUTING: Final = "x_routing"
X_AUTHENTICATION: Final = "x_authentication"
X_UNPRICED: Final = "x_unpriced_model"
X_INTERNAL: Final = "x_internal_error"
X_CREDITS: Final = "x_insufficient_credits"

# genops.*: money

GENOPS_ACCOUNTING_RESERVED: Final = "genops.accounting.reserved"
GENOPS_ACCOUNTING_ACTUAL: Final = "genops.accounting.actual"
GENOPS_ACCOUNTING_UNIT: Final = "genops.accounting.unit"
GENOPS_ACCOUNTING_DELTA: Final = "genops.accounting.reconciliation_delta"
GENOPS_ACCOUNTING_INCOMPLETE: Final = "genops.accounting.incomplete"
"""Ours: True where the actual is an estimate, because the provider's own count never came."""
GENOPS_BUDGET_NAME: Final = "genops.budget.name"
GENOPS_BUDGET_ALLOCATED: Final = "genops.budget.allocated"
GENOPS_BUDGET_CONSUMED: Final = "genops.budget.consumed"
GENOPS_BUDGET_REMAINING: Final = "genops.budget.remaining"
GENOPS_BUDGET_PERIOD: Final = "genops.budget.period"
GENOPS_COST_TOTAL: Final = "genops.cost.total"
GENOPS_COST_CURRENCY: Final = "genops.cost.currency"
GENOPS_COST_PROVIDER: Final = "genops.cost.provider"
GENOPS_COST_MODEL: Final = "genops.cost.model"
GENOPS_COST_SOURCE: Final = "genops.cost.source"
GENOPS_CACHE_RESULT: Final = "genops.cache.result"
"""Ours, on calls that our own cache answered: `hit`, or `joined` where an identical call was on its way."""
GENOPS_CACHE_SAVED: Final = "genops.cache.saved_cost"
"""Ours: what that answer had cost when it was asked for."""
GENOPS_TOKENS_INPUT: Final = "genops.tokens.input"
GENOPS_TOKENS_OUTPUT: Final = "genops.tokens.output"
GENOPS_TOKENS_TOTAL: Final = "genops.tokens.total"

# genops.*: service level, routing, events

GENOPS_SLA_TIER: Final = "genops.sla.tier"
GENOPS_SLA_TARGET_MS: Final = "genops.sla.latency_target_ms"
GENOPS_SLA_ACTUAL_MS: Final = "genops.sla.actual_latency_ms"
GENOPS_SLA_MET: Final = "genops.sla.met"
GENOPS_ROUTING_STRATEGY: Final = "genops.routing.strategy"
GENOPS_ROUTING_CANDIDATES: Final = "genops.routing.candidates"
GENOPS_ROUTING_SELECTED: Final = "genops.routing.selected"
GENOPS_ROUTING_REASON: Final = "genops.routing.reason"

EVENT_POLICY: Final = "genops.policy.evaluated"
EVENT_RESERVATION: Final = "genops.budget.reservation"
EVENT_RECONCILIATION: Final = "genops.budget.reconciliation"
EVENT_COST: Final = "genops.cost.calculated"
EVENT_BUDGET_ALERT: Final = "genops.budget.alert"

# gen_ai.* and the general conventions

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_STOP: Final = "gen_ai.request.stop_sequences"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_FIRST_CHUNK_S: Final = "gen_ai.response.time_to_first_chunk"
USAGE_INPUT: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE: Final = "gen_ai.usage.cache_write.input_tokens"
USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  a kind of token, no secret
EVENT_OPERATION_DETAILS: Final = "gen_ai.client.inference.operation.details"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
HTTP_STATUS: Final = "http.response.status_code"
REQUEST_ID: Final = "genops_helicone.request_id"
"""Ours: the attempt's `Helicone-Request-Id`, under which Helicone and the ledger know it."""

# metrics, and their attributes besides the above

OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105  no secret either
FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
REQUESTS: Final = "genops_helicone_requests"
REQUEST_DURATION_MS: Final = "genops_helicone_request_duration_ms"
COST_USD: Final = "genops_helicone_cost_usd"
TOKENS: Final = "genops_helicone_tokens_total"
RETRIES: Final = "genops_helicone_retries_total"
FAILOVERS: Final = "genops_helicone_failovers_total"
CACHE_HITS: Final = "genops_helicone_cache_hits_total"
BUDGET_BLOCKED: Final = "genops_helicone_budget_blocked_total"
RATE_LIMITED_CALLS: Final = "genops_helicone_rate_limited_total"
BUDGET_REMAINING_USD: Final = "genops_helicone_budget_remaining_usd"
IN_FLIGHT: Final = "genops_helicone_in_flight"
QUEUE_WAIT_MS: Final = "genops_helicone_queue_wait_ms"

# what the conventions call a provider

PROVIDER_NAMES: Final = MappingProxyType(
    {
        "vertex": "gcp.vertex_ai",
        "gemini": "gcp.gemini",
        "azure": "azure.ai.openai",
        "bedrock": "aws.bedrock",
        "mistral": "mistral_ai",
        "xai": "x_ai",
    }
)


def provider_name(provider: str) -> str:
    """The `gen_ai.provider.name` of a provider of ours; one that the conventions do not list keeps its own name."""
    return PROVIDER_NAMES.get(provider, provider)
