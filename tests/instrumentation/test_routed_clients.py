"""`route_through_gateway=True`: the providers' own hosts are reached through Helicone, and no key goes astray."""

import asyncio
from typing import Any

import aiohttp
import anthropic
import httpx
import openai
import pytest
import requests
from instrumented import ASK, BEARER, MESSAGES, Watched, billed_as, watching

from genops_helicone_async import ConfigurationError
from genops_helicone_async.config import GivenSettings, resolve
from genops_helicone_async.instrumentation.places import url_of
from genops_helicone_async.instrumentation.routes import routes_of
from genops_helicone_async.testing import SandboxGateway

OPENAI = "https://api.openai.com/v1/chat/completions"


def routing(gateway: SandboxGateway, **settings: Any) -> Any:
    """A process under watch whose calls are sent to the sandbox's hosts."""
    return watching(gateway, route_through_gateway=True, helicone_api_key=gateway.api_key, **settings)


def went_through(gateway: SandboxGateway, watched: Watched, providers: list[str]) -> None:
    """Every call came to its provider's Helicone host, with both keys, and was counted."""
    assert [seen.provider for seen in gateway.requests] == providers
    assert {seen.headers["helicone-auth"] for seen in gateway.requests} == {f"Bearer {gateway.api_key}"}
    assert {seen.headers["host"] for seen in gateway.requests} == {gateway.url.removeprefix("http://")}
    billed_as(gateway, watched.usage)


def test_the_sdks_go_through_helicone(gateway: SandboxGateway) -> None:
    """With their own default hosts, and their own keys, which Helicone's key stands beside."""
    with routing(gateway, team="research") as watched:
        with openai.OpenAI(api_key="openai-key", max_retries=0) as client:
            client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        with anthropic.Anthropic(api_key="anthropic-key", max_retries=0) as claude:
            claude.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=MESSAGES)
    went_through(gateway, watched, ["openai", "anthropic"])
    first, second = gateway.requests
    assert first.headers["authorization"] == "Bearer openai-key"
    told = [value for name, value in second.headers.items() if name in ("authorization", "x-api-key")]
    assert [value.removeprefix("Bearer ") for value in told] == ["anthropic-key"]
    assert first.headers["helicone-property-team"] == "research"


def test_plain_clients_go_through_helicone(gateway: SandboxGateway) -> None:
    """httpx, requests and aiohttp alike; what the caller has made stays as it was."""

    async def ask() -> None:
        async with aiohttp.ClientSession() as session, session.post(OPENAI, json=ASK, headers=BEARER) as response:
            await response.read()

    with routing(gateway) as watched:
        with httpx.Client() as client:
            request = client.build_request("POST", OPENAI, json=ASK, headers=BEARER)
            client.send(request)
        requests.post(OPENAI, json=ASK, headers=BEARER)
        asyncio.run(ask())
    went_through(gateway, watched, ["openai"] * 3)
    assert str(request.url) == OPENAI
    assert "helicone-auth" not in request.headers


def test_other_calls_of_a_routed_host_go_there_too(gateway: SandboxGateway) -> None:
    """A model list goes the same way, with the same keys, and is no call to count."""
    with routing(gateway) as watched, openai.OpenAI(api_key="openai-key", max_retries=0) as client:
        assert "gpt-4o-mini" in {model.id for model in client.models.list()}
    assert watched.usage.request_count == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1/chat/completions",
        "https://api.openai.com:8443/v1/chat/completions",
        "https://api.openai.com.example.org/v1/chat/completions",
        "https://example.org/v1/chat/completions",
        "https://eu.api.openai.com/v1/chat/completions",
        "https://api.openai.com/v2/things",
        "https://api.groq.com/openai/v1/chat/completions",
    ],
)
def test_what_is_not_exactly_the_host_stays_where_it_is(url: str) -> None:
    """A look-alike, another port or scheme, or another provider: sent as the caller said."""
    settings = resolve(GivenSettings(helicone_api_key="sk-helicone"), {}, 1024)
    assert routes_of(settings).of(url_of(url)) is None


def test_each_host_has_its_own_way() -> None:
    """In Helicone's cloud OpenAI's keys go to OpenAI's host there, and Anthropic's to Anthropic's."""
    routes = routes_of(resolve(GivenSettings(helicone_api_key="sk-helicone"), {}, 1024))
    sent = [routes.of(url_of(url)) for url in (OPENAI, "https://api.anthropic.com/v1/messages")]
    assert [each and each.text for each in sent] == [
        "https://oai.helicone.ai/v1/chat/completions",
        "https://anthropic.helicone.ai/v1/messages",
    ]
    assert "sk-helicone" not in repr((routes, sent))


def test_what_is_missing_is_named() -> None:
    """Without Helicone's key, or with a gateway that no provider's key may be sent to, it does not begin."""
    with pytest.raises(ConfigurationError, match="HELICONE_API_KEY"), watching(route_through_gateway=True):
        pass
    with (
        pytest.raises(ConfigurationError, match="provider_urls"),
        watching(route_through_gateway=True, helicone_api_key="k", gateway_url="https://gateway.example.org"),
    ):
        pass
    with (
        pytest.raises(ConfigurationError, match="http"),
        watching(
            route_through_gateway=True, helicone_api_key="k", provider_urls={"openai": "http://proxy.example.org/v1"}
        ),
    ):
        pass
