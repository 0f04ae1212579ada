"""Two real processes around one ledger: one that spends, and the live view of it."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

WRITER = Path(__file__).with_name("ledger_writer.py")


class Process:
    """A process that is talked to in lines, ended with the block."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()

    def line(self) -> str:
        """The next line it prints; waits for it."""
        assert self.process.stdout is not None
        found = self.process.stdout.readline()
        assert found, self.process.communicate()[1]
        return found

    def ended(self) -> tuple[int, str]:
        """Status and standard error of a process that ends by itself."""
        error = self.process.communicate()[1]
        return self.process.returncode, error


class Writer(Process):
    """What spends."""

    def __init__(self, state_url: str) -> None:
        super().__init__(str(WRITER), state_url)

    def spend(self, team: str, count: int) -> int:
        """Makes calls, half of which fail, and gives what all so far were charged, in pico-dollars."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{team} {count}\n")
        self.process.stdin.flush()
        return int(self.line())


class Live(Process):
    """`report --live --json`, line by line."""

    def __init__(self, state_url: str, *options: str) -> None:
        command = ("-m", "genops_helicone_async", "report", "--live", "--json", "--state-url", state_url, *options)
        super().__init__(*command, "--interval", "0.05s")

    def until(self, team: str, attempts: int) -> dict[str, Any]:
        """The first line that counts so many attempts of the team."""
        while True:
            seen: dict[str, Any] = json.loads(self.line())
            assert seen["trouble"] is None
            if of_team(seen, team)["attempts"] >= attempts:
                return seen

    def interrupt(self) -> tuple[int, str]:
        """Ends it as Ctrl-C does: its status and what it said on standard error."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()


def of_team(seen: dict[str, Any], team: str) -> dict[str, Any]:
    """What a snapshot says of a team."""
    lines: list[dict[str, Any]] = seen["by_team"]
    return next((line for line in lines if line["name"] == team), {"attempts": 0, "cost_pusd": 0, "failed": 0})


def check_live(state_url: str, team: str) -> None:
    """A running process is seen as it goes on: attempts, failures and money to the last pico-dollar, and budgets."""
    with Writer(state_url) as writer:
        first_pusd = writer.spend(team, 6)
        with Live(state_url, "--top", "100", "--team", f"{team}=5") as live:
            seen = live.until(team, 6)
            assert of_team(seen, team)["attempts"] == 6
            assert (of_team(seen, team)["failed"], of_team(seen, team)["cost_pusd"]) == (3, first_pusd)
            all_pusd = writer.spend(team, 4)
            seen = live.until(team, 10)
            assert (of_team(seen, team)["failed"], of_team(seen, team)["cost_pusd"]) == (5, all_pusd)
            (budget,) = seen["budgets"]
            assert (budget["name"], budget["settled_pusd"]) == (f"team:{team}", all_pusd)
            assert budget["remaining_pusd"] == 5 * 10**12 - all_pusd
            assert live.interrupt() == (0, "")
