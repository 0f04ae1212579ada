"""The user's guide, block by block, each in a process of its own with warnings as errors."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genops_helicone_async.testing import SandboxGateway

# The headings of the guide that have blocks: all of them.
HEADINGS = [
    "### Basic Setup",
    "### Auto-Instrumentation (Recommended)",
    "### 1. Multi-Provider Chat Completion",
    "### 2. Intelligent Routing Strategies",
    "### 3. Real-time Cost Aggregation",
    "### 4. Advanced Provider Management",
    "### Manual Configuration",
    "### 1. Provider Cost Comparison",
    "### 2. Migration Cost Analysis",
    "### 3. Budget Management",
    "### Setup Validation",
    "### Common Issues",
    "### 1. Custom Routing Logic",
    "### 2. Webhook Integration",
    "### 3. Enterprise Features",
    "### Custom Metrics",
    "### 2. Cost Optimization",
    "### 3. Error Handling",
    "### Async Support",
    "### Caching",
]


# What the blocks print: regular expressions where a figure depends on today's prices.
PRINTED = {
    "### 3. Real-time Cost Aggregation": (
        r"Total session cost: \$0\.\d{4}\nCost by provider: \{'openai': .*, 'anthropic': .*, 'groq': .*\}\n"
        r"Gateway fees: \$0\.0000\n"
    ),
    "### 1. Provider Cost Comparison": (
        r"Cheapest option: groq\nCost savings: \$0\.\d{4}\n"
        r"Cost breakdown: \{'openai': .*, 'anthropic': .*, 'groq': .*\}\n"
    ),
    "### 2. Migration Cost Analysis": r"Current monthly cost: \$\d+\.\d\d\nProjected savings: \$\d+\.\d\d\n",
    "### Async Support": r"100\n",
    "### Setup Validation": (
        r"GenOps Helicone Setup Validation\n\n\[ok\] Helicone API Key: Valid\n(?s:.*)\n\nQuick Performance Test:\n"
        r"(\[ok\] \w+ via Helicone: [\d.]+m?s \(cost: \$0\.\d+\)\n(   .*\n)?){3}\n"
        r"\[ok\] Overall Status: PASSED\n\nRecommendations:\n(- .*\n)+"
    ),
}


# What they log: `validate_pricing` wants LiteLLM's table, which the tests do not install.
LOGGED = {
    "### Setup Validation": (
        "Performance test: one small billed call (16 output tokens at most) to each of OpenAI, Anthropic, Groq.\n"
    ),
    "### Common Issues": "prices cannot be validated: no second source is installed (pip install litellm)\n",
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[SandboxGateway]:
    """A gateway that knows the guide's placeholder key."""
    with SandboxGateway.in_thread(latency_scale=0, api_keys=("your_helicone_key",)) as running:
        yield running


def blocks(guide: Path) -> dict[str, str]:
    """The Python blocks under each heading, one after the other."""
    found: dict[str, str] = {}
    heading, code = "", None
    for line in guide.read_text(encoding="utf-8").splitlines():
        if code is not None:
            if line == "```":
                found[heading] = "\n".join([*([found[heading]] if heading in found else []), *code])
                code = None
            else:
                code.append(line)
        elif line == "```python":
            code = []
        elif line.startswith("#"):
            heading = line
    return found


def test_no_block_is_left_out(shared_dir: Path) -> None:
    """The list above is the guide's own."""
    assert set(blocks(shared_dir / "reference" / "guide.md")) == set(HEADINGS)


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_block_of_the_guide_runs_as_written(
    shared_dir: Path, gateway: SandboxGateway, tmp_path: Path, heading: str
) -> None:
    """The block ends well and logs nothing unexpected; what it does not define comes from a block further up."""
    found = blocks(shared_dir / "reference" / "guide.md")
    code = found[heading]
    needs_adapter = "adapter." in code and "adapter = " not in code
    if "from genops" not in code or needs_adapter:  # it goes on from a block further up
        before = "### Manual Configuration" if "GenOpsHeliconeAdapter(" in code else "### Basic Setup"
        code = found[before] + "\n" + code
    if heading == "### Async Support":
        code += "\nprint(len(asyncio.run(process_batch())))\n"
    environment = {
        **os.environ,
        "HELICONE_GATEWAY_URL": gateway.url,
        "HELICONE_API_KEY": "your_helicone_key",
    }
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, LOGGED.get(heading, ""))
    expected = PRINTED.get(heading, "")
    assert re.fullmatch(expected, done.stdout), done.stdout
