"""How long answers really are: a moving average of output tokens per provider and model, for holds."""

from __future__ import annotations

import msgspec

_WEIGHT = 0.1
"""Of the newest answer: about the last twenty count."""
_MARGIN = 4
_MOST_MODELS = 4096
UNKNOWN_OUTPUT_TOKENS = 1000
"""Assumed for a model that has not answered yet; holds come down from it slowly, as answers prove to be shorter."""


class OutputAverage(msgspec.Struct):
    """How long a model's answers are: their mean and mean absolute deviation, and what follows for the next one.

    `expected` is likely; `cautious` few answers exceed: the mean and four deviations, as TCP's retransmission timer has
    it. Both are worked out when an answer has come, since they are asked for as often.
    """

    mean: float = 0.0
    deviation: float = 0.0
    expected: int = UNKNOWN_OUTPUT_TOKENS
    cautious: int = UNKNOWN_OUTPUT_TOKENS

    def begin(self, output_tokens: int) -> None:
        """Counts the first answer in."""
        self.mean = output_tokens
        self.deviation = max(output_tokens / 2, (UNKNOWN_OUTPUT_TOKENS - output_tokens) / _MARGIN)
        self.expected = output_tokens
        self.cautious = max(1, round(self.mean + _MARGIN * self.deviation))


UNKNOWN = OutputAverage()
"""Of a model that has not answered yet."""


class OutputAverages:
    """Mean and mean absolute deviation of output tokens, exponentially weighted (as TCP keeps its round trips).

    `known` has them by provider and model.
    """

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], OutputAverage] = {}

    def __repr__(self) -> str:
        return f"OutputAverages({len(self.known)} models)"

    def observe(self, key: tuple[str, str], output_tokens: int) -> None:
        """Counts one answer of a provider and model in."""
        known = self.known.get(key)
        if known is None:
            if len(self.known) < _MOST_MODELS:
                known = OutputAverage()
                known.begin(output_tokens)
                self.known[key] = known
            return
        error = output_tokens - known.mean
        known.mean = mean = known.mean + _WEIGHT * error
        known.deviation = deviation = known.deviation + _WEIGHT * (abs(error) - known.deviation)
        known.expected = round(mean)
        known.cautious = round(mean + _MARGIN * deviation) or 1

    def of(self, key: tuple[str, str]) -> OutputAverage:
        """What is known of a provider and model."""
        return self.known.get(key, UNKNOWN)


__all__ = ["UNKNOWN", "UNKNOWN_OUTPUT_TOKENS", "OutputAverage", "OutputAverages"]
