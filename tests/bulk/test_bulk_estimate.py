"""What a job would cost: the sums of what each call would set aside and is likely to cost, row by row, unsent."""

import argparse
import asyncio
from decimal import Decimal
from typing import Any

import pytest

from genops_helicone_async import ChatRequest, ConfigurationError
from genops_helicone_async._edges.price_book import PriceBook
from genops_helicone_async._edges.token_counter import counter
from genops_helicone_async._flow.candidates import Candidates
from genops_helicone_async._flow.estimates import Estimates
from genops_helicone_async.bulk.estimate import Estimate, Estimator
from genops_helicone_async.bulk.rows import Row
from genops_helicone_async.bulk.seen import SeenBefore
from genops_helicone_async.bulk.token_batches import CountedAhead, texts_of
from genops_helicone_async.cli.bulk_estimate import settings_of
from genops_helicone_async.cli.bulk_estimate_view import JobEstimate, cost_table, estimate_json, told_time
from genops_helicone_async.config import GivenSettings, Settings, resolve

pytestmark = pytest.mark.anyio

SEVERAL = ["openai", "anthropic", "groq"]


def settings() -> Settings:
    """Settings that need no key of a provider."""
    return resolve(GivenSettings(helicone_api_key="any"), {}, 1024)


def row(line: int, message: Any = "How are you?", **options: Any) -> Row:
    """A row of the command line's own target."""
    request = ChatRequest(message=message, **options)
    return Row(line=line, custom_id=f"line-{line}", request=request, is_default_target=True)


async def estimated(rows: list[Row], **options: Any) -> tuple[Estimate, list[str]]:
    """The estimate of some rows, and why others would not be sent."""
    estimator = await asyncio.to_thread(Estimator, settings(), PriceBook(), **options)
    try:
        refusals = await estimator.add(rows)
    finally:
        await asyncio.to_thread(estimator.close)
    return estimator.estimate, [refusal.reason for refusal in refusals]


async def test_sums_are_those_of_the_calls() -> None:
    """Expected: the first candidate's likely cost. Worst: what a budget would hold for the dearest one."""
    conversation = [{"role": "user", "content": [{"type": "text", "text": "¿Qué tal?"}]}]
    rows = [
        row(1, providers=SEVERAL, max_tokens=100, system_prompt="Be kind."),
        row(2, conversation, providers=SEVERAL),
        row(3, "x" * 500, provider="anthropic", max_tokens=5000),
        row(4, providers=SEVERAL, routing_strategy="cost_optimized", max_tokens=7),
    ]
    found, refused = await estimated(rows)
    exact = Estimates(counter(), settings().gateway_fee_rates)
    candidates = Candidates(settings(), PriceBook())
    expected = worst = 0
    for one, first in zip(rows, ("openai", "openai", "anthropic", "groq"), strict=True):
        targets = await candidates.of(one.request)
        by_name = {target.endpoint.provider: target for target in targets}
        expected += await asyncio.to_thread(exact.expected_pusd, one.request, by_name[first]) or 0
        worst += max([await asyncio.to_thread(exact.worst_case_pusd, one.request, t) or 0 for t in targets])
    assert (found.expected_pusd, found.worst_pusd, refused) == (expected, worst, [])
    assert {provider: one.rows for (provider, _), one in found.by_target.items()} == {
        "openai": 2, "anthropic": 1, "groq": 1,
    }  # fmt: skip
    assert sum(one.expected_pusd for one in found.by_target.values()) == expected
    assert {provider: one.possible for (provider, _), one in found.by_target.items()} == {
        "openai": 3, "anthropic": 4, "groq": 3,
    }  # fmt: skip
    assert sum(one.output_tokens for one in found.by_target.values()) == 100 + 1000 + 1000 + 7
    assert (found.rows, found.assumed, found.is_exact) == (4, 1, True)


async def test_equal_rows_cost_once() -> None:
    """At any distance, unless every one is to be asked; a custom_id that comes twice is no second row."""
    rows = [row(1), row(2, "other"), row(3), row(4, max_tokens=9), row(1, "again")]
    found, refused = await estimated(rows)
    assert (found.rows, found.copies, found.refused) == (3, 1, 1)
    assert refused == ["`custom_id` 'line-1' is that of line 1 already"]
    all_of_them, _ = await estimated(rows, dedupe=False)
    assert (all_of_them.rows, all_of_them.copies) == (4, 0)
    assert all_of_them.expected_pusd > found.expected_pusd


async def test_what_is_done_answers_rows_equal_to_it() -> None:
    """What equals an answered row costs nothing; what equals a failed one, or says `cache: false`, does."""
    estimator = await asyncio.to_thread(Estimator, settings(), PriceBook())
    try:
        await estimator.skip([(row(1), True), (row(2, "failed"), False), (row(3, "fresh", cache=False), True)])
        refused = await estimator.add([row(4), row(5, "failed"), row(6, "fresh", cache=False), row(3, "its name")])
    finally:
        await asyncio.to_thread(estimator.close)
    found = estimator.estimate
    assert (found.rows, found.copies, [refusal.row.line for refusal in refused]) == (2, 1, [3])


async def test_a_limit_ends_it_where_there_is_no_room() -> None:
    """A row is sent as long as what is spent and its own worst case are within the limit."""
    rows = [row(number, f"message {number:03d}", providers=["openai", "anthropic"]) for number in range(1, 101)]
    whole, _ = await estimated(rows)
    assert (whole.fit_expected, whole.fit_worst) == (None, None)
    one, one_worst = whole.expected_pusd // 100, whole.worst_pusd // 100
    assert one_worst > 5 * one
    limited, _ = await estimated(rows, limit_pusd=20 * one + one_worst)
    assert limited.fit_expected == 21
    assert limited.fit_worst == (20 * one + one_worst) // one_worst
    assert (await estimated(rows, limit_pusd=whole.worst_pusd))[0].fit_worst is None
    assert (await estimated(rows, limit_pusd=1))[0].fit_expected == 0


async def test_who_takes_turns_takes_turns() -> None:
    """Rows of `round_robin` and `weighted` fall on the providers as they will."""
    turning = [row(n, f"m{n}", providers=SEVERAL, routing_strategy="round_robin") for n in range(9)]
    found, _ = await estimated(turning)
    assert [one.rows for one in found.by_target.values()] == [3, 3, 3]
    weights = {"openai": {"weight": 0.8}, "groq": {"weight": 0.2}}
    weighted, refused = await estimated([row(n, f"m{n}", provider_preferences=weights) for n in range(500)])
    shares = {provider: one.rows for (provider, _), one in weighted.by_target.items()}
    assert refused == []
    assert 350 < shares["openai"] < 450


async def test_batches_are_half_the_price() -> None:
    """Of the rows that OpenAI or Anthropic may answer, at the first of them that is a candidate."""
    both = [row(1, provider="openai"), row(2, providers=["groq", "openai"], max_tokens=50)]
    found, _ = await estimated([*both, row(3, provider="groq")])
    live, _ = await estimated([row(1, provider="openai"), row(2, provider="openai", max_tokens=50)])
    assert (found.batch_rows, live.batch_rows) == (2, 2)
    assert found.batch_pusd == live.batch_pusd == live.expected_pusd // 2


async def test_a_model_without_a_price_is_told() -> None:
    """Its rows are counted and are in no sum."""
    found, _ = await estimated([row(1, provider="openai", model="gpt-none"), row(2, provider="openai")])
    assert (found.rows, found.unpriced, found.by_target["openai", "gpt-none"].unpriced) == (2, 1, 1)
    assert found.by_target["openai", "gpt-none"].expected_pusd == 0
    cells = cost_table(found).rows[1]
    assert (cells[1], cells[5], cells[7]) == ("gpt-none", "no price", "no price")


async def test_a_row_that_cannot_be_asked_is_refused() -> None:
    """Nobody knows its provider: it is told and costs nothing."""
    found, refused = await estimated([row(1, provider="opnai"), row(2, routing_strategy="best", providers=SEVERAL)])
    assert (found.rows, found.refused) == (0, 2)
    assert "opnai" in refused[0]
    assert "best" in refused[1]


async def test_counting_ahead_counts_the_same() -> None:
    """For every kind of model, in ASCII and beyond."""
    one = counter()
    ahead = CountedAhead(one)
    request = ChatRequest(message="naïve 🧀 " * 20, system_prompt="Be brief.")
    models = ["gpt-4o", "gpt-4", "claude-4.5-haiku", "llama-3.1-8b-instant"]
    await asyncio.to_thread(ahead.count_ahead, [(request, models)])
    for model in models:
        for text in texts_of(request):
            assert await asyncio.to_thread(ahead, model, text) == await asyncio.to_thread(one, model, text)


def test_what_was_seen_is_told_with_its_line() -> None:
    """The first line that had it, however many lie between."""
    seen = SeenBefore()
    digests = [number.to_bytes(16, "big") for number in range(20_000)]
    assert [seen.earlier(digest, line) for line, digest in enumerate(digests)] == [None] * 20_000
    assert [seen.earlier(digests[number], -1) for number in (0, 7, 19_999)] == [0, 7, 19_999]
    seen.close()


def job(found: Estimate, **facts: Any) -> JobEstimate:
    """An estimate with limits."""
    given: dict[str, Any] = {
        "input": "in.jsonl", "bad_lines": 0, "reasons": (), "is_cut": False, "limit_pusd": None, "max_in_flight": 10,
        "requests_per_minute": None, "tokens_per_minute": None,
    }  # fmt: skip
    return JobEstimate(estimate=found, **{**given, **facts})


async def test_the_slowest_limit_decides_the_time() -> None:
    """Requests and tokens a minute are each provider's own; calls at once are by a guess that is told."""
    turning = [
        row(n, f"m{n}", providers=["openai", "groq"], routing_strategy="round_robin", max_tokens=60) for n in range(100)
    ]
    found, _ = await estimated(turning)
    times = job(found, requests_per_minute=25, tokens_per_minute=1e6).times_s()
    assert times["requests_per_minute"] == 50 * 60 / 25
    assert times["max_in_flight"] == pytest.approx(100 * (0.7 + 1.0) / 10)
    assert times["tokens_per_minute"] < 1
    told = estimate_json(job(found, requests_per_minute=25, limit_pusd=10**15))
    assert told["seconds"]["at_least"] == 120.0
    assert told["rows_within_max_cost"] == {"expected": 100, "worst_case": 100}
    assert Decimal(str(told["expected_cost_usd"])) == Decimal(found.expected_pusd) / 10**12
    assert [told_time(s) for s in (1.2, 89.5, 91, 5399, 5400, 10**5)] == [
        "2 s",
        "90 s",
        "2 min",
        "90 min",
        "1.5 h",
        "27.8 h",
    ]


def test_no_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the environment as they are, and a stand-in where there is no key; wrong ones are still refused."""
    given = {"gateway_url": None, "dialect": "auto", "provider_url": [], "trust_env": False}
    assert settings_of(argparse.Namespace(**given)).candidates == settings().candidates
    monkeypatch.setenv("GROQ_API_KEY", "any")
    assert settings_of(argparse.Namespace(**given)).candidates == ("groq",)
    with pytest.raises(ConfigurationError, match="gateway_url"):
        settings_of(argparse.Namespace(**{**given, "gateway_url": "nonsense"}))
