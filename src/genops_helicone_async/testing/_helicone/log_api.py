"""Helicone's log of calls that did not pass it, down to the failures that it reports with a 200."""

from typing import Any

from ..exchange import Arrival, Reply, gateway_fault_reply, json_reply, text_reply
from ..state import SandboxState
from .headers import helicone_id
from .records import LoggedCall

PREFIX = "worker"
LARGEST_BYTES = 10 * 1024 * 1024
_PATHS = frozenset(f"/{PREFIX}/{name}/v1/log" for name in ("custom", "oai", "anthropic", "googleapis"))


class LogApi:
    """Answers `/worker/custom/v1/log` and its twins."""

    __slots__ = ("_state",)

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def answer(self, arrival: Arrival) -> Reply:
        """Answer one request."""
        if fault := self._state.faults.draw(None, (), stream=False, gateway=True):
            return gateway_fault_reply(fault)
        if arrival.path not in _PATHS or arrival.method != "POST":
            return text_reply(404, "Not found")
        if len(arrival.body) > LARGEST_BYTES:
            return text_reply(400, "Payload too large")
        if "authorization" not in arrival.headers:
            return text_reply(401, "Unauthorized")
        document = arrival.document()
        if why := _wrong(document):
            return json_reply({"error": why}, 400)
        if not self._state.knows_helicone_key(arrival.headers["authorization"].removeprefix("Bearer ")):
            return json_reply({"error": "Invalid API key"}, 401)
        call = _call(document, arrival)
        self._state.records.log(call)
        return text_reply(200, "ok", {"helicone-id": call.request_id})


def _call(document: Any, arrival: Arrival) -> LoggedCall:
    sent, back, timing = document["providerRequest"], document["providerResponse"], document.get("timing") or {}
    meta = {name.lower(): str(value) for name, value in sent["meta"].items()}
    meta.update({name: value for name, value in arrival.headers.items() if name.startswith("helicone-")})
    return LoggedCall(
        request_id=helicone_id(meta),
        url=sent["url"],
        meta=meta,
        request=sent["json"],
        status=back["status"],
        response=back["json"],
        text=back.get("textBody"),
        started_s=_seconds(timing.get("startTime")),
        ended_s=_seconds(timing.get("endTime")),
        first_token_ms=timing.get("timeToFirstToken"),
    )


def _wrong(document: Any) -> str | None:
    """What the worker's own validation says of it."""
    try:
        sent, back = document["providerRequest"], document["providerResponse"]
        if not isinstance(sent["url"], str):
            return "Invalid providerRequest.url"
        if not isinstance(sent["json"], dict) or not isinstance(sent["meta"], dict):
            return "Invalid providerRequest"
        if not isinstance(back.get("json"), dict):
            return "Missing or invalid providerResponse.json"
        if isinstance(back["status"], bool) or not isinstance(back["status"], int | float):
            return "Invalid providerResponse.status"
        if not isinstance(back["headers"], dict):
            return "Invalid providerResponse.headers"
        timing = document.get("timing")
        if timing is not None and (_seconds(timing["startTime"]) or 0) > (_seconds(timing["endTime"]) or 0):
            return "Invalid timing: startTime is after endTime"
    except (KeyError, TypeError, AttributeError) as error:
        return f"Invalid asyncLogModel: {error}"
    return None


def _seconds(moment: Any) -> float | None:
    if moment is None:
        return None
    return float(moment["seconds"] + moment["milliseconds"] / 1000)
