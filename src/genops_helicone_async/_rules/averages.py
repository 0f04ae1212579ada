"""How long answers really are: a moving average of output tokens per provider and model, for holds."""

from __future__ import annotations

import msgspec

_WEIGHT = 0.1
"""Of the newest answer: about the last twenty count."""
_MARGIN = 4
_MOST_MODELS = 4096
UNKNOWN_OUTPUT_TOKENS = 1000
"""Assumed for a model that has not answered yet; holds come down from it slowly, as answers prove to be shorter."""


class _Average(msgspec.Struct):
    mean: float
    deviation: float


class OutputAverages:
    """Mean and mean absolute deviation of output tokens, exponentially weighted (as TCP keeps its round trips)."""

    __slots__ = ("_averages",)

    def __init__(self) -> None:
        self._averages: dict[tuple[str, str], _Average] = {}

    def __repr__(self) -> str:
        return f"OutputAverages({len(self._averages)} models)"

    def observe(self, provider: str, model: str, output_tokens: int) -> None:
        """Counts one answer in."""
        known = self._averages.get((provider, model))
        if known is None:
            if len(self._averages) < _MOST_MODELS:
                deviation = max(output_tokens / 2, (UNKNOWN_OUTPUT_TOKENS - output_tokens) / _MARGIN)
                self._averages[provider, model] = _Average(mean=output_tokens, deviation=deviation)
            return
        error = output_tokens - known.mean
        known.mean += _WEIGHT * error
        known.deviation += _WEIGHT * (abs(error) - known.deviation)

    def expected(self, provider: str, model: str) -> int:
        """The tokens an answer is likely to have."""
        known = self._averages.get((provider, model))
        return UNKNOWN_OUTPUT_TOKENS if known is None else round(known.mean)

    def cautious(self, provider: str, model: str) -> int:
        """Tokens that few answers exceed: the mean and four deviations, as TCP's retransmission timer has it."""
        known = self._averages.get((provider, model))
        return UNKNOWN_OUTPUT_TOKENS if known is None else max(1, round(known.mean + _MARGIN * known.deviation))


__all__ = ["UNKNOWN_OUTPUT_TOKENS", "OutputAverages"]
