"""`report --live`: a running process through its ledger, on a terminal, in a pipe and for a machine."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

import live_processes
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async.cli import main
from genops_helicone_async.cli.live_figures import LATE_S, Window
from genops_helicone_async.cli.live_view import RichView, headline, notes_of
from genops_helicone_async.errors import LedgerError

NOW_S = 1_800_000_000.0


def row(number: int, at_s: float, **facts: object) -> LedgerRow:
    """A row of a ledger."""
    given: dict[str, object] = {
        "request_id": f"r{number}", "at_s": at_s, "provider": "openai", "model": "gpt-4o-mini", "status": "ok",
        "cost_pusd": 10**9, "gateway_pusd": 0, "cost_source": "computed", "input_tokens": 10, "output_tokens": 5,
        "duration_ms": 100.0, "team": "ml", "project": "", "customer_id": "", "environment": "", **facts,
    }  # fmt: skip
    return LedgerRow(**given)  # type: ignore[arg-type]


class Rows:
    """A ledger that rows are added to, and that notes since when it was asked."""

    def __init__(self, *rows: LedgerRow) -> None:
        self.rows = list(rows)
        self.asked: list[float] = []

    def __call__(self, since_s: float) -> list[LedgerRow]:
        self.asked.append(since_s)
        return [each for each in self.rows if each.at_s >= since_s]


def test_a_running_process_is_seen_as_it_goes_on(tmp_path: Path) -> None:
    """Two processes around one SQLite file: what one spends the other shows, exactly; Ctrl-C ends it with 0."""
    live_processes.check_live(f"sqlite:///{tmp_path / 'ledger.db'}", "live-team")


def test_once_is_a_plain_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal: a headline, a table for each dimension, the budgets, and no control characters."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with live_processes.Writer(url) as writer:
        writer.spend("ml", 4)
        assert writer.ended() == (0, "")  # not killed: the row of a failed call may still be on its way to the disk
    status = main(["report", "--live", "--once", "--state-url", url, "--window", "1h", "--daily", "1"])
    shown, error = capsys.readouterr()
    assert (status, error) == (0, "")
    assert "last 1 h: 4 attempts" in shown
    assert "50.0% errors" in shown
    assert [line for line in shown.splitlines() if line.startswith(("By ", "Budgets"))] == [
        "By team", "By provider", "By model", "Budgets",
    ]  # fmt: skip
    assert "groq" in shown
    assert "\x1b" not in shown


def test_it_ends_after_so_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--for` ends it by itself, with a last look."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with live_processes.Writer(url) as writer:
        charged_pusd = writer.spend("ml", 2)
        assert writer.ended() == (0, "")
    assert main(["report", "--live", "--json", "--for", "0.05", "--interval", "0.04", "--state-url", url]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) >= 2
    assert {line["totals"]["cost_pusd"] for line in lines} == {charged_pusd}
    assert (lines[0]["error_rate"], lines[0]["window_s"], lines[0]["trouble"]) == (0.5, 300.0, None)
    assert lines[0]["latency_ms"]["all"]["p50"] > 0


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (["--live", "--state-url", "sqlite:///nowhere.db"], 1, "there is no ledger at"),
        (["--live"], 2, "no ledger is named"),
        (["--live", "--state-url", "sqlite:///x.db", "-o", "x.html"], 2, "--output does not go with --live"),
        (["--live", "--state-url", "sqlite:///x.db", "--since", "1h"], 2, "--since does not go with --live"),
        (["--once", "--state-url", "sqlite:///x.db"], 2, "--once needs --live"),
        (["--interval", "5", "--state-url", "sqlite:///x.db"], 2, "--interval needs --live"),
        (["--live", "--interval", "0"], 2, "no stretch of time"),
        (["--live", "--window", "2w"], 2, "no stretch of time"),
        (["--live", "--state-url", "http://x"], 2, "state_url"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(
    argv: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """A missing ledger, options that do not go together, times that are none; and no ledger is made by looking."""
    monkeypatch.chdir(tmp_path)
    assert main(["report", *argv]) == status
    shown, error = capsys.readouterr()
    assert (shown, error.count("\n")) == ("", 1)
    assert says in error
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_is_drawn_anew() -> None:
    """With rich: one picture, and the last one stays."""
    window = Window(Rows(row(1, NOW_S - 5), row(2, NOW_S - 1, status="ProviderError", cost_pusd=0)), 300.0)
    screen = io.StringIO()
    view = RichView("sqlite:///l.db", "UTC", Console(file=screen, force_terminal=True, width=120, height=50))
    for later_s in (0.0, 2.0):
        window.refresh(NOW_S + later_s)
        view.show(window.snapshot(NOW_S + later_s, "UTC", 5, []))
    view.stop()
    drawn = screen.getvalue()
    assert drawn.count("08:00:00 UTC") == 1
    assert "\x1b[1A" in drawn  # the cursor goes up over the picture before
    assert "08:00:02 UTC, last 5 min: 2 attempts" in drawn


def test_only_what_may_be_new_is_read_again() -> None:
    """The first reading takes the whole window, later ones a minute back; late rows count, and none counts twice."""
    rows = Rows(row(1, NOW_S - 200))
    window = Window(rows, 300.0)
    window.refresh(NOW_S)
    rows.rows += [row(2, NOW_S - LATE_S + 1), row(1, NOW_S - 200)]
    window.refresh(NOW_S + 10)
    assert rows.asked == [NOW_S - 300, NOW_S - LATE_S]
    assert window.snapshot(NOW_S + 10, "UTC", 5, []).figures.totals.attempts == 2
    window.refresh(NOW_S + 150)
    assert window.snapshot(NOW_S + 150, "UTC", 5, []).figures.totals.attempts == 1


def test_rates_are_over_the_last_minute() -> None:
    """Attempts a second and dollars an hour: over a minute, or since the first row; a share of errors in the window."""
    old = [row(number, NOW_S - 200, status="ProviderError", cost_pusd=0) for number in range(30)]
    new = [row(100 + number, NOW_S - 30) for number in range(60)]
    window = Window(Rows(*old, *new), 300.0)
    window.refresh(NOW_S)
    seen = window.snapshot(NOW_S, "UTC", 5, [])
    assert (seen.per_s, seen.pusd_per_h, seen.error_rate) == (1.0, 3600 * 10**9, 30 / 90)
    young = Window(Rows(*[row(number, NOW_S - 10) for number in range(20)], row(99, NOW_S - 20)), 300.0)
    young.refresh(NOW_S)
    assert young.snapshot(NOW_S, "UTC", 5, []).per_s == 1.0
    assert "90 attempts, 1.0/s, 33.3% errors, p50 100 ms, p95 100 ms, $0.0600 spent, $3.6000/h" in headline(seen, "UTC")


def test_a_ledger_that_goes_away_is_told_and_waited_for() -> None:
    """The figures of before stay, with what is wrong."""
    window = Window(Rows(row(1, NOW_S - 5)), 300.0)
    window.refresh(NOW_S)

    def gone(since_s: float) -> list[LedgerRow]:
        raise LedgerError("the server is away")

    window._read = gone
    with pytest.raises(LedgerError):
        window.refresh(NOW_S + 1)
    seen = window.snapshot(NOW_S + 1, "UTC", 5, [], "the server is away")
    assert seen.figures.totals.attempts == 1
    assert notes_of(seen) == ["The ledger cannot be read, these figures are of before: the server is away"]


def test_memory_is_bounded() -> None:
    """Beyond so many rows only the newest count, and that is said."""
    window = Window(Rows(*[row(number, NOW_S - 100 + number) for number in range(50)]), 300.0, most_rows=20)
    window.refresh(NOW_S)
    seen = window.snapshot(NOW_S, "UTC", 5, [])
    assert (seen.figures.totals.attempts, seen.figures.first_s) == (20, NOW_S - 70)
    assert notes_of(seen) == ["There were more calls than are kept: only the newest are counted."]


def test_nothing_yet_is_no_error() -> None:
    """A ledger without rows in the window shows zeros."""
    window = Window(Rows(), 300.0)
    window.refresh(NOW_S)
    seen = window.snapshot(NOW_S, "UTC", 5, [])
    assert seen.error_rate is None
    assert "0 attempts, 0.0/s, - errors, p50 -, p95 -" in headline(seen, "UTC")
