"""The sandbox answers as Helicone's worker was recorded to answer: same request, same kind of reply."""

import json
import os
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio

# Stored keys and credits of the recorded organisations, by the first group of their key.
_OWN = ("openai", "anthropic", "groq", "google-ai-studio", "deepseek", "openrouter")
ORGANISATIONS: dict[str, dict[str, Any]] = {
    "byokaaa": {"byok": _OWN},
    "ptbaaaa": {"byok": False},
    "fullaaa": {"byok": _OWN, "credits_usd": 100},
    "noneaaa": {"byok": False, "credits_usd": 0},
    "pooraaa": {"byok": False, "credits_usd": 0.0199952},
    "byokoaa": {"byok": ("anthropic",)},
}
PROVIDERS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gemini",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "openrouter.ai": "openrouter",
    "inference.helicone.ai": "helicone",
}
HOSTS = {"oai": "openai", "x": "xai", "google": "gemini"}

NOT_SIMULATED = re.compile(
    r"ag_responses_.*"  # the Responses API
    r"|ag_moderation_header|oai_moderation_flagged|oai_llm_security_blocked|ag_gemini_safety_block"  # judgements
    r"|ag_feedback.*|log_.*|bedrock_.*|oai_files_.*|oai_audio_.*|oai_responses_.*"  # other interfaces
    r"|ag_ptb_disallowed_in_list|ag_ptb_unparsable_usage_1"  # what earlier requests left behind
    r"|ag_stripe_customer|oai_token_limit_.*|gateway_fallback_(?!no_headers).*|.*_force_format"
    r"|(ag|oai)_.*conn_(reset|abort)|ag_provider_(204|302|headers.*)|groq_root_get_redirect"  # provider's oddities
    r"|ag_openai_stream_ct_without_charset|oai_stream_error_event|ag_usage_gemini_cached"  # its content type
    r"|ag_body_no_messages_byok|ag_embeddings_with_provider|oai_invalid_json|google_host_gemini|oai_models_get"
    r"|oai_api_base_.*|oai_key_in_path_.*|oai_two_keys_.*|gateway_target_unapproved"
    r"|host_(deepinfra|hyperbolic|llama|nebius|novita|nvidia|predibase|vercel)|unknown_helicone_host"
)
# The first request of a sequence whose members are not numbered.
EARLIER = {
    "ag_cache_hit_request_id": "ag_cache_basic_1",
    "ag_cache_same_body_extra_space_hit": "ag_cache_basic_1",
    "ag_cache_key_order_changes_miss": "ag_cache_basic_1",
    "oai_cache_other_provider_key": "oai_cache_1",
    "oai_cache_other_spacing": "oai_cache_1",
}


def _names() -> list[str]:
    shared = os.environ.get("GENOPS_SHARED_DIR")
    if shared is None:
        return ["any"]
    folder = Path(shared, "fixtures", "helicone")
    return sorted(path.stem for path in folder.glob("*.json") if not NOT_SIMULATED.fullmatch(path.stem))


def _sequence(name: str) -> list[str]:
    stem, _, number = name.rpartition("_")
    if number.isdigit() and int(number) < 10 and stem.startswith(("ag_cache", "ag_rate", "oai_cache", "oai_rate")):
        return [f"{stem}_{before}" for before in range(1, int(number) + 1)]
    return [EARLIER[name], name] if name in EARLIER else [name]


def _scripted(case: dict[str, Any]) -> list[Fault]:
    """The recorded provider's behaviour as faults, one per call it received."""
    faults = []
    for call in case["upstream"]:
        provider = PROVIDERS.get(call["request"]["url"].split("/")[2])
        reply = call["response"]
        body, status = reply.get("body"), reply.get("status") or 200
        raw = body.encode() if isinstance(body, str) else body
        if status >= 400 and isinstance(body, str) and "oai_err_html" in case["case"]:
            faults.append(Fault(kind="html", times=1, status=status, body=raw, content_type="text/html"))
        elif status >= 400:
            after = reply["headers"].get("retry-after")
            retry_after = float(after) if after else None
            faults.append(
                Fault(kind="status", provider=provider, times=1, status=status, body=raw, retry_after=retry_after)
            )
        elif isinstance(body, str) and not body.startswith("{"):
            faults.append(Fault(kind="not_json", provider=provider, times=1))
        elif "truncated_clean" in case["case"]:
            faults.append(Fault(kind="cut", provider=provider, times=1))
        else:
            faults.append(Fault(kind="delay", provider=provider, times=1))
    return faults


def _organisation(case: dict[str, Any]) -> str:
    found = re.search(r"[sp]k-helicone-([a-z0-9]{7})-", json.dumps(case["request"]))
    return found[1] if found and found[1] in ORGANISATIONS else "byokaaa"


def _target(gateway: SandboxGateway, case: dict[str, Any]) -> str:
    path: str = case["request"]["path"]
    host = case["request"]["host"].split(".")[0]
    if host == "ai-gateway":
        return f"{gateway.url}{path}"
    return f"{gateway.url}/hosts/{HOSTS.get(host, host)}{path}"


class Heard(dict[str, Any]):
    """A response, recorded or live, cut down to what both must share."""


def _heard(status: int, headers: dict[str, str], body: str) -> Heard:
    headers = {name.lower(): value for name, value in headers.items()}
    told = {
        name: value
        for name, value in headers.items()
        if name.startswith(("helicone", "x-helicone", "retry-after", "allow"))
        and name not in ("helicone-id", "helicone-cache-latency")
    }
    return Heard(
        status=status,
        content_type=headers.get("content-type"),
        headers=told,
        has_id="helicone-id" in headers,
        body=body,
    )


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return type(value).__name__


def _structure(body: str) -> Any:
    """Keys and types of a JSON body in order; of a stream, those of its events with repetitions dropped."""
    if not body.startswith(("data:", "event:")):
        return json.dumps(_shape(json.loads(body))) if body.startswith("{") else body
    told: list[str] = []
    for line in body.splitlines():
        if line.startswith("data: {"):
            line = json.dumps(_shape(json.loads(line[6:])))
        if line and line not in told[-2:]:
            told.append(line)
    return told


async def _ask(session: aiohttp.ClientSession, url: str, request: dict[str, Any]) -> Heard:
    unsent = ("host", "content-length", "connection", "accept-encoding")
    headers = {name: value for name, value in request["headers"].items() if name.lower() not in unsent}
    body = request["body"]
    if body is not None and not isinstance(body, str):
        body = json.dumps(body)
    async with session.request(request["method"], url, data=body and body.encode(), headers=headers) as response:
        return _heard(response.status, dict(response.headers), await response.text())


@pytest.mark.parametrize("name", _names())
async def test_answers_as_recorded(name: str, shared_dir: Path) -> None:
    """Status, content type, Helicone's headers, error bodies word for word, and the shape of replies agree."""
    folder = shared_dir / "fixtures" / "helicone"
    cases = [json.loads((folder / f"{one}.json").read_text("utf-8")) for one in _sequence(name)]
    organisation = _organisation(cases[-1])
    async with (
        SandboxGateway(
            latency_scale=0,
            api_keys=(f"sk-helicone-{organisation}-aaaaaaa-aaaaaaa-aaaaaaa",),
            unknown_models="answer",
            **ORGANISATIONS[organisation],
        ) as gateway,
        aiohttp.ClientSession(skip_auto_headers=("User-Agent",)) as session,
    ):
        for case in cases:
            gateway.faults.clear()
            gateway.faults.add(*_scripted(case))
            heard = await _ask(session, _target(gateway, case), case["request"])
    recorded = cases[-1]["response"]
    body = recorded["body"] or ""
    expected = _heard(recorded["status"], recorded["headers"], body if isinstance(body, str) else json.dumps(body))
    expected_body, heard_body = expected.pop("body"), heard.pop("body")
    assert heard == expected
    if recorded["status"] >= 400:
        assert heard_body == expected_body
    elif _is_ordinary(cases[-1]):
        assert _structure(heard_body) == _structure(expected_body)


def _is_ordinary(case: dict[str, Any]) -> bool:
    """Whether the recorded provider gave its standard reply; special ones are scripted case by case elsewhere."""
    told = json.dumps(case["upstream"])
    return (
        "_usage_" not in case["case"]
        and ("fake0001" in told or "fake0002" in told)
        and ("tools" not in case["case"] and not re.search(r"openrouter|api\.groq|api\.deepseek", told))
    )
