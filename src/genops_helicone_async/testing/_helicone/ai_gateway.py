"""The cloud AI Gateway's dialect: keys, model grammar, attempts, cache and limits, as its worker was recorded."""

import asyncio
from collections.abc import Mapping
from typing import Any

from .._simulated.errors import Refusal
from .._simulated.prices import PUSD_PER_CENT
from .._simulated.replies import Document, model_list
from .._simulated.upstream import Broken, Call, Produced
from ..exchange import Arrival, Reply, Stream, gateway_fault_reply, json_reply, now_ms, text_reply
from ..state import SandboxState
from .attempts import Attempt, ModelRefused
from .catalogue import REGISTRY
from .headers import Orders, WorkerCrash, crash_reply, is_key_shaped, read_orders
from .rate_limits import Verdict
from .rendering import render, render_hit, render_mock
from .response_cache import CacheOrder, cache_order
from .status_table import detail, folded
from .translation import Refused, provider_ask, schema_problem

_ONLY_POST = "Method not allowed. AI Gateway only accepts POST requests."
_NO_MODEL = "Invalid body or missing model. See supported models at https://helicone.ai/models"
_BAD_MODEL = "Invalid model type. Model must be a string. See supported models at https://helicone.ai/models"
_NO_RESPONSES = "The sandbox does not simulate the Responses API; use /v1/chat/completions"
_PROMPT_FIELDS = ("inputs", "environment", "version_id", "prompt_id")


class AiGateway:
    """Answers everything at the root of the sandbox."""

    __slots__ = ("_state",)

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def answer(self, arrival: Arrival) -> Reply | Stream:
        """Answer one request."""
        if special := self._beside_chat(arrival):
            return special
        if fault := self._state.faults.draw(None, (), stream=False, gateway=True):
            return gateway_fault_reply(fault)
        try:
            orders = read_orders(arrival.headers)
        except WorkerCrash as crash:
            return crash_reply(str(crash))
        organisation = self._organisation(arrival.headers, arrival.path)
        if isinstance(organisation, Reply):
            return organisation
        body = arrival.document()
        if refused := _unusable(body):
            return refused
        if "v1/responses" in arrival.path:
            return text_reply(501, _NO_RESPONSES)
        try:
            attempts = self._state.planner.plan(body["model"])
        except ModelRefused as error:
            return error.reply
        arrival.model = body["model"]
        return await self._try_all(arrival, body, orders, organisation, attempts)

    def _beside_chat(self, arrival: Arrival) -> Reply | None:
        if arrival.method == "GET" and arrival.path == "/healthcheck":
            return Reply()
        if arrival.method == "GET" and arrival.path == "/v1/models":
            return json_reply(model_list((entry.name, entry.owner) for entry in REGISTRY.values()))
        if arrival.method != "POST":
            return text_reply(405, _ONLY_POST, {"Allow": "POST, GET"})
        if arrival.path == "/v1/feedback":
            asked = arrival.document()
            known = isinstance(asked, dict) and isinstance(asked.get("rating"), bool)
            if not known:
                return text_reply(500, 'error {"error":"Invalid feedback"}')
            return json_reply({"message": "Feedback added successfully.", "helicone_id": asked.get("helicone-id")})
        return None

    def _organisation(self, headers: Mapping[str, str], path: str) -> str | Reply:
        sent = headers.get("authorization") or headers.get("x-api-key")
        if sent is None:
            return text_reply(401, "Invalid Helicone API key (hshed)")
        in_path = next((one for one in path.split("/") if one.startswith(("sk-helicone", "pk-helicone"))), None)
        named = headers.get("helicone-auth") or (f"Bearer {in_path}" if in_path else sent)
        key = named.removeprefix("Bearer ")
        known = key != named and self._state.knows_helicone_key(key)
        if not known and (key == named or not is_key_shaped(key)):
            return text_reply(401, "Invalid Helicone API key")
        if not known:
            return text_reply(401, "Organization not found")
        return f"sk{key[2:]}"

    async def _try_all(
        self,
        arrival: Arrival,
        body: Document,
        orders: Orders,
        organisation: str,
        attempts: list[Attempt],
    ) -> Reply | Stream:
        details: list[Document] = []
        for attempt in attempts:
            arrival.provider = attempt.provider.name
            result = await self._try(arrival, body, orders, organisation, attempt)
            if not isinstance(result, dict):
                return result
            details.append(result)
            if len(details) == 1 and result["type"] in ("rate_limited", "insufficient_credit_limit"):
                # Helicone's own 429 on the first attempt ends the request at once.
                break
        return folded(details)

    async def _try(
        self, arrival: Arrival, body: Document, orders: Orders, organisation: str, attempt: Attempt
    ) -> Reply | Stream | Document:
        """One attempt: what to send, or the detail of its failure."""
        state = self._state
        if attempt.on_credits and attempt.endpoint:
            if problem := schema_problem(body):
                return detail("invalid_format", problem, 400)
            if missing := state.credits.refusal(attempt.endpoint):
                return detail("insufficient_credit_limit", missing, 429, attempt.source)
        if orders.bucket_too_large:
            return detail("request_failed", "Request failed with status 500", 500, attempt.source)
        order = cache_order(arrival.headers, attempt.source, body, orders.ignored_keys)
        if hit := state.cache.find(order, state.now_s()):
            return render_hit(arrival, attempt, hit)
        user = body.get("user")
        verdict = state.limits.check(
            arrival.headers, organisation, user if isinstance(user, str) else None, state.now_s()
        )
        if not verdict.allowed:
            return detail("rate_limited", "Request failed with status 429", 429, attempt.source)
        if orders.mock is not None:
            return render_mock(arrival, attempt, orders.mock, verdict)
        return await self._ask_provider(arrival, body, orders, attempt, order, verdict)

    async def _ask_provider(
        self,
        arrival: Arrival,
        body: Document,
        orders: Orders,
        attempt: Attempt,
        order: CacheOrder,
        verdict: Verdict,
    ) -> Reply | Stream | Document:
        native = arrival.headers.get("helicone-gateway-body-mapping", "").upper() == "NO_MAPPING"
        try:
            ask = provider_ask(body, attempt, native=native)
        except Refused as error:
            return detail("request_failed", error.message, 400, attempt.source)
        call = Call(
            provider=attempt.provider,
            request_id=arrival.request_id,
            spend=self._state.credits.spend if attempt.on_credits else None,
            names=(attempt.name,),
        )
        started_ms = now_ms()
        for number in range(orders.retries.attempts):
            outcome = await self._state.upstream.complete(call, ask)
            if not isinstance(outcome, Refusal) or (outcome.status != 429 and outcome.status < 500):
                break
            if number + 1 < orders.retries.attempts:
                await asyncio.sleep(self._state.latency_scale * orders.retries.pause_s(number))
        if isinstance(outcome, Refusal):
            return detail("request_failed", outcome.message, outcome.status, attempt.source)
        if isinstance(outcome, Broken):
            # The worker cannot read a whole reply that is no JSON, and fails itself.
            if outcome.fault.kind == "not_json" and not outcome.streaming:
                return Reply(status=500, bare=True)
            return Reply(fault=outcome.fault, streaming=outcome.streaming)
        self._take_cents(verdict, outcome)
        rendered = render(arrival, attempt, outcome, ask, native=native)
        rendered.headers = {**rendered.headers, **verdict.headers}
        self._keep(order, rendered, now_ms() - started_ms)
        return rendered

    def _take_cents(self, verdict: Verdict, outcome: Produced) -> None:
        if verdict.in_cents and verdict.bucket is not None:
            verdict.bucket.take(outcome.cost_pusd / PUSD_PER_CENT, self._state.now_s())

    def _keep(self, order: CacheOrder, rendered: Reply | Stream, latency_ms: int) -> None:
        if order.reads:
            rendered.headers["Helicone-Cache"] = "MISS"
        if not order.saves or rendered.fault is not None:
            return
        state = self._state
        if isinstance(rendered, Stream):
            kept = {**rendered.headers, "Content-Type": rendered.script.content_type}
            rendered.keep = lambda body: state.cache.store(order, kept, body, latency_ms, state.now_s())
        else:
            kept = {**rendered.headers, "Content-Type": rendered.content_type or ""}
            state.cache.store(order, kept, rendered.body, latency_ms, state.now_s())


def _unusable(body: Any) -> Reply | None:
    if not isinstance(body, dict):
        return text_reply(400, _NO_MODEL)
    model = body.get("model")
    asks_prompt = any(name in body for name in _PROMPT_FIELDS)
    if not model and asks_prompt:
        problem = (
            "Failed to fetch model from prompt: Invalid prompt ID - no valid version found"
            if body.get("prompt_id")
            else "prompt_id is required to fetch model from prompt. Either provide a model or a prompt_id."
        )
        return json_reply({"error": problem}, 400)
    if model is None or model == "":
        return text_reply(400, _NO_MODEL)
    if not isinstance(model, str):
        return text_reply(400, _BAD_MODEL)
    if asks_prompt and not body.get("prompt_id"):
        return json_reply({"error": "No prompt ID provided"}, 400)
    return None
