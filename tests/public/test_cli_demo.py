"""`demo`: the shipped batch, the failovers to be seen, and two bills that are equal to the pico-dollar."""

import io
import json
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from genops_helicone_async.cli import main
from genops_helicone_async.cli.demo_run import shipped_batch, spread
from genops_helicone_async.cli.demo_script import PROVIDERS, FaultScript
from genops_helicone_async.testing import SandboxGateway

QUICK = ["--speed", "1000", "--rows"]


def test_the_bills_are_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Our receipts, provider by provider, are the sandbox's own bill; what failed over is told with its cause."""
    folder = tmp_path / "demo"
    assert main(["demo", *QUICK, "150", "--json", "--output-dir", str(folder)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bills_are_equal"] is True
    assert told["cost_pusd"] == told["sandbox"]["bill_pusd"]
    assert {name: one["cost_pusd"] for name, one in told["by_provider"].items()} == told["sandbox"]["by_provider_pusd"]
    assert told["rows"] == {"ok": 150, "failed": 0, "skipped": 0}
    assert sorted(told["by_provider"]) == sorted(PROVIDERS)
    causes = {(one["from"], one["error"]) for one in told["failovers"]}
    assert {("openai", "503"), ("groq", "429"), ("anthropic", "500")} <= causes
    assert json.loads((folder / "summary.json").read_bytes()) == told


def test_the_answers_are_there(tmp_path: Path) -> None:
    """The artefacts hold one answer for each row, and their receipts are the sum that was shown."""
    assert main(["demo", *QUICK, "60", "--output-dir", str(tmp_path / "a/b")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "a/b/results.jsonl").read_text().splitlines()]
    summary = json.loads((tmp_path / "a/b/summary.json").read_bytes())
    assert sorted(row["receipt"]["line"] for row in rows) == list(range(1, 61))
    assert sum(round(row["receipt"]["cost_usd"] * 10**12) for row in rows) == summary["cost_pusd"]


def test_what_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The end names costs, latencies, failovers, both bills and the artefacts; what goes wrong is announced before."""
    assert main(["demo", *QUICK, "90", "--output-dir", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("90 prompts over openai, anthropic, groq, through a sandbox gateway: no key, no network.\n")
    assert err.endswith("\nopenai goes down\nopenai is up again\n")
    titles = ("Cost and latency (seconds) by provider", "What failed over")
    assert [title for title in titles if title not in out.splitlines()] == []
    assert re.search(r"^total +\d+ +90 .* 100\.0%( +\d+\.\d\d){3}$", out, re.MULTILINE)
    bills = re.search(r"^sandbox's own bill: (\S+) \| ours: (\S+) \| equal ✓$", out, re.MULTILINE)
    assert bills is not None
    assert bills[1] == bills[2]
    assert out.endswith(f"answers: {tmp_path}/results.jsonl\nsummary: {tmp_path}/summary.json\n")


def test_results_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with results of another run is refused before anything starts."""
    (tmp_path / "results.jsonl").touch()
    assert main(["demo", "--output-dir", str(tmp_path)]) == 2
    assert capsys.readouterr() == ("", f"error: {tmp_path}/results.jsonl exists: give another --output-dir\n")
    assert main(["demo", "--output-dir", str(tmp_path / "results.jsonl/x")]) == 2


class Terminal(io.StringIO):
    """A terminal of 100 columns."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_providers_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The live picture fits into 100 columns and shows the outage and failovers as they happen."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert main(["demo", "--speed", "8", "--rows", "90", "--output-dir", str(tmp_path)]) == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert max(len(line) for line in re.split(r"[\r\n]+", shown)) <= 100
    assert re.search(r"─ genops-helicone demo ─.*?90/90 rows", shown, re.DOTALL)
    assert re.search(r"openai +● down", shown)
    assert re.search(r"row \d+ +(openai|anthropic|groq) [\w ]+ → (openai|anthropic|groq)", shown)


def test_the_tables_fit_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The drawn tables fit into 100 columns with nothing cut off."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert main(["demo", *QUICK, "300", "--output-dir", str(tmp_path)]) == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert [line for line in shown.splitlines() if "…" in line] == []
    tables = shown.partition("answers: ")[0]
    assert max(len(line) for line in tables.splitlines()) <= 100


def test_the_batch_is_what_a_batch_looks_like() -> None:
    """Three hundred prompts in both forms, of many teams, languages and lengths, with names of their own."""
    batch = shipped_batch()
    assert (len(batch), len({row.custom_id for row in batch})) == (300, 300)
    requests = [row.request for row in batch]
    forms = Counter(isinstance(request.message, str) for request in requests)
    assert (min(forms.values()) >= 100, len({request.team for request in requests})) == (True, 6)
    lengths = sorted(len(request.text()) for request in requests)
    assert (lengths[0] <= 5, lengths[-1] >= 2_000) == (True, True)
    scripts = Counter(
        script
        for request in requests
        for script in {unicodedata.name(char, "?").split()[0] for char in request.text() if not char.isascii()}
    )
    wanted = ("ARABIC", "CJK", "HIRAGANA", "HANGUL", "CYRILLIC", "GREEK", "HEBREW", "DEVANAGARI", "THAI")
    assert [script for script in wanted if not scripts[script]] == []


def test_every_provider_is_asked_first_in_turn() -> None:
    """Rows are spread by turns, the rest of the providers following; beyond the batch, names stay different."""
    batch = shipped_batch()[:4]
    rows = list(spread(batch, 9))
    assert [row.request.providers[0] for row in rows if row.request.providers] == [*PROVIDERS] * 3
    assert len({row.custom_id for row in rows}) == 9
    assert [row.line for row in rows] == list(range(1, 10))


def test_the_outage_moves_with_the_work() -> None:
    """The outage begins and ends at its shares of the rows, and is told once each."""
    script = FaultScript(SandboxGateway(), 100)
    told = {sent: what for sent in range(100) if (what := script.advance(sent))}
    assert told == {35: "openai goes down", 60: "openai is up again"}
