"""A process with a Ray of its own that runs the jobs it is told of, one JSON line each; it ends with its input.

It says first where Ray's session is. Warnings are errors in it.
"""

import asyncio
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from genops_helicone_async.bulk.ports import Outcome
from genops_helicone_async.bulk.rows import Row, RowReader
from genops_helicone_async.cli import main as command
from genops_helicone_async.errors import HeliconeError
from genops_helicone_async.integrations.ray import HeliconeBatches, RayRows, WorkerPlan, cluster

WORKERS = 2


async def rows_up_to(last: int) -> AsyncIterator[Row]:
    """Rows that ask one provider."""
    reader = RowReader({"provider": "openai", "model": "gpt-4o-mini", "max_tokens": 20})
    for number in range(1, last + 1):
        row = reader.read(number, b'{"message": "Question %d", "custom_id": "row %d"}' % (number, number))
        assert isinstance(row, Row)
        yield row


async def job(plan: dict[str, Any], rows: int, **how: Any) -> dict[str, Any]:
    """A whole job, or one that is left after `leave_after` outcomes; a worker is stopped by `signal` after some."""
    outcomes: list[Outcome] = []
    notes: list[str] = []
    harmed: int | None = None
    try:
        executor = RayRows(WorkerPlan(**plan), workers=WORKERS, lease_s=how.get("lease_s", 60.0), note=notes.append)
        async with executor.outcomes(rows_up_to(rows)) as arriving:
            pids = set()
            async for outcome in arriving:
                outcomes.append(outcome)
                crew = executor._crew
                assert crew is not None
                pids |= {worker.pid for worker in crew._workers if worker.pid}
                if len(outcomes) == how.get("leave_after"):
                    break
                if len(outcomes) == how.get("harm_after"):
                    harmed = max(crew._workers, key=lambda worker: worker.answered).pid
                    assert harmed is not None
                    os.kill(harmed, getattr(signal, how["signal"]))
    except HeliconeError as exc:
        return {"error": type(exc).__name__, "message": exc.message}
    told = executor.statistics()
    return {
        "outcomes": [[each.line, each.custom_id, each.kind, each.data.decode(), each.error] for each in outcomes],
        "lost": told.lost_workers,
        "released": told.released_names,
        "doubled": told.doubled_names,
        "pids": sorted(pids),
        "alive": sorted(pid for pid in pids if not is_gone(pid)),
        "repr": repr(executor),
        "stopped": executor.stopped,
        "notes": notes,
    }


def data(plan: dict[str, Any], prompts: list[str]) -> dict[str, Any]:
    """The prompts through a Ray Data pipeline."""
    import ray.data

    # Ray Data warns of settings of its own that it makes itself.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=r"`\w+` is deprecated")
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.from_items([{"prompt": prompt} for prompt in prompts]).map_batches(
        HeliconeBatches,
        fn_constructor_kwargs={"plan": WorkerPlan(**plan), "provider": "openai", "model": "gpt-4o-mini"},
        concurrency=1,
        batch_size=4,
    )
    return {"rows": rows.take_all()}


def cli(arguments: list[str], folder: str, environ: dict[str, str]) -> dict[str, Any]:
    """A command of the command line, in a folder."""
    os.chdir(folder)
    os.environ.update(environ)
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = command(arguments)
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


def is_gone(pid: int) -> bool:
    """Whether a process ends by itself: Ray knows that it will before it has."""
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def main() -> None:
    """Jobs until the input ends."""
    own = os.dup(1)  # Ray writes to standard output now and then
    os.dup2(2, 1)
    with os.fdopen(own, "w") as answers, cluster("local", workers=WORKERS):
        import ray

        print(ray._private.worker._global_node.get_session_dir_path(), file=answers, flush=True)
        for line in sys.stdin:
            told = json.loads(line)
            run = {"job": lambda **how: asyncio.run(job(**how)), "data": data, "cli": cli}[told.pop("do")]
            print(json.dumps(run(**told), default=str), file=answers, flush=True)


if __name__ == "__main__":
    main()
