"""A transport without a network: answers from a script, for tests that need to know every byte and every moment."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from .._values import HttpReply, HttpRequest
from ..errors import Billed, DeadlineExceededError, DecodeError, GatewayError, HeliconeError
from .request_log import SeenHeaders


class Hang(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing comes until the deadline; `sent` says whether the request had gone out."""

    sent: bool = True


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing comes until the event is set, or the deadline passes."""

    event: asyncio.Event


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One reply. Its `parts` arrive one by one: bytes, waits, or an error that breaks the body off.

    The head comes after the event `after`, if there is one.
    """

    after: asyncio.Event | None = None
    status: int = 200
    headers: Mapping[str, str] = {}
    parts: tuple[bytes | Hang | Wait | HeliconeError, ...] = ()


Step = Answer | Hang | HeliconeError
"""What becomes of one request: an answer, an error in its place, or silence."""


def chat_answer(
    content: str = "Hello", *, input_tokens: int = 10, output_tokens: int = 5, finish_reason: str = "stop", **more: Any
) -> Answer:
    """A whole chat completion; `more` are fields of the body, such as `model`."""
    message = {"role": "assistant", "content": content}
    body = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": input_tokens, "completion_tokens": output_tokens},
        **more,
    }
    return Answer(headers={"content-type": "application/json"}, parts=(msgspec.json.encode(body),))


def stream_answer(
    *texts: str, input_tokens: int = 10, output_tokens: int = 5, finish_reason: str | None = "stop"
) -> Answer:
    """The same as a stream, a part for each event; without a finish reason it ends as if it had been cut."""
    events = [_event(content=text) for text in texts]
    if finish_reason is not None:
        usage = {"prompt_tokens": input_tokens, "completion_tokens": output_tokens}
        events += [_event(finish_reason=finish_reason), _event(usage=usage), b"data: [DONE]\n\n"]
    return Answer(headers={"content-type": "text/event-stream"}, parts=tuple(events))


def error_answer(status: int, message: str = "scripted", *, headers: Mapping[str, str] | None = None) -> Answer:
    """An error as OpenAI and most others word it."""
    body = msgspec.json.encode({"error": {"message": message}})
    return Answer(status=status, headers={"content-type": "application/json", **(headers or {})}, parts=(body,))


def _event(content: str | None = None, finish_reason: str | None = None, usage: Any = None) -> bytes:
    delta = {} if content is None else {"content": content}
    choices = [] if usage is not None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    event = {"object": "chat.completion.chunk", "choices": choices, "usage": usage}
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


class ScriptedTransport:
    """Stands where the network would. `script` is the steps in order, or a function from a request to its step.

    `requests` are those sent so far; `open_bodies` counts replies whose body was neither read to its end nor closed,
    `dropped` those that were closed before their end. The limit and the deadline hold as they do on the network.

    Args:
        script: A step per request, or a function that gives one.
        max_response_bytes: The largest body that is taken.
    """

    __slots__ = ("_script", "closed", "dropped", "max_response_bytes", "open_bodies", "requests")

    def __init__(
        self, script: Iterable[Step] | Callable[[HttpRequest], Step], *, max_response_bytes: int = 64 * 2**20
    ) -> None:
        steps = None if callable(script) else iter(script)
        self._script = script if callable(script) else lambda _request: _next(steps)
        self.max_response_bytes = max_response_bytes
        self.requests: list[HttpRequest] = []
        self.open_bodies = 0
        self.dropped = 0
        self.closed = False

    def __repr__(self) -> str:
        return f"ScriptedTransport({len(self.requests)} requests, {self.open_bodies} bodies open)"

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        """Answers with the next step of the script, read whole."""
        body = await self.open(request, deadline)
        try:
            return HttpReply(status=body.status, headers=body.headers, body=await body.read_all(deadline))
        finally:
            body.close()

    async def open(self, request: HttpRequest, deadline: float) -> "ScriptedBody":
        """Answers with the next step of the script, its body yet to be read."""
        if self.closed:
            raise GatewayError("the scripted transport is closed")
        self.requests.append(request)
        step = self._script(request)
        request.sent = step.sent if isinstance(step, Hang) else getattr(step, "billed", "yes") != "no"
        await _turn(step.after if isinstance(step, Answer) else _event_of(step), request, deadline)
        if isinstance(step, HeliconeError):
            raise step
        assert isinstance(step, Answer)
        return ScriptedBody(step, request, self)

    async def aclose(self) -> None:
        """Refuses what comes after."""
        self.closed = True


class ScriptedBody:
    """A scripted reply whose body is still arriving."""

    __slots__ = ("_over", "_parts", "_request", "_size", "_transport", "headers", "status")

    def __init__(self, answer: Answer, request: HttpRequest, transport: ScriptedTransport) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = SeenHeaders((name.lower(), text) for name, text in answer.headers.items())
        self._parts = list(answer.parts)
        self._request = request
        self._transport = transport
        self._size = 0
        self._over = False
        transport.open_bodies += 1

    async def read(self, deadline: float) -> bytes:
        """The next part, empty at the end."""
        while self._parts and not self._over:
            part = self._parts.pop(0)
            try:
                await _turn(_event_of(part), self._request, deadline)
                if isinstance(part, HeliconeError):
                    raise part
            except BaseException:
                self.close()
                raise
            if isinstance(part, bytes):
                return self._counted(part)
        self._end(dropped=False)
        return b""

    async def read_all(self, deadline: float) -> bytes:
        """All remaining parts, joined."""
        parts = []
        while part := await self.read(deadline):
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Ends the reply; before its end this counts as dropping the connection."""
        self._end(dropped=True)

    def _counted(self, part: bytes) -> bytes:
        self._size += len(part)
        if self._size > self._transport.max_response_bytes:
            self.close()
            raise DecodeError("the scripted reply is larger than the limit", billed="maybe", http_status=self.status)
        return part

    def _end(self, *, dropped: bool) -> None:
        if not self._over:
            self._over = True
            self._transport.open_bodies -= 1
            self._transport.dropped += dropped


async def _turn(event: asyncio.Event | None, request: HttpRequest, deadline: float) -> None:
    """Lets the event loop turn, as a network always does, and waits for the event; both until the deadline."""
    try:
        async with asyncio.timeout_at(deadline):
            await asyncio.sleep(0)
            if event is not None:
                await event.wait()
    except TimeoutError as exc:
        billed: Billed = "maybe" if request.sent else "no"
        raise DeadlineExceededError("the script answers nothing before the deadline", billed=billed) from exc


def _event_of(part: object) -> asyncio.Event | None:
    """What a part waits for: its event, nothing, or for ever."""
    if isinstance(part, Wait):
        return part.event
    return asyncio.Event() if isinstance(part, Hang) else None


def _next(steps: Any) -> Step:
    try:
        step: Step = next(steps)
    except StopIteration:
        raise LookupError("the script has no step left for this request") from None
    return step


__all__ = [
    "Answer",
    "Hang",
    "ScriptedBody",
    "ScriptedTransport",
    "Step",
    "Wait",
    "chat_answer",
    "error_answer",
    "stream_answer",
]
