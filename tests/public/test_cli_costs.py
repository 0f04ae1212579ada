"""The cost commands as typed: `compare`, `migrate` and `prices`, offline, with exact sums and one line per failure."""

import io
import json
import re
from typing import Any

import pytest

from genops_helicone_async.cli import main

# See test_cost_intelligence.py: its tokens are the same, whichever tokenizer is installed.
MESSAGE = "Summarise this text"
GUIDE_MODELS = "openai=gpt-4,anthropic=claude-3-sonnet,groq=mixtral-8x7b"
GUIDE_MIGRATION = [
    "migrate", "--from", "openai/gpt-3.5-turbo", "--to", "anthropic/claude-3-haiku", "--to", "groq/mixtral-8x7b",
    "--requests-per-day", "1000", "--avg-tokens", "500",
]  # fmt: skip


NO_MIXTRAL = "error: no price is known for 'mixtral-8x7c' at 'groq': did you mean 'mixtral-8x7b-32768'?"
RATIOS = (
    "The same text has more or fewer tokens, about 1.15 times at claude-3-haiku, 1.10 times at mixtral-8x7b: "
    "--same-text counts that in."
)


class Terminal(io.StringIO):
    """A standard output that is a screen."""

    def isatty(self) -> bool:
        return True


class Shell:
    """Runs commands and reads what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def out(self, *argv: str) -> str:
        """Standard output of a command that succeeds and has nothing to say on standard error."""
        status = main(argv)
        printed = self.capsys.readouterr()
        assert (status, printed.err) == (0, "")
        # The prices' source and date change with the installed list.
        return re.sub(r"genai-prices [\d.]+ \(good on [\d-]+\)", "genai-prices VERSION (good on DAY)", printed.out)

    def json(self, *argv: str) -> Any:
        """The one line of JSON that a command prints."""
        (line,) = self.out(*argv, "--json").splitlines()
        return json.loads(line)

    def failure(self, *argv: str) -> tuple[int, str]:
        """Status and error line of a command that fails and prints no result."""
        status = main(argv)
        printed = self.capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        return status, line


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell whose output is no terminal."""
    return Shell(capsys)


def test_compare_prints_the_cheapest_first(shell: Shell) -> None:
    """The guide's models as a table, and what the cheapest saves."""
    assert shell.out("compare", MESSAGE, "--models", GUIDE_MODELS).splitlines() == [
        "What this message would cost (an estimate; nothing was sent)",
        "provider   model            tokens in  tokens out         cost  times the cheapest",
        "---------  ---------------  ---------  ----------  -----------  ------------------",
        "groq       mixtral-8x7b            13       1,000  $0.00024312               1.0 ×",
        "anthropic  claude-3-sonnet         13       1,000  $0.01503900              61.9 ×",
        "openai     gpt-4                   12       1,000  $0.06036000             248.3 ×",
        "",
        "Cheapest: groq, $0.06011688 a message less than the dearest.",
        "Prices: genai-prices VERSION (good on DAY).",
    ]


def test_compare_speaks_json(shell: Shell) -> None:
    """A machine gets the whole comparison, in the order asked for."""
    told = shell.json("compare", MESSAGE, "--providers", "openai, groq", "--output-tokens", "100")
    assert list(told["cost_by_provider"].items()) == [("openai", 0.0000618), ("groq", 0.00000865)]
    assert (told["cheapest_provider"], told["max_savings"], told["estimated"]) == ("groq", 0.00005315, True)
    assert told["models"] == {"openai": "gpt-4o-mini", "groq": "llama-3.1-8b-instant"}


def test_compare_without_providers_takes_the_default_ones(shell: Shell) -> None:
    """Those that a call without a provider would have as candidates."""
    assert list(shell.json("compare", MESSAGE)["models"]) == ["openai", "anthropic", "groq"]


def test_compare_takes_prices_of_your_own(shell: Shell) -> None:
    """A provider that no list knows, at a dollar a million tokens: 12 in and 88 out."""
    argv = ["compare", MESSAGE, "--models", "acme=gpt-4o", "--output-tokens", "88", "--price", "acme/gpt-4o=1,1"]
    assert shell.out(*argv).splitlines()[3:] == [
        "acme      gpt-4o         12          88  $0.0001               1.0 ×",
        "",
        "Prices: override.",
    ]


def test_compare_says_how_long_a_price_holds(shell: Shell) -> None:
    """DeepSeek's prices change with the time of day."""
    *_, last = shell.out("compare", MESSAGE, "--providers", "deepseek,openai").splitlines()
    assert re.fullmatch(r"The price of deepseek's deepseek-chat holds until \d{4}-\d\d-\d\d \d\d:\d\d UTC\.", last)


@pytest.mark.parametrize(
    "argv,status,line",
    [
        (["--providers", "opnai"], 2, "error: unknown provider 'opnai': did you mean 'openai'?"),
        (["--providers", "openai,"], 2, "error: `providers` is empty: leave it out or give a value"),
        (["--providers", "groq,groq"], 2, "error: `providers` names a provider twice: ['groq', 'groq']"),
        (["--models", "groq=a,groq=b"], 2, "error: --models names a provider twice"),
        (["--output-tokens", "-1"], 2, "error: `expected_output_tokens` is -1: it must be 0 or more"),
        (
            ["--models", "openai=gtp-4o"],
            1,
            "error: no price is known for 'gtp-4o' at 'openai': did you mean 'gpt-4o' or ",
        ),
    ],
)
def test_compare_fails_in_one_line(shell: Shell, argv: list[str], status: int, line: str) -> None:
    """Wrong usage ends with 2, a model without a price with 1; the line speaks of options, and no log joins in."""
    ended, told = shell.failure("compare", MESSAGE, *argv)
    assert (ended, told[: len(line)]) == (status, line)


@pytest.mark.parametrize(
    "argv,line",
    [
        (["compare", MESSAGE, "--models", "openai"], "'openai' is not PROVIDER=MODEL,PROVIDER=MODEL,…"),
        (["compare", MESSAGE, "--price", "a/b=1"], "'a/b=1' is not PROVIDER/MODEL=INPUT,OUTPUT"),
        (["compare", MESSAGE, "--price", "b=1,2"], "'b=1,2' is not PROVIDER/MODEL=INPUT,OUTPUT"),
        (["compare", MESSAGE, "--price", "a/b=x,2"], "'a/b=x,2' is not PROVIDER/MODEL=INPUT,OUTPUT"),
        ([*GUIDE_MIGRATION, "--to", "gpt-4o"], "'gpt-4o' is not PROVIDER/MODEL, such as openai/gpt-4o"),
    ],
)
def test_an_option_of_the_wrong_shape_is_wrong_usage(shell: Shell, argv: list[str], line: str) -> None:
    """The line shows what was typed and what is meant."""
    status, told = shell.failure(*argv)
    assert (status, line in told) == (2, True)


def test_migrate_prints_the_guides_analysis(shell: Shell) -> None:
    """Today first, then the cheapest; what to do, and what the sums leave out."""
    assert shell.out(*GUIDE_MIGRATION).splitlines() == [
        "What 30 days would cost at 1,000 requests a day (an estimate)",
        "provider   model           tokens in  tokens out  30 days  savings  share",
        "---------  --------------  ---------  ----------  -------  -------  -----",
        "openai     gpt-3.5-turbo         375         125   $11.25    today",
        "groq       mixtral-8x7b          375         125    $3.60    $7.65  68.0%",
        "anthropic  claude-3-haiku        375         125    $7.50    $3.75  33.3%",
        "",
        "Best: groq/mixtral-8x7b saves $7.65 a month.",
        RATIOS,
        "Prices: genai-prices VERSION (good on DAY).",
    ]


def test_migrate_says_to_stay_where_that_is_cheapest(shell: Shell) -> None:
    """30 × (3.75 + 1.25 tokens), 1.15 times as many at Claude: amounts below a dollar are shown to their last digit."""
    argv = ["migrate", "--from", "openai/gpt-3.5-turbo", "--to", "anthropic/claude-3-sonnet"]
    assert shell.out(*argv, "--requests-per-day", "1", "--avg-tokens", "5", "--same-text").splitlines() == [
        "What 30 days would cost at 1 request a day (an estimate)",
        "provider   model            tokens in  tokens out     30 days      savings    share",
        "---------  ---------------  ---------  ----------  ----------  -----------  -------",
        "openai     gpt-3.5-turbo         3.75        1.25  $0.0001125        today",
        "anthropic  claude-3-sonnet     4.3125      1.4375  $0.0010350  -$0.0009225  -820.0%",
        "",
        "Stay: the cheapest of these would cost $0.0009225 a month more.",
        "Prices: genai-prices VERSION (good on DAY).",
    ]


def test_migrate_sees_no_gain_in_an_equal_cost(shell: Shell) -> None:
    """Equal costs are no reason to move."""
    argv = [
        "migrate",
        "--from",
        "openai/gpt-4o",
        "--to",
        "openai/gpt-4o",
        "--requests-per-day",
        "9",
        "--avg-tokens",
        "9",
    ]
    assert "Stay: none of these costs less." in shell.out(*argv).splitlines()


def test_migrate_takes_input_and_output_apart_and_your_own_prices(shell: Shell) -> None:
    """A machine gets every figure: 30 × 200 × (1,000 + 50 tokens), at $2 here and at $0.50 and $1 there."""
    told = shell.json(
        "migrate", "--from", "openai/gpt-4o", "--to", "acme/meta/llama", "--requests-per-day", "200",
        "--avg-input-tokens", "1000", "--avg-output-tokens", "50",
        "--price", "openai/gpt-4o=2,2", "--price", "acme/meta/llama=0.5,1",
    )  # fmt: skip
    assert (told["current_monthly_cost"], told["projected_savings"]) == (12.6, 9.3)
    assert (told["recommended"]["provider"], told["recommended"]["model"]) == ("acme", "meta/llama")


@pytest.mark.parametrize(
    "argv,status,line",
    [
        (
            ["--from", "openai/gpt-4", "--to", "groq/mixtral-8x7c", "--avg-tokens", "5"],
            1,
            f"{NO_MIXTRAL} If the name is right, give its price with --price groq/mixtral-8x7c=INPUT,OUTPUT",
        ),
        (
            ["--from", "openai/gpt-4", "--to", "grok/mixtral-8x7b", "--avg-tokens", "5"],
            2,
            "error: unknown provider 'grok': did you mean 'groq'?",
        ),
        (
            ["--from", "openai/gpt-4", "--to", "groq/mixtral-8x7b", "--avg-tokens", "nan"],
            2,
            "error: `historical_usage['avg_tokens']` is nan: it must be between 0 and 1,000,000,000",
        ),
        (
            ["--from", "openai/gpt-4", "--to", "groq/mixtral-8x7b", "--avg-input-tokens", "5"],
            2,
            "error: `historical_usage` lacks 'avg_output_tokens': give both 'avg_input_tokens' and 'avg_output_tokens'",
        ),
    ],
)
def test_migrate_fails_in_one_line(shell: Shell, argv: list[str], status: int, line: str) -> None:
    """A model without a price ends with 1, everything else that is wrong with 2."""
    assert shell.failure("migrate", "--requests-per-day", "10", *argv) == (status, line)


@pytest.mark.parametrize("argv", [["mixtral-8x7b", "--provider", "groq"], ["groq/mixtral-8x7b"], ["mixtral-8x7b/groq"]])
def test_prices_shows_what_one_model_costs(shell: Shell, argv: list[str]) -> None:
    """The provider is an option or on either side of the name; what has no price of its own costs as input."""
    assert shell.out("prices", *argv).splitlines() == [
        "Dollars per million tokens",
        "provider  model         input  output  cache read  write 5 min  write 1 h",
        "--------  ------------  -----  ------  ----------  -----------  ---------",
        "groq      mixtral-8x7b   0.24    0.24        0.24         0.24       0.24",
        "",
        "Prices: genai-prices VERSION (good on DAY).",
    ]


def test_prices_shows_every_tier(shell: Shell) -> None:
    """A price that depends on the request's length has a row for each tier."""
    assert shell.out("prices", "claude-sonnet-4-5", "--provider", "anthropic").splitlines()[1:5] == [
        "provider   model              from tokens in  input  output  cache read  write 5 min  write 1 h",
        "---------  -----------------  --------------  -----  ------  ----------  -----------  ---------",
        "anthropic  claude-sonnet-4-5               0   3.00   15.00        0.30         3.75       6.00",
        "anthropic  claude-sonnet-4-5         200,001   6.00   22.50        0.60         7.50      12.00",
    ]


def test_prices_speaks_json(shell: Shell) -> None:
    """A machine gets numbers, the tier they begin at, and where they come from."""
    told = shell.json("prices", "sonar", "--provider", "perplexity")
    (price,) = told["prices"]
    assert told["unit"] == "dollars per million tokens"
    assert price.pop("source").startswith("genai-prices ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", price.pop("date"))
    assert price == {
        "provider": "perplexity",
        "model": "sonar",
        "tiers": [
            {
                "from_input_tokens": 0, "input": 1.0, "output": 1.0, "cache_read": 1.0, "cache_write_5m": 1.0,
                "cache_write_1h": 1.0, "reasoning": 1.0, "per_request": 0.012,
            }
        ],
        "valid_until": None,
    }  # fmt: skip


def test_prices_of_a_bare_name_are_those_of_every_provider_that_lists_it(shell: Shell) -> None:
    """One model, several shops; Gemini's own API does not sell what Google's list has for Vertex."""
    told = shell.json("prices", "mixtral-8x7b")["prices"]
    assert [price["provider"] for price in told] == ["groq", "mistral", "together", "openrouter"]
    sellers = [price["provider"] for price in shell.json("prices", "claude-4.5-haiku")["prices"]]
    assert ("vertex" in sellers, "gemini" in sellers) == (True, False)


def test_prices_alone_shows_the_default_model_of_every_provider(shell: Shell) -> None:
    """Each provider of the directory is there, each source named, and until when a price holds."""
    from genops_helicone_async._providers import PROVIDERS

    title, header, _, *rows = shell.out("prices").rstrip().splitlines()
    assert title == "Dollars per million tokens"
    assert re.split(r"\s{2,}", header)[-4:] == ["1,000 requests", "holds until", "source", "good on"]
    assert [tuple(row.split()[:2]) for row in rows] == [(row.name, row.default_model) for row in PROVIDERS.values()]
    assert [row.split()[-2:] for row in rows if row.startswith("deepinfra")] == [
        ["deepinfra.com/pricing", "2026-11-05"]
    ]


def test_prices_of_a_provider_are_all_it_lists(shell: Shell) -> None:
    """Also of one that is in no directory but on a list."""
    told = shell.json("prices", "--provider", "cohere")["prices"]
    assert {price["provider"] for price in told} == {"cohere"}
    assert [price["model"] for price in told] == sorted(price["model"] for price in told)
    assert "command-a" in [price["model"] for price in told]


@pytest.mark.parametrize(
    "argv,status,line",
    [
        (
            ["gtp-4o", "--provider", "openai"],
            1,
            "error: no price is known for 'gtp-4o' at 'openai': did you mean 'gpt-4o' or ",
        ),
        (
            ["groq/mixtral-8x7c"],
            1,
            NO_MIXTRAL,
        ),
        (
            ["claude-3-5-sonet"],
            1,
            "error: no price is known for 'claude-3-5-sonet' at any provider: did you mean anthropic/claude-3-5-sonnet",
        ),
        (
            ["zzzzzzzz"],
            1,
            "error: no price is known for 'zzzzzzzz' at any provider: `prices --provider P` lists those of a provider.",
        ),
        (["--provider", "opnai"], 2, "error: unknown provider 'opnai': did you mean 'openai'?"),
        ([" "], 2, "error: MODEL is empty: leave it out or name one"),
    ],
)
def test_prices_fails_in_one_line(shell: Shell, argv: list[str], status: int, line: str) -> None:
    """An unknown model ends with 1 and the names nearest to it, an unknown provider with 2."""
    ended, told = shell.failure("prices", *argv)
    assert (ended, told[: len(line)]) == (status, line)


@pytest.mark.parametrize("columns,is_drawn", [(200, True), (73, True), (72, False), (50, False)])
def test_a_table_is_drawn_where_the_terminal_has_room(
    monkeypatch: pytest.MonkeyPatch, columns: int, is_drawn: bool
) -> None:
    """On a screen that is too narrow nothing is cut off: the rows come as plain text."""
    pytest.importorskip("rich", reason="drawn tables need the extra `cli`")
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout", screen)
    assert main(["prices", "gpt-4o", "--provider", "openai"]) == 0
    text = screen.getvalue()
    assert ("─" in text, "-----" in text) == (is_drawn, not is_drawn)
    assert re.search(r"openai +gpt-4o +2\.50 +10\.00 +1\.25 +2\.50 +2\.50", text) is not None
