"""Every example runs as it stands, without any key, and leaves nothing on standard error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if path.stem != "gateway_to_talk_to")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_an_example_runs_as_it_stands(program: Path) -> None:
    """It ends well, says something, and warns of nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], env={**os.environ}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
