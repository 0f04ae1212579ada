"""A process that answers rows in batches until it kills itself at the moment it was told; `done` has what it gave out.

Usage: batch_child.py MOMENT PROVIDER_URLS JOURNAL DONE PROVIDER
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from batch_parts import CLAUDE, FAST, FileJournal, outcomes_of, row

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async._edges.batches import BatchService
from genops_helicone_async.bulk.batches import BatchRows
from genops_helicone_async.bulk.ports import Outcome

MOMENTS = ("before creation", "after creation", "among results")
ROWS = 6


def die() -> None:
    """No farewell."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingService(BatchService):
    """Ends the process around the creation of a batch."""

    moment = ""

    async def create(self, rows, mark, file_id):  # type: ignore[no-untyped-def]
        if self.moment == "before creation":
            die()
        view = await super().create(rows, mark, file_id)
        if self.moment == "after creation":
            die()
        return view


def main() -> None:
    moment, urls, journal, done, provider = sys.argv[1:]
    DyingService.moment = moment
    import genops_helicone_async.bulk.batches.state as state

    state.BatchService = DyingService  # type: ignore[misc]
    options = CLAUDE if provider == "anthropic" else {}

    def seen(outcome: Outcome) -> None:
        with Path(done).open("a") as file:
            file.write(f"{outcome.line}\n")
        if moment == "among results" and outcome.line == ROWS // 2:
            die()

    async def run() -> None:
        places = json.loads(urls)
        keys = {name: f"{name}-sandbox-key" for name in places}
        async with GenOpsHeliconeAsyncAdapter("sk-helicone-x", keys, provider_urls=places) as adapter:
            rows = [row(line, **options) for line in range(1, ROWS + 1)]
            await outcomes_of(BatchRows(adapter, FileJournal(Path(journal)), FAST), rows, seen)

    asyncio.run(run())


if __name__ == "__main__":
    main()
