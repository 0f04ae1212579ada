"""What is said when a run ends: on the screen, as JSON and as a page, all with the figures of the whole job."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from genops_helicone_async import Attempt
from genops_helicone_async.bulk.ports import Outcome
from genops_helicone_async.bulk.tally import Tally
from genops_helicone_async.cli.bulk_end import JobEnd, end_json, print_end
from genops_helicone_async.cli.bulk_page import check_page, write_page
from genops_helicone_async.cli.failures import CommandError

VOID = ("meta", "link", "br", "img", "input", "hr")


def tally() -> Tally:
    """Rows of a job with something of everything."""
    told: dict[str, Any] = {"model": "m", "request_id": "r"}
    good = Attempt(
        provider="groq", **told, status_code=200, billed="yes", cost=0.001234, cost_source="computed", duration_s=0.5,
        input_tokens=1000, output_tokens=234,
    )  # fmt: skip
    lost = Attempt(provider="openai", **told, error="GatewayError", billed="maybe", cost=0.02, duration_s=1.0)
    busy = Attempt(provider="openai", **told, error="RateLimitExceededError", status_code=429)
    found = Tally()
    for line in range(5):
        found.add_outcome(Outcome(line=line, custom_id=f"r{line}", kind="answered", attempts=(good,)), 1e9 + 15 * line)
    found.add_outcome(Outcome(line=5, custom_id="r5", kind="answered", attempts=(busy, good)), 1e9)
    found.add_outcome(Outcome(line=6, custom_id="r6", kind="answered", served_by="r5"), 1e9)
    for line in (7, 8):
        reason = f"<b>slow down</b>, wait {line} s"
        failed = Outcome(
            line=line, custom_id="f", kind="failed", error="RateLimitExceededError", reason=reason, attempts=(busy,)
        )
        found.add_outcome(failed, 1e9)
    found.add_outcome(Outcome(line=9, custom_id="g", kind="failed", error="GatewayError", attempts=(lost,)), 1e9)
    found.add_outcome(Outcome(line=10, custom_id="u", kind="unsent"))
    found.add_bad()
    return found


def end(**facts: Any) -> JobEnd:
    """The end of a second run that was cut short."""
    given: dict[str, Any] = {
        "tally": tally(), "wall_s": 2.0, "input": "in.jsonl", "output": "out.jsonl", "bad_lines": "out.errors.jsonl",
        "runs": 2, "rows_before": 5, "rows_total": 12, "is_interrupted": True, "given_back": "--max-cost is spent",
        "twice": ("r1", "r2"), "twice_count": 2, "go_on": "genops-helicone bulk in.jsonl -o out.jsonl",
    }  # fmt: skip
    return JobEnd(**{**given, **facts})


def test_the_screen_tells_all_runs_and_how_to_go_on() -> None:
    """Rows of all runs, the speed of this one; causes of failure; what is in doubt, given back, and left."""
    out = io.StringIO()
    print_end(end(), out, as_json=False)
    lines = out.getvalue().splitlines()
    assert lines[0] == "11 rows: 7 answered, 3 failed, 1 skipped; 1 failover, 0 retries; 2.0 s, 3 rows/s"
    assert re.search(r"\ngroq +6 +6 +6,000 +1,404 +\$0.007404 +100.0% +0\.50 ", out.getvalue())
    assert re.search(
        r"\nRateLimitExceededError  429 +2  <b>slow down</b>, wait 7 s\nGatewayError +- +1", out.getvalue()
    )
    assert lines[-8:] == [
        "all figures are those of 2 runs; this one did 6 rows",
        "1 row equal to another, answered with it at no cost",
        "1 reply was lost on the way: perhaps billed, at most about $0.0200 on top",
        "2 rows on the way when an earlier run ended, and sent again, perhaps billed twice: r1, r2",
        "1 row given back unsent: --max-cost is spent",
        "answers:   out.jsonl",
        "bad lines: out.errors.jsonl",
        "to go on:  genops-helicone bulk in.jsonl -o out.jsonl",
    ]


def test_what_rows_sent_again_may_cost_is_told() -> None:
    """The most that rows perhaps billed twice may cost besides: in the line and in JSON."""
    out = io.StringIO()
    print_end(end(twice_pusd=20_000_000_000), out, as_json=False)
    assert "sent again, perhaps billed twice, $0.0200 at most: r1, r2\n" in out.getvalue()
    assert end_json(end(twice_pusd=20_000_000_000))["perhaps_billed_twice"]["most_cost_usd"] == 0.02


def test_a_quiet_end_has_no_remarks() -> None:
    """A first run that did everything tells its rows, its cost, and where the answers are."""
    out = io.StringIO()
    print_end(JobEnd(tally=Tally(ok=3), wall_s=1.0, output="out.jsonl"), out, as_json=False)
    said = "3 rows: 3 answered, 0 failed; 0 failovers, 0 retries; 1.0 s, 3 rows/s"
    assert out.getvalue().splitlines() == [said, "answers:   out.jsonl"]


def test_a_machine_is_told_the_same() -> None:
    """One object, with integers of pico-dollars, causes with their counts, and lists that have an end."""
    out = io.StringIO()
    print_end(end(twice=tuple(map(str, range(500))), twice_count=500), out, as_json=True)
    told = msgspec.json.decode(out.getvalue())
    assert told == msgspec.json.decode(
        msgspec.json.encode(end_json(end(twice=tuple(map(str, range(500))), twice_count=500)))
    )
    assert (told["cost_pusd"], told["rows"], told["copied"]) == (
        7_404_000_000, {"ok": 7, "failed": 3, "skipped": 1}, 1,
    )  # fmt: skip
    assert (told["runs"], told["rows_before"], told["rows_per_s"]) == (2, 5, 3.0)
    assert told["given_back"] == {"rows": 1, "because": "--max-cost is spent"}
    assert (told["perhaps_billed_twice"]["rows"], len(told["perhaps_billed_twice"]["custom_ids"])) == (500, 500)
    assert [(one["error"], one["status"], one["count"]) for one in told["failures"]] == [
        ("RateLimitExceededError", "429", 2), ("GatewayError", None, 1),
    ]  # fmt: skip


class Checked(HTMLParser):
    """Reads a page and notes its texts, its unclosed elements, and what it would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        named = dict(attrs)
        self.foreign += [f"{tag} {named}"] if tag == "script" or {"src", "onload"} & named.keys() else []
        if (named.get("href") or "data:").split(":")[0] != "data":
            self.foreign.append(f"{tag} {named}")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


def test_the_page_is_whole_and_has_the_figures(tmp_path: Path) -> None:
    """Every element is closed, nothing is loaded or run, foreign text stays text, the figures are the job's."""
    write_page(end(), tmp_path / "job.html", title="Night of the 23rd")
    page = Checked()
    page.feed((tmp_path / "job.html").read_text(encoding="utf-8"))
    page.close()
    assert (page.open, page.foreign) == ([], [])
    text = " ".join("".join(page.texts).split())
    for figure in (
        "Night of the 23rd", "11 rows of 12 of in.jsonl", ", in 2 runs", "$0.007404", "63.6", "3 failed, 1 skipped",
        "6,000", "1,404", "<b>slow down</b>, wait 7 s", "openai → groq", "genops-helicone bulk in.jsonl -o out.jsonl",
        "perhaps billed twice", "r1r2", "--max-cost is spent", "out.errors.jsonl", "Rows over time", "Each bar is 10.0",
    ):  # fmt: skip
        assert figure in text, figure
    assert text.count("$0.007404") == 2
    tips = [text.count(f": {tip} failed") for tip in ("6 rows, 3", "1 row, 0", "0 rows, 0")]
    assert tips == [1, 4, 2]


def test_a_page_of_nothing_is_a_page(tmp_path: Path) -> None:
    """A job without any row, and without anything to go on with."""
    write_page(JobEnd(tally=Tally(), wall_s=0.0), tmp_path / "job.html")
    page = Checked()
    page.feed((tmp_path / "job.html").read_text(encoding="utf-8"))
    assert (page.open, page.foreign) == ([], [])
    assert "no row was answered" in "".join(page.texts)


@pytest.mark.parametrize(
    "name, said",
    [("", "is a folder"), ("none/job.html", "is no folder: create it first"), ("notes.txt", "is no HTML page")],
)
def test_a_page_replaces_nothing_else(name: str, said: str, tmp_path: Path) -> None:
    """What is no page is never written over; an earlier page is."""
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(CommandError, match=said):
        check_page(tmp_path / name)
    write_page(end(), tmp_path / "job.html")
    check_page(tmp_path / "job.html")
    check_page(tmp_path / "new.html")
