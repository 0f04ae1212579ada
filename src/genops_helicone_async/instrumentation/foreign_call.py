"""One call of another client, from its request to its settlement; it never harms the call it watches.

The client sends and reads by itself. What it reads is shown here piece by piece, as it passes, and when the body has
ended, or was left, the call is settled exactly once: as an answer, as a failure, or as an estimate.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import msgspec

from .._flow.affordable import cases_of
from .._flow.in_time import in_time
from .._flow.settle import is_hit
from .._flow.ticket import Reserved, Target, Ticket, Turn, record_of
from .._rules.prices import Price
from .._values import HttpRequest
from ..errors import HeliconeError
from .asked import Asked, endpoint_at
from .failures import translated
from .places import known_provider
from .replying import Replying
from .reporting import report_once

if TYPE_CHECKING:
    from .governor import Governor

P = ParamSpec("P")


def _harmless(
    step: Callable[Concatenate[ForeignCall, P], None],
) -> Callable[Concatenate[ForeignCall, P], None]:
    """A step that fails is reported once, and ends the watching, not the call."""

    @functools.wraps(step)
    def run(self: ForeignCall, *args: P.args, **kwargs: P.kwargs) -> None:
        if self._ended:
            return
        try:
            step(self, *args, **kwargs)
        except Exception:  # noqa: BLE001  whatever goes wrong here, the caller's own call goes on
            report_once(step.__name__)
            self._give_up()

    return run  # type: ignore[return-value]  # functools.wraps has a type of its own


class ForeignCall:
    """A call under way. Its steps: `admit`, then `sent`, `head`, `feed` and `end`; `fail` or `leave` may cut in."""

    __slots__ = ("_asked", "_ended", "_governor", "_http", "_replying", "_started", "targets", "ticket")

    def __init__(self, governor: Governor, asked: Asked) -> None:
        shared, now = governor.parts.shared, governor.clock()
        self._ended = True  # until there is something to end
        self._governor = governor
        self._asked = asked
        attribution, headers = shared.attribution.of(asked.request)
        self.ticket = Ticket(
            request=asked.request,
            attribution=attribution,
            headers=headers,
            started=now,
            deadline=now + shared.settings.timeout_s,
            streamed=asked.streams,
        )
        self.ticket.hold = shared.budget.open(attribution, enforce=None if governor.enforces else False)
        self.targets = [Target(endpoint=endpoint, price=None) for endpoint in asked.endpoints]
        self._started = now
        self._http = HttpRequest(
            method="POST", url=self.targets[0].endpoint.chat_url, headers={"Helicone-Request-Id": shared.new_id()}
        )
        self._replying: Replying | None = None
        self._ended = False

    def __repr__(self) -> str:
        return f"ForeignCall({self.targets[0].endpoint!r}, ended={self._ended})"

    def __del__(self) -> None:
        # A response that nobody read to its end, nor closed; while the interpreter ends nothing can be told any more.
        if not getattr(self, "_ended", True) and not sys.is_finalizing():
            self.leave()

    @property
    def helicone_headers(self) -> Mapping[str, str]:
        """What tells Helicone whose call it is, for calls that are sent there on our account."""
        return {**self.ticket.headers, **self._http.headers}

    def admit_nowait(self) -> bool:
        """Lets the call through where nothing has to be waited for; False where it has: then `admit` it.

        Raises:
            HeliconeError: a budget has no room for it, or no price is known under an enforced one.
        """
        governor, hold = self._governor, self.ticket.hold
        if not self._price_nowait() or governor.parts.shared.audit is not None:
            return False
        if hold.is_limited and not (governor.decides_at_once and hold.raise_nowait(self._worst_pusd())):
            return False
        return not governor.limits(self._provider)

    async def admit(self) -> None:
        """The same on the loop thread, waiting for prices, budgets and limits.

        Raises:
            HeliconeError: as above, or its turn did not come in time, or the ledger cannot be used.
        """
        governor, ticket = self._governor, self.ticket
        if not self._price_nowait():
            for target in self.targets:
                await governor.parts.shared.prices.resolve(target.endpoint.provider, target.endpoint.model)
            self._price_nowait()
        if ticket.hold.is_limited:
            worst = self._worst_pusd()
            if not ticket.hold.raise_nowait(worst):
                await in_time(ticket.hold.raise_to(worst), ticket.deadline, "its budget was asked")
        if (audit := governor.parts.shared.audit) is not None:
            await audit.admit(ticket, self.targets)
        if governor.limits(self._provider):
            await self._take_turn()

    @property
    def _provider(self) -> str:
        return self.targets[0].endpoint.provider

    def _price_nowait(self) -> bool:
        """Finds the prices that are known already; False where one was never looked up."""
        shared = self._governor.parts.shared
        if not shared.settings.enable_cost_tracking:
            return True
        now_s, found = time.time(), []
        for target in self.targets:
            endpoint = target.endpoint
            price = shared.prices.lookup(endpoint.provider, endpoint.model, now_s)
            if price is not None and not isinstance(price, Price):
                return False
            found.append(Target(endpoint=endpoint, price=price))
        self.targets = found
        return True

    def _worst_pusd(self) -> int:
        """The most that the call may cost, whoever the gateway chooses."""
        shared = self._governor.parts.shared
        return max(cost for _, cost in cases_of(self.ticket, self.targets, shared.estimates, shared.currency))

    async def _take_turn(self) -> None:
        governor, ticket, endpoint = self._governor, self.ticket, self.targets[0].endpoint
        gate = governor.gate(endpoint.provider)
        likely = governor.parts.shared.estimates.likely_tokens(ticket.request, self.targets[0])
        tokens = float(likely) if gate.counts_tokens else 0.0
        who = (ticket.attribution.get("team"), ticket.attribution.get("customer_id"))
        await gate.enter(endpoint.model, tokens, priority=0, tenant=who, deadline=ticket.deadline)
        ticket.turn = Turn(gate, endpoint.model, tokens)

    @_harmless
    def refuse(self, error: BaseException) -> None:
        """The call is not sent: what is held is given back, and the refusal told."""
        self._close(error)

    @_harmless
    def sent(self) -> None:
        """The client is about to send it."""
        self._started, self._http.sent = self._governor.clock(), True
        ticket, shared = self.ticket, self._governor.parts.shared
        request_id, target = self._http.headers["Helicone-Request-Id"], self.targets[0]
        if held := ticket.hold.held_pusd:
            ticket.reserved[request_id] = Reserved(held)
        elif shared.tracing.is_on():
            worst = shared.estimates.worst_case_pusd(ticket.request, target)
            tokens = None if worst is not None else shared.estimates.most_tokens(ticket.request, target)
            ticket.reserved[request_id] = Reserved(worst or 0, tokens)

    @_harmless
    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """The reply's status and headers are here."""
        known = {str(name).lower(): str(value) for name, value in headers.items()}
        target = self._answering(known)
        if self.ticket.turn is not None:
            self._governor.post(self.ticket.heard, known)
        self._replying = Replying(
            self._asked, target, status, known, request_id=self._http.headers["Helicone-Request-Id"],
            most_bytes=self._governor.parts.shared.settings.max_response_bytes,
        )  # fmt: skip

    def _answering(self, headers: Mapping[str, str]) -> Target:
        """Who answers: where the gateway chooses, its headers tell."""
        target, place = self.targets[0], self._asked.place
        if place.provider is not None or place.dialect not in ("helicone", "rust"):
            return target
        named = headers.get("helicone-provider", "")
        provider = known_provider(named) or named or target.endpoint.provider
        for each in self.targets:
            if each.endpoint.provider == provider:
                target = each
                break
        else:
            model = target.endpoint.model
            target = Target(endpoint=endpoint_at(place, provider, model), price=self._price_of(provider, model))
        if place.dialect == "helicone" and "helicone-gateway-mode" not in headers and not place.is_cloud:
            # A gateway of one's own that passed a provider's reply through as it was.
            return msgspec.structs.replace(target, endpoint=msgspec.structs.replace(target.endpoint, dialect="proxy"))
        return target

    def _price_of(self, provider: str, model: str) -> Price | None:
        """The price of a provider that only the reply named; looked up at once, which the first time takes a while."""
        shared = self._governor.parts.shared
        if not shared.settings.enable_cost_tracking:
            return None
        price = shared.prices.lookup(provider, model, time.time())
        if price is None or isinstance(price, Price):
            return price
        found: Price | None = self._governor.book.resolve_now(provider, model)
        return found

    @_harmless
    def feed(self, data: bytes, *, decoded: bool = False) -> None:
        """A piece of the body has passed; `decoded` says that the client had undone its compression."""
        replying = self._replying
        if replying is not None and replying.feed(data, decoded=decoded):
            replying.first_content_s = self._governor.clock() - self._started

    @_harmless
    def end(self) -> None:
        """The body is here to its end."""
        if self._replying is not None:
            self._replying.close()
        self._finish(None)

    @_harmless
    def leave(self) -> None:
        """Nobody reads on; without effect on a call that has ended."""
        self._finish(None)

    @_harmless
    def fail(self, exc: BaseException) -> None:
        """The client could not send it, or not read the whole reply."""
        error, was_sent = translated(exc, self.targets[0].endpoint.host)
        self._http.sent = self._http.sent and was_sent
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        """Puts the attempt on the ticket and settles."""
        self._ended = True
        attempts, ticket, replying = self._governor.attempts, self.ticket, self._replying
        if replying is None:
            if error is None:
                attempts.note(None, ticket, self.targets[0], self._http, self._started, *self._lost())
            else:
                attempts.failed(error, ticket, self.targets[0], self._http, self._started, ticket.deadline)
            self._close(error)
            return
        estimates = self._governor.parts.shared.estimates
        failure = replying.settle(attempts, estimates, ticket, self._http, self._started, error)
        if replying.outcome is None:
            self._close(failure)
            return
        shared, outcome = self._governor.parts.shared, replying.outcome
        ticket.settled = True
        ticket.durable = ticket.hold.settle(ticket.rows, failed=False, cached=is_hit(outcome.headers))
        self._end_turn(None)
        response = replying.response(ticket, shared.currency)
        pusd = outcome.charge.total_pusd
        shared.sinks.emit(record_of(ticket, self._governor.clock(), cost_pusd=pusd, response=response))

    def _lost(self) -> tuple[Any, Any]:
        charge = self._governor.parts.shared.estimates.lost_charge(self.ticket.request, self.targets[0])
        return charge, "maybe"

    def _close(self, error: BaseException | None) -> None:
        """Settles a call that brought no whole answer."""
        self._ended = True
        ticket, shared = self.ticket, self._governor.parts.shared
        if ticket.settled:
            return
        ticket.settled = True
        ticket.durable = ticket.hold.settle(ticket.rows, failed=error is not None, cached=False)
        self._end_turn(error)
        if isinstance(error, HeliconeError):
            error.attempts = tuple(ticket.attempts)
        shared.sinks.emit(record_of(ticket, self._governor.clock(), error=error))

    def _end_turn(self, error: BaseException | None) -> None:
        if self.ticket.turn is not None:
            self._governor.post(self._governor.end_turn, self.ticket, error)

    def _give_up(self) -> None:
        """After a failure of our own: what is held must not stay."""
        self._ended = True
        try:
            self.ticket.settled = True
            self.ticket.hold.settle(self.ticket.rows, failed=True, cached=False)
            self._end_turn(None)
        except Exception:  # noqa: BLE001  see `_harmless`
            report_once("giving up")


__all__ = ["ForeignCall"]
