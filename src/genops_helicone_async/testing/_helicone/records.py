"""What the sandbox's Helicone was told of calls beside serving them: ratings, scores, and calls that passed it by."""

from typing import Any

import msgspec


class LoggedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that somebody else had answered, as Helicone's log was told of it. Times are Unix seconds."""

    request_id: str
    url: str
    meta: dict[str, str]
    """The call's headers, names in lower case; headers of the log's own request win over those told inside."""
    request: Any
    status: float
    response: Any
    text: str | None = None
    """What a stream sent."""
    started_s: float | None = None
    ended_s: float | None = None
    first_token_ms: float | None = None


class HeliconeRecords:
    """Ratings and scores by request id, the last one counts; logged calls in order of arrival, the newest kept."""

    __slots__ = ("_cap", "feedback", "logged", "scores")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self.feedback: dict[str, bool] = {}
        self.scores: dict[str, dict[str, int | bool]] = {}
        self.logged: dict[str, LoggedCall] = {}

    def rate(self, request_id: str, rating: bool) -> None:
        """Note a rating."""
        self.feedback[request_id] = rating
        self._trim(self.feedback)

    def score(self, request_id: str, scores: dict[str, int | bool]) -> None:
        """Note scores, over those of the same name."""
        self.scores[request_id] = {**self.scores.get(request_id, {}), **scores}
        self._trim(self.scores)

    def log(self, call: LoggedCall) -> None:
        """Note a call; one of the same id is written over."""
        self.logged.pop(call.request_id, None)
        self.logged[call.request_id] = call
        self._trim(self.logged)

    def _trim(self, notes: dict[str, Any]) -> None:
        while len(notes) > self._cap:
            del notes[next(iter(notes))]
