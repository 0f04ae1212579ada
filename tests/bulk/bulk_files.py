"""What tests of bulk jobs share: inputs written, outputs read back, commands waited for."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genops_helicone_async.testing import SandboxGateway


def write(rows: list[Any], path: str = "in.jsonl") -> None:
    """An input file; a text among the rows is a line as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def numbered(count: int, **fields: Any) -> list[dict[str, Any]]:
    """So many different rows."""
    return [{"message": f"Row {number}", "provider": "groq", **fields} for number in range(1, count + 1)]


def lines_of(path: str | Path) -> list[Any]:
    """The values of a JSONL file."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def numbers_of(path: str | Path = "out.jsonl") -> list[int]:
    """The line numbers of the rows in an output, as they stand there."""
    return [line["receipt"]["line"] for line in lines_of(path)]


def pico(path: str | Path = "out.jsonl") -> int:
    """Pico-dollars of all receipts."""
    return sum(round(line["receipt"]["cost_usd"] * 10**12) for line in lines_of(path))


@contextmanager
def standard_input(data: bytes) -> Iterator[None]:
    """A pipe with these bytes as the process's standard input."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    kept = os.dup(0)
    os.dup2(reading, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reading)


def wait_for(sandbox: SandboxGateway, requests: int, child: subprocess.Popen[Any]) -> None:
    """Returns when the sandbox has been asked so often."""
    while len(sandbox.requests) < requests:
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the command ended with {child.wait(0.01)}")
