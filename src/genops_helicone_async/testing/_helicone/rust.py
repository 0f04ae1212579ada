"""The self-hosted Rust gateway's dialect: `provider/model` names, OpenAI-shaped errors, streams without `[DONE]`."""

import re
import uuid
from typing import Any

import msgspec

from .._simulated.api import answer_as_provider
from .._simulated.asks import AskRefused, openai_ask
from .._simulated.catalogue import HOSTED, PROVIDERS, Provider
from .._simulated.errors import Refusal, error_document
from .._simulated.replies import openai_reply, openai_usage, shown_usage
from .._simulated.streams import openai_script
from .._simulated.upstream import Broken, Call, Produced
from ..exchange import Arrival, Reply, Stream, gateway_fault_reply, json_reply
from ..state import SandboxState

_SERVED = {provider.name: provider for provider in HOSTED}
_ROUTER = re.compile(r"/router/[A-Za-z0-9_-]{1,12}/chat/completions")
_ANTHROPIC_CODES = {401: "invalid_api_key", 403: "invalid_api_key", 429: "rate_limit_exceeded"}


class RustGateway:
    """Answers `/rust/…`; without `needs_key` any caller is served, as with `helicone.features: none`."""

    __slots__ = ("_needs_key", "_state")

    def __init__(self, state: SandboxState, *, needs_key: bool = False) -> None:
        self._state = state
        self._needs_key = needs_key

    async def answer(self, arrival: Arrival) -> Reply | Stream:
        """Answer one request."""
        path = arrival.path.removeprefix("/rust")
        if path == "/health" and arrival.method in ("GET", "HEAD"):
            return Reply(content_type=None)
        if self._needs_key and (refused := self._check_key(arrival)):
            return refused
        if fault := self._state.faults.draw(None, (), stream=False, gateway=True):
            return gateway_fault_reply(fault)
        if path == "/ai/chat/completions" or _ROUTER.fullmatch(path):
            return await self._chat(arrival)
        if path.startswith(("/ai/", "/router/")):
            return _error(400, "Unsupported endpoint")
        provider = _SERVED.get(path.split("/")[1]) if path.count("/") > 1 else None
        if provider is None:
            return _error(404, "Router or route not found")
        # The gateway's own key goes to the provider, the caller's is dropped.
        return await answer_as_provider(self._state, arrival, provider, checks_key=False)

    def _check_key(self, arrival: Arrival) -> Reply | None:
        sent = arrival.headers.get("authorization")
        if sent is None:
            return _error(401, "Missing authorization header", code="invalid_api_key")
        if not self._state.knows_helicone_key(sent.removeprefix("Bearer ")):
            return _error(401, "Invalid credentials", code="invalid_api_key")
        return None

    async def _chat(self, arrival: Arrival) -> Reply | Stream:
        body = arrival.document()
        if not isinstance(body, dict):
            return _error(400, "Invalid request body")
        named = body.get("model")
        provider_name, slash, model = named.partition("/") if isinstance(named, str) else ("", "", "")
        if not slash:
            return _error(500, "Failed to map model: no provider in the model name", kind="server_error")
        provider = _SERVED.get(provider_name)
        if provider is None:
            return _error(400, f"Unsupported provider: {provider_name}")
        arrival.provider, arrival.model = provider.name, named
        known = not model.startswith("unknown") and self._state.book.knows(provider.name, model)
        if not known and not self._state.upstream.answers_unknown:
            return _error(500, f"no model mapping found for {named}", kind="server_error")
        try:
            ask = openai_ask(body, model)
        except AskRefused as error:
            return _error(400, error.message)
        call = Call(provider=provider, request_id=arrival.request_id, names=(str(named),))
        outcome = await self._state.upstream.complete(call, ask)
        headers = _headers(provider, arrival)
        if isinstance(outcome, Refusal):
            return _mapped_error(provider, outcome, headers, stream=ask.stream)
        if isinstance(outcome, Broken):
            return Reply(fault=outcome.fault, streaming=outcome.streaming)
        return _render(provider, outcome, {**outcome.headers, **headers}, ask.stream, ask.include_usage)


def _render(
    provider: Provider, made: Produced, headers: dict[str, str], stream: bool, include_usage: bool
) -> Reply | Stream:
    usage = shown_usage(openai_usage(made.answer.usage, PROVIDERS["openai"]), made.fault)
    if stream:
        # `[DONE]` is swallowed on the way, and nothing asks for usage on the caller's behalf.
        script = openai_script(made.answer, usage, include_usage=include_usage, done=False)
        return Stream(headers=headers, script=script, meter=made.meter, pace_s=made.pace_s, fault=made.fault)
    document = openai_reply(made.answer, usage, made.fault)
    return Reply(headers=headers, body=msgspec.json.encode(document), fault=made.fault)


def _headers(provider: Provider, arrival: Arrival) -> dict[str, str]:
    return {
        "helicone-id": arrival.request_id,
        "helicone-provider": provider.name,
        "helicone-provider-req-id": "req_sandbox",
        "x-request-id": uuid.uuid4().hex,
    }


def _mapped_error(provider: Provider, made: Refusal, headers: dict[str, str], *, stream: bool) -> Reply:
    if stream:
        # An error before the first event keeps its status and loses its message.
        message = f"Invalid status code: {made.status}"
        document: Any = error_document(PROVIDERS["openai"], made.status, message)
    elif provider.shape == "openai":
        return Reply(status=made.status, headers={**made.headers, **headers}, body=made.body)
    else:
        document = error_document(PROVIDERS["openai"], made.status, made.message)
        document["error"]["code"] = _ANTHROPIC_CODES.get(made.status)
        if made.status == 429:
            document["error"]["type"] = "tokens"
    return json_reply(document, made.status, {**made.headers, **headers})


def _error(status: int, message: str, *, kind: str = "invalid_request_error", code: str | None = None) -> Reply:
    return json_reply({"error": {"message": message, "type": kind, "param": None, "code": code}}, status)
