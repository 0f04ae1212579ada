"""What it takes to begin: importing, and from the start of a process to its first reply. Many fresh processes.

    python benchmarks/startup.py [--rounds 15] [--quick] [--json]

Times are wall times from the moment the parent starts the process to the line that ends what is measured, on the clock
that processes share; CPU is what the process used until then. `over a bare interpreter` is what is left after a
process that does nothing, of the same round. Bytecode is cached, files are in the page cache, as on a second start.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from typing import Any

import harness
from charts import Bar, bar_chart, spread_bar

NOTHING = "a bare interpreter"
_ASK = "[{'role': 'user', 'content': 'Why is the sky blue?'}]"
_AIOHTTP = """import aiohttp, asyncio
async def main():
    async with aiohttp.ClientSession() as session:
        url = 'http://127.0.0.1:{port}/v1/chat/completions'
        async with session.post(url, json={{'model': 'gpt-4o-mini', 'messages': {ask}}}) as reply:
            return (await reply.json())['choices'][0]['message']['content']
text = asyncio.run(main())
"""
_OURS = """from genops_helicone_async import GenOpsHeliconeAsyncAdapter
import asyncio
async def main():
    async with GenOpsHeliconeAsyncAdapter('key', gateway_url='http://127.0.0.1:{port}') as adapter:
        response = await adapter.chat_async({ask}, provider='openai', model='gpt-4o-mini')
        assert response.cost > 0
        return response.content
text = asyncio.run(main())
"""
_SYNC = """from genops_helicone_async import GenOpsHeliconeAdapter
with GenOpsHeliconeAdapter('key', gateway_url='http://127.0.0.1:{port}') as adapter:
    text = adapter.chat({ask}, provider='openai', model='gpt-4o-mini').content
"""
_OPENAI = """from openai import OpenAI
client = OpenAI(api_key='key', base_url='http://127.0.0.1:{port}/v1')
text = client.chat.completions.create(model='gpt-4o-mini', messages={ask}).choices[0].message.content
"""
_END = """
import os as _os, time as _time
_used = _os.times()
print(_time.monotonic(), _used.user + _used.system)
"""
_CHECK = "\nassert text == 'The quick brown fox. ' * 30\n"
IMPORTS = {
    NOTHING: "",
    "import genops_helicone_async": "import genops_helicone_async",
    "… and its asynchronous adapter": "from genops_helicone_async import GenOpsHeliconeAsyncAdapter",
    "… and its synchronous adapter": "from genops_helicone_async import GenOpsHeliconeAdapter",
    "import aiohttp": "import aiohttp",
    "import openai": "import openai",
}
REPLIES = {
    "aiohttp, bare": _AIOHTTP,
    "genops, chat_async": _OURS,
    "genops, chat": _SYNC,
    "openai, create": _OPENAI,
}
LIMITS_MS = {"import genops_helicone_async": 60.0, "genops, chat_async": 350.0, "genops, chat": 350.0}


def code_of(side: str, port: int) -> str:
    """The program of a side."""
    if side in IMPORTS:
        return IMPORTS[side] + _END
    return REPLIES[side].format(port=port, ask=_ASK) + _CHECK + _END


def start(side: str, port: int) -> harness.Row:
    """One process: milliseconds until it was done, and of CPU."""
    code = code_of(side, port)
    began_s = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    ended_s, cpu_s = map(float, done.stdout.split())
    return {"wall_ms": (ended_s - began_s) * 1e3, "cpu_ms": cpu_s * 1e3}


def over_nothing(rounds: harness.Rounds) -> dict[str, dict[str, Any]]:
    """Every side's figures, and what they are over the bare interpreter's of the same round."""
    table = harness.compared(rounds, NOTHING, keys=())
    for side, row in table.items():
        for key in ("wall_ms", "cpu_ms"):
            row[f"{key}_over"] = harness.over(rounds, side, NOTHING, key)
    return table


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds of all sides."""
    told = harness.surroundings()
    sides = [side for side in (*IMPORTS, *REPLIES) if "openai" not in side or importlib.util.find_spec("openai")]
    if options.quick:
        sides = [NOTHING, "import genops_helicone_async", "genops, chat_async"]
    with harness.server() as port:
        harness.pin()  # and with it the processes that this one starts
        for side in sides if not options.quick else ():  # caches bytecode and files
            start(side, port)
        rounds = harness.in_turns(sides, options, lambda side: start(side, port))
    return {"surroundings": told, "rounds": options.rounds, "limits_ms": LIMITS_MS, "sides": over_nothing(rounds)}


def table_of(result: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{'':<32}{'wall ms':>9}{'quartiles':>14}{'over bare':>11}{'CPU ms':>9}{'over bare':>11}"]
    for side, row in result["sides"].items():
        wall = row["wall_ms"]
        limit = f"   limit {LIMITS_MS[side]:.0f}" if side in LIMITS_MS else ""
        lines.append(
            f"{side:<32}{wall['median']:>9.0f}{wall['low']:>9.0f}–{wall['high']:<4.0f}"
            f"{row['wall_ms_over']['median']:>11.0f}{row['cpu_ms']['median']:>9.0f}"
            f"{row['cpu_ms_over']['median']:>11.0f}{limit}"
        )
    return "\n".join(lines)


def chart_of(result: dict[str, Any], options: argparse.Namespace) -> str:
    """The figures as a chart."""

    def bars(sides: dict[str, str], key: str) -> list[Bar]:
        found = [(side, result["sides"][side][key]) for side in sides if side in result["sides"] and side != NOTHING]
        return [
            spread_bar(
                side,
                {**row, "low": max(row["low"], 0)},
                f"{row['median']:.0f} ms",
                is_ours="genops" in side or "adapter" in side,
            )
            for side, row in found
        ]

    groups = {
        "Importing, over a bare interpreter": bars(IMPORTS, "wall_ms_over"),
        "From the start of the process to its first reply": bars(REPLIES, "wall_ms"),
    }
    caption = (
        f"Medians and quartiles of {options.rounds} shuffled rounds, a fresh process each; wall time from the start of "
        f"the process, bytecode cached. Python {result['surroundings']['python']}."
    )
    return bar_chart("Starting", "milliseconds", groups, caption)


def main() -> None:
    """Parses the arguments, runs the comparison and publishes it."""
    options = harness.parsed(harness.parser(__doc__, rounds=15))
    if options.quick:
        options.rounds = 1
    result = run(options)
    harness.publish("startup", options, result, table_of(result), chart_of(result, options))


if __name__ == "__main__":
    sys.exit(main())
