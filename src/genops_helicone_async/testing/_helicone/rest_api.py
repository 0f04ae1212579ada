"""Helicone's REST API as far as a client writes to it: ratings and scores of calls, in its envelope."""

import re
from collections.abc import Callable
from typing import Any

from ..exchange import Arrival, Reply, gateway_fault_reply, json_reply
from ..state import SandboxState

PREFIX = "api"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PATH = re.compile(rf"/{PREFIX}/v1/request/([^/]+)/(feedback|score)")
_BAD_ID = "Invalid requestId: must be a valid UUID"


class RestApi:
    """Answers `/api/v1/…`. It knows every call there could be: the sandbox keeps no log to look into."""

    __slots__ = ("_state",)

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def answer(self, arrival: Arrival) -> Reply:
        """Answer one request."""
        if fault := self._state.faults.draw(None, (), stream=False, gateway=True):
            return gateway_fault_reply(fault)
        sent = arrival.headers.get("authorization", "")
        key = sent.removeprefix("Bearer ")
        if key == sent or not self._state.knows_helicone_key(key):
            return json_reply({"error": "Invalid API key", "trace": "isAuthenticated.error"}, 401)
        found = _PATH.fullmatch(arrival.path)
        if found is None or arrival.method != "POST":
            return json_reply({"error": "Not found"}, 404)
        if not _UUID.fullmatch(found[1]):
            return _failed(_BAD_ID)
        body = arrival.document()
        note: Callable[[str, Any], Reply | None] = self._rate if found[2] == "feedback" else self._score
        return note(found[1], body) or json_reply({"data": None, "error": None}, 201)

    def _rate(self, request_id: str, body: Any) -> Reply | None:
        rating = body.get("rating") if isinstance(body, dict) else None
        if not isinstance(rating, bool):
            return _invalid("rating")
        self._state.records.rate(request_id, rating)
        return None

    def _score(self, request_id: str, body: Any) -> Reply | None:
        scores = body.get("scores") if isinstance(body, dict) else None
        if not isinstance(scores, dict):
            return _invalid("scores")
        if not all(isinstance(value, int) for value in scores.values()):
            return _failed("Error adding scores to request.")
        self._state.records.score(request_id, scores)
        return None


def _failed(why: str) -> Reply:
    return json_reply({"data": None, "error": why}, 500)


def _invalid(field: str) -> Reply:
    return json_reply({"message": "Validation Failed", "details": {f"requestBody.{field}": "invalid"}}, 422)
