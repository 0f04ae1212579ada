"""Bulk jobs over a real Ray of this machine and a real Valkey: workers killed, limits shared, nothing left behind."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crew_parts import KEY

import valkey_server
from genops_helicone_async._edges.ledger_redis import RedisLedger
from genops_helicone_async.testing import SandboxGateway

pytestmark = [
    pytest.mark.timeout(150),
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None or sys.platform != "linux",
        reason="needs Linux, and ray, which has no wheel for every Python: pip install ray",
    ),
]
ALL = "TEST_ALL_ON_RAY"
costly = pytest.mark.skipif(
    ALL not in os.environ, reason=f"half a minute of two cores; without Ray it is in test_ray_crew.py: set {ALL}=1"
)
IN_FLIGHT = 16
LEFT_S = 30.0


class Driver:
    """The process that drives Ray. `session` is the folder of this Ray's logs."""

    def __init__(self, errors: Path, folder: str) -> None:
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("RAY_")},
            "PYTHONPATH": os.pathsep.join(sys.path),
            "RAY_AUTH_MODE": "disabled",  # else Ray writes a token into the home folder
            "RAY_TMPDIR": folder,
        }
        command = [sys.executable, "-W", "error", str(Path(__file__).with_name("ray_driver.py"))]
        self._errors = errors
        with errors.open("wb") as file:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True,
                start_new_session=True,
            )  # fmt: skip
        try:
            self.session = Path(self._answer())
        except BaseException:  # where Ray does not start, nothing of it may stay
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            raise

    def does(self, what: str, **how: Any) -> dict[str, Any]:
        """Runs a job there."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **how}) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._answer())
        return told

    def end(self) -> None:
        """Ends it and its Ray."""
        self._process.communicate()
        assert self._process.returncode == 0, self.complaints()

    def complaints(self) -> str:
        """What it wrote on standard error."""
        return self._errors.read_text(encoding="utf-8", errors="replace")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.complaints()
        return line.strip()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """One Ray for all tests here; at its end no process of it is left."""
    # Ray does not start in a folder inside a virtual environment, or whose name is too long for a socket's path
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    driver = Driver(tmp_path_factory.mktemp("ray") / "stderr", folder)
    assert processes_of(driver.session)
    yield driver
    driver.end()
    until_s = time.monotonic() + LEFT_S
    while left := processes_of(driver.session):
        assert time.monotonic() < until_s, left
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def processes_of(session: Path) -> list[str]:
    """Command lines of running processes that name a session of Ray."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if session.name in command:
            found.append(command)
    return found


@pytest.fixture
def gateway() -> Iterator[SandboxGateway]:
    """The gateway that the workers ask; an answer takes a few hundredths of a second."""
    with SandboxGateway.in_thread(latency_scale=0.05, api_keys=[KEY]) as running:
        yield running


@pytest.fixture
def state_url(tmp_path: Path) -> Iterator[str]:
    """A Valkey of the test's own."""
    server = valkey_server.ValkeyServer(tmp_path)
    server.start()
    yield server.url
    server.stop()


def plan_for(gateway: SandboxGateway, state_url: str | None, **rest: Any) -> dict[str, Any]:
    """What the workers are told."""
    settings = {"helicone_api_key": KEY, "gateway_url": gateway.url, "state_url": state_url, "timeout_seconds": 60.0}
    return {"settings": settings, "max_in_flight": IN_FLIGHT, **rest}


def questions(gateway: SandboxGateway) -> Counter[str]:
    """How often the gateway billed each row, by the row's name."""
    asked = Counter[str]()
    for request in gateway.requests:
        question = json.loads(request.body)["messages"][-1]["content"]
        asked["row" + question.removeprefix("Question")] += 1
    return asked


def pico(outcomes: list[list[Any]]) -> int:
    """Pico-dollars of all receipts."""
    lines = [json.loads(data) for _, _, kind, data, _ in outcomes if kind != "unsent"]
    return sum(round(line["receipt"]["cost_usd"] * 10**12) for line in lines)


async def settled_pusd(state_url: str) -> int:
    """What the shared ledger's rows come to."""
    ledger = RedisLedger(state_url)
    try:
        return sum([row.cost_pusd async for row in ledger.rows()])
    finally:
        await ledger.aclose()


@pytest.mark.anyio
async def test_a_killed_worker_costs_at_most_what_was_in_flight(
    driver: Driver, gateway: SandboxGateway, state_url: str
) -> None:
    """SIGKILL in the middle: every row once; billed are the receipts, and of the rows named at most those in flight.

    Nothing is left running, and none of what Ray and its workers wrote has the key that the workers were sent.
    """
    plan = plan_for(gateway, state_url, budgets={"daily_limit": 5.0})
    told = driver.does("job", plan=plan, rows=120, harm_after=40, signal="SIGKILL")
    outcomes = told["outcomes"]
    assert sorted(line for line, *_ in outcomes) == list(range(1, 121))
    assert {kind for _, _, kind, _, _ in outcomes} == {"answered"}
    asked = questions(gateway)
    twice = {name for name, times in asked.items() if times > 1}
    assert (told["lost"], len(told["released"]) > 0, told["doubled"]) == (1, True, [])
    assert twice <= set(told["released"])
    assert sum(asked.values()) - 120 == len(twice) <= IN_FLIGHT // 2
    receipts, bill = pico(outcomes), gateway.bill.total_pusd
    assert receipts <= await settled_pusd(state_url) <= bill
    assert (bill - receipts) * 120 <= bill * len(twice) * 2
    assert told["alive"] == []
    assert len(told["pids"]) >= 2
    (note,) = told["notes"]
    assert "is lost" in note
    assert f"{len(told['released'])} rows without an answer are sent again, and may be billed twice" in note
    logs = [path for path in (driver.session / "logs").rglob("*") if path.is_file()]
    assert len(logs) > 5
    assert [path.name for path in logs if KEY.encode() in path.read_bytes()] == []
    assert KEY not in told["repr"] + driver.complaints() + note


@costly
@pytest.mark.anyio
async def test_the_sum_of_the_workers_keeps_to_the_budget(
    driver: Driver, gateway: SandboxGateway, state_url: str
) -> None:
    """Where it is used up the rest comes back unsent; the bill is exactly the receipts, and within the limit."""
    limit = 0.0005
    plan = plan_for(gateway, state_url, budgets={"daily_limit": limit})
    told = driver.does("job", plan=plan, rows=200)
    outcomes = told["outcomes"]
    kinds = Counter(kind for _, _, kind, _, _ in outcomes)
    assert len({line for line, *_ in outcomes}) == len(outcomes)
    assert kinds["answered"] > 0
    assert kinds["unsent"] > 0
    assert kinds["failed"] == 0
    assert 0.8 * limit * 10**12 < pico(outcomes) == gateway.bill.total_pusd <= limit * 10**12
    assert await settled_pusd(state_url) == gateway.bill.total_pusd
    assert "budget" in told["stopped"]
    assert len(gateway.requests) == kinds["answered"]


@costly
def test_a_job_that_is_left_ends_its_workers(driver: Driver, gateway: SandboxGateway) -> None:
    """Leaving in the middle returns when the workers are gone; without limits no shared store is needed."""
    told = driver.does("job", plan=plan_for(gateway, None), rows=100_000, leave_after=10)
    assert (len(told["outcomes"]), told["alive"], len(told["pids"]) > 0) == (10, [], True)
    assert len(gateway.requests) <= 10 + IN_FLIGHT + 64


@costly
def test_a_worker_that_says_nothing_is_replaced(driver: Driver, gateway: SandboxGateway) -> None:
    """SIGSTOP instead of SIGKILL: after the lease its rows are with others, each is there once, and it is ended."""
    told = driver.does("job", plan=plan_for(gateway, None), rows=60, harm_after=10, signal="SIGSTOP", lease_s=4.0)
    assert sorted(line for line, *_ in told["outcomes"]) == list(range(1, 61))
    assert (told["lost"], told["alive"]) == (1, [])
    assert "it said nothing for 4 s" in told["notes"][0]


@costly
def test_wrong_settings_are_told_as_they_are(driver: Driver, gateway: SandboxGateway) -> None:
    """What a worker refuses is the job's error, not a lost worker."""
    plan = plan_for(gateway, None, caching={"cache_provider": "paper"})
    told = driver.does("job", plan=plan, rows=5)
    assert told["error"] == "ConfigurationError"
    assert "paper" in told["message"]
    assert gateway.requests == ()


@costly
def test_a_pipeline_of_ray_data_has_answers_beside_its_prompts(driver: Driver, gateway: SandboxGateway) -> None:
    """The callable class adds answer, cost and error; the costs add up to the bill."""
    pytest.importorskip("pandas", reason="Ray Data needs pandas and pyarrow: pip install 'ray[data]'")
    prompts = [f"Question {number}" for number in range(1, 9)]
    rows = driver.does("data", plan=plan_for(gateway, None), prompts=prompts)["rows"]
    assert sorted(row["prompt"] for row in rows) == prompts
    assert all(row["answer"].startswith(f"About '{row['prompt']}") and row["error"] == "" for row in rows)
    assert sum(round(row["cost"] * 10**12) for row in rows) == gateway.bill.total_pusd


@costly
def test_the_command_does_a_file_over_ray(driver: Driver, gateway: SandboxGateway, tmp_path: Path) -> None:
    """`--ray auto` uses the Ray that is there; the rest is as without: the wall of money, going on, every row once."""
    rows = [{"message": f"Question {number}", "provider": "openai", "max_tokens": 20} for number in range(1, 61)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = ["bulk", "in.jsonl", "-o", "out.jsonl", "-q", "--ray", "auto", "--ray-workers", "2", "--max-cost"]
    environ = {"HELICONE_GATEWAY_URL": gateway.url, "HELICONE_API_KEY": KEY}
    first = driver.does("cli", arguments=[*options, "0.0004"], folder=str(tmp_path), environ=environ)
    assert (first["status"], "rows given back unsent" in first["out"]) == (1, True)
    assert gateway.bill.total_pusd <= 400_000_000
    then = driver.does("cli", arguments=[*options, "1"], folder=str(tmp_path), environ=environ)
    assert (then["status"], "60 rows: 60 answered, 0 failed" in then["out"]) == (0, True)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(line["receipt"]["line"] for line in lines) == list(range(1, 61))
    assert sum(round(line["receipt"]["cost_usd"] * 10**12) for line in lines) == gateway.bill.total_pusd
