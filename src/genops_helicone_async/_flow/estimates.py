"""What a call may cost before it is known: the worst case for holds, the likely case for routing and lost answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from operator import attrgetter
from typing import Any

import msgspec

from .._rules.averages import UNKNOWN, OutputAverages
from .._rules.prices import Price, cost_pusd, worst_case_pusd
from .._rules.tokens import (
    TOKENS_PER_MESSAGE,
    TOKENS_PER_REPLY,
    estimate_input_tokens,
    image_tokens_for,
    most_tokens,
    most_tokens_of_all,
    texts_of,
)
from .._values import Reply, TokenCounts
from .._wire.schema import answer_tool_of
from ..chat_request import ChatRequest, EmbedRequest
from .ticket import Charge, Target

_MOST_OUTPUT = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""Fields of `extra_body` that say how long an answer may be."""


_MOST_REMEMBERED = 4096
_beside = attrgetter("__class__", "tools", "extra_body", "response_model", "response_format")
_NOTHING_BESIDE = (ChatRequest, None, None, None, None)


class _Size(msgspec.Struct, frozen=True):
    """What a request comes to at one model: tokens sent, and those that hardly any provider counts more of.

    `allowed` and `answers` are as the functions below tell.
    """

    input: int
    most_input: int
    allowed: int | None
    answers: int
    marks_cache: bool


class _Terms(msgspec.Struct, frozen=True):
    """What the worst case at a target comes from, where its price is the same for any number of tokens."""

    target: Target
    per_request: int
    per_input: int
    per_output: int
    fee: float


class Estimates:
    """Token and cost estimates. `count` is (model, text) → tokens, `fees` the gateway's shares by billing mode.

    `count_each` is the same for several texts at once. `rough` counts without loading anything: for what a lost answer
    may have cost, which stays an estimate anyway. With `fears_for_lost` that is the worst case: what is booked for lost
    answers is then never less than their bill.
    """

    __slots__ = ("_count", "_count_each", "_highest_fee", "_latest", "_rough", "_terms", "averages", "fears_for_lost")

    def __init__(
        self,
        count: Callable[[str, str], int],
        fees: Mapping[str, float],
        rough: Callable[[str, str], int] | None = None,
        count_each: Callable[[str, Sequence[str]], Sequence[int]] | None = None,
    ) -> None:
        self._count = count
        self._count_each = count_each or (lambda model, texts: [count(model, text) if text else 0 for text in texts])
        self._rough = rough or count
        self._highest_fee = max(fees.values(), default=0.0)
        self._latest: tuple[ChatRequest | None, dict[str, _Size]] = (None, {})
        self._terms: dict[int, _Terms] = {}
        self.averages = OutputAverages()
        self.fears_for_lost = False

    def get_ready(self) -> None:
        """Loads what counting needs now (0.3 s, once), rather than within the deadline of the first call."""
        self._count("gpt-4o", "ready")

    def observe(self, request: ChatRequest, target: Target, finish_reason: str, output_tokens: int) -> None:
        """Learns from a whole answer how long answers are, unless the call itself cut it short."""
        if finish_reason == "length" and allowed_output(request) is not None:
            return
        if request.extra_body:
            output_tokens = ceil(output_tokens / answers_of(request))
        self.averages.observe(target.endpoint.key, output_tokens)

    def input_tokens(self, request: ChatRequest, model: str) -> int:
        """Estimated tokens of everything the call sends, the schema of a structured answer included."""
        return self._size(request, model).input

    def _rough_input(self, request: ChatRequest, model: str) -> int:
        """The same, without loading anything for it."""
        return self._tokens_sent(request, model, lambda text: self._rough(model, text))

    def _size(self, request: ChatRequest, model: str) -> _Size:
        """What the request comes to.

        One call asks for it several times in a row, so that of the latest request is remembered.
        """
        latest, sizes = self._latest
        if latest is not request:
            sizes = {}
            self._latest = request, sizes
        elif size := sizes.get(model):
            return size
        size = sizes[model] = self._measured(request, model)
        return size

    def _measured(self, request: ChatRequest, model: str) -> _Size:
        message = request.message
        if _beside(request) != _NOTHING_BESIDE:
            return self._measured_with_all(request, model)
        texts = texts_of(message) if type(message) is list else [message] if type(message) is str else None
        if texts is None:
            return self._measured_with_all(request, model)
        if request.system_prompt is not None:
            texts.append(request.system_prompt)
        counts = self._count_each(model, texts)
        framing = TOKENS_PER_REPLY + TOKENS_PER_MESSAGE * len(texts)
        most = framing + most_tokens_of_all(texts, counts)
        return _Size(framing + sum(counts), most, request.max_tokens, 1, False)

    def _measured_with_all(self, request: ChatRequest, model: str) -> _Size:
        """The same for any request: with tools, a schema, images, text beyond ASCII, fields of a provider's own."""
        beyond = 0

        def count(text: str) -> int:
            nonlocal beyond
            tokens = self._count(model, text)
            beyond += most_tokens(text, tokens) - tokens
            return tokens

        tokens = self._tokens_sent(request, model, count)
        return _Size(tokens, tokens + beyond, allowed_output(request), answers_of(request), _marks_cache(request))

    @staticmethod
    def _tokens_sent(request: ChatRequest, model: str, count: Callable[[str], int]) -> int:
        images = image_tokens_for(model)
        return estimate_input_tokens(request.messages(), _tools_and_schema(request), count, tokens_per_image=images)

    def likely_tokens(self, request: ChatRequest, target: Target) -> int:
        """Tokens a provider is likely to count for the call: its input, and the output it may have or is likely to."""
        endpoint, (latest, sizes) = target.endpoint, self._latest
        size = sizes.get(endpoint.model) if latest is request else None
        if size is None:
            likely = self.averages.of(endpoint.key).expected * answers_of(request)
            allowed = allowed_output(request)
            return self._rough_input(request, endpoint.model) + (likely if allowed is None else allowed)
        allowed = size.allowed
        if allowed is None:
            allowed = self.averages.known.get(endpoint.key, UNKNOWN).expected * size.answers
        return size.input + allowed

    def worst_case_pusd(self, request: ChatRequest, target: Target) -> int | None:
        """Pico-dollars to set aside: input with a margin, output at `max_tokens` or what few answers exceed.

        The cache write that the AI Gateway asks of Claude by itself or that the request asks for (which may be for
        an hour), and the gateway's highest fee, are in it. None where no price is known.
        """
        price, endpoint = target.price, target.endpoint
        if price is None:
            return None
        size = self._size(request, endpoint.model)
        output = size.allowed
        if output is None:
            output = self.averages.known.get(endpoint.key, UNKNOWN).cautious * size.answers
        terms = self._terms.get(id(target))
        if terms is None or size.marks_cache:
            return self._looked_up(price, target, size, output)
        cost = terms.per_request + size.most_input * terms.per_input + output * terms.per_output
        return cost + ceil(cost * terms.fee)

    def _looked_up(self, price: Price, target: Target, size: _Size, output: int) -> int:
        """The worst case by the price itself and the highest fee; what a flat price comes to is remembered."""
        endpoint = target.endpoint
        writes = endpoint.is_gateway and endpoint.model.startswith("claude")
        fee = self._highest_fee if endpoint.is_gateway else 0.0
        if len(price.tiers) == 1 and id(target) not in self._terms:
            least, one_in, one_out = (
                worst_case_pusd(price, sent, said, may_write_cache=writes) for sent, said in ((0, 0), (1, 0), (0, 1))
            )
            if len(self._terms) >= _MOST_REMEMBERED:
                self._terms.clear()
            self._terms[id(target)] = _Terms(target, least, one_in - least, one_out - least, fee)  # keeps it alive
        marked = size.marks_cache
        cost = worst_case_pusd(price, size.most_input, output, may_write_cache=marked or writes, for_an_hour=marked)
        return cost + ceil(cost * fee)

    def most_tokens(self, request: ChatRequest, target: Target) -> int:
        """Tokens to set aside where no price is known: input with a margin, and the most output."""
        size, endpoint = self._size(request, target.endpoint.model), target.endpoint
        if size.allowed is not None:
            return size.most_input + size.allowed
        return size.most_input + self.averages.of(endpoint.key).cautious * size.answers

    def expected_pusd(self, request: ChatRequest, target: Target) -> int | None:
        """Pico-dollars the call is likely to cost there; None where no price is known."""
        if target.price is None:
            return None
        return self.expected_at(request, target.endpoint.provider, target.endpoint.model, target.price)

    def expected_at(self, request: ChatRequest, provider: str, model: str, price: Price) -> int:
        """The same at a given price."""
        output = self._likely_output(request, (provider, model))
        return cost_pusd(price, TokenCounts(input=self.input_tokens(request, model), output=output))

    def lost_charge(
        self, request: ChatRequest, target: Target, said: Reply | None = None, reported: TokenCounts | None = None
    ) -> Charge:
        """What an attempt may have cost whose usage never came whole.

        Its input, as `reported` so far or estimated; its output, at least what was `said`, or else a likely length,
        but never more than the request allows: another tokenizer's count must not go beyond what was set aside.
        """
        if target.price is None:
            return Charge(source="unpriced")
        if self.fears_for_lost and said is None:
            return Charge(provider_pusd=self.worst_case_pusd(request, target) or 0, source="estimated")
        model = target.endpoint.model
        output = (
            self._likely_output(request, target.endpoint.key)
            if said is None
            else self._said_output(request, said, model, self._rough)
        )
        if reported is not None and reported.input:
            counts = msgspec.structs.replace(reported, output=max(reported.output, output))
        else:
            counts = TokenCounts(input=self._rough_input(request, model), output=output)
        return Charge(provider_pusd=cost_pusd(target.price, counts), source="estimated")

    def counts_of(self, request: ChatRequest, reply: Reply, model: str) -> TokenCounts:
        """Estimated tokens of an answer that came without usage."""
        return TokenCounts(
            input=self.input_tokens(request, model), output=self._said_output(request, reply, model, self._count)
        )

    def _said_output(self, request: ChatRequest, reply: Reply, model: str, count: Callable[[str, str], int]) -> int:
        """Estimated tokens of what an answer says, reasoning and tool calls included."""
        texts = [reply.content, reply.reasoning or "", *(call.name + call.arguments for call in reply.tool_calls)]
        said = sum(count(model, text) for text in texts if text)
        allowed = allowed_output(request)
        return said if allowed is None else min(said, allowed)

    def _likely_output(self, request: ChatRequest, key: tuple[str, str]) -> int:
        likely = self.averages.of(key).expected * answers_of(request)
        allowed = allowed_output(request)
        return likely if allowed is None else min(likely, allowed)


def allowed_output(request: ChatRequest) -> int | None:
    """The output tokens a provider may bill by what the request itself says; None where it does not say."""
    if isinstance(request, EmbedRequest):
        return 0
    extra = request.extra_body
    if not extra:
        return request.max_tokens
    declared = [request.max_tokens, *(extra.get(name) for name in _MOST_OUTPUT)]
    allowed = max((value for value in declared if isinstance(value, int)), default=None)
    return None if allowed is None else allowed * answers_of(request)


def answers_of(request: ChatRequest) -> int:
    """How many answers the request asks for at once; each is billed."""
    number = request.extra_body.get("n") if request.extra_body else None
    return number if isinstance(number, int) and number > 0 else 1


def _marks_cache(request: ChatRequest) -> bool:
    """Whether the request asks the provider to write part of it to a cache."""
    if isinstance(request.message, str) and not request.tools and not request.extra_body:
        return False
    marked: list[Any] = [*([request.extra_body] if request.extra_body else []), *(request.tools or ())]
    for message in () if isinstance(request.message, str) else request.message:
        content = message.get("content")
        if len(message) == 2 and type(content) is str:  # a role and a text
            continue
        marked += [message, *(content if isinstance(content, Sequence) and not isinstance(content, str) else ())]
    return bool(marked) and any(isinstance(part, Mapping) and "cache_control" in part for part in marked)


def _tools_and_schema(request: ChatRequest) -> Sequence[Mapping[str, Any]] | None:
    """What is sent beside the messages and may count as input: tools, and a schema however it travels."""
    if request.response_model is None and request.response_format is None and not request.extra_body:
        return request.tools
    schema = answer_tool_of(request.response_model) if request.response_model is not None else request.response_format
    return [*(request.tools or ()), *(part for part in (schema, request.extra_body) if part)]


__all__ = ["Estimates", "allowed_output", "answers_of"]
