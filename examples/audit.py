"""Who asked what model when, the decision and the cost, in a file whose lines cannot be changed unnoticed."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway_to_talk_to import adapter_to_talk_to

from genops_helicone_async import PolicyDeniedError


def verify(log: Path) -> None:
    """`genops-helicone audit verify`, whose exit status is 0 only where all is right."""
    done = subprocess.run(
        [sys.executable, "-m", "genops_helicone_async", "audit", "verify", str(log)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(f"exit status {done.returncode}: {done.stdout.strip().replace(str(log.parent), '.')}")


async def ask(log: Path) -> None:
    # With compliance_mode=True calls that cannot be recorded, priced or encrypted would be refused as well.
    async with adapter_to_talk_to(audit_logging=str(log), allowed_models=["gpt-4o*"]) as adapter:
        await adapter.chat_async("Summarise the file.", provider="openai", team="research", user_id="u-17")
        try:
            await adapter.chat_async("Summarise the file.", provider="anthropic", team="research")
        except PolicyDeniedError as error:
            print(f"refused: {error.reason_code}")


with TemporaryDirectory() as folder:
    path = Path(folder) / "audit.jsonl"
    asyncio.run(ask(path))
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        print(said["seq"], said["event"], said["who"], said["decision"], f"${said.get('cost', 0):.8f}")
    verify(path)
    path.write_text(path.read_text(encoding="utf-8").replace("u-17", "u-18"), encoding="utf-8")
    verify(path)
