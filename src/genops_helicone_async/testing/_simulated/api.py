"""The providers' own APIs, as their hosts speak them: chat, messages, generateContent, embeddings, models."""

from typing import Any

import msgspec

from ..exchange import Arrival, Reply, Stream, json_reply
from ..state import SandboxState
from .asks import Ask, AskRefused, anthropic_ask, gemini_ask, openai_ask
from .batch_api import BatchApi
from .catalogue import Provider
from .errors import Refusal, refusal
from .replies import (
    anthropic_reply,
    anthropic_usage,
    embeddings_reply,
    gemini_reply,
    gemini_usage,
    model_list,
    openai_reply,
    openai_usage,
    shown_usage,
)
from .streams import StreamScript, anthropic_script, gemini_script, openai_script
from .tokens import count_tokens
from .upstream import Broken, Call, Produced

MOST_DIMENSIONS = 4096


async def answer_as_provider(
    state: SandboxState, arrival: Arrival, provider: Provider, *, checks_key: bool = True
) -> Reply | Stream:
    """Answer a request to one provider's own API; the path's end says which call it is."""
    arrival.provider = provider.name
    path = arrival.path.rstrip("/")
    if checks_key and (refused := _check_key(state, arrival, provider)):
        return _refused(refused)
    if (about_batches := BatchApi(state.batches, state.faults).answer(arrival, provider)) is not None:
        return about_batches
    if arrival.method == "GET":
        if path.endswith("/models"):
            return json_reply(model_list((model, provider.name) for model in provider.models))
        return _refused(refusal(provider, 404, f"Unknown request URL: GET {arrival.path}."))
    body = arrival.document()
    if not isinstance(body, dict):
        problem = "We could not parse the JSON body of your request."
        return _refused(refusal(provider, 400, problem))
    try:
        if path.endswith("/embeddings"):
            return await _embed(state, arrival, provider, body)
        ask = _ask(path, body, arrival)
    except AskRefused as error:
        return _refused(refusal(provider, 400, error.message, param=error.param))
    if ask is None:
        return _refused(refusal(provider, 404, f"Unknown request URL: POST {arrival.path}."))
    arrival.model = ask.model
    call = Call(provider=provider, request_id=arrival.request_id)
    outcome = await state.upstream.complete(call, ask)
    if isinstance(outcome, Refusal):
        return _refused(outcome)
    if isinstance(outcome, Broken):
        return Reply(fault=outcome.fault, streaming=outcome.streaming)
    # A plain OpenAI-compatible endpoint has OpenAI's habits, whoever is behind it.
    unasked = provider.usage_unasked and arrival.dialect != "openai"
    return _render(path, provider, ask, outcome, usage_unasked=unasked)


def _ask(path: str, body: dict[str, Any], arrival: Arrival) -> Ask | None:
    if path.endswith("/chat/completions"):
        deployment = path.partition("/deployments/")[2].partition("/")[0]
        ask = openai_ask(body, body.get("model") or deployment or None)
        if arrival.dialect == "proxy" and arrival.headers.get("helicone-stream-usage", "").lower() == "true":
            return msgspec.structs.replace(ask, include_usage=True)
        return ask
    if path.endswith("/messages"):
        return anthropic_ask(body)
    verb = path.rpartition(":")[2]
    if verb in ("generateContent", "streamGenerateContent"):
        model = path.rpartition("/models/")[2].partition(":")[0]
        return gemini_ask(body, model, stream=verb == "streamGenerateContent")
    return None


def _check_key(state: SandboxState, arrival: Arrival, provider: Provider) -> Refusal | None:
    for name in provider.auth_headers:
        if sent := arrival.headers.get(name):
            key = sent.removeprefix("Bearer ") if name == "authorization" else sent
            break
    else:
        key = arrival.query.get("key", "") if provider.shape == "gemini" else ""
    if state.accepts_provider_key(provider.name, key):
        return None
    if provider.shape == "anthropic":
        return refusal(provider, 401, "invalid x-api-key" if key else "x-api-key header is required")
    if provider.shape == "gemini" and key:
        return refusal(provider, 400, "API key not valid. Please pass a valid API key.")
    return refusal(provider, 401, "Incorrect API key provided." if key else "You didn't provide an API key.")


def _refused(made: Refusal) -> Reply:
    return Reply(status=made.status, headers=made.headers, body=made.body, content_type=made.content_type)


def _render(path: str, provider: Provider, ask: Ask, made: Produced, *, usage_unasked: bool) -> Reply | Stream:
    if ask.stream:
        return Stream(
            headers={**made.headers, "Cache-Control": "no-cache"},
            script=_script(path, provider, ask, made, usage_unasked=usage_unasked),
            meter=made.meter,
            pace_s=made.pace_s,
            cost_pusd=made.cost_pusd,
            fault=made.fault,
        )
    answer, fault = made.answer, made.fault
    content_type = "application/json"
    if path.endswith("/messages"):
        document = anthropic_reply(answer, shown_usage(anthropic_usage(answer.usage), fault), fault)
    elif path.endswith("/chat/completions"):
        document = openai_reply(answer, shown_usage(_openai_usage(provider, ask, made), fault), fault)
    else:
        document = gemini_reply(answer, shown_usage(gemini_usage(answer.usage), fault), fault)
        content_type = "application/json; charset=UTF-8"
    return Reply(
        headers=made.headers,
        body=msgspec.json.encode(document),
        content_type=content_type,
        cost_pusd=made.cost_pusd,
        fault=fault,
    )


def _script(path: str, provider: Provider, ask: Ask, made: Produced, *, usage_unasked: bool) -> StreamScript:
    answer, fault = made.answer, made.fault
    if path.endswith("/messages"):
        usage = shown_usage(anthropic_usage(answer.usage), fault)
        return anthropic_script(answer, usage)
    if path.endswith("/chat/completions"):
        usage = shown_usage(_openai_usage(provider, ask, made), fault)
        return openai_script(answer, usage, include_usage=ask.include_usage, on_finish=usage_unasked)
    return gemini_script(answer, shown_usage(gemini_usage(answer.usage), fault))


def _openai_usage(provider: Provider, ask: Ask, made: Produced) -> dict[str, Any]:
    cost_pusd = made.cost_pusd if provider.name == "openrouter" and ask.reports_cost else None
    return openai_usage(made.answer.usage, provider, cost_pusd)


async def _embed(state: SandboxState, arrival: Arrival, provider: Provider, body: dict[str, Any]) -> Reply:
    model, asked = body.get("model"), body.get("input")
    if not isinstance(model, str) or not model:
        raise AskRefused("you must provide a model parameter", "model")
    inputs = _embedding_inputs(asked)
    dimensions = body.get("dimensions")
    if dimensions is not None and not (isinstance(dimensions, int) and 1 <= dimensions <= MOST_DIMENSIONS):
        raise AskRefused(f"Invalid 'dimensions': expected 1 to {MOST_DIMENSIONS}.", "dimensions")
    arrival.model = model
    call = Call(provider=provider, request_id=arrival.request_id)
    outcome = await state.upstream.embed(call, model, inputs, dimensions)
    if isinstance(outcome, Refusal):
        return _refused(outcome)
    if isinstance(outcome, Broken):
        return Reply(fault=outcome.fault)
    as_base64 = body.get("encoding_format") == "base64"
    document = embeddings_reply(outcome.vectors, model, outcome.tokens, as_base64=as_base64)
    if usage := shown_usage(document["usage"], outcome.fault):
        document["usage"] = usage
    else:
        del document["usage"]
    return Reply(headers=outcome.headers, body=msgspec.json.encode(document), fault=outcome.fault)


def _embedding_inputs(asked: Any) -> list[tuple[str, int]]:
    """Each text with its tokens; a text may also come as a list of token numbers."""
    several = [asked] if isinstance(asked, str) or (asked and _is_tokens(asked)) else asked
    if not isinstance(several, list) or not several:
        raise AskRefused("'$.input' is invalid: a string or a list of strings is expected.", "input")
    inputs = []
    for one in several:
        if isinstance(one, str):
            inputs.append((one, count_tokens(one)))
        elif one and _is_tokens(one):
            inputs.append((str(one), len(one)))
        else:
            raise AskRefused("'$.input' is invalid: a string or a list of strings is expected.", "input")
    return inputs


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(number, int) for number in value)
