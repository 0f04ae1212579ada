"""Counting a text's tokens: exactly for OpenAI's encodings with `toktok` (extra `tokens`), by characters without."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from .._rules.tokens import heuristic_tokens, multiplier_for

_CL100K = ("gpt-4", "gpt-3.5", "text-embedding-")
_NOT_CL100K = ("gpt-4o", "gpt-4.1", "gpt-4.5")
_MOST_CHARACTERS = 1_000_000
"""Of texts whose counts are remembered, which keeps those texts in memory."""
_LONG_CHARACTERS = 20_000
_NO_LIMIT = 1 << 40
_ENTRY_CHARACTERS = 1_000
"""What remembering takes besides the text, rounded up: so a thousand counts at most."""
_MOST_MODELS = 1024


class BatchCount(Protocol):
    """`toktok.batch_count`."""

    def __call__(self, texts: list[str], encoding: str, threads: int) -> list[int]:
        """Tokens of each text."""


class Truncate(Protocol):
    """`toktok.truncate`."""

    def __call__(self, text: str, max_tokens: int, encoding: str) -> tuple[str, int]:
        """The text's beginning, and the tokens of all of it."""


class _Counts(dict[str, int]):
    """How many tokens texts have in one encoding; one that is not there is counted by `count`, which may add it."""

    __slots__ = ("_count",)

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count

    def __missing__(self, text: str) -> int:
        return self._count(text)


class TokenCounter:
    """Counts tokens of a text as a model would: `counter(model, text)`.

    The count holds `multiplier_for(model)` already: texts are counted in an OpenAI encoding and scaled for others.
    `toktok` loads an encoding at its first use, 0.1 s (cl100k) or 0.3 s (o200k) in which no other thread runs. Its
    `batch_count` sets up a batch, 30 µs, before it counts the first text; `truncate`, which counts the whole text, too,
    takes 0.3 µs for the shortest and 1 µs for 260 characters, and holds the GIL: so it counts what is not long. A call
    asks about the same texts once for each candidate: so the latest counts are remembered.
    """

    __slots__ = ("_batch_count", "_remembered", "_room", "_scales", "_truncate", "is_exact")

    def __init__(self, *, is_exact: bool) -> None:
        self.is_exact = is_exact
        self._batch_count: BatchCount | None = None
        self._truncate: Truncate | None = None
        self._remembered: dict[str, _Counts] = {}
        self._room = _MOST_CHARACTERS
        self._scales: dict[str, tuple[Callable[[str], int], float]] = {}

    def __call__(self, model: str, text: str) -> int:
        count, multiplier = self._scales.get(model) or self._scale(model)
        tokens = count(text)
        return tokens if multiplier == 1.0 else math.ceil(tokens * multiplier)

    def each(self, model: str, texts: Sequence[str]) -> list[int]:
        """The same of several texts, in as many steps as of one."""
        count, multiplier = self._scales.get(model) or self._scale(model)
        counts = [*map(count, texts)]
        return counts if multiplier == 1.0 else [*map(math.ceil, map(multiplier.__mul__, counts))]

    def rough(self, model: str, text: str) -> int:
        """The same as far as it costs no waiting: by characters until an exact count has been asked for."""
        if self._batch_count is not None:
            return self(model, text)
        return math.ceil(heuristic_tokens(text) * multiplier_for(model))

    def batch(self, encoding: str, texts: Sequence[str]) -> list[int]:
        """What `toktok` counts of each text, at half a microsecond for a short one where there are many."""
        if self._batch_count is None:
            self._load()
        assert self._batch_count is not None
        return self._batch_count([_sound(text) for text in texts], encoding, 1)

    def _scale(self, model: str) -> tuple[Callable[[str], int], float]:
        """What to count a model's tokens by, and what to multiply the count by."""
        count: Callable[[str], int] = heuristic_tokens
        if self.is_exact:
            encoding = encoding_of(model)
            counts = self._remembered.get(encoding)
            if counts is None:
                counts = self._remembered.setdefault(encoding, _Counts(partial(self._counted, encoding)))
            count = counts.__getitem__
        if len(self._scales) >= _MOST_MODELS:
            self._scales.clear()
        scale = self._scales[model] = count, multiplier_for(model)
        return scale

    def _counted(self, encoding: str, text: str) -> int:
        """The tokens of a text that nobody has asked about lately; they are remembered."""
        if len(text) > _LONG_CHARACTERS:
            (tokens,) = self.batch(encoding, (text,))
        else:
            if self._truncate is None:
                self._load()
            assert self._truncate is not None
            tokens = self._truncate(_sound(text), _NO_LIMIT, encoding)[1]
        self._remember(encoding, text, tokens)
        return tokens

    def _load(self) -> None:
        toktok = importlib.import_module("toktok")
        self._batch_count, self._truncate = toktok.batch_count, toktok.truncate

    def _remember(self, encoding: str, text: str, tokens: int) -> None:
        """Keeps a count; where there is no room, the older ones are forgotten. Threads may come between harmlessly."""
        size = len(text) + _ENTRY_CHARACTERS
        if size > self._room:
            for counts in tuple(self._remembered.values()):
                counts.clear()
            self._room = _MOST_CHARACTERS
        if size <= self._room:
            self._remembered[encoding][text] = tokens
            self._room -= size

    def __repr__(self) -> str:
        return f"TokenCounter({'toktok' if self.is_exact else 'by characters'})"


def counter() -> TokenCounter:
    """A function of (model, text) → tokens: exact where `toktok` is installed. Nothing is loaded yet."""
    return TokenCounter(is_exact=importlib.util.find_spec("toktok") is not None)


def _sound(text: str) -> str:
    """The text without unpaired surrogates: they are no UTF-8, and toktok takes nothing else."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def encoding_of(model: str) -> str:
    """The OpenAI encoding to count a model's tokens in: cl100k for GPT-3.5, GPT-4 and embeddings, else o200k."""
    name = model.lower().rpartition("/")[2]
    return "cl100k_base" if name.startswith(_CL100K) and not name.startswith(_NOT_CL100K) else "o200k_base"


__all__ = ["TokenCounter", "counter", "encoding_of"]
