"""A second opinion on prices: LiteLLM's price table, where that package is installed. Its code is never imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec

_TABLE = "model_prices_and_context_window_backup.json"


class _Row(msgspec.Struct):
    input_cost_per_token: float | None = None
    output_cost_per_token: float | None = None


def second_prices() -> dict[str, tuple[float, float]]:
    """Model → (input, output) in dollars per token, from the installed LiteLLM; empty where there is none.

    Reads a file of about a megabyte: not for the event loop.
    """
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    path = Path(spec.origin).with_name(_TABLE)
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    except (OSError, msgspec.DecodeError):
        return {}
    prices = {}
    for model, raw in rows.items():
        try:
            row = msgspec.json.decode(raw, type=_Row)
        except msgspec.DecodeError:
            continue  # the table explains its fields in a row of its own
        if row.input_cost_per_token is not None and row.output_cost_per_token is not None:
            prices[model] = row.input_cost_per_token, row.output_cost_per_token
    return prices


__all__ = ["second_prices"]
