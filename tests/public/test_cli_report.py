"""`report`: from a ledger that the real adapter wrote to a page and a table that add up to the gateway's own bill."""

import asyncio
import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest
import time_machine

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async.cli import main
from genops_helicone_async.cli.money import exact_usd
from genops_helicone_async.report import ledger_rows, write_report
from genops_helicone_async.testing import Fault, SandboxGateway

CALLS = (
    ("openai", "research"), ("anthropic", "research"), ("groq", "support"), ("openai", "support"), ("groq", ""),
)  # fmt: skip
AT_S = datetime(2026, 11, 23, 8, 30, tzinfo=UTC).timestamp()


class Written(NamedTuple):
    """A ledger's URL, and what the gateway says the calls in it cost: in all and by provider, in pico-dollars."""

    url: str
    total_pusd: int
    by_provider: dict[str, int]


async def spend(url: str) -> Written:
    """A few calls of several teams, one of which fails over."""
    async with (
        SandboxGateway(latency_scale=0) as gateway,
        GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, state_url=url) as adapter,
    ):
        for provider, team in CALLS:
            await adapter.chat_async("Hello", provider=provider, team=team or None, project="chat", max_tokens=50)
        gateway.faults.add(Fault(kind="status", provider="openai", status=503))
        await adapter.chat_async("Hello", providers=["openai", "groq"], team="research", max_tokens=50)
        return Written(url, gateway.bill.total_pusd, gateway.bill.by_provider)


@pytest.fixture(scope="module", autouse=True)
def noon() -> Iterator[None]:
    """A day that does not end during a test; the clock goes on."""
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=True):
        yield


@pytest.fixture(scope="module")
def written(noon: None, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A ledger's file that the adapter wrote."""
    return asyncio.run(spend(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text_of(page: Path) -> str:
    """What a reader sees."""
    words = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"<[^>]*>", "", words)


def out(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Standard output of a report that succeeds and has nothing to say on standard error."""
    status = main(["report", *argv])
    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    return printed.out


def failure(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    """Status and the one line of a report that fails."""
    status = main(["report", *argv])
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return status, line


def book(url: str, *rows: LedgerRow) -> None:
    """Writes rows of other times than now."""

    async def write() -> None:
        ledger = SqliteLedger(url.removeprefix("sqlite:///"))
        ledger.settle((), 0, rows, lambda moved: None)
        await ledger.aclose()

    asyncio.run(write())


def row(number: int, at_s: float, cost_pusd: int = 1_000_000) -> LedgerRow:
    """An answered call."""
    return LedgerRow(
        request_id=f"r{number}", at_s=at_s, provider="openai", model="gpt-4o", status="ok", cost_pusd=cost_pusd
    )


def test_the_page_and_the_table_are_the_gateway_s_bill(
    written: Written, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both show what the gateway charged, to the last digit, and the page is where the last line says."""
    printed = out(capsys, "--state-url", written.url)
    *_, attempts, spent, where = printed.splitlines()
    assert attempts == "7 attempts, 1 of them failed, from 2026-11-23 12:00 to 2026-11-23 12:00 UTC."
    assert spent == f"Spent: {exact_usd(written.total_pusd)}, exactly."
    assert where == "The whole report: report.html"
    assert exact_usd(written.total_pusd) in text_of(here / "report.html")
    assert [path.name for path in here.iterdir()] == ["report.html"]


def test_the_table_has_a_line_for_each_provider(
    written: Written, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The dearest first, with the attempts that failed and what the gateway charged for the others."""
    lines = out(capsys, "--state-url", written.url).splitlines()
    assert lines[0] == "By provider"
    told = {line.split()[0]: line.split() for line in lines[3:6]}
    assert {name: (cells[1], cells[2]) for name, cells in told.items()} == {
        "anthropic": ("1", "0"), "openai": ("3", "1"), "groq": ("3", "0")
    }  # fmt: skip
    cost_pusd = {name: round(float(cells[5].removeprefix("$")) * 1e12) for name, cells in told.items()}
    assert cost_pusd == written.by_provider
    assert list(cost_pusd.values()) == sorted(cost_pusd.values(), reverse=True)


def test_json_is_the_gateway_s_bill(written: Written, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for a machine, in integers; no page is written unless it is asked for."""
    told = json.loads(out(capsys, "--state-url", written.url, "--json"))
    assert told["totals"]["cost_pusd"] == written.total_pusd
    assert {line["name"]: line["cost_pusd"] for line in told["by_provider"]} == written.by_provider
    assert {line["name"]: line["attempts"] for line in told["by_team"]} == {"research": 4, "support": 2, "": 1}
    assert [(line["name"], line["attempts"]) for line in told["errors"]] == [("ProviderError", 1)]
    assert sum(bar["cost_pusd"] for bar in told["over_time"]["bars"]) == written.total_pusd
    assert (told["latency_ms"]["all"]["answers"], told["page"], told["source"]) == (6, None, written.url)
    assert list(here.iterdir()) == []
    assert json.loads(out(capsys, "--state-url", written.url, "--json", "-o", "x.html"))["page"] == "x.html"
    assert [path.name for path in here.iterdir()] == ["x.html"]


def test_the_state_url_of_the_environment(
    written: Written, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`GENOPS_STATE_URL` is the one that the adapter takes, too."""
    monkeypatch.setenv("GENOPS_STATE_URL", written.url)
    assert exact_usd(written.total_pusd) in out(capsys)


def test_budgets_stand_on_the_page(written: Written, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The limits named are shown with what the ledger says of them."""
    argv = ["--state-url", written.url, "--monthly", "1,000", "--team", "research=2"]
    told = json.loads(out(capsys, *argv, "--json", "-o", "page.html"))
    month, team = told["budgets"]
    assert (month["name"], month["settled_pusd"], month["limit_usd"]) == ("monthly", written.total_pusd, 1000.0)
    by_team = {line["name"]: line["cost_pusd"] for line in told["by_team"]}
    assert (team["name"], team["settled_pusd"]) == ("team:research", by_team["research"])
    text = text_of(here / "page.html")
    assert f"{exact_usd(written.total_pusd)} of $1,000.00 spent" in text
    assert f"{exact_usd(by_team['research'])} of $2.00 spent" in text


def test_since_and_until(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the first moment on, before the second; a date is that of the time zone asked for."""
    url = f"sqlite:///{here}/ledger.db"
    hours = timedelta(hours=1).total_seconds()
    book(
        url, *(row(i, AT_S + i * hours, 10**i) for i in range(10))
    )  # 08:30 to 17:30 in London, an hour later in Berlin

    def cost(*argv: str) -> int:
        told = json.loads(out(capsys, "--state-url", url, "--json", *argv))
        return int(told["totals"]["cost_pusd"])

    assert cost() == 1_111_111_111
    assert cost("--since", "2026-11-23T10:30", "--until", "2026-11-23T12:30") == 1_100
    assert cost("--since", "2026-11-23T10:30", "--until", "2026-11-23T12:30", "--timezone", "Europe/Berlin") == 110
    assert cost("--since", "2026-11-23T10:30+02:00", "--until", "2026-11-23T10:30+01:00") == 1
    assert cost("--until", "2026-11-23") == 0
    assert cost("--since", "2026-11-23") == 1_111_111_111


@pytest.mark.parametrize("ago,attempts", [("30m", 1), ("2h", 2), ("1d", 2), ("1w", 3)])
def test_so_long_ago(here: Path, capsys: pytest.CaptureFixture[str], ago: str, attempts: int) -> None:
    """Minutes, hours, days and weeks count back from now."""
    url = f"sqlite:///{here}/ledger.db"
    now = datetime.now(UTC)
    ages = (timedelta(minutes=1), timedelta(hours=1), timedelta(days=3), timedelta(days=30))
    book(url, *(row(i, (now - age).timestamp()) for i, age in enumerate(ages)))
    assert json.loads(out(capsys, "--state-url", url, "--json", "--since", ago))["totals"]["attempts"] == attempts


def test_no_attempts_in_the_period(written: Written, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That is an answer, not a failure."""
    assert out(capsys, "--state-url", written.url, "--until", "2020-01-01").splitlines() == [
        "The ledger has no attempts in this period.",
        "The whole report: report.html",
    ]


def test_uncertain_figures_are_marked_on_the_screen(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is estimated, and what no price is known for."""
    url = f"sqlite:///{here}/ledger.db"
    rows = [
        LedgerRow(request_id=source, at_s=AT_S, provider="acme", model="own", status="ok", cost_pusd=cost_pusd,
                  cost_source=source)
        for source, cost_pusd in (("computed", 5 * 10**11), ("estimated", 25 * 10**10), ("unpriced", 0))
    ]  # fmt: skip
    book(url, *rows)
    lines = out(capsys, "--state-url", url).splitlines()
    assert lines[1:4] == [
        "provider  attempts  failed  tokens in  tokens out     cost   share  of it estimated  unpriced",
        "--------  --------  ------  ---------  ----------  -------  ------  ---------------  --------",
        "acme             3       0          0           0  $0.7500  100.0%         ~$0.2500         1",
    ]
    assert lines[-2] == (
        "Spent: $0.7500, of it ~$0.2500 estimated for 1 attempt; 1 attempt without a known price not in it."
    )


def test_top_shows_more_names_or_fewer(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest is counted together, on the screen, in JSON and on the page."""
    url = f"sqlite:///{here}/ledger.db"
    book(url, *(LedgerRow(request_id=f"r{i}", at_s=AT_S, provider=f"p{i}", model="m", status="ok", cost_pusd=10 - i)
                for i in range(5)))  # fmt: skip
    told = json.loads(out(capsys, "--state-url", url, "--json", "--top", "2"))["by_provider"]
    assert [(line["name"], line["names"], line["cost_pusd"]) for line in told] == [
        ("p0", 1, 10), ("p1", 1, 9), (None, 3, 21)
    ]  # fmt: skip
    assert "(other: 3 more)" in out(capsys, "--state-url", url, "--top", "2")
    assert "(other: 3 more)" in text_of(here / "report.html")


def test_a_file_that_is_no_page_is_left_alone(written: Written, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger named as the output by mistake is not overwritten; an older page is."""
    ledger = Path(written.url.removeprefix("sqlite:///"))
    before = ledger.read_bytes()
    line = f"error: {ledger} is no HTML page and is left as it is: name another file"
    assert failure(capsys, "--state-url", written.url, "-o", str(ledger)) == (2, line)
    assert ledger.read_bytes() == before
    assert failure(capsys, "--state-url", written.url, "-o", ".") == (2, "error: . is a folder: name a file in it")
    for _ in range(2):
        out(capsys, "--state-url", written.url)


@pytest.mark.parametrize(
    "argv,status,line",
    [
        ([], 2, "error: no ledger is named: give --state-url sqlite:///ledger.db, or set GENOPS_STATE_URL"),
        (["--state-url", "ledger.db"], 2, "error: `state_url` has the scheme 'ledger.db': use sqlite:///file.db, "),
        (["--state-url", "sqlite:///none.db"], 1, "error: there is no ledger at "),
        (["--state-url", "sqlite:///none.db", "--daily", "5"], 1, "error: there is no ledger at "),
        (["--state-url", "sqlite:///text.db"], 1, "error: the ledger "),
        (["--state-url", "sqlite:///other.db"], 1, "error: "),
        (["--state-url", "sqlite:///x.db", "--timezone", "Mars"], 2, "error: `timezone` is 'Mars', which is no known "),
        (["--state-url", "sqlite:///x.db", "--since", "1d", "--until", "2d"], 2, "error: --since "),
        (["--state-url", "sqlite:///x.db", "--since", "yesterday"], 2, "error: argument --since: 'yesterday' is no "),
        (["--state-url", "sqlite:///x.db", "--since", "999999w"], 2, "error: 6,999,993 days ago is before the "),
        (["--state-url", "sqlite:///x.db", "--top", "0"], 2, "error: argument --top: 0 is less than 1"),
        (["--state-url", "sqlite:///x.db", "--daily", "-1"], 2, "error: argument --daily: '-1' is no limit: "),
        (["--state-url", "sqlite:///x.db", "--team", "a"], 2, "error: argument --team: 'a' is not NAME=USD"),
        (["--state-url", "sqlite:///x.db", "--team", "a=1", "--team", "a=2"], 2, "error: --team names one twice"),
    ],
)
def test_it_fails_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], argv: list[str], status: int, line: str
) -> None:
    """Wrong usage ends with 2, a ledger that is missing, damaged or another program's with 1; none of them is made."""
    Path("text.db").write_text("this is no database " * 100)
    with sqlite3.connect("other.db") as other:
        other.execute("CREATE TABLE theirs (id)")
    other.close()
    before = sorted(path.name for path in here.iterdir())
    ended, told = failure(capsys, *argv)
    assert (ended, told[: len(line)]) == (status, line)
    assert sorted(path.name for path in here.iterdir()) == before


def test_a_page_that_cannot_be_written(written: Written, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The system's reason, with the file."""
    line = "error: nowhere/report.html: No such file or directory"
    assert failure(capsys, "--state-url", written.url, "-o", "nowhere/report.html") == (1, line)


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A web server's address, and the paths that it was asked for."""
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Says nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.timeout(120)
def test_a_browser_shows_it_and_loads_nothing(
    written: Written, tmp_path: Path, listener: tuple[str, list[str]]
) -> None:
    """Chromium draws the page, runs nothing that a name holds, and asks nobody for anything."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not on the PATH")
    url, asked = listener
    evil = f"<img src={url}/image><script src={url}/script></script><script>document.title = 'run'</script>"
    hostile = LedgerRow(
        request_id=evil, at_s=AT_S, provider=evil, model=evil, status=evil, cost_pusd=1, team=evil, customer_id=evil
    )
    page = tmp_path / "report.html"
    write_report([*ledger_rows(written.url), hostile], page, title="Three <pages>")
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
        "--disable-background-networking", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1200,1600", f"--screenshot={tmp_path / 'page.png'}", "--dump-dom",
    ]  # fmt: skip
    shown = subprocess.run([chromium, *options, page.as_uri()], capture_output=True, check=True, timeout=110)
    tree = shown.stdout.decode()
    assert "<title>Three &lt;pages&gt;</title>" in tree
    assert exact_usd(written.total_pusd + 1) in re.sub(r"<[^>]*>", "", tree)
    assert "<script" not in tree
    assert re.findall(r'(?:src|href)="(?!data:,)', tree) == []
    assert (tmp_path / "page.png").read_bytes()[:4] == b"\x89PNG"
    assert asked == []
