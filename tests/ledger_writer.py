"""A process that spends through a ledger, a round at a time: `python ledger_writer.py STATE_URL`.

For each line it reads, `TEAM N`, it makes N calls for the team, every second of which fails, and answers with what its
gateway has charged so far, in pico-dollars. It ends with its input.
"""

import asyncio
import sys

from genops_helicone_async import GenOpsHeliconeAsyncAdapter, HeliconeError
from genops_helicone_async.testing import Fault, SandboxGateway


async def main(state_url: str) -> None:
    """Serves its standard input."""
    async with (
        SandboxGateway(latency_scale=0) as gateway,
        GenOpsHeliconeAsyncAdapter(
            gateway.api_key, gateway_url=gateway.url, state_url=state_url, retry_attempts=0
        ) as adapter,
    ):
        gateway.faults.add(Fault(kind="status", status=400, provider="groq"))
        while line := await asyncio.to_thread(sys.stdin.readline):
            team, count = line.split()
            for number in range(int(count)):
                try:
                    await adapter.chat_async(f"Hello {number}", provider=("openai", "groq")[number % 2], team=team)
                except HeliconeError:
                    pass
            print(gateway.bill.total_pusd, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
