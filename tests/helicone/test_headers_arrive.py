"""Who a call is for arrives at Helicone in the headers it reads, whatever way the call takes; nobody else gets them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from genops_helicone_async import ConfigurationError, GatewayCache, GatewayOptions, GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio

WHO: dict[str, Any] = {
    "team": "billing", "project": "p 1", "customer_id": "c-7", "environment": "test", "cost_center": "cc",
    "feature": "search", "user_id": "ada", "session_id": "s-1", "session_path": "/a/b", "session_name": "Näme",
    "attributes": {"ticket_no": "42"},
}  # fmt: skip
ARRIVES = {
    "helicone-user-id": "ada",
    "helicone-session-id": "s-1",
    "helicone-session-path": "/a/b",
    "helicone-session-name": "N%C3%A4me",
    "helicone-property-team": "billing",
    "helicone-property-project": "p 1",
    "helicone-property-customer-id": "c-7",
    "helicone-property-environment": "test",
    "helicone-property-cost-center": "cc",
    "helicone-property-feature": "search",
    "helicone-property-ticket-no": "42",
}
SECRETS = {"helicone-auth", "helicone-request-id"}


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxGateway]:
    """A Helicone that answers at once, in every dialect."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


def ways(sandbox: SandboxGateway) -> dict[str, dict[str, Any]]:
    """Constructor arguments for each way to a model."""
    return {
        "ai_gateway": {"gateway_url": sandbox.url},
        "proxy": {"provider_urls": sandbox.provider_urls, "provider_keys": sandbox.provider_keys},
        "rust": {"gateway_url": sandbox.rust_url, "gateway_dialect": "rust"},
        "openai": {"gateway_url": sandbox.openai_url, "gateway_dialect": "openai"},
    }


async def told(sandbox: SandboxGateway, way: str, verb: str, **settings: Any) -> dict[str, str]:
    """The `Helicone-*` headers of one call, but for the key and the request id."""
    async with GenOpsHeliconeAsyncAdapter(sandbox.api_key, **ways(sandbox)[way], **settings) as adapter:
        if verb == "chat":
            await adapter.chat_async("Hi", provider="openai", **WHO)
        elif verb == "embed":
            await adapter.embed_async(["Hi"], provider="openai", **WHO)
        else:
            async with adapter.stream_async("Hi", provider="openai", **WHO) as stream:
                _ = [chunk async for chunk in stream]
    (seen,) = sandbox.requests
    assert seen.dialect == way
    return {name: value for name, value in seen.headers.items() if "helicone" in name and name not in SECRETS}


@pytest.mark.parametrize("verb", ["chat", "stream"])
@pytest.mark.parametrize("way", ["ai_gateway", "proxy"])
async def test_all_of_it_arrives_at_helicone(sandbox: SandboxGateway, way: str, verb: str) -> None:
    """User, session and properties arrive in Helicone's spelling, through the AI Gateway and the proxy hosts."""
    assert await told(sandbox, way, verb) == ARRIVES


async def test_all_of_it_arrives_with_embeddings(sandbox: SandboxGateway) -> None:
    """Embeddings carry the same headers as chats."""
    assert await told(sandbox, "proxy", "embed") == ARRIVES


@pytest.mark.parametrize(
    ("way", "verb"), [("rust", "chat"), ("rust", "stream"), ("openai", "chat"), ("openai", "embed")]
)
async def test_nothing_of_it_goes_elsewhere(sandbox: SandboxGateway, way: str, verb: str) -> None:
    """The Rust gateway would hand it to the provider, and other endpoints are not Helicone: neither gets a header."""
    await told(sandbox, way, verb, default_attributes={"team": "ml"})
    (seen,) = sandbox.requests
    assert [name for name in seen.headers if "helicone" in name] == []


async def test_the_gateways_orders_go_to_helicone_only(sandbox: SandboxGateway) -> None:
    """Caching and omission are asked of Helicone, not of an endpoint that does not know them."""
    options = GatewayOptions(cache=GatewayCache(ttl_s=60), omit_request=True)
    asked = {"helicone-cache-enabled": "true", "helicone-omit-request": "true"}
    assert await told(sandbox, "proxy", "chat", gateway_options=options) == {**ARRIVES, **asked}
    sandbox.reset()
    assert await told(sandbox, "openai", "chat", gateway_options=options) == {}
    assert "cache-control" not in sandbox.requests[0].headers


async def test_a_session_needs_no_path_and_no_name(sandbox: SandboxGateway) -> None:
    """Helicone wants all three session headers: a session id alone brings the root and its own name."""
    async with GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter:
        await adapter.chat_async("Hi", provider="openai", session_id="s-9")
        await adapter.chat_async("Hi", provider="openai", session_id="s-9", session_path="deep/er")
    sessions = [{k: v for k, v in seen.headers.items() if "session" in k} for seen in sandbox.requests]
    name = {"helicone-session-id": "s-9", "helicone-session-name": "s-9"}
    assert sessions == [{**name, "helicone-session-path": "/"}, {**name, "helicone-session-path": "/deep/er"}]


async def test_a_header_cannot_be_smuggled_in(sandbox: SandboxGateway) -> None:
    """A line break in a session's name is refused before anything is sent."""
    async with GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter:
        with pytest.raises(ConfigurationError, match="session_name"):
            await adapter.chat_async("Hi", provider="openai", session_id="s", session_name="a\r\nHelicone-Auth: b")
    assert sandbox.requests == ()


async def test_the_id_we_send_is_helicones_own(sandbox: SandboxGateway) -> None:
    """Helicone takes our UUID for its `Helicone-Id`; the Rust gateway does not, and its own is told."""
    async with GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter:
        response = await adapter.chat_async("Hi", provider="openai")
    assert response.metadata["helicone_id"] == response.request_id == sandbox.requests[0].headers["helicone-request-id"]
    async with GenOpsHeliconeAsyncAdapter(sandbox.api_key, **ways(sandbox)["rust"]) as adapter:
        response = await adapter.chat_async("Hi", provider="openai")
    assert response.metadata["helicone_id"] != response.request_id
