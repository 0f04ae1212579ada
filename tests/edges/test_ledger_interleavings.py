"""Laws of the durable ledger over interleavings made up by hypothesis: two ledgers, as two processes, on one file."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, multiple, rule

from genops_helicone_async._edges.ledger_memory import MemoryLedger
from genops_helicone_async._edges.ledger_sqlite import SqliteLedger
from genops_helicone_async._rules.ledger import LedgerRow, Movement, Scope

LIMIT_PUSD = 100
SCOPES = (
    Scope(name="daily", window="2026-11-23", limit_pusd=LIMIT_PUSD),
    Scope(name="team:research", limit_pusd=70),
    Scope(name="project:chat"),
)


def row(request_id: str, cost_pusd: int) -> LedgerRow:
    """An entry of a given cost."""
    return LedgerRow(
        request_id=request_id, at_s=1.5, provider="openai", model="gpt-4o", status="ok", cost_pusd=cost_pusd
    )


class Call(NamedTuple):
    """One call's fate: which ledger, what it holds, how long it waits at each step, how it ends and at what cost."""

    ledger: int
    amount_pusd: int
    pauses: tuple[int, int]
    end: Literal["settle", "repeat", "release", "cancel while it waits", "cancel while it holds", "nobody waits"]
    cost_share: float


calls = st.builds(
    Call,
    ledger=st.integers(0, 1),
    amount_pusd=st.integers(0, 40),
    pauses=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    end=st.sampled_from(Call.__annotations__["end"].__args__),
    cost_share=st.floats(0, 1),
)


async def _pause(rounds: int) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


class Storm:
    """Carries out calls at once, and watches the limit meanwhile."""

    def __init__(self, path: Path) -> None:
        self.ledgers = [SqliteLedger(path), SqliteLedger(path)]
        self.booked_pusd = 0

    async def call(self, number: int, fate: Call) -> None:
        """Holds, and ends as it is fated to."""
        ledger = self.ledgers[fate.ledger]
        await _pause(fate.pauses[0])
        holding = asyncio.ensure_future(ledger.hold(SCOPES, fate.amount_pusd, enforce=True))
        if fate.end == "cancel while it waits":
            await _pause(fate.pauses[1])
            holding.cancel()
        (answer,) = await asyncio.gather(holding, return_exceptions=True)
        if answer is not None:
            return  # refused, or cancelled: then nothing is held
        await _pause(fate.pauses[1])
        spends = fate.end in {"settle", "repeat", "nobody waits"}
        cost_pusd = int(fate.amount_pusd * fate.cost_share) if spends else 0
        rows = (row(f"{number}", cost_pusd),) if spends else ()
        durable = ledger.settle(SCOPES, fate.amount_pusd, rows, self._note)
        if fate.end == "repeat":
            ledger.settle(SCOPES, 0, rows, self._note)
        if fate.end != "nobody waits":
            assert durable is not None
            await durable

    async def run(self, fates: list[Call]) -> None:
        """All calls; then nothing is held, and what is settled is the sum of the rows."""
        running = [asyncio.ensure_future(self.call(number, fate)) for number, fate in enumerate(fates)]
        while not all(task.done() for task in running):
            for ledger in self.ledgers:
                for scope, account in zip(SCOPES, await ledger.refresh(SCOPES), strict=True):
                    assert scope.limit_pusd is None or account.settled_pusd + account.held_pusd <= scope.limit_pusd
        await asyncio.gather(*running)
        for ledger in self.ledgers:
            await ledger.refresh(SCOPES)  # comes after the settlements that nobody waits for
        rows = await asyncio.to_thread(lambda: list(self.ledgers[0].rows()))
        rows_pusd = sum(each.cost_pusd for each in rows)
        for ledger in self.ledgers:
            found = [(account.settled_pusd, account.held_pusd) for account in await ledger.refresh(SCOPES)]
            assert found == [(rows_pusd, 0)] * len(SCOPES)
            await ledger.aclose()
        assert self.booked_pusd == rows_pusd

    def _note(self, movements: tuple[Movement, ...]) -> None:
        self.booked_pusd += movements[0].after_pusd - movements[0].before_pusd


@settings(max_examples=40)
@given(st.lists(calls, min_size=1, max_size=12))
def test_settled_and_held_never_pass_the_limit(fates: list[Call]) -> None:
    """Success, release, repeat, cancellation and neglect, in any order, over two ledgers on one file."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(Storm(Path(folder) / "ledger.db").run(fates))


class AsOneLedger(RuleBasedStateMachine):
    """Two ledgers on one file answer, call by call, as one ledger in memory does."""

    holds: Bundle[tuple[int, int]] = Bundle("holds")
    known: Bundle[LedgerRow] = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.model = MemoryLedger()
        self.count = 0

    @initialize()
    def open(self) -> None:
        """Two ledgers on a new file."""
        path = Path(self.folder.name) / "ledger.db"
        self.ledgers = [SqliteLedger(path), SqliteLedger(path)]

    @rule(target=holds, at=st.integers(0, 1), amount_pusd=st.integers(0, 60), enforce=st.booleans())
    def hold(self, at: int, amount_pusd: int, enforce: bool) -> Any:
        """Granted where the model grants, refused with the same facts where it refuses."""
        expected = self.model.hold_nowait(SCOPES, amount_pusd, enforce=enforce)
        assert self.runner.run(self.ledgers[at].hold(SCOPES, amount_pusd, enforce=enforce)) == expected
        return (at, amount_pusd) if expected is None else multiple()

    @rule(target=known, held=consumes(holds), cost_pusd=st.integers(0, 70))
    def settle(self, held: tuple[int, int], cost_pusd: int) -> LedgerRow:
        """Moves the accounts as the model does, also above the hold."""
        self.count += 1
        new = row(f"{self.count}", cost_pusd)
        self._settle(held[0], held[1], (new,))
        return new

    @rule(held=consumes(holds))
    def release(self, held: tuple[int, int]) -> None:
        """Frees what was held."""
        self._settle(held[0], held[1], ())

    @rule(at=st.integers(0, 1), again=known)
    def repeat(self, at: int, again: LedgerRow) -> None:
        """Moves nothing, whichever ledger the row comes to."""
        self._settle(at, 0, (again,))

    @rule(at=st.integers(0, 1))
    def look(self, at: int) -> None:
        """Finds what the model has."""
        assert self.runner.run(self.ledgers[at].refresh(SCOPES)) == self.model.accounts(SCOPES)

    def teardown(self) -> None:
        """What is in the file is what the model has booked."""
        for ledger in getattr(self, "ledgers", []):
            self.runner.run(ledger.aclose())
        if self.count:
            assert list(self.ledgers[0].rows()) == self.model.rows()
        self.runner.close()
        self.folder.cleanup()

    def _settle(self, at: int, held_pusd: int, rows: tuple[LedgerRow, ...]) -> None:
        expected: list[tuple[Movement, ...]] = []
        found: list[tuple[Movement, ...]] = []
        self.model.settle(SCOPES, held_pusd, rows, expected.append)

        async def settle_durably() -> None:
            durable = self.ledgers[at].settle(SCOPES, held_pusd, rows, found.append)
            assert durable is not None
            await durable

        self.runner.run(settle_durably())
        assert found == expected


TestAsOneLedger = AsOneLedger.TestCase
TestAsOneLedger.settings = settings(max_examples=15, stateful_step_count=25)
