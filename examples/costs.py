"""What calls would cost, before they are made, and what they did cost, as a page, afterwards."""

import asyncio
import tempfile
from pathlib import Path

from gateway_to_talk_to import adapter_to_talk_to

from genops_helicone_async import compare_provider_costs, estimate_migration_costs, multi_provider_cost_tracking
from genops_helicone_async.report import ledger_rows, write_report

PROVIDERS = ["openai", "anthropic", "groq"]


def before() -> None:
    """Offline estimates at list prices."""
    comparison = compare_provider_costs("Analyse this data and explain it.", PROVIDERS, expected_output_tokens=500)
    for provider, cost in comparison.cost_by_provider.items():
        print(f"{provider}/{comparison.models[provider]}: ${cost:.6f}")
    month = estimate_migration_costs(
        current_provider="openai",
        current_model="gpt-4o",
        target_providers=["anthropic", "groq"],
        target_models=["claude-haiku-4-5", "llama-3.1-8b-instant"],
        historical_usage={"requests_per_day": 1000, "avg_tokens": 500},
    )
    print(f"a month now: ${month.current_monthly_cost:.2f}; the best move saves ${month.projected_savings:.2f}")


async def call(ledger: str) -> None:
    """Calls whose receipts are kept in a file."""
    async with adapter_to_talk_to(state_url=ledger) as adapter:
        with multi_provider_cost_tracking("nightly") as session:
            for team, provider in (("research", "openai"), ("research", "anthropic"), ("product", "groq")):
                await adapter.chat_async("Analyse this data.", provider=provider, team=team, max_tokens=200)
        summary = session.get_session_summary()
        print(f"{summary.request_count} calls, ${summary.total_cost:.6f}, by team: {summary.cost_by_team}")


with tempfile.TemporaryDirectory() as folder:
    before()
    ledger = f"sqlite:///{folder}/ledger.db"
    asyncio.run(call(ledger))
    page = Path(folder) / "report.html"
    write_report(ledger_rows(ledger), page, title="What the calls cost")
    print(f"a page of {page.stat().st_size // 1024} kB that loads nothing from elsewhere")
