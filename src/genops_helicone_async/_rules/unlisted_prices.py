"""Prices of models that no list in genai-prices carries, written down by hand, each with its source and date."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple


class UnlistedPrice(NamedTuple):
    """Dollars per million tokens, the public page they were read from, and when."""

    input: Decimal
    output: Decimal
    source: str
    date: str


_DEEPINFRA_LLAMA = UnlistedPrice(Decimal("0.10"), Decimal("0.32"), "deepinfra.com/pricing", "2026-11-05")

UNLISTED_PRICES: dict[tuple[str, str], UnlistedPrice] = {
    ("deepinfra", "meta-llama/llama-3.3-70b-instruct-turbo"): _DEEPINFRA_LLAMA,
    ("deepinfra", "meta-llama/llama-3.3-70b-instruct"): _DEEPINFRA_LLAMA,
    # 109 million parameters: that file's row `together-ai-embedding-up-to-150m`
    ("together", "baai/bge-base-en-v1.5"): UnlistedPrice(
        Decimal("0.008"), Decimal(0), "LiteLLM model_prices_and_context_window.json", "2026-11-23"
    ),
}
"""(our provider, model in lower case) → price."""

__all__ = ["UNLISTED_PRICES", "UnlistedPrice"]
