"""The page of a report: well-formed, escaped, exact to the last digit, and complete in itself."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from genops_helicone_async import BudgetStatus, ConfigurationError
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async.report import figures_of, write_report
from genops_helicone_async.report.amounts import duration, money, round_duration, share, usd
from genops_helicone_async.report.charts import ticks_to
from genops_helicone_async.report.markup import tag

VOID = {"meta", "link"}
EVIL = "\"'><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>&amp;"
AT_S = datetime(2026, 11, 23, 8, 30, tzinfo=UTC).timestamp()


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in its order. `words` are the texts outside of the style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title", "desc"):
            self.words += data

    @property
    def text(self) -> str:
        """The words in one line, with plain spaces."""
        return " ".join(self.words.split())


def row(number: int = 0, **fields: Any) -> LedgerRow:
    """An answered call, with whatever is given."""
    known: dict[str, Any] = {
        "request_id": f"r{number}", "at_s": AT_S, "provider": "openai", "model": "gpt-4o", "status": "ok",
        "cost_pusd": 1, "duration_ms": 100.0,
    }  # fmt: skip
    return LedgerRow(**{**known, **fields})


def page_of(folder: Path, *rows: LedgerRow, **keywords: Any) -> Page:
    """The page of some rows, read back."""
    write_report(rows, folder / "report.html", **keywords)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def budget(**amounts: float) -> BudgetStatus:
    """The budget of a day."""
    left = amounts["limit"] - amounts["settled"] - amounts["held"]
    ends = datetime(2026, 11, 24, tzinfo=UTC)
    return BudgetStatus(name="daily", scope="daily", period="day", remaining=left, resets_at=ends, **amounts)


ROWS = [
    row(1, team="research", cost_pusd=41_850_000, input_tokens=9, output_tokens=67),
    row(2, provider="groq", model="llama", team="support", cost_pusd=123_456_789_012, gateway_pusd=7),
    row(3, provider="groq", model="llama", status="ProviderError", cost_pusd=5_000_000, cost_source="estimated"),
    row(4, provider="acme", model="own", cost_pusd=0, cost_source="unpriced", project="p", customer_id="c"),
]


def test_figures_are_exact_to_the_last_digit(tmp_path: Path) -> None:
    """The sum of the rows stands on the page, all twelve digits of it."""
    text = page_of(tmp_path, *ROWS).text
    assert "$0.123503639012" in text
    assert "$0.123456789012" in text


def test_what_is_uncertain_is_marked(tmp_path: Path) -> None:
    """Estimates carry ≈, their sum and number; what nobody knows the price of is said to be missing."""
    text = page_of(tmp_path, *ROWS).text.replace("\u202f", " ")
    assert "of it ≈ $0.000005 (< 0.1 %) estimated, for 1 attempt; 1 attempt without a known price not in it" in text
    assert "exact, to the last digit" not in text
    assert "exact, to the last digit" in page_of(tmp_path, *ROWS[:2]).text


def test_the_page_refers_to_nothing_outside(tmp_path: Path) -> None:
    """No script, no address, no import: a browser has nothing to load, and may load nothing."""
    page = page_of(tmp_path, *ROWS, row(5, provider=EVIL, model="http://x.example/"))
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert {name for name, _ in page.tags} & {"script", "img", "iframe", "object", "embed", "form", "base"} == set()
    addresses = {value for _, attributes in page.tags for key, value in attributes.items()
                 if key in {"href", "src", "action", "data", "xlink:href"}}  # fmt: skip
    assert addresses == {"data:,"}
    assert re.findall(r"@import|url\((?!#)", source) == []
    (policy,) = [attributes["content"] for _, attributes in page.tags if attributes.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none';")


@pytest.mark.parametrize("field", ["provider", "model", "team", "project", "customer_id", "environment", "status",
                                   "request_id", "cost_source"])  # fmt: skip
def test_a_name_is_never_markup(tmp_path: Path, field: str) -> None:
    """Whatever a name holds, it is shown as it is and changes nothing around it."""
    texts: list[dict[str, Any]] = [{field: "x"}, {field: EVIL}]
    harmless, hostile = (page_of(tmp_path, row(**fields)) for fields in texts)
    assert [name for name, _ in hostile.tags] == [name for name, _ in harmless.tags]
    if field != "cost_source" and field != "status":
        assert EVIL in hostile.words
    assert not any(key.startswith("on") for _, attributes in hostile.tags for key in attributes)


def test_titles_and_sources_are_escaped(tmp_path: Path) -> None:
    """What the caller gives is text, too."""
    page = page_of(tmp_path, title=f"</title>{EVIL}", source=EVIL, budgets=[budget(limit=1, settled=0, held=0)])
    assert page.words.count(EVIL) == 2


def test_characters_that_no_page_may_hold_are_told(tmp_path: Path) -> None:
    """Control characters, lone surrogates and marks that turn the text around show as their codes."""
    assert "a\\u0000b\\u202ec\\ud800" in page_of(tmp_path, row(team="a\0b\u202ec\ud800")).text


def test_no_rows_make_a_page(tmp_path: Path) -> None:
    """An empty ledger says so, with its budgets."""
    text = page_of(tmp_path, budgets=[budget(limit=10, settled=2, held=0)]).text
    assert "The ledger has no attempts in this period." in text
    assert "$2.00 of $10.00 spent" in text


def test_sections_without_anything_to_say_are_left_out(tmp_path: Path) -> None:
    """No team, no error, no budget: no empty table."""
    text = page_of(tmp_path, row()).text
    for heading in ("By team", "By project", "By customer", "By environment", "Failed attempts", "Budgets"):
        assert heading not in text
    assert "By team" in page_of(tmp_path, *ROWS).text


@pytest.mark.parametrize(
    "amounts,state,words",
    [
        ({"limit": 10, "settled": 2, "held": 1.5}, "fine", "35.0 % used, $6.50 left"),
        ({"limit": 10, "settled": 8, "held": 0}, "nearly", "80.0 % used, $2.00 left"),
        ({"limit": 10, "settled": 10, "held": 0}, "nearly", "100.0 % used, $0.00 left"),
        ({"limit": 10, "settled": 10.000001, "held": 0}, "over", "100.0 % used, $0.000001 over the limit"),
        ({"limit": 0, "settled": 0, "held": 0}, "nearly", "100.0 % used, $0.00 left"),
    ],
)
def test_a_budget_says_what_is_left(tmp_path: Path, amounts: dict[str, float], state: str, words: str) -> None:
    """In words and in colour; the end of its window beside it."""
    page = page_of(tmp_path, budgets=[budget(**amounts)])
    assert f"{words}; resets 2026-11-24 00:00 UTC" in page.text.replace("\u202f", " ")
    assert ("div", {"class": f"budget {state}"}) in page.tags


def test_charts_speak_to_those_who_cannot_see_them(tmp_path: Path) -> None:
    """Each picture has a title and a description, and every bar its figures."""
    page = page_of(tmp_path, *ROWS, row(9, at_s=AT_S + 7_200))
    pictures = [attributes for name, attributes in page.tags if name == "svg" and "role" in attributes]
    known = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert [attributes["role"] for attributes in pictures] == ["img", "img", "img"]
    for attributes in pictures:
        assert set((attributes["aria-labelledby"] or "").split()) <= known
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>2026-11-23 08:00: $0.123503639012, of it $0.000005 estimated\ngroq:" in source
    assert "<title>2026-11-23 10:00: 1 attempt, 0 failed</title>" in source


def test_times_are_told_in_the_time_zone_asked_for(tmp_path: Path) -> None:
    """Half past eight in London is half past nine in Berlin."""
    text = page_of(tmp_path, row(), timezone="Europe/Berlin").text
    assert "Attempts from 2026-11-23 09:30:00 to 2026-11-23 09:30:00, Europe/Berlin" in text


def test_rows_outside_of_the_period_are_left_out(tmp_path: Path) -> None:
    """From `since` on and before `until`; the page says what was asked for."""
    since, until = datetime(2026, 11, 23, 8, 30), datetime(2026, 11, 23, 9, 30, tzinfo=UTC)  # noqa: DTZ001
    rows = [row(i, at_s=AT_S + seconds) for i, seconds in enumerate((-1, 0, 3_599, 3_600))]
    page = page_of(tmp_path, *rows, since=since, until=until)
    assert figures_of(rows, since=since, until=until).totals.attempts == 2
    assert "(asked for: since 2026-11-23 08:30, before 2026-11-23 09:30)" in page.text


def test_an_unknown_time_zone_is_named() -> None:
    """The remedy is in the line."""
    with pytest.raises(ConfigurationError, match="`timezone` is 'Mars/Base', which is no known time zone: try 'UTC'"):
        figures_of([], timezone="Mars/Base")


def test_a_failure_leaves_the_old_page(tmp_path: Path) -> None:
    """Rows that cannot be read to their end change nothing on the disk, and leave nothing behind."""
    page = tmp_path / "report.html"
    page.write_text("the old page")

    def broken() -> Any:
        yield row()
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_report(broken(), page)
    with pytest.raises(FileNotFoundError, match=r"nowhere/report\.html"):
        write_report([row()], tmp_path / "nowhere" / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert page.read_text() == "the old page"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """The page is written where the link points."""
    (tmp_path / "pages").mkdir()
    link = tmp_path / "latest.html"
    link.symlink_to(tmp_path / "pages" / "november.html")
    write_report([row()], link)
    assert link.is_symlink()
    assert (tmp_path / "pages" / "november.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    "pusd,told",
    [
        (0, "$0.0000"),
        (1, "$0.000000000001"),
        (-2_500_000_000_000, "−$2.5000"),
        (1_234_567_000_000_000_000, "$1,234,567.0000"),
        (41_850_000, "$0.00004185"),
    ],
)
def test_dollars_are_exact(pusd: int, told: str) -> None:
    """At least four digits after the point, as many more as there are."""
    assert usd(pusd, 4) == told
    assert re.sub(r"<[^>]+>", "", money(pusd)) == told


@pytest.mark.parametrize(
    "part,whole,told",
    [
        (0, 0, "–"),
        (0, 5, "0.0 %"),
        (1, 10**6, "< 0.1 %"),
        (1, 3, "33.3 %"),
        (10**6 - 1, 10**6, "> 99.9 %"),
        (7, 7, "100.0 %"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_all(part: int, whole: int, told: str) -> None:
    """What is there but small says so."""
    assert share(part, whole).replace("\u202f", " ") == told


@pytest.mark.parametrize(
    "ms,told,round_told",
    [(0.05, "0.05 ms", "0.05 ms"), (94, "94.0 ms", "94 ms"), (999, "999 ms", "999 ms"), (1_000, "1.00 s", "1 s"),
     (20_000, "20.0 s", "20 s"), (119_000, "119 s", "1.98 min"), (150_000, "2.50 min", "2.5 min"),
     (36_000_000, "10.0 h", "10 h")],
)  # fmt: skip
def test_times_have_units(ms: float, told: str, round_told: str) -> None:
    """Three digits and the unit that fits."""
    assert (duration(ms).replace("\u202f", " "), round_duration(ms).replace("\u202f", " ")) == (told, round_told)


@pytest.mark.parametrize(
    "most,ticks",
    [
        (0, [0, 1]), (1, [0, 1]), (3, [0, 1, 2, 3]), (7, [0, 2, 4, 6, 8]), (100, [0, 20, 40, 60, 80, 100]),
        (101, [0, 25, 50, 75, 100, 125]), (10**19 + 1, [2 * 10**18 * n for n in range(7)]),
    ],
)  # fmt: skip
def test_axes_have_round_figures(most: int, ticks: list[int]) -> None:
    """A few even steps that reach the highest bar."""
    assert ticks_to(most) == ticks


def test_markup_escapes_everything_it_did_not_make() -> None:
    """A text is escaped once, in an element and in an attribute; an attribute that is None is left out."""
    made = tag("a", "<b>&", tag("i", "x"), title='"<', data_count=2.5, id=None)
    assert made == '<a title="&quot;&lt;" data-count="2.5">&lt;b&gt;&amp;<i>x</i></a>'
