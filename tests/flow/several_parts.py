"""What the tests of calls to several providers share: providers that answer after a while, and a gateway's bill."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from flow_parts import Rig

from genops_helicone_async._flow.fanout import ask_several
from genops_helicone_async._values import HttpRequest
from genops_helicone_async.chat_request import make_request
from genops_helicone_async.models import PUSD_PER_USD, MultiProviderResponse
from genops_helicone_async.testing import SandboxGateway, ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, Step, chat_answer

ALL = ["openai", "groq", "mistral"]


def provider_of(request: HttpRequest) -> str:
    """Which provider a request goes to: the rig gives each a path of its own."""
    return request.url.split("/")[3]


def after(seconds: float, answer: Answer | None = None) -> Callable[[str], Step]:
    """An answer, by default the provider's name, that comes so many seconds after it was asked for."""

    def step(provider: str) -> Step:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, event.set)
        return msgspec.structs.replace(answer or chat_answer(provider), after=event)

    return step


def playing(**steps: Any) -> ScriptedTransport:
    """A transport that plays each provider's part: a step, a function that makes one, or a list of such in turn."""
    turns = {name: iter(step) for name, step in steps.items() if isinstance(step, list)}

    def play(request: HttpRequest) -> Step:
        name = provider_of(request)
        step = next(turns[name]) if name in turns else steps.get(name, chat_answer(name))
        made: Step = step(name) if callable(step) else step
        return made

    return ScriptedTransport(play)


def asked(rig: Rig) -> dict[str, int]:
    """How often each provider was asked."""
    transport = rig.pipeline.transport
    assert isinstance(transport, ScriptedTransport)
    return dict(Counter(provider_of(request) for request in transport.requests))


async def several(rig: Rig, strategy: str, *, quota: Any = None, **options: Any) -> MultiProviderResponse:
    """One message to several providers."""
    own = {name: options.pop(name) for name in ("hedge_after_s", "consensus_key") if name in options}
    request = make_request("Hi", {"providers": ALL, "routing_strategy": strategy, **options})
    return await ask_several(rig.pipeline, request, hedges=quota, **own)


def reasons(response: MultiProviderResponse) -> dict[str, str]:
    """What the decision says of each provider."""
    return {candidate.provider: candidate.reason for candidate in response.routing_decision.candidates}


def pusd(dollars: float) -> int:
    """Dollars in pico-dollars."""
    return round(dollars * PUSD_PER_USD)


def upstream(gateway: SandboxGateway) -> dict[str | None, int]:
    """How often each provider was asked, as the gateway saw it."""
    return dict(Counter(request.provider for request in gateway.requests))


def cancelled(gateway: SandboxGateway) -> list[str | None]:
    """The providers whose client left before the reply was out."""
    return sorted(str(request.provider) for request in gateway.requests if request.cancelled)
