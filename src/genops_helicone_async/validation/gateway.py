"""The gateway: whether it answers, how fast, what it thinks of the key, and what time it has."""

from __future__ import annotations

import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from .._flow.checks import check_request
from .._flow.pipeline import Pipeline
from .._providers import PROVIDERS
from .._values import HttpReply
from .._wire.dialects import Endpoint, default_model, endpoint_for
from .._wire.failures import read_error
from ..config import Settings
from ..errors import AuthenticationError, ConfigurationError, HeliconeError
from .results import ValidationCheck

SLOW_S = 1.0
_MORE_REQUESTS = 3
_CLOUD_KEY = re.compile(r"[sp]k-helicone-\S+")
_MOST_SKEW_S = 30.0
_CLOCK = "Clock"
_NOTHING_THERE = (404, 405)


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What a few unbilled requests to the gateway brought: the first reply, or why there is none.

    `latency_s` is the mean of those after the first, which opens the connection; `skew_s` how far the local clock is
    ahead of the gateway's, None where the gateway tells no time.
    """

    endpoint: Endpoint | None
    reply: HttpReply | None = None
    error: HeliconeError | None = None
    latency_s: float | None = None
    skew_s: float | None = None


async def probe(pipeline: Pipeline, limit_s: float) -> Probe:
    """Asks the gateway, within `limit_s`; raises nothing."""
    try:
        endpoint = _endpoint(pipeline.settings)
    except HeliconeError as exc:
        return Probe(endpoint=None, error=exc)
    deadline = pipeline.clock() + limit_s
    times: list[float] = []
    first: HttpReply | None = None
    skew_s = None
    try:
        while len(times) < 2 or (len(times) <= _MORE_REQUESTS and sum(times[1:]) < SLOW_S):
            began, began_at = pipeline.clock(), time.time()
            reply = await pipeline.transport.send(check_request(endpoint), deadline)
            times.append(pipeline.clock() - began)
            if first is None:
                first, skew_s = reply, _skew_s(reply, began_at)
    except HeliconeError as exc:
        if first is None:
            return Probe(endpoint=endpoint, error=exc)
    later = times[1:] or times
    return Probe(endpoint=endpoint, reply=first, latency_s=sum(later) / len(later), skew_s=skew_s)


def _endpoint(settings: Settings) -> Endpoint:
    """Where the gateway is asked: the AI Gateway where calls may go there with its key, else a provider's own host."""
    dialect, urls = settings.gateway_dialect, settings.provider_urls
    asks_cloud = settings.helicone_api_key is not None and any(name not in urls for name in settings.candidates)
    if dialect not in ("auto", "proxy") or (dialect == "auto" and asks_cloud):
        dialect = "helicone" if dialect == "auto" else dialect
        settings = msgspec.structs.replace(settings, gateway_dialect=dialect, provider_urls={})
        return endpoint_for(settings, "openai", default_model(settings, "openai"))
    missing: ConfigurationError | None = None
    for provider in settings.candidates:
        try:
            model = default_model(settings, provider) if provider in PROVIDERS else "any"
            return endpoint_for(settings, provider, model)
        except ConfigurationError as exc:
            missing = exc
    raise missing or ConfigurationError("no provider is configured")


def connectivity(found: Probe) -> ValidationCheck:
    """Whether the gateway answers as one."""
    name, title = "gateway", "Gateway Connectivity"
    where = "" if found.endpoint is None else found.endpoint.base_url
    if found.reply is None:
        error = found.error
        if isinstance(error, AuthenticationError):  # there is no token to ask with
            return ValidationCheck(name=name, title=title, status="warning", summary="Not tried: there is no token")
        said = error.message if error is not None else "nobody answered"
        remedy = f"Check gateway_url (HELICONE_GATEWAY_URL) and the network: {where} cannot be reached"
        return ValidationCheck(name=name, title=title, status="failed", summary=f"Unreachable: {said}", remedy=remedy)
    told = f"{_milliseconds(found.latency_s)} avg latency"
    facts = {"details": (where,), "latency_s": found.latency_s}
    if wrong := _why_wrong(found):
        remedy = f"Check gateway_url and gateway_dialect: {where} {wrong}"
        return ValidationCheck(name=name, title=title, status="failed", summary=f"Wrong answer: it {wrong}",
                               remedy=remedy, **facts)  # type: ignore[arg-type]  # fmt: skip
    if found.endpoint is not None and not _is_recognised(found.endpoint, found.reply):
        summary = f"Answers, but cannot be told to be a gateway: {found.reply.status} where one tells of itself"
        remedy = f"Make sure that {where} is the gateway: include_performance_tests (--performance) makes billed calls"
        return ValidationCheck(name=name, title=title, status="warning", summary=summary, remedy=remedy,
                               **facts)  # type: ignore[arg-type]  # fmt: skip
    if (found.latency_s or 0.0) > SLOW_S:
        remedy = "Use a gateway nearer to you: its answer to an empty request takes longer than a second"
        return ValidationCheck(name=name, title=title, status="warning", summary=f"Slow ({told})", remedy=remedy,
                               **facts)  # type: ignore[arg-type]  # fmt: skip
    return ValidationCheck(name=name, title=title, status="ok", summary=f"Healthy ({told})", **facts)  # type: ignore[arg-type]


def _why_wrong(found: Probe) -> str | None:
    """What is wrong with an answer, None where a gateway would have given it."""
    reply, endpoint = found.reply, found.endpoint
    assert reply is not None
    assert endpoint is not None
    if 300 <= reply.status < 400:
        return f"answered with a redirect ({reply.status})"
    if reply.body.lstrip()[:1] == b"<":
        return f"answered {reply.status} with a web page, not as a gateway"
    if reply.status >= 500:
        return f"answered {reply.status}: {read_error(reply.body).message}"
    expected = (400, 401, 403, 429) if endpoint.is_gateway else (*range(200, 300), 401, 403, 404, 405, 429)
    if reply.status not in expected:
        return f"answered {reply.status} where the {endpoint.dialect} dialect does not"
    if endpoint.dialect == "openai" and reply.status < 300 and not _lists_models(reply.body):
        return f"answered {reply.status} with no list of models"
    return None


def _lists_models(body: bytes) -> bool:
    """Whether it is a JSON document with a list in it, or a bare one: endpoints differ in what they call it."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    if isinstance(document, dict):
        return any(isinstance(value, list) for value in document.values())
    return isinstance(document, list)


def _is_recognised(endpoint: Endpoint, reply: HttpReply) -> bool:
    """False where a gateway's page about itself is missing, which some hide; providers' own hosts are known."""
    return endpoint.dialect == "proxy" or reply.status not in _NOTHING_THERE


def _tells_of_the_key(endpoint: Endpoint, reply: HttpReply) -> bool:
    """Whether an answer that is no refusal means that the key was looked at; the Rust gateway's `/health` is open."""
    if endpoint.dialect == "rust":
        return False
    return reply.status == 400 if endpoint.is_gateway else reply.status < 300


def helicone_key(settings: Settings, found: Probe) -> ValidationCheck:
    """Whether the key, or the OAuth token in its place, is there, well-formed and accepted."""
    oauth, key = settings.oauth, settings.helicone_api_key
    name, title = "helicone_key", "OAuth Token" if oauth is not None else "Helicone API Key"

    def told(status: str, summary: str, remedy: str | None = None) -> ValidationCheck:
        return ValidationCheck(name=name, title=title, status=status, summary=summary, remedy=remedy)  # type: ignore[arg-type]

    if oauth is not None and isinstance(found.error, AuthenticationError):
        return told("failed", found.error.message, "Check oauth_config: the token endpoint gives no token")
    if key is None and oauth is None:
        if settings.gateway_dialect in ("openai", "rust"):
            return told("ok", "Not needed")
        return told(
            "warning", "Not set (Helicone records nothing of these calls)",
            "Set HELICONE_API_KEY so that Helicone records calls that use your own provider keys",
        )  # fmt: skip
    if found.reply is None:
        return told("warning", "Set, but not checked: the gateway did not answer")
    if found.endpoint is not None and found.endpoint.dialect == "proxy":
        return told("info", "Set, but not checked: providers' own hosts take calls with any")
    if found.reply.status in (401, 403):
        said = read_error(found.reply.body).message
        remedy = (
            "Check the gateway's OAuth settings: it does not take the token"
            if oauth is not None
            else "Check HELICONE_API_KEY: the gateway does not take it"
        )
        return told("failed", f"Refused ({found.reply.status}): {said}", remedy)
    if oauth is None and key is not None and settings.is_cloud and not _CLOUD_KEY.fullmatch(key.reveal()):
        return told(
            "warning", "Accepted, but it does not look like a key of Helicone's (sk-helicone-…)",
            "Check HELICONE_API_KEY: Helicone's keys begin with sk-helicone-",
        )  # fmt: skip
    if _why_wrong(found):
        return told("warning", "Set, but not checked: the gateway gave a wrong answer")
    if found.endpoint is not None and not _tells_of_the_key(found.endpoint, found.reply):
        return told("info", "Set, but not checked: only a billed call would tell whether the gateway takes it")
    return told("ok", "Valid")


def clock(found: Probe) -> ValidationCheck:
    """Whether the local clock agrees with the gateway's, to the second that an HTTP date has."""
    if found.skew_s is None:
        return ValidationCheck(name="clock", title=_CLOCK, status="info", summary="Not compared: no date in the answer")
    seconds = abs(found.skew_s)
    ahead = "ahead of" if found.skew_s > 0 else "behind"
    if seconds <= _MOST_SKEW_S:
        return ValidationCheck(name="clock", title=_CLOCK, status="ok", summary="In step with the gateway's")
    return ValidationCheck(
        name="clock", title=_CLOCK, status="warning", summary=f"{seconds:,.0f}s {ahead} the gateway's",
        remedy="Set this machine's clock (NTP): budgets' days, tokens and webhook signatures depend on it",
    )  # fmt: skip


def self_hosted(settings: Settings) -> ValidationCheck:
    """Whether calls depend on Helicone's cloud."""
    name, title = "self_hosted_gateway", "Self-hosted Gateway"
    if not settings.is_cloud:
        told = f"Configured ({settings.gateway_url})"
        return ValidationCheck(name=name, title=title, status="ok", summary=told)
    return ValidationCheck(
        name=name, title=title, status="warning", summary="Not configured (using cloud gateway)",
        remedy="Consider self-hosted gateway for production workloads",
    )  # fmt: skip


def _skew_s(reply: HttpReply, began_at_s: float) -> float | None:
    """How far the local clock is ahead; 0 where the difference is within the second that the date was cut to."""
    try:
        moment = parsedate_to_datetime(reply.headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    told_s = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    ended_at_s = time.time()
    if began_at_s > told_s + 1:
        return began_at_s - told_s - 1
    return min(0.0, ended_at_s - told_s)


def _milliseconds(seconds: float | None) -> str:
    from .layout import duration

    return duration(seconds or 0.0)


__all__ = ["SLOW_S", "Probe", "clock", "connectivity", "helicone_key", "probe", "self_hosted"]
