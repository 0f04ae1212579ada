"""One attempt against one target: the request is made, sent and read, and the attempt recorded however it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from .._rules.ledger import LedgerRow
from .._values import Currency, HttpReply, HttpRequest, Reply, TokenCounts
from .._wire.anthropic_shape import encode_messages
from .._wire.dialects import Dialect, Endpoint
from .._wire.failures import classify
from .._wire.openai_shape import encode_chat
from .._wire.replies import decode_reply
from .._wire.schema import take_answer
from ..chat_request import ChatRequest
from ..errors import Attempt, Billed, DeadlineExceededError, HeliconeError, ProviderError
from .estimates import Estimates
from .ports import Transport
from .settle import FREE, charge_of
from .ticket import Charge, Exchange, Outcome, Reserved, Target, Ticket

_OK = range(200, 300)
_HELICONE: tuple[Dialect, ...] = ("helicone", "proxy")
"""Where `Helicone-*` headers go: the Rust gateway would pass them on to the provider, others do not know them."""
_BREAKDOWNS = ("team", "project", "customer_id", "environment")
_NO_NAMES = ("",) * len(_BREAKDOWNS)
_NONE = TokenCounts()
_NOTHING = Reserved()
_SILENCE = Reply(content="", finish_reason=None, usage=None)


class Attempts:
    """Makes attempts and writes them down. `clock` is the event loop's, `new_id` gives the request ids."""

    __slots__ = (
        *("_clock", "_estimates", "_fees", "_kept", "_money", "_new_id", "_remembered", "_traced"),
        "_transport",
    )

    def __init__(
        self,
        transport: Transport,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        *,
        fees: Mapping[str, float],
        estimates: Estimates,
        currency: Currency,
        traced: Callable[[], bool] = lambda: False,
        kept: Callable[[Endpoint], bool] | None = None,
    ) -> None:
        self._kept = kept
        self._traced = traced
        self._transport = transport
        self._estimates = estimates
        self._money = currency.of
        self._clock = clock
        self._new_id = new_id
        self._fees = fees
        self._remembered: dict[tuple[int, int], tuple[object, object, dict[str, str]]] = {}

    async def ask(self, ticket: Ticket, target: Target, until: float) -> Outcome:
        """Sends the call to the target and reads the whole answer, until `until` on the loop's clock.

        Raises:
            HeliconeError: the attempt failed; it is on the ticket, and so is what it may have cost.
        """
        endpoint = target.endpoint
        request = self.prepared(ticket, target, endpoint.chat_url, encode(ticket.request, endpoint, stream=False))
        request_id = request.request_id
        started = self._clock()
        try:
            http = await self._transport.send(request, until)
            if (turn := ticket.turn) is not None:
                turn.gate.heard(turn.model, http.headers)
            if http.status not in _OK:
                raise classify(http, endpoint, request_id=request_id, now_s=time.time())
            reply = decode_reply(http.body, http.status, endpoint, request_id)
        except BaseException as exc:  # noqa: BLE001  recorded, then raised
            raise self.failed(exc, ticket, target, request, started, until) from exc.__cause__
        return self.succeeded(ticket, target, request_id, started, reply, http)

    def streamed(self, ticket: Ticket, target: Target) -> HttpRequest:
        """The HTTP request of one attempt at a chat whose answer comes in pieces."""
        endpoint = target.endpoint
        request = self.prepared(ticket, target, endpoint.chat_url, encode(ticket.request, endpoint, stream=True))
        request.headers["Accept"] = "text/event-stream"
        return request

    def prepared(self, ticket: Ticket, target: Target, url: str, body: bytes) -> HttpRequest:
        """A request with this body, under a request id of its own.

        What is set aside for it is noted: its part of the call's hold, else the worst case where telemetry asks.
        """
        endpoint, request_id = target.endpoint, self._new_id()
        known = self._remembered.get((id(endpoint), id(ticket.headers)))  # of nobody else as long as both are in there
        headers = (known or self._remember(ticket, endpoint))[2].copy()
        if endpoint.dialect in _HELICONE:
            headers["Helicone-Request-Id"] = request_id
        hold, is_traced = ticket.hold, self._traced()
        if held_pusd := hold.held_pusd:
            if ticket.failed_pusd:
                held_pusd = max(0, held_pusd - ticket.failed_pusd)
            ticket.reserved[request_id] = Reserved(held_pusd, None, hold.standing() if is_traced else None)
        elif is_traced:
            ticket.reserved[request_id] = self._worst(ticket.request, target)
        if self._kept is not None and self._kept(endpoint):
            ticket.exchanges[request_id] = Exchange(endpoint=endpoint, url=url, body=body, at_s=time.time())
        return HttpRequest(
            method="POST", url=url, headers=headers, body=body, credential=endpoint.credential, request_id=request_id
        )

    def _worst(self, request: ChatRequest, target: Target) -> Reserved:
        """The worst case, which telemetry asks for where no budget holds it."""
        worst = self._estimates.worst_case_pusd(request, target)
        return Reserved(worst or 0, self._estimates.most_tokens(request, target) if worst is None else None)

    def _remember(self, ticket: Ticket, endpoint: Endpoint) -> tuple[Endpoint, Mapping[str, str], dict[str, str]]:
        """Headers that every request of this endpoint and attribution carries; the memory keeps both alive."""
        headers = {"Content-Type": "application/json", "User-Agent": "genops-helicone-async", **endpoint.headers}
        if endpoint.dialect in _HELICONE:
            headers.update(ticket.headers)
        if len(self._remembered) >= 4096:  # a cap on memory
            self._remembered.clear()
        known = self._remembered[id(endpoint), id(ticket.headers)] = endpoint, ticket.headers, headers
        return known

    def charge(
        self, request: ChatRequest, target: Target, reply: Reply, headers: Mapping[str, str]
    ) -> tuple[Charge, TokenCounts]:
        """What a whole answer costs and the tokens it is counted with."""
        return charge_of(request, target, reply, headers, self._fees, self._estimates)

    def succeeded(
        self, ticket: Ticket, target: Target, request_id: str, started: float, reply: Reply, http: HttpReply,
        *, first_chunk_s: float | None = None,
    ) -> Outcome:  # fmt: skip
        """Puts a successful attempt on the ticket, with its charge."""
        if ticket.exchanges:
            ticket.came_back(request_id, reply, http.body, http.headers)
        endpoint, estimates = target.endpoint, self._estimates
        charge, counts = charge_of(ticket.request, target, reply, http.headers, self._fees, estimates)
        if reply.usage is not None and reply.finish_reason is not None:
            estimates.observe(ticket.request, target, reply.finish_reason, counts.output)
        if endpoint.answers_by_tool:
            reply = take_answer(reply)
        duration_s, provider, model = self._clock() - started, endpoint.provider, endpoint.model
        tokens_in, tokens_out, source, fee = counts.input, counts.output, charge.source, charge.gateway_pusd
        pusd, money, reserved = charge.provider_pusd + fee, self._money, ticket.reserved.get(request_id, _NOTHING)
        ticket.attempts.append(Attempt(
            provider, model, request_id, endpoint.host, started - ticket.started, duration_s,
            http.status, http.status, billed="yes", cost=money(pusd), cost_source=source,
            input_tokens=tokens_in, output_tokens=tokens_out, cached_input_tokens=counts.cached,
            cache_write_tokens=counts.cache_write, reasoning_tokens=counts.reasoning,
            reserved=money(reserved.pusd) if reserved.pusd else 0.0, reserved_tokens=reserved.tokens,
            time_to_first_chunk_s=first_chunk_s, finish_reason=reply.finish_reason, response_id=reply.response_id,
            response_model=reply.served_model,
        ))  # fmt: skip
        team, project, customer_id, environment = map(ticket.attribution.get, _BREAKDOWNS, _NO_NAMES)
        ticket.rows.append(LedgerRow(
            request_id=request_id, at_s=time.time(), provider=provider, model=model, status="ok", cost_pusd=pusd,
            gateway_pusd=fee, cost_source=source, input_tokens=tokens_in, output_tokens=tokens_out,
            duration_ms=duration_s * 1000,
            team=team, project=project, customer_id=customer_id, environment=environment,
        ))  # fmt: skip
        if (turn := ticket.turn) is not None:
            turn.used = tokens_in + tokens_out if turn.tokens else 0
        return Outcome(
            target=target, request_id=request_id, reply=reply, headers=http.headers, body=http.body,
            duration_s=duration_s, charge=charge, counts=counts, is_cached=charge is FREE,
        )  # fmt: skip

    def failed(
        self, exc: BaseException, ticket: Ticket, target: Target, request: HttpRequest, started: float, until: float
    ) -> BaseException:
        """Puts a failed attempt on the ticket, with what it may have cost, and gives the error to raise."""
        endpoint = target.endpoint
        if isinstance(exc, DeadlineExceededError) and until < ticket.deadline:
            exc = ProviderError(
                f"{endpoint.provider} gave no answer within {until - started:.1f} s, its share of the time left",
                code="attempt_timeout", billed=exc.billed,
            )  # fmt: skip
        if isinstance(exc, HeliconeError):
            exc.provider, exc.model = exc.provider or endpoint.provider, exc.model or endpoint.model
            exc.request_id = exc.request_id or request.request_id
            billed = exc.billed
        else:
            billed = "maybe" if request.sent else "no"
        charge = Charge() if billed == "no" else self._estimates.lost_charge(ticket.request, target)
        self.note(exc, ticket, target, request, started, charge, billed)
        return exc

    def note(
        self, exc: BaseException | None, ticket: Ticket, target: Target, request: HttpRequest, started: float,
        charge: Charge, billed: Billed, *, counts: TokenCounts = _NONE, reply: Reply = _SILENCE,
        first_chunk_s: float | None = None,
    ) -> None:  # fmt: skip
        """Puts an attempt that brought no whole answer on the ticket; without an error it was abandoned."""
        endpoint, request_id = target.endpoint, request.request_id
        ticket.came_back(request_id, reply)
        error = exc if isinstance(exc, HeliconeError) else None
        reserved = ticket.reserved.get(request_id, _NOTHING)
        ticket.failed_pusd += charge.total_pusd
        ticket.attempts.append(Attempt(
            provider=endpoint.provider, model=endpoint.model, request_id=request_id,
            host=endpoint.host, started_s=started - ticket.started, duration_s=self._clock() - started,
            error=type(exc).__name__ if exc is not None else "Abandoned",
            error_message=error.message if error is not None else "cancelled" if exc is not None else "the caller left",
            billed=billed, cost=self._money(charge.total_pusd),
            cost_source="none" if billed == "no" else charge.source,
            status_code=error.status_code if error else None, http_status=error.http_status if error else None,
            retry_after_s=error.retry_after_s if error else None,
            reserved=self._money(reserved.pusd), reserved_tokens=reserved.tokens,
            time_to_first_chunk_s=first_chunk_s, finish_reason=reply.finish_reason, response_id=reply.response_id,
            response_model=reply.served_model,
        ))  # fmt: skip
        done = ticket.attempts[-1]
        team, project, customer_id, environment = map(ticket.attribution.get, _BREAKDOWNS, _NO_NAMES)
        ticket.rows.append(LedgerRow(
            request_id=request_id, at_s=time.time(), provider=done.provider, model=done.model, status=done.error or "",
            cost_pusd=charge.total_pusd, gateway_pusd=charge.gateway_pusd, cost_source=charge.source,
            input_tokens=counts.input, output_tokens=counts.output, duration_ms=done.duration_s * 1000,
            team=team, project=project, customer_id=customer_id, environment=environment,
        ))  # fmt: skip
        if ticket.turn is not None:  # what it used is not known: all that was reserved, unless nothing is paid
            ticket.turn.used = 0.0 if billed == "no" else ticket.turn.tokens


def encode(request: ChatRequest, endpoint: Endpoint, *, stream: bool) -> bytes:
    """The body in the endpoint's shape."""
    if endpoint.shape == "anthropic":
        return encode_messages(request, endpoint.wire_model, stream=stream)
    return encode_chat(
        request, endpoint.wire_model, endpoint.provider, stream=stream,
        stream_usage=endpoint.stream_usage and not endpoint.is_gateway, answer_by_tool=endpoint.answers_by_tool,
    )  # fmt: skip


__all__ = ["Attempts", "encode"]
