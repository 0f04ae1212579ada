"""`demo`: the main job on a real batch, with faults switched on, against the sandbox gateway. No key, no network."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from .demo_script import PROVIDERS, TOLD
from .failures import FAILED, INTERRUPTED, WRONG_USAGE, CommandError, reason
from .money import digits_of, exact_usd
from .options import add_json_option, count, positive
from .tables import has_rich, print_table

if TYPE_CHECKING:
    from .demo_run import Stage

ROWS = 300
SEED = 2


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "demo",
        help="see it work, without any key",
        description="Sends a batch of real prompts over three providers of a local sandbox gateway, with an outage, "
        "rate limits and errors switched on; ends with what it cost, what failed over, and the sandbox's own bill.",
    )
    parser.add_argument("--rows", metavar="N", type=count, default=ROWS, help=f"how many prompts (default {ROWS})")
    parser.add_argument("--seed", metavar="S", type=int, default=SEED, help="decides replies, latencies and faults")
    parser.add_argument("--speed", metavar="X", type=positive, default=1.0, help="2 is twice as fast (default 1)")
    parser.add_argument("--output-dir", metavar="DIR", help="where results go (default: a new temporary folder)")
    add_json_option(parser, "the summary")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the demo; 0 if our receipts are exactly the sandbox's bill, else 1."""
    folder = _folder(arguments.output_dir)
    return asyncio.run(_demo(arguments, folder))


def _folder(given: str | None) -> Path:
    """The folder of the artefacts, made if need be; one that holds a demo's results already is refused."""
    if given is None:
        import tempfile

        return Path(tempfile.mkdtemp(prefix="genops-helicone-demo-"))
    folder = Path(given)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise CommandError(f"cannot make the folder {reason(exc)}", WRONG_USAGE) from None
    if (folder / "results.jsonl").exists():
        raise CommandError(f"{folder / 'results.jsonl'} exists: give another --output-dir", WRONG_USAGE)
    return folder


async def _demo(arguments: argparse.Namespace, folder: Path) -> int:
    from ..testing import SandboxGateway
    from .demo_run import LATENCY_SCALE, Stage, shipped_batch, spread
    from .demo_view import demo_view

    batch = await asyncio.to_thread(shipped_batch)
    async with SandboxGateway(seed=arguments.seed, latency_scale=LATENCY_SCALE / arguments.speed) as gateway:
        stage = Stage(gateway, arguments.rows, demo_view)
        stage.view.note(opening(arguments.rows))
        await stage.run(spread(batch, arguments.rows), folder / "results.jsonl")
    summary = folder / "summary.json"
    await asyncio.to_thread(summary.write_bytes, _as_json(stage, folder))
    if arguments.json:
        print(_as_json(stage, folder).decode())
    else:
        tell(stage, folder, sys.stdout)
    if stage.job.is_interrupted:
        return INTERRUPTED
    return 0 if stage.is_equal else FAILED


def opening(rows: int) -> str:
    """What is about to be seen."""
    return f"{rows:,} prompts over {', '.join(PROVIDERS)}, through a sandbox gateway: no key, no network.\n{TOLD}\n"


def tell(stage: Stage, folder: Path, out: TextIO, console: Any = None) -> None:
    """Prints the tables, the two bills and where the artefacts are; with a console in colours."""
    from .summary import doubt_line, rows_line, tables_of

    if console is None and out.isatty() and has_rich():
        from rich.console import Console

        console = Console(file=out, highlight=False)

    def show(text: str, style: str = "") -> None:
        if console is None:
            print(text, file=out)
        else:
            console.print(text, style=style, soft_wrap=True, markup=False)

    for table in tables_of(stage.tally):
        print_table(table, out, console)
    show(rows_line(stage.tally, stage.wall_s))
    doubt = doubt_line(stage.tally)
    if doubt:
        show(f"{doubt} (the sandbox did not)", "dim")
    ours, bill = stage.tally.cost_pusd, stage.gateway.bill.total_pusd
    digits = digits_of([ours, bill])
    verdict, style = ("equal ✓", "bold green") if stage.is_equal else ("NOT EQUAL", "bold red")
    if stage.job.dropped:
        verdict, style = f"{len(stage.job.dropped)} calls were dropped, their bill is the sandbox's alone", "bold"
    show(f"\nsandbox's own bill: {exact_usd(bill, digits)} | ours: {exact_usd(ours, digits)} | {verdict}\n", style)
    show(f"answers: {folder / 'results.jsonl'}\nsummary: {folder / 'summary.json'}")


def _as_json(stage: Stage, folder: Path) -> bytes:
    import msgspec

    gateway, tally = stage.gateway, stage.tally
    told = {
        "interrupted": stage.job.is_interrupted,
        "wall_s": round(stage.wall_s, 3),
        "rows_per_s": round(tally.done / max(stage.wall_s, 1e-3), 3),
        **tally.as_json(),
        "sandbox": {
            "bill_pusd": gateway.bill.total_pusd,
            "by_provider_pusd": gateway.bill.by_provider,
            "calls": gateway.statistics().calls,
            "faults_struck": gateway.faults.struck,
        },
        "bills_are_equal": stage.is_equal,
        "output": str(folder / "results.jsonl"),
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


__all__ = ["ROWS", "SEED", "add_to", "opening", "run", "tell"]
