"""A budget is a wall: calls that could exceed it are refused before anything is sent."""

import asyncio

from gateway_to_talk_to import adapter_to_talk_to

from genops_helicone_async import BudgetExceededError, multi_provider_cost_tracking


async def main() -> None:
    async with adapter_to_talk_to() as adapter:
        adapter.set_budget_limits(daily_limit=0.01, per_team_limits={"research": 0.002})
        async with multi_provider_cost_tracking("nightly") as tracker:
            sent = 0
            try:
                while True:
                    await adapter.chat_async("Analyse this.", provider="anthropic", team="research", max_tokens=100)
                    sent += 1
            except BudgetExceededError as error:
                print(f"refused after {sent} calls: {error.scope}, ${error.current_usage:.6f} of ${error.budget_limit}")
        for status in adapter.get_budget_status():
            left = f"${status.remaining:.6f} left until {status.resets_at:%d %B}"
            print(f"{status.name}: ${status.settled:.6f} spent, {left}")
        summary = tracker.get_session_summary()
        print(f"session {summary.session_id}: {summary.request_count} calls, ${summary.total_cost:.6f}")


asyncio.run(main())
