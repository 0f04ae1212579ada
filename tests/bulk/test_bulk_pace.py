"""Rates, time left and projected cost: of the last minute of this run, whatever earlier runs have done."""

import asyncio

import msgspec
import pytest

from genops_helicone_async.bulk.tally import ProviderTally, Tally
from genops_helicone_async.cli.pace import Pace, Standing
from genops_helicone_async.cli.progress import JsonLines, Lines, line_of, view_for


def grow(tally: Tally, rows: int, cost_pusd: int = 0, tokens: int = 0) -> None:
    """More rows answered."""
    one = tally.providers.setdefault("groq", ProviderTally())
    tally.ok += rows
    one.cost_pusd += cost_pusd
    one.output_tokens += tokens


def test_earlier_runs_count_for_no_rate() -> None:
    """A resumed job with 900 of 1,000 rows done tells the speed and time of the hundred that are left."""
    tally = Tally()
    grow(tally, 900, 9 * 10**11, 9_000)
    pace = Pace(tally, 100.0)
    began = pace.look(100.0, 1000)
    assert (began.rows_per_s, began.eta_s, began.projected_cost_usd) == (0.0, None, 1.0)
    grow(tally, 20, 2 * 10**10, 400)
    now = pace.look(110.0, 1000)
    assert (now.rows_done, now.rows_per_s, now.tokens_per_min, now.eta_s) == (920, 2.0, 2400.0, 40.0)
    assert (now.cost_usd, now.projected_cost_usd, now.elapsed_s) == (0.92, 1.0, 10.0)


def test_rates_are_those_of_the_last_minute() -> None:
    """What went slowly an hour ago does not tell when it ends."""
    tally = Tally()
    pace = Pace(tally, 0.0)
    for second in range(600):
        grow(tally, 1 if second < 300 else 10)
        now = pace.look(second + 1.0, 10_000)
    assert now.rows_per_s == pytest.approx(10, rel=0.02)
    for second in range(600, 700):
        now = pace.look(second + 1.0, 10_000)
    assert (now.rows_per_s, now.eta_s) == (0.0, None)


def test_an_end_is_an_end() -> None:
    """Nothing is left of a job that is done, and nothing is known of one without a total."""
    tally = Tally()
    grow(tally, 10, 5)
    pace = Pace(tally, 0.0)
    assert (pace.look(1.0, 10, over=True).eta_s, pace.look(1.0, 10).is_projected) == (0.0, False)
    unknown = pace.look(1.0, None)
    assert (unknown.eta_s, unknown.projected_cost_usd, unknown.rows_total) == (None, None, None)


def test_a_line_tells_what_there_is() -> None:
    """Rows given back, failures, the time left in units that fit."""
    tally = Tally(failed=2, unsent=3)
    grow(tally, 98, 10**10, 6000)
    standing = Pace.since_nothing(tally).look(50.0, 100_000)
    told = "100/100,000 rows · 2 rows/s · 7,200 tokens/min · $0.0100 of about $10.0000 · 13 h 52 min left"
    assert line_of(standing) == f"{told} · 2 failed · 3 given back"


@pytest.mark.anyio
async def test_json_progress_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The first at once, the last says that it is over; every field each time; notes are objects, too."""
    view = view_for("bulk", quiet=True, as_json=True)
    assert isinstance(view, JsonLines)
    tally = Tally()
    view.total = 2
    view.start(tally)
    view.note("line 7 skipped")
    grow(tally, 2)
    view.stop()
    out, err = capsys.readouterr()
    first, note, last = [msgspec.json.decode(line) for line in err.splitlines()]
    assert (out, note) == ("", {"note": "line 7 skipped"})
    assert (first["over"], first["rows_done"], last["over"], last["rows_done"]) == (False, 0, True, 2)
    assert list(first) == list(last) == list(Standing.__struct_fields__)


@pytest.mark.anyio
async def test_views_look_by_a_timer(capsys: pytest.CaptureFixture[str]) -> None:
    """A line every so many seconds, and none once the job is over."""
    view = Lines(every_s=0.001)
    view.start(Tally())
    while not capsys.readouterr().err.startswith("0 rows · "):
        await asyncio.sleep(0)
    view.stop()
    capsys.readouterr()
    for _ in range(100):
        await asyncio.sleep(0)
    assert capsys.readouterr().err == ""
