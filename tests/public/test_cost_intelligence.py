"""Cost intelligence as users meet it: offline, at the list prices, with sums that a pocket calculator confirms."""

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import pytest

import genops_helicone_async
from genops_helicone_async import ConfigurationError
from genops_helicone_async.cost_intelligence import (
    CostComparison,
    MigrationAnalysis,
    MigrationOption,
    compare_provider_costs,
    estimate_migration_costs,
)

# Five tokens in OpenAI's encodings and by characters alike, so that no sum here depends on the tokenizer installed;
# 7 more are the message's and the reply's frame. Claude 3 makes 6 of them (× 1.15), Mixtral 6 (× 1.1).
MESSAGE = "Summarise this text"
GUIDE_MODELS = {"openai": "gpt-4", "anthropic": "claude-3-sonnet", "groq": "mixtral-8x7b"}
GUIDE_USAGE = {"requests_per_day": 1000, "avg_tokens": 500}


def compare_guide_models(max_tokens: int | None = None, expected_output_tokens: int | None = None) -> CostComparison:
    """The guide's three models."""
    return compare_provider_costs(
        MESSAGE,
        list(GUIDE_MODELS),
        GUIDE_MODELS,
        max_tokens=max_tokens,
        expected_output_tokens=expected_output_tokens,
    )


def migrate(
    targets: dict[str, str], usage: Mapping[str, float] = GUIDE_USAGE, *, same_text: bool = False
) -> MigrationAnalysis:
    """From gpt-3.5-turbo, $0.50 in and $1.50 out, with the guide's usage."""
    return estimate_migration_costs(
        "openai", "gpt-3.5-turbo", list(targets), list(targets.values()), usage, same_text=same_text
    )


@pytest.mark.parametrize(
    "options,openai,anthropic,groq",
    [
        # gpt-4 $30/$60, claude-3-sonnet $3/$15, mixtral $0.24/$0.24 a million; 12, 13 and 13 tokens in, 1,000 out
        ({}, 0.06036, 0.015039, 0.00024312),
        ({"max_tokens": 100}, 0.00636, 0.001539, 0.00002712),
        ({"expected_output_tokens": 10, "max_tokens": 100}, 0.00096, 0.000189, 0.00000552),
        ({"expected_output_tokens": 0}, 0.00036, 0.000039, 0.00000312),
    ],
)
def test_a_comparison_is_tokens_times_list_prices(
    options: dict[str, int], openai: float, anthropic: float, groq: float
) -> None:
    """Each provider's cost is exact for the tokens it says it assumed, in the order asked for."""
    comparison = compare_guide_models(**options)
    assert list(comparison.cost_by_provider.items()) == [("openai", openai), ("anthropic", anthropic), ("groq", groq)]


def test_a_comparison_tells_what_it_assumed() -> None:
    """Tokens, models, sources and dates of the prices stand beside the costs."""
    comparison = compare_guide_models()
    listed = comparison.price_sources["openai"]
    assert comparison == CostComparison(
        cheapest_provider="groq",
        max_savings=0.06011688,
        cost_by_provider={"openai": 0.06036, "anthropic": 0.015039, "groq": 0.00024312},
        models=GUIDE_MODELS,
        input_tokens={"openai": 12, "anthropic": 13, "groq": 13},
        output_tokens={"openai": 1000, "anthropic": 1000, "groq": 1000},
        price_sources=dict.fromkeys(GUIDE_MODELS, listed),
        price_dates=dict.fromkeys(GUIDE_MODELS, comparison.price_dates["openai"]),
        price_valid_until=dict.fromkeys(GUIDE_MODELS),
        estimated=True,
    )
    assert re.fullmatch(r"genai-prices \d+\.\d+\.\d+(, updated)?", listed)


def test_providers_without_a_preference_have_their_default_model_priced() -> None:
    """The default of the directory, $0.15/$0.60 for gpt-4o-mini and $0.05/$0.08 for llama-3.1-8b-instant."""
    comparison = compare_provider_costs(MESSAGE, ["openai", "groq"], expected_output_tokens=100)
    assert comparison.models == {"openai": "gpt-4o-mini", "groq": "llama-3.1-8b-instant"}
    assert comparison.cost_by_provider == {"openai": 0.0000618, "groq": 0.00000865}


def test_one_provider_has_nothing_to_save() -> None:
    """The dearest is the cheapest."""
    comparison = compare_provider_costs(MESSAGE, ["groq"])
    assert (comparison.cheapest_provider, comparison.max_savings) == ("groq", 0.0)


def test_your_own_prices_win_in_a_comparison() -> None:
    """Overrides are taken as the adapter takes them, also for a provider that no list knows; equals keep the order."""
    own = {"gpt-4o": {"input": 1, "output": 1}, ("acme", "gpt-4o"): {"input": 1, "output": 1}}
    models = {"acme": "gpt-4o", "openai": "gpt-4o"}
    comparison = compare_provider_costs(MESSAGE, ["acme", "openai"], models, max_tokens=88, prices=own)
    # 12 + 88 tokens at a dollar a million
    assert comparison.cost_by_provider == {"acme": 0.0001, "openai": 0.0001}
    assert comparison.cheapest_provider == "acme"
    assert comparison.price_sources == {"acme": "override", "openai": "override"}
    assert comparison.price_dates == {"acme": None, "openai": None}


def test_a_conversation_is_counted_with_all_its_messages() -> None:
    """Each message counts with its frame of 4 tokens, an image with the flat bound of its model."""
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    comparison = compare_provider_costs(
        [
            {"role": "system", "content": MESSAGE},
            {"role": "user", "content": [{"type": "text", "text": MESSAGE}, picture]},
        ],
        ["openai", "anthropic"],
        {"openai": "gpt-4o", "anthropic": "claude-3-haiku"},
    )
    assert comparison.input_tokens == {"openai": 3 + 9 + 9 + 1600, "anthropic": 3 + 10 + 10 + 1600}


def test_a_price_that_will_change_says_when() -> None:
    """DeepSeek's price depends on the time of day; the comparison tells until when it holds."""
    comparison = compare_provider_costs(MESSAGE, ["deepseek", "openai"])
    until = comparison.price_valid_until["deepseek"]
    assert isinstance(until, datetime)
    assert (until.tzinfo, until > datetime.now(UTC)) == (UTC, True)
    assert comparison.price_valid_until["openai"] is None


@pytest.mark.parametrize(
    "message,providers,models,expected",
    [
        ("", ["openai"], {}, "`message` is empty"),
        (
            "Hi",
            ["opnai"],
            {"opnai": "gpt-4o"},
            "`providers` names the unknown provider 'opnai': did you mean 'openai'?",
        ),
        ("Hi", ["openai"], {"openai": "gpt-44"}, "`model_preferences['openai']` names 'gpt-44', for which no price"),
        (
            "Hi",
            ["groq"],
            {"groq": "gpt-4o"},
            "no price is known at 'groq': no list has it there, it is a model of 'openai'. If",
        ),
    ],
)
def test_what_cannot_be_compared_is_named(
    message: str, providers: list[str], models: dict[str, str], expected: str
) -> None:
    """Unknown names and models without a price are errors, never a cost of 0."""
    with pytest.raises(ConfigurationError, match=re.escape(expected)):
        compare_provider_costs(message, providers, models)


def test_a_message_of_the_wrong_type_is_a_type_error() -> None:
    """A number is no message."""
    with pytest.raises(TypeError, match="`message` must be a string or a list of messages, not int"):
        compare_provider_costs(7, ["openai"])  # type: ignore[arg-type]


def test_the_guides_migration() -> None:
    """30 days × 1,000 requests × (375 in + 125 out): $11.25 now, $7.50 and $3.60 there."""
    analysis = migrate({"anthropic": "claude-3-haiku", "groq": "mixtral-8x7b"})
    assert (analysis.current_monthly_cost, analysis.projected_savings) == (11.25, 7.65)
    assert [(o.provider, o.model, o.monthly_cost, o.savings, o.savings_share) for o in analysis.options] == [
        ("anthropic", "claude-3-haiku", 7.5, 3.75, 1 / 3),
        ("groq", "mixtral-8x7b", 3.6, 7.65, 0.68),
    ]
    assert analysis.recommended == analysis.options[1]


def test_the_current_month_is_told_with_its_facts() -> None:
    """Where you are is an option that saves nothing, with the tokens and the price that were taken."""
    current = migrate({"groq": "mixtral-8x7b"}).current
    assert current == MigrationOption(
        provider="openai",
        model="gpt-3.5-turbo",
        monthly_cost=11.25,
        savings=0.0,
        savings_share=0.0,
        input_tokens=375.0,
        output_tokens=125.0,
        token_ratio=1.0,
        price_source=current.price_source,
        price_date=current.price_date,
    )
    assert current.price_source.startswith("genai-prices ")


def test_a_dearer_target_is_never_recommended() -> None:
    """claude-3-sonnet costs $90.00 a month, so the savings are negative and staying is best."""
    analysis = migrate({"anthropic": "claude-3-sonnet"})
    assert (analysis.projected_savings, analysis.options[0].savings_share) == (-78.75, -7.0)
    assert analysis.recommended is None


def test_an_equal_cost_is_no_reason_to_move() -> None:
    """Moving to where you are saves nothing and is not recommended."""
    analysis = migrate({"openai": "gpt-3.5-turbo"})
    assert (analysis.projected_savings, analysis.recommended) == (0.0, None)


def test_input_and_output_may_be_given_apart() -> None:
    """30 × 200 requests × (1,000 in + 50 out): $3.45 at gpt-3.5-turbo, $1.512 at mixtral."""
    usage = {"requests_per_day": 200, "avg_input_tokens": 1000, "avg_output_tokens": 50}
    analysis = migrate({"groq": "mixtral-8x7b"}, usage)
    assert (analysis.current_monthly_cost, analysis.options[0].monthly_cost, analysis.projected_savings) == (
        3.45,
        1.512,
        1.938,
    )


def test_no_usage_costs_and_saves_nothing() -> None:
    """Without a current cost there is no share of it."""
    analysis = migrate({"groq": "mixtral-8x7b"}, {"requests_per_day": 0, "avg_tokens": 500})
    option = analysis.options[0]
    assert (analysis.current_monthly_cost, option.savings, option.savings_share) == (0.0, 0.0, None)
    assert analysis.recommended is None


def test_the_same_text_has_more_tokens_at_other_tokenizers() -> None:
    """With `same_text` Claude's 1.15 tokens for one of GPT's are priced: $7.50 becomes $8.625."""
    option = migrate({"anthropic": "claude-3-haiku"}, same_text=True).options[0]
    assert (option.token_ratio, option.input_tokens, option.output_tokens) == (1.15, 431.25, 143.75)
    assert (option.monthly_cost, option.savings) == (8.625, 2.625)


def test_your_own_prices_win_in_a_migration() -> None:
    """A negotiated price on either side, and a model on no list: 30,000 × 500 tokens at $2 and at $1 a million."""
    analysis = estimate_migration_costs(
        "openai",
        "gpt-4o",
        ["acme"],
        ["llama"],
        GUIDE_USAGE,
        prices={"openai/gpt-4o": {"input": 2, "output": 2}, "acme/llama": {"input": 1, "output": 1}},
    )
    assert (analysis.current_monthly_cost, analysis.projected_savings) == (30.0, 15.0)
    assert (analysis.current.price_source, analysis.options[0].price_source) == ("override", "override")


@pytest.mark.parametrize(
    "current,providers,models,expected",
    [
        (("openai", "gpt-3.5-turbo"), ["groq"], ["a", "b"], "`target_providers` has 1 names and `target_models` 2"),
        (("openai", "gpt-9z"), ["groq"], ["mixtral-8x7b"], "`current_model` names 'gpt-9z', for which no price"),
        (("opnai", "gpt-4"), ["groq"], ["mixtral-8x7b"], "`current_provider` names the unknown provider 'opnai'"),
        (("openai", "gpt-4"), ["openai", "grok"], ["gpt-4o", "m"], "`target_providers[1]` names the unknown provider"),
        (
            ("openai", "gpt-4"),
            ["openai", "groq"],
            ["gpt-4o", "mx"],
            "`target_models[1]` names 'mx', for which no price",
        ),
    ],
)
def test_what_cannot_be_migrated_is_named(
    current: tuple[str, str], providers: list[str], models: list[str], expected: str
) -> None:
    """Lists that do not match and names without a price say which argument to change."""
    with pytest.raises(ConfigurationError, match=re.escape(expected)):
        estimate_migration_costs(*current, providers, models, GUIDE_USAGE)


def test_usage_is_checked_under_its_own_name() -> None:
    """A missing number is named with the argument that lacks it."""
    with pytest.raises(ConfigurationError, match="`historical_usage` lacks 'avg_tokens'"):
        migrate({"groq": "mixtral-8x7b"}, {"requests_per_day": 10})


def test_results_encode_as_json_whole() -> None:
    """Every figure of an analysis is a field, so that nothing is lost on the way to a machine."""
    encoded = msgspec.json.decode(msgspec.json.encode(migrate({"groq": "mixtral-8x7b"})))
    assert (encoded["current_monthly_cost"], encoded["projected_savings"], encoded["recommended"]["model"]) == (
        11.25,
        7.65,
        "mixtral-8x7b",
    )


def test_the_guides_blocks_run_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    """Imported under the guide's name, called with its arguments, printed with its formats."""
    from genops.providers.helicone import compare_provider_costs, estimate_migration_costs

    comparison = compare_provider_costs(
        message=MESSAGE,  # the guide's has a length on which tokenizers differ
        providers=["openai", "anthropic", "groq"],
        model_preferences={"openai": "gpt-4", "anthropic": "claude-3-sonnet", "groq": "mixtral-8x7b"},
    )
    print(f"Cheapest option: {comparison.cheapest_provider}")
    print(f"Cost savings: ${comparison.max_savings:.4f}")
    print(f"Cost breakdown: {comparison.cost_by_provider}")
    migration_analysis = estimate_migration_costs(
        current_provider="openai",
        current_model="gpt-3.5-turbo",
        target_providers=["anthropic", "groq"],
        target_models=["claude-3-haiku", "mixtral-8x7b"],
        historical_usage={"requests_per_day": 1000, "avg_tokens": 500},
    )
    print(f"Current monthly cost: ${migration_analysis.current_monthly_cost:.2f}")
    print(f"Projected savings: ${migration_analysis.projected_savings:.2f}")
    assert capsys.readouterr().out.splitlines() == [
        "Cheapest option: groq",
        "Cost savings: $0.0601",
        "Cost breakdown: {'openai': 0.06036, 'anthropic': 0.015039, 'groq': 0.00024312}",
        "Current monthly cost: $11.25",
        "Projected savings: $7.65",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "CostComparison", "MigrationAnalysis", "MigrationOption", "compare_provider_costs", "estimate_migration_costs",
    ],
)  # fmt: skip
def test_the_package_offers_cost_intelligence(name: str) -> None:
    """Functions and results can be imported from the package itself."""
    from genops_helicone_async import cost_intelligence

    assert getattr(genops_helicone_async, name) is getattr(cost_intelligence, name)


def test_priced_models_leave_no_trace_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged where everything has a price; a model's other spellings, looked up on the way, least of all."""
    with caplog.at_level(logging.DEBUG):
        compare_guide_models()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("genops")] == []
