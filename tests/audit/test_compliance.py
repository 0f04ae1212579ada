"""Compliance, data residency and allow-lists: what is refused, with which reason, and that nothing was sent."""

import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from audit_parts import KEY, provider, settings

from genops.providers import helicone
from genops_helicone_async import ConfigurationError, GenOpsHeliconeAsyncAdapter, HeliconeError, PolicyDeniedError
from genops_helicone_async._compliance_settings import Compliance, Residency
from genops_helicone_async._providers import PROVIDERS
from genops_helicone_async._regions import AREAS, HOST_AREAS, PROVIDER_AREAS, area_of_host, area_of_place
from genops_helicone_async._rules.policy import Way, denial_of
from genops_helicone_async._wire.headers import GatewayCache, GatewayOptions
from loopback import LoopbackServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    """What answers the calls."""
    async with LoopbackServer(provider) as running:
        yield running


def compliant(server: LoopbackServer, tmp_path: Path, **more: Any) -> dict[str, Any]:
    """The arguments of an adapter under compliance."""
    return settings(server, compliance_mode=True, audit_logging=tmp_path / "audit.jsonl", **more)


def test_the_error_pickles_and_is_exported() -> None:
    """With its reason, under both names."""
    error = PolicyDeniedError("no", reason_code="POLICY_DENY_REGION", provider="openai")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.reason_code, copy.provider, copy.message) == ("POLICY_DENY_REGION", "openai", "no")
    assert isinstance(error, HeliconeError)
    assert helicone.PolicyDeniedError is PolicyDeniedError


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"gateway_url": "http://gateway.internal"}, "`gateway_url` is plain http, which `compliance_mode` refuses"),
        ({"provider_urls": {"openai": "http://10.0.0.1/v1"}}, "`provider_urls['openai']` is plain http"),
        ({"state_url": "redis://cache.internal:6379/0"}, "use rediss://…"),
        ({"audit_logging": False}, "`compliance_mode` needs the audit log"),
        ({"audit_logging": {"fsync": "never"}}, "must be 'always' under `compliance_mode`"),
        ({"enable_cost_tracking": False}, "leave enable_cost_tracking on"),
        ({"gateway_options": GatewayOptions(cache=GatewayCache())}, "has a cache, in which Helicone keeps answers"),
    ],
)
def test_what_compliance_forbids_is_refused_at_once(tmp_path: Path, arguments: dict[str, Any], told: str) -> None:
    """Also with `allow_insecure_http`: the error names the setting and the remedy."""
    given = {"audit_logging": tmp_path / "audit.jsonl", **arguments}
    with pytest.raises(ConfigurationError) as refused:
        GenOpsHeliconeAsyncAdapter(KEY, compliance_mode=True, allow_insecure_http=True, **given)
    assert told in refused.value.message


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"audit_logging": {"file": "x"}}, "unknown 'file': known are path, fsync, max_bytes"),
        ({"audit_logging": {"fsync": "sometimes"}}, "use one of always, interval, never"),
        ({"audit_logging": {"max_bytes": 10}}, "4096 bytes or more"),
        ({"data_residency": "the moon"}, "of which no area is known"),
        ({"data_residency": {"region": "EU", "host": "x"}}, "unknown 'host'"),
    ],
)
def test_options_that_mean_nothing_are_refused(arguments: dict[str, Any], told: str) -> None:
    """The error names what is known."""
    with pytest.raises(ConfigurationError) as refused:
        GenOpsHeliconeAsyncAdapter(KEY, **arguments)
    assert told in refused.value.message


@pytest.mark.parametrize(
    "arguments",
    [{"audit_logging": 7}, {"data_residency": 7}, {"allowed_models": "gpt-4o"}, {"allowed_providers": {"openai": 1}}],
)
def test_wrong_types_are_type_errors(arguments: dict[str, Any]) -> None:
    """A text where a list belongs is no list of letters."""
    with pytest.raises(TypeError):
        GenOpsHeliconeAsyncAdapter(KEY, **arguments)


async def test_helicone_is_asked_to_keep_nothing(server: LoopbackServer, tmp_path: Path) -> None:
    """Every call says so in its headers, and content capture is off whatever the environment says."""
    async with GenOpsHeliconeAsyncAdapter(**compliant(server, tmp_path)) as adapter:
        await adapter.chat_async("Hi", provider="openai")
        assert adapter.settings.content_capture == "NO_CONTENT"
    headers = server.exchanges[0].headers
    assert (headers["helicone-omit-request"], headers["helicone-omit-response"]) == ("true", "true")


async def test_content_capture_is_forced_off(
    server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's opt-in does not count under compliance."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_AND_EVENT")
    assert GenOpsHeliconeAsyncAdapter(**settings(server)).settings.content_capture == "SPAN_AND_EVENT"
    assert GenOpsHeliconeAsyncAdapter(**compliant(server, tmp_path)).settings.content_capture == "NO_CONTENT"


async def test_plain_webhooks_are_refused_under_compliance(server: LoopbackServer, tmp_path: Path) -> None:
    """Also with `allow_insecure_http`."""
    async with GenOpsHeliconeAsyncAdapter(**compliant(server, tmp_path, allow_insecure_http=True)) as adapter:
        with pytest.raises(ConfigurationError, match="plain http"):
            adapter.configure_webhooks("http://hooks.internal/x")


async def test_a_model_without_a_price_is_refused(server: LoopbackServer, tmp_path: Path) -> None:
    """Under compliance; without it the call is sent, and a price of the call's own counts."""
    unpriced: dict[str, Any] = {"provider": "openai", "model": "no-such-model"}
    async with GenOpsHeliconeAsyncAdapter(**compliant(server, tmp_path)) as adapter:
        with pytest.raises(PolicyDeniedError) as denied:
            await adapter.chat_async("Hi", **unpriced)
        assert server.exchanges == []
        await adapter.chat_async("Hi", **unpriced, prices={"openai/no-such-model": {"input": 1.0, "output": 1.0}})
    assert denied.value.reason_code == "POLICY_DENY_MODEL"
    assert "no price is known for openai/no-such-model" in denied.value.message
    async with GenOpsHeliconeAsyncAdapter(**settings(server)) as adapter:
        await adapter.chat_async("Hi", **unpriced)
    assert len(server.exchanges) == 2


async def test_models_and_providers_are_held_to_the_lists(server: LoopbackServer) -> None:
    """Names, provider/model and patterns; what is left of a list of candidates is asked."""
    given = settings(
        server, allowed_models=["gpt-4o*", "groq/llama-3.1-8b-instant"], allowed_providers=["openai", "groq"]
    )
    async with GenOpsHeliconeAsyncAdapter(**given) as adapter:
        assert (await adapter.chat_async("Hi", provider="openai", model="gpt-4o-mini")).provider == "openai"
        assert (await adapter.chat_async("Hi", provider="groq")).provider == "groq"
        for denied in (
            {"provider": "openai", "model": "gpt-3.5-turbo"},
            {"provider": "groq", "model": "mixtral-8x7b"},
            {"providers": ["openai"], "model_preferences": {"openai": "o3"}},
        ):
            with pytest.raises(PolicyDeniedError) as error:
                await adapter.chat_async("Hi", **denied)  # type: ignore[arg-type]
            assert error.value.reason_code == "POLICY_DENY_MODEL"
        response = await adapter.chat_async(
            "Hi", providers=["openai", "groq"], model_preferences={"openai": "o3"}, routing_strategy="failover"
        )
        assert [candidate.provider for candidate in response.routing.candidates] == ["groq"]
    assert [exchange.provider for exchange in server.exchanges] == ["openai", "groq", "groq"]


async def test_a_function_of_the_caller_s_cannot_go_around_the_lists(server: LoopbackServer) -> None:
    """A strategy that names a provider outside the candidates is held to them, too."""
    async with GenOpsHeliconeAsyncAdapter(**settings(server, allowed_providers=["groq"])) as adapter:
        adapter.register_routing_strategy("mine", lambda providers, message, context: "openai")
        with pytest.raises(PolicyDeniedError):
            await adapter.chat_async("Hi", providers=["groq"], routing_strategy="mine")
        with pytest.raises(PolicyDeniedError):
            await adapter.embed_async("Hi", provider="openai")
        checks = await adapter.validate_providers_async()
    assert (checks["openai"].status, checks["openai"].ok) == ("denied", False)
    assert [exchange.provider for exchange in server.exchanges] == ["groq"]  # the check of the one that is allowed


async def test_a_function_of_the_caller_s_cannot_go_around_prices(server: LoopbackServer, tmp_path: Path) -> None:
    """Nor can it name a provider whose default model has no price."""
    given = compliant(server, tmp_path, provider_urls=server.provider_urls("openai", "own"))
    async with GenOpsHeliconeAsyncAdapter(**given) as adapter:
        adapter.register_routing_strategy("mine", lambda providers, message, context: "own")
        with pytest.raises(PolicyDeniedError, match="no price is known for own/llm"):
            await adapter.chat_async(
                "Hi", provider="openai", model="gpt-4o-mini", routing_strategy="mine", model_preferences={"own": "llm"}
            )
    assert server.exchanges == []


@pytest.mark.parametrize("policy", [{"allowed_models": ["gpt-4o*"]}, {"data_residency": "US"}])
@pytest.mark.parametrize("field", ["models", "provider", "Fallbacks", "prompt_id"])
async def test_the_body_cannot_choose_past_the_policy(
    server: LoopbackServer, policy: dict[str, Any], field: str
) -> None:
    """Fields by which gateways choose models are refused where there is a policy, and sent where there is none."""
    call = {"provider": "openai", "model": "gpt-4o-mini", "extra_body": {field: ["gpt-4o"]}}
    async with GenOpsHeliconeAsyncAdapter(**settings(server, **policy)) as adapter:
        with pytest.raises(PolicyDeniedError, match=f"holds '{field.lower()}'"):
            await adapter.chat_async("Hi", **call)
        assert server.exchanges == []
        await adapter.chat_async("Hi", **{**call, "extra_body": {"top_k": 3}})
    async with GenOpsHeliconeAsyncAdapter(**settings(server)) as adapter:
        await adapter.chat_async("Hi", **call)
    assert [field in exchange.json for exchange in server.exchanges] == [False, True]


async def test_residency_blocks_providers_elsewhere(server: LoopbackServer, tmp_path: Path) -> None:
    """Through a gateway of one's own a provider of another area is refused with POLICY_DENY_REGION."""
    given = {"helicone_api_key": KEY, "gateway_url": server.url, "prices": settings(server)["prices"]}
    async with GenOpsHeliconeAsyncAdapter(**given, data_residency="eu-central-1") as adapter:
        with pytest.raises(PolicyDeniedError) as denied:
            await adapter.chat_async("Hi", provider="openai")
        assert server.exchanges == []
        assert (await adapter.chat_async("Hi", provider="nebius")).provider == "nebius"
        assert (await adapter.chat_async("Hi", providers=["openai", "nebius"])).provider == "nebius"
    assert (denied.value.reason_code, denied.value.provider) == ("POLICY_DENY_REGION", "openai")
    assert "data_residency={'region': 'EU', 'providers': ['openai']}" in denied.value.message
    vouched = {"region": "EU", "providers": ["openai"]}
    async with GenOpsHeliconeAsyncAdapter(**given, data_residency=vouched) as adapter:
        assert (await adapter.chat_async("Hi", provider="openai")).provider == "openai"


def way(provider: str, *hosts: str, own: str | None = None, eu: bool = False) -> Way:
    """A way of a call."""
    return Way(provider=provider, model="m", hosts=hosts, own_gateway=own, has_eu_key=eu)


@pytest.mark.parametrize(
    "area, going, told",
    [
        ("US", way("openai", "oai.helicone.ai"), None),
        ("EU", way("nebius", "nebius.helicone.ai"), "Helicone keeps the data of this key in US"),
        ("EU", way("nebius", "nebius.helicone.ai", eu=True), None),
        ("US", way("openai", "oai.helicone.ai", eu=True), "Helicone keeps the data of this key in EU"),
        ("EU", way("openai", "ai-gateway.helicone.ai", eu=True), "openai is in US"),
        ("EU", way("openai", "eu.api.openai.com"), None),
        ("EU", way("openai", "api.openai.com"), "api.openai.com is in US, not in EU"),
        ("EU", way("vertex", "gateway.helicone.ai", "europe-west1-aiplatform.googleapis.com", eu=True), None),
        ("EU", way("vertex", "gateway.helicone.ai", "us-central1-aiplatform.googleapis.com", eu=True), "is in US"),
        ("EU", way("vertex", "gateway.helicone.ai", "aiplatform.googleapis.com", eu=True), "it is not known where"),
        ("EU", way("bedrock", "bedrock-runtime.eu-central-1.amazonaws.com"), None),
        ("EU", way("bedrock", "bedrock-runtime.eu-west-2.amazonaws.com"), "is in UK"),
        ("US", way("gemini", "gw.company.com", own="gw.company.com"), "gemini promises no region"),
        ("US", way("openai", "gw.company.com", own="gw.company.com"), None),
        ("EU", way("azure", "mine.openai.azure.com"), "'hosts': ['mine.openai.azure.com']"),
        ("EU", way("anything", "127.0.0.1"), None),
        ("EU", way("openai", "127.0.0.1", own="127.0.0.1"), "openai is in US"),
        ("EU", way("openai", "evilhelicone.ai"), "it is not known where evilhelicone.ai is"),
        ("CN", way("deepseek", "api.deepseek.com"), None),
        ("EU", way("mistral", "api.eu.mistral.ai"), None),
        ("EU", way("mistral", "mistral.helicone.ai", eu=True), "mistral promises no region"),
        ("US", way("anthropic", "anthropic.helicone.ai"), "anthropic promises no region"),
        ("US", way("anthropic", "api.anthropic.com"), "it is not known where api.anthropic.com is"),
        ("US", way("openai", "openrouter.ai", own="openrouter.ai"), "it is not known where openrouter.ai is"),
        ("US", way("openai", "eu.api.openai.com", own="eu.api.openai.com"), "is in EU, not in US"),
    ],
)
def test_where_data_would_go(area: str, going: Way, told: str | None) -> None:
    """Hosts on the way and the provider behind them have to be in the area."""
    denial = denial_of(Compliance(residency=Residency(area=area)), going)
    if told is None:
        assert denial is None
    else:
        assert denial is not None
        assert (denial.reason_code, told in denial.message) == ("POLICY_DENY_REGION", True)


def test_a_host_that_is_vouched_for_is_the_provider_s_place() -> None:
    """Declared hosts are in the area, whatever they are."""
    residency = Residency(area="EU", hosts=frozenset({"mine.openai.azure.com"}))
    assert denial_of(Compliance(residency=residency), way("azure", "mine.openai.azure.com")) is None


@pytest.mark.parametrize(
    "place, area",
    [
        *(("EU", "EU"), ("eu", "EU"), ("eu-central-1", "EU"), ("europe-west1", "EU"), ("westeurope", "EU")),
        *(("us-east-1", "US"), ("us-central1", "US"), ("eastus2", "US"), ("US", "US"), ("us-gov-west-1", "US")),
        *(("eu-west-2", "UK"), ("europe-west2", "UK"), ("uksouth", "UK"), ("europe-west6", "CH")),
        *(("eu-central-2", "CH"), ("ca-central-1", "CA"), ("japaneast", "JP"), ("ap-southeast-2", "AU")),
        *(("global", None), ("", None), ("use", None), ("europe", None)),
    ],
)
def test_regions_of_clouds_stand_for_their_area(place: str, area: str | None) -> None:
    """London is not in the EU, nor is Zurich."""
    assert area_of_place(place) == area


def test_the_table_is_complete() -> None:
    """Every provider of the directory has an entry, every area is one of those that can be asked for."""
    assert set(PROVIDER_AREAS) == set(PROVIDERS)
    areas = {*PROVIDER_AREAS.values(), *HOST_AREAS.values(), *(area_of_host(host) for host in HOST_AREAS)} - {None}
    assert areas <= set(AREAS)
    assert {area_of_place(area) for area in AREAS} == set(AREAS)
