"""A plain OpenAI-compatible endpoint: bare model names, no Helicone at all, every provider's models behind it."""

from ..exchange import Arrival, Reply, Stream, json_reply
from ..state import SandboxState
from .api import answer_as_provider
from .catalogue import HOSTED, PROVIDERS, provider_of_bare_model
from .errors import refusal
from .replies import model_list


class OpenAiApi:
    """Answers `/openai/v1/…` like api.openai.com; the bare model name decides who serves and is billed."""

    __slots__ = ("_state",)

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def answer(self, arrival: Arrival) -> Reply | Stream:
        """Answer one request."""
        key = arrival.headers.get("authorization", "").removeprefix("Bearer ")
        known = self._state.knows_helicone_key(key) if key.startswith(("sk-helicone", "pk-helicone")) else False
        if not known and not self._state.accepts_provider_key("openai", key):
            made = refusal(PROVIDERS["openai"], 401, f"Incorrect API key provided: {key[:3]}***.")
            return Reply(status=401, headers=made.headers, body=made.body)
        if arrival.method == "GET" and arrival.path.endswith("/models"):
            return json_reply(model_list((model, provider.name) for provider in HOSTED for model in provider.models))
        body = arrival.document()
        model = body.get("model") if isinstance(body, dict) else None
        provider = provider_of_bare_model(model) if isinstance(model, str) else PROVIDERS["openai"]
        return await answer_as_provider(self._state, arrival, provider, checks_key=False)
