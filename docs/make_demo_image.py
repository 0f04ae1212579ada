"""Makes `docs/images/demo.svg`, the README's picture, from a real run of the demo: `python docs/make_demo_image.py`.

What is drawn is what a terminal of 100 columns shows: first a moment in the middle of the outage, then the end.
"""

import asyncio
import io
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from genops_helicone_async import BulkResult
from genops_helicone_async.cli.demo import ROWS, SEED, opening, tell
from genops_helicone_async.cli.demo_run import LATENCY_SCALE, Stage, shipped_batch, spread
from genops_helicone_async.cli.demo_script import FaultScript
from genops_helicone_async.cli.demo_view import LiveView
from genops_helicone_async.testing import SandboxGateway

IMAGE = Path(__file__).parent / "images" / "demo.svg"
MOMENT = 0.5
"""Share of the rows done at which the first picture is taken."""


class Photographer(LiveView):
    """Draws nothing while the demo runs, but keeps one picture."""

    def __init__(self, script: FaultScript, total: int) -> None:
        super().__init__(script, total, Console(file=io.StringIO(), width=100))
        self.kept: object = None

    def took(self, result: BulkResult) -> None:
        super().took(result)
        if self.kept is None and self._tally.done >= MOMENT * (self.total or 1):
            self.kept = self.picture()


async def main() -> None:
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, highlight=False)
    batch = shipped_batch()
    with tempfile.TemporaryDirectory() as folder:
        async with SandboxGateway(seed=SEED, latency_scale=LATENCY_SCALE) as gateway:
            stage = Stage(gateway, ROWS, Photographer)
            await stage.run(spread(batch, ROWS), Path(folder) / "results.jsonl")
    if not stage.is_equal:
        raise SystemExit("the bills differ: no picture of that")
    console.print("[bold]$ python -m genops_helicone_async demo[/]")
    console.print(opening(ROWS), markup=False)
    console.print(stage.view.kept)
    console.print("[dim]  ⋮[/]")
    tell(stage, Path("demo"), io.StringIO(), console)
    svg = console.export_svg(title="genops-helicone demo", theme=MONOKAI, unique_id="demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # a picture loads nothing from elsewhere
    IMAGE.parent.mkdir(exist_ok=True)
    IMAGE.write_text(svg, encoding="utf-8")
    print(f"{IMAGE}: {len(svg):,} characters")


asyncio.run(main())
