"""Makes `docs/images/report.png`, the README's picture, from invented calls: `python docs/make_report_image.py`.

Three weeks of a company's calls at list prices, the same in every run; Chromium photographs the page.
"""

import math
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from genops_helicone_async import BudgetStatus
from genops_helicone_async._edges.price_book import PriceBook
from genops_helicone_async._rules.ledger import LedgerRow
from genops_helicone_async._rules.prices import cost_pusd
from genops_helicone_async._values import TokenCounts
from genops_helicone_async.models import PUSD_PER_USD
from genops_helicone_async.report import write_report

IMAGE = Path(__file__).parent / "images" / "report.png"
BEGIN = datetime(2026, 11, 2, tzinfo=UTC)
DAYS = 21
CALLS_A_DAY = 2_600

# provider, model, weight, median answer in ms
MODELS = (
    ("openai", "gpt-4o", 22, 1900), ("openai", "gpt-4o-mini", 34, 900), ("anthropic", "claude-sonnet-4-5", 18, 2600),
    ("anthropic", "claude-haiku-4-5", 16, 1300), ("groq", "llama-3.3-70b-versatile", 22, 420),
    ("mistral", "mistral-large-latest", 6, 1700), ("gemini", "gemini-2.5-flash", 12, 1100),
)  # fmt: skip
# team, project, weight
TEAMS = (
    ("research", "paper-digest", 30), ("support", "ticket-triage", 26), ("support", "reply-drafts", 18),
    ("product", "search", 14), ("growth", "campaign-copy", 7), ("", "", 3),
)  # fmt: skip
CUSTOMERS = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "wonka", "tyrell", "cyberdyne", "", "")
ERRORS = ("RateLimitExceededError", "ProviderError", "DeadlineExceededError", "StreamInterruptedError")


def calls() -> Iterator[LedgerRow]:
    """The invented calls, at exact prices."""
    dice = random.Random(11)
    book = PriceBook(None)
    prices = {(provider, model): book.resolve_now(provider, model) for provider, model, _, _ in MODELS}
    for index in range(DAYS * CALLS_A_DAY):
        at = BEGIN + timedelta(days=DAYS * index / (DAYS * CALLS_A_DAY))
        busy = (1.0 if at.weekday() < 5 else 0.35) * (0.55 + 0.45 * math.sin(math.pi * (at.hour - 5) / 18) ** 2)
        if dice.random() > busy * (1 + 0.02 * (at - BEGIN).days):
            continue
        provider, model, _, median_ms = dice.choices(MODELS, [weight for _, _, weight, _ in MODELS])[0]
        team, project, _ = dice.choices(TEAMS, [weight for _, _, weight in TEAMS])[0]
        is_outage = provider == "anthropic" and datetime(2026, 11, 12, tzinfo=UTC) <= at < datetime(
            2026, 11, 13, tzinfo=UTC
        )
        error = dice.choice(ERRORS) if dice.random() < (0.28 if is_outage else 0.012) else None
        tokens = TokenCounts(input=int(dice.lognormvariate(7.2, 0.8)), output=int(dice.lognormvariate(6.0, 0.7)))
        price = prices[provider, model]
        assert price is not None
        is_lost = error in ("DeadlineExceededError", "StreamInterruptedError")
        yield LedgerRow(
            request_id=f"{dice.getrandbits(64):016x}", at_s=at.timestamp(), provider=provider, model=model,
            status=error or "ok", cost_pusd=cost_pusd(price, tokens) if error is None or is_lost else 0,
            cost_source="estimated" if is_lost else "computed",
            input_tokens=tokens.input if error is None else 0, output_tokens=tokens.output if error is None else 0,
            duration_ms=dice.lognormvariate(math.log(median_ms), 0.45), team=team, project=project,
            customer_id=dice.choice(CUSTOMERS), environment="production" if dice.random() < 0.9 else "staging",
        )  # fmt: skip


def budgets(rows: Sequence[LedgerRow]) -> tuple[BudgetStatus, ...]:
    """Three budgets at the end of the last day: a quiet one, one that is nearly spent, one that is overrun."""
    ends, month = BEGIN + timedelta(days=DAYS), datetime(2026, 12, 1, tzinfo=UTC)
    last_day_s = (ends - timedelta(days=1)).timestamp()
    spent = (
        ("daily", "day", 15.0, [row for row in rows if row.at_s >= last_day_s], 0.0125, ends),
        ("monthly", "month", 210.0, rows, 0.0125, month),
        ("team:research", "month", 56.5, [row for row in rows if row.team == "research"], 0.0, month),
    )
    return tuple(
        BudgetStatus(
            name=name, scope=name.partition(":")[0], period=period, limit=limit, held=held, resets_at=resets_at,
            settled=(settled := sum(row.cost_pusd for row in counted) / PUSD_PER_USD),
            remaining=limit - settled - held,
        )
        for name, period, limit, counted, held, resets_at in spent
    )  # fmt: skip


def photograph(page: Path, image: Path, *, width: int = 1180, height: int = 1534, dark: bool = False) -> None:
    """A picture of the page's beginning."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed: no picture")
    with tempfile.TemporaryDirectory() as profile:
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={profile}", f"--window-size={width},{height}", f"--screenshot={image}",
        ]  # fmt: skip
        if dark:
            options.append("--blink-settings=preferredColorScheme=0")
        subprocess.run([chromium, *options, page.as_uri()], check=True, timeout=120, capture_output=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        rows = list(calls())
        title, source = "LLM spend, November 2026", "sqlite:///ledger.db"
        write_report(rows, page, title=title, budgets=budgets(rows), source=source)
        photograph(page, IMAGE)
    print(f"{IMAGE}: {IMAGE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
