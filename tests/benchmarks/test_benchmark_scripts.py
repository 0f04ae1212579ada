"""Every measurement runs with `--quick` and leaves a table, JSON and a chart; what it measured is not judged."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GENOPS = "genops metrics"
NOTHING = "a bare interpreter"

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the server needs epoll, which is Linux'")


def quick(name: str, folder: Path, *arguments: str, **environment: str) -> tuple[dict[str, object], str]:
    """What one script writes, and what it prints."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--out", str(folder), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=100, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    chart = ET.parse(folder / f"{name}.svg").getroot()
    assert chart.tag == "{http://www.w3.org/2000/svg}svg"
    result: dict[str, object] = json.loads((folder / f"{name}.json").read_text("utf-8"))
    assert result["surroundings"]["versions"].keys() >= {"aiohttp", "genops-helicone-async"}
    return result, done.stdout


def test_overhead_compares_with_bare_aiohttp(tmp_path: Path) -> None:
    """Every side has its figures at every number in flight, and the baseline is once itself."""
    result, printed = quick("overhead", tmp_path)
    rows = result["in_flight"]["8"]
    assert list(rows) == ["aiohttp bare", "genops spans"]
    assert rows["aiohttp bare"]["user_us_ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert "genops spans" in printed


def test_streams_are_compared_by_the_chunk(tmp_path: Path) -> None:
    """A stream that lost or changed a chunk would have failed the run."""
    result, _ = quick("stream", tmp_path)
    assert list(result["patterns"]["bursts"]) == ["aiohttp lines", "genops spans"]


def test_memory_tells_of_calls_in_flight_of_waiting_ones_and_of_rows(tmp_path: Path) -> None:
    """Calls that wait for a slot hold no connection beyond the slots."""
    result, _ = quick("memory", tmp_path)
    assert list(result["in_flight"]) == ["aiohttp tuned", GENOPS]
    assert result["in_flight"][GENOPS]["connections"]["median"] >= 50
    assert result["waiting"]["connections"]["median"] == 100
    assert result["rows"]["count"] == 200


def test_starting_is_measured_over_a_bare_interpreter(tmp_path: Path) -> None:
    """An import and a first reply, each beside a process that does nothing."""
    result, _ = quick("startup", tmp_path)
    assert list(result["sides"]) == [NOTHING, "import genops_helicone_async", "genops, chat_async"]
    assert result["sides"][NOTHING]["wall_ms_over"]["median"] == 0


def test_the_synchronous_adapter_is_compared_with_the_asynchronous_one(tmp_path: Path) -> None:
    """What it adds is told in CPU and in wall time."""
    result, _ = quick("sync_facade", tmp_path)
    assert result["at_once"]["1"]["chat"].keys() >= {"user_us_over", "cpu_us_over", "wall_us_over"}


def test_scale_reaches_the_calls_in_flight_it_speaks_of(tmp_path: Path) -> None:
    """The server saw as many calls waiting at once; providers and teams have their figures, too."""
    result, _ = quick("scale", tmp_path)
    assert result["in_flight"]["8"][GENOPS]["in_flight"]["median"] == 8
    assert (list(result["providers"]), list(result["teams"])) == (["2"], ["2"])
    assert result["left_out"] == {}


def test_a_client_that_cannot_be_installed_is_named_with_the_reason(tmp_path: Path) -> None:
    """Without a package index nothing is hidden, and what can be measured is."""
    result, printed = quick(
        "peers", tmp_path, "--only", "lm-deluge", "--venvs", str(tmp_path / "venvs"),
        UV_OFFLINE="1", UV_CACHE_DIR=str(tmp_path / "cache"),
    )  # fmt: skip
    assert list(result["missing"]) == ["lm-deluge"]
    assert "lm-deluge: NOT MEASURED: " in printed
    assert list(result["clients"]) == ["aiohttp bare", GENOPS]


@pytest.mark.parametrize("name", ["openai", "litellm", "lm-deluge", "any-llm"])
def test_other_clients_are_measured_where_they_are_installed(name: str, tmp_path: Path) -> None:
    """With their versions, on the same server; `BENCHMARK_VENVS` names the folder of their environments."""
    folder = os.environ.get("BENCHMARK_VENVS")
    if folder is None or shutil.which("uv") is None:
        pytest.skip("set BENCHMARK_VENVS to a folder made by benchmarks/peers.py --venvs")
    result, _ = quick("peers", tmp_path, "--only", name, "--venvs", folder)
    assert result["missing"] == {}
    assert list(result["versions"]) == ["aiohttp bare", GENOPS, name]
