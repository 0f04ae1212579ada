"""Tokens of many rows at once, which takes a fiftieth of the time of counting them one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .._edges.token_counter import TokenCounter, encoding_of
from .._rules.tokens import multiplier_for
from ..chat_request import ChatRequest


class CountedAhead:
    """A count of (model, text) → tokens, as `TokenCounter`, whose texts have been counted in a batch before."""

    __slots__ = ("_counted", "_counter")

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self._counted: dict[tuple[str, str], int] = {}

    def count_ahead(self, rows: Iterable[tuple[ChatRequest, Iterable[str]]]) -> None:
        """Counts the texts of requests for the models that may answer them, and forgets those of the batch before."""
        self._counted = {}
        if not self._counter.is_exact:
            return
        texts: dict[str, dict[str, None]] = {}
        for request, models in rows:
            of_row = list(texts_of(request))
            for encoding in {encoding_of(model) for model in models}:
                texts.setdefault(encoding, {}).update(dict.fromkeys(of_row))
        for encoding, wanted in texts.items():
            found = self._counter.batch(encoding, list(wanted))
            self._counted.update(((encoding, text), tokens) for text, tokens in zip(wanted, found, strict=True))

    def __call__(self, model: str, text: str) -> int:
        """Tokens of a text as a model would count them."""
        tokens = self._counted.get((encoding_of(model), text))
        if tokens is None:
            return self._counter(model, text)
        return math.ceil(tokens * multiplier_for(model))


def texts_of(request: ChatRequest) -> Iterator[str]:
    """The texts of a request that an estimate counts one by one; what it misses is counted when it is asked for."""
    if request.system_prompt:
        yield request.system_prompt
    if isinstance(request.message, str):
        yield request.message
        return
    for message in request.message:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, Sequence):
            texts = (part.get("text") for part in content if isinstance(part, Mapping))
            yield from (text for text in texts if isinstance(text, str))


__all__ = ["CountedAhead", "texts_of"]
