"""The figures a job ends with: exact money, percentiles, tables, failovers and what is in doubt."""

import io
import random
from typing import Any

import pytest

from genops_helicone_async import Attempt
from genops_helicone_async.bulk.ports import Outcome
from genops_helicone_async.bulk.receipts import label_of, pico
from genops_helicone_async.bulk.tally import Latencies, Tally
from genops_helicone_async.cli.money import about_usd, digits_of, exact_usd, short_usd
from genops_helicone_async.cli.progress import progress_line
from genops_helicone_async.cli.summary import doubt_line, failure_table, rows_line, tables_of
from genops_helicone_async.cli.tables import Table, plain, print_table


@pytest.mark.parametrize(
    "amount, text",
    [
        (0, "$0.0000"),
        (1, "$0.000000000001"),
        (150_000, "$0.00000015"),
        (12_500_000_000, "$0.0125"),
        (1_234_500_000_000_000, "$1,234.5000"),
    ],
)
def test_money_is_shown_exactly(amount: int, text: str) -> None:
    """As many digits as the amount has, four at least."""
    assert exact_usd(amount) == text


def test_a_column_of_money_has_one_width() -> None:
    """Amounts under each other get the digits of the finest of them."""
    amounts = [12_500_000_000, 150_000]
    assert [exact_usd(amount, digits_of(amounts)) for amount in amounts] == ["$0.01250000", "$0.00000015"]
    assert short_usd(12_345_678_901) == "$0.0123"


@pytest.mark.parametrize("amount, text", [(0, "$0.0000"), (12_345, "$0.000000012"), (1_234_567_890_123, "$1.2346")])
def test_an_estimate_has_two_digits_that_count(amount: int, text: str) -> None:
    """An estimate does not look exact, nor like nothing."""
    assert about_usd(amount) == text


def test_receipts_come_back_as_the_integers_they_were() -> None:
    """A receipt's float is one pico-dollar amount and no other."""
    draw = random.Random(3)
    amounts = [draw.randrange(10**13) for _ in range(2_000)]
    assert [pico(amount / 10**12) for amount in amounts] == amounts


def test_percentiles_are_within_half_a_per_cent() -> None:
    """Percentiles need no list of all times, and are as good as one."""
    draw = random.Random(5)
    times = sorted(draw.lognormvariate(0, 1) for _ in range(2_000))
    counted = Latencies()
    for seconds in times:
        counted.add(seconds)
    for percent in (1, 50, 95, 99, 100):
        assert counted.percentile(percent) == pytest.approx(times[len(times) * percent // 100 - 1], rel=0.0051)
    assert Latencies().percentile(50) is None


def attempt(provider: str, **facts: Any) -> Attempt:
    """An attempt that was answered, unless the facts say otherwise."""
    answered = {"status_code": 200, "billed": "yes", "cost": 1e-6, "cost_source": "computed", "input_tokens": 3}
    return Attempt(provider=provider, model="m", request_id="r", **{**answered, "output_tokens": 5, **facts})


REFUSED = {"error": "ProviderError", "status_code": 503, "billed": "no", "cost": 0.0}
LOST = {"error": "GatewayError", "status_code": None, "billed": "maybe", "cost": 2e-6, "cost_source": "estimated"}


def answered(*attempts: Attempt) -> Outcome:
    """A row that was answered in the end."""
    return Outcome(line=1, custom_id="a", kind="answered", attempts=attempts)


def tally_of(*outcomes: Outcome) -> Tally:
    """A tally of rows."""
    tally = Tally()
    for outcome in outcomes:
        tally.add_outcome(outcome)
    return tally


def test_moves_are_failovers_or_retries() -> None:
    """A second attempt elsewhere is a failover with its cause, one at the same provider a retry."""
    tally = tally_of(
        answered(attempt("a", **REFUSED), attempt("b")),
        answered(attempt("a", **REFUSED), attempt("a", **REFUSED), attempt("b")),
        answered(attempt("b", **LOST), attempt("a")),
    )
    assert dict(tally.failovers) == {("a", "b", "503"): 2, ("b", "a", "connection lost"): 1}
    assert tally.retries == 1
    assert rows_line(tally, 2.0) == "3 rows: 3 answered, 0 failed; 3 failovers, 1 retry; 2.0 s, 2 rows/s"


def test_what_is_in_doubt_is_not_in_the_sums() -> None:
    """An attempt that was lost after sending is told beside the sums, as what it may cost at most."""
    tally = tally_of(answered(attempt("a", **LOST), attempt("b")))
    assert (tally.cost_pusd, tally.in_doubt_pusd) == (1_000_000, 2_000_000)
    assert doubt_line(tally) == "1 reply was lost on the way: perhaps billed, at most about $0.0000020 on top"
    assert doubt_line(tally_of(answered(attempt("a")))) is None


def test_why_rows_failed_is_told_by_cause() -> None:
    """Errors are counted by kind and message, each with its first message, cut to what fits."""
    errors = [("ProviderError", "it broke\nin two"), ("ProviderError", "again"), ("ValueError", "x" * 80)]
    tally = tally_of(*[Outcome(line=1, custom_id="a", kind="failed", error=kind, reason=said) for kind, said in errors])
    assert failure_table(tally).rows == [
        ("ProviderError", "-", "1", "again"), ("ProviderError", "-", "1", "it broke in two"),
        ("ValueError", "-", "1", "x" * 59 + "…"),
    ]  # fmt: skip
    assert [table.title for table in tables_of(tally)] == ["Why rows failed"]


@pytest.mark.parametrize(
    "facts, label",
    [
        (REFUSED, "503"),
        (LOST, "connection lost"),
        ({"error": "GatewayError", "status_code": None, "billed": "no"}, "GatewayError"),
        ({"error": "DecodeError", "status_code": 200}, "DecodeError"),
        ({}, "ok"),
    ],
)
def test_an_attempt_in_a_word(facts: dict[str, Any], label: str) -> None:
    """The status where there is one, else what happened."""
    assert label_of(attempt("a", **facts)) == label


def test_the_progress_line_grows_with_what_there_is() -> None:
    """Rows, speed and cost always; time left, failovers and failures where there are any."""
    tally = tally_of(answered(attempt("a", **REFUSED), attempt("b")))
    assert progress_line(tally, None, 0.5) == "1 row · 2 rows/s · 1,920 tokens/min · $0.0000 · 1 failover"
    assert progress_line(Tally(), 10, 1.0) == "0/10 rows · 0 rows/s · $0.0000"
    tally.skipped = 3
    told = "4/8 rows · 2 rows/s · 480 tokens/min · $0.0000 of about $0.0000 · 1 failover · 2 s left · 3 skipped"
    assert progress_line(tally, 8, 2.0) == told


def test_a_table_as_text() -> None:
    """Columns are aligned, numbers to the right, a total set off by a rule."""
    table = Table(title="T", columns=("name", "n >"), rows=[("a", "1"), ("bbbbb", "22")], total=("total", "23"))
    out = io.StringIO()
    print_table(table, out)
    assert out.getvalue() == plain(table) + "\n"
    rule = "-----  --"
    assert plain(table).splitlines() == ["T", "name    n", rule, "a       1", "bbbbb  22", rule, "total  23"]
