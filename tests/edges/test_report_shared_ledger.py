"""`report` and `budgets` over the ledger that many machines share: a real server, written by the real adapter."""

import asyncio
import json

import pytest

import valkey_server
from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.cli import main
from genops_helicone_async.cli.ledger_options import without_secrets
from genops_helicone_async.report import ledger_rows
from genops_helicone_async.testing import SandboxGateway

CALLS = 7
TEAM = "shared-ledger-team"


async def spend(url: str) -> int:
    """A few calls; gives what the gateway charged for them, in pico-dollars."""
    async with (
        SandboxGateway(latency_scale=0) as gateway,
        GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url, state_url=url) as adapter,
    ):
        for number in range(CALLS):
            await adapter.chat_async(f"Hello {number}", provider="openai", team=TEAM, max_tokens=50)
        return gateway.bill.total_pusd


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    """The one line of JSON that a command prints."""
    status = main([*argv, "--json"])
    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    found: dict[str, object] = json.loads(printed.out)
    return found


def test_the_shared_ledger_adds_up_to_the_bill(capsys: pytest.CaptureFixture[str]) -> None:
    """The report and the budget of a team are what the gateway charged for it, since an hour ago and in all."""
    url = valkey_server.shared_url()
    before_pusd = sum(row.cost_pusd for row in ledger_rows(url) if row.team == TEAM)
    spent_pusd = before_pusd + asyncio.run(spend(url))
    for argv in ([], ["--since", "1h"]):
        lines = told(capsys, "report", "--state-url", url, "--top", "100", *argv)["by_team"]
        assert isinstance(lines, list)
        assert {line["name"]: line["cost_pusd"] for line in lines}[TEAM] == spent_pusd
    budgets = told(capsys, "budgets", "--state-url", url, "--team", f"{TEAM}=5")["budgets"]
    assert isinstance(budgets, list)
    assert [(each["settled_pusd"], each["held_pusd"]) for each in budgets] == [(spent_pusd, 0)]


@pytest.mark.parametrize(
    "url,shown",
    [
        ("sqlite:///ledger.db", "sqlite:///ledger.db"),
        ("redis://user:secret@host:6379/0?password=secret", "redis://host:6379/0"),
        ("unix://user:secret@/run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    """A page and a JSON line name the ledger without what opens it."""
    assert without_secrets(url) == shown
