"""Microseconds to price a call: our compiled prices against `genai_prices.calc_price`, in the same run.

    python benchmarks/pricing.py [--json] [--rounds 7]

The two are timed in turns over the same mix of models and usages, after both were found to give the same costs. A
priced call is one `PriceBook.lookup` and one `cost_pusd`; the limit is 1 µs. Figures are CPU time, the median of the
rounds.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from genai_prices import Usage, calc_price

from genops_helicone_async._edges.price_book import PriceBook, Unresolved
from genops_helicone_async._rules.prices import cost_pusd, worst_case_pusd
from genops_helicone_async._rules.tokens import estimate_input_tokens
from genops_helicone_async._values import TokenCounts

LIMIT_US = 1.0
MODELS = [
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-5.4"),
    ("anthropic", "claude-haiku-4-5"),
    ("groq", "llama-3.3-70b-versatile"),
    ("gemini", "gemini-2.5-pro"),
]
PRICE_LISTS = {"gemini": "google"}
COUNTS = [
    TokenCounts(input=850, output=240),
    TokenCounts(input=12_000, output=900, cached=9_000),
    TokenCounts(input=4_000, output=2_000, cache_write=3_500, reasoning=1_200),
    TokenCounts(input=300_000, output=4_000),
]
CALLS = [(provider, model, counts) for provider, model in MODELS for counts in COUNTS]
MESSAGES = [
    {"role": "system", "content": "You answer briefly. " * 5},
    {"role": "user", "content": "Why is the sky blue? " * 20},
]

Figure = tuple[str, Callable[[], None], int]


def listed_pusd(provider: str, model: str, counts: TokenCounts) -> float:
    """What genai-prices asks."""
    tokens = {
        "input_tokens": counts.input,
        "output_tokens": counts.output,
        "cache_read_tokens": counts.cached,
        "cache_write_tokens": counts.cache_write,
        "output_reasoning_tokens": counts.reasoning,
    }
    usage = Usage(**{name: count for name, count in tokens.items() if count})
    found = calc_price(usage, model, provider_id=PRICE_LISTS.get(provider, provider), genai_request_timestamp=NOW)
    return float(found.total_price * 10**12)


NOW = datetime.now(UTC)


def figures(book: PriceBook, repeats: int) -> list[Figure]:
    """What is timed: a name, a loop, and the calls in it."""
    now_s = NOW.timestamp()
    prices = [book.resolve_now(provider, model) for provider, model, _ in CALLS]
    priced = [(price, counts) for price, (_, _, counts) in zip(prices, CALLS, strict=True) if price is not None]

    def lookup_and_cost() -> None:
        lookup = book.lookup
        for _ in range(repeats):
            for provider, model, counts in CALLS:
                price = lookup(provider, model, now_s)
                if price is not None and not isinstance(price, Unresolved):
                    cost_pusd(price, counts)

    def cost_only() -> None:
        for _ in range(repeats):
            for price, counts in priced:
                cost_pusd(price, counts)

    def worst_case() -> None:
        for _ in range(repeats):
            for price, _counts in priced:
                worst_case_pusd(price, 850, 1_000, may_write_cache=True)

    def estimate() -> None:
        for _ in range(repeats * len(CALLS)):
            estimate_input_tokens(MESSAGES)

    def listed() -> None:
        for provider, model, counts in CALLS:
            listed_pusd(provider, model, counts)

    calls = repeats * len(CALLS)
    return [
        ("priced call (lookup + cost)", lookup_and_cost, calls),
        ("cost only", cost_only, calls),
        ("worst case for a hold", worst_case, calls),
        ("token estimate of 520 characters", estimate, calls),
        ("genai_prices.calc_price", listed, len(CALLS)),
    ]


def check(book: PriceBook) -> None:
    """Both ways must give the same costs, or the comparison is worth nothing."""
    for provider, model, counts in CALLS:
        price = book.resolve_now(provider, model)
        if price is None or cost_pusd(price, counts) != listed_pusd(provider, model, counts):
            sys.exit(f"{provider}/{model} {counts}: the costs differ")


def measure(rounds: int, repeats: int) -> dict[str, float]:
    """Median CPU µs a call of every figure, the figures taking turns."""
    book = PriceBook(clock=NOW.timestamp)
    check(book)
    todo = figures(book, repeats)
    samples: dict[str, list[float]] = {name: [] for name, _, _ in todo}
    for _ in range(rounds):
        for name, loop, calls in todo:
            started_s = time.process_time()
            loop()
            samples[name].append((time.process_time() - started_s) * 1e6 / calls)
    return {name: statistics.median(values) for name, values in samples.items()}


def main() -> int:
    """Prints the table, or JSON; the exit status is 1 where a priced call is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=2_000, help="turns over the 20 calls in a round")
    arguments = parser.parse_args()
    medians_us = measure(arguments.rounds, arguments.repeats)
    priced_us, listed_us = medians_us["priced call (lookup + cost)"], medians_us["genai_prices.calc_price"]
    if arguments.json:
        result = {"us_per_call": medians_us, "limit_us": LIMIT_US, "times_faster": listed_us / priced_us}
        print(json.dumps(result, indent=2))
    else:
        for name, value_us in medians_us.items():
            print(f"{name:<34} {value_us:8.3f} µs")
        print(f"\na priced call costs 1/{listed_us / priced_us:.0f} of calc_price; limit {LIMIT_US:.0f} µs")
    return 0 if priced_us <= LIMIT_US else 1


if __name__ == "__main__":
    sys.exit(main())
