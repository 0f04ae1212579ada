"""Holding, settling and releasing money: over all scopes or none, and never above a limit through a hold."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.accounts import Accounts
from genops_helicone_async._rules.ledger import Account, Movement, Refusal, Scope, crossed

DAY = Scope(name="daily", window="2026-11-23", limit_pusd=100)
TEAM = Scope(name="team:research", window="2026-11", limit_pusd=60)
COUNTED = Scope(name="monthly", window="2026-11")


def test_a_hold_is_set_aside_in_every_scope() -> None:
    """All scopes hold the same amount, limited or only counted."""
    accounts = Accounts()
    assert accounts.hold((DAY, TEAM, COUNTED), 40) is None
    assert [accounts.of(scope.key).held_pusd for scope in (DAY, TEAM, COUNTED)] == [40, 40, 40]


def test_a_refused_hold_leaves_no_trace() -> None:
    """One scope without room refuses the hold for all of them, and is named."""
    accounts = Accounts()
    accounts.hold((DAY, TEAM), 40)
    assert accounts.hold((DAY, TEAM), 21) == Refusal(scope=TEAM, settled_pusd=0, held_pusd=40)
    assert accounts.of(DAY.key) == Account(settled_pusd=0, held_pusd=40)


def test_a_hold_may_use_the_last_unit() -> None:
    """A limit is reached, not only approached."""
    accounts = Accounts()
    assert accounts.hold((TEAM,), 60) is None
    assert accounts.hold((TEAM,), 1) == Refusal(scope=TEAM, settled_pusd=0, held_pusd=60)


def test_without_enforcement_a_hold_is_only_counted() -> None:
    """A call that is not to be refused still shows in what is held."""
    accounts = Accounts()
    assert accounts.hold((TEAM,), 1000, enforce=False) is None
    assert accounts.of(TEAM.key).held_pusd == 1000


def test_settling_replaces_the_hold_by_the_cost() -> None:
    """What was held and not spent is free again; the movement tells before and after."""
    accounts = Accounts()
    accounts.hold((TEAM,), 50)
    assert accounts.settle((TEAM,), 50, 20) == (Movement(scope=TEAM, before_pusd=0, after_pusd=20),)
    assert accounts.of(TEAM.key) == Account(settled_pusd=20, held_pusd=0)


def test_windows_have_accounts_of_their_own() -> None:
    """Yesterday's spending does not count today."""
    accounts = Accounts()
    accounts.settle((DAY,), 0, 100)
    tomorrow = Scope(name="daily", window="2026-11-24", limit_pusd=100)
    assert accounts.hold((tomorrow,), 100) is None


STEPS = st.lists(st.tuples(st.sampled_from(["hold", "settle"]), st.integers(0, 40), st.floats(0, 1)), max_size=60)


@given(STEPS)
def test_no_interleaving_of_holds_passes_a_limit(steps: list[tuple[str, int, float]]) -> None:
    """Settled + held stays within every limit while no call costs more than its hold; at the end nothing is held."""
    accounts = Accounts()
    open_holds: list[int] = []
    spent = 0
    for step, amount, share in steps:
        if step == "hold":
            if accounts.hold((DAY, TEAM), amount) is None:
                open_holds.append(amount)
        elif open_holds:
            held = open_holds.pop(int(share * (len(open_holds) - 1)))
            cost = int(held * share)
            accounts.settle((DAY, TEAM), held, cost)
            spent += cost
        for scope in (DAY, TEAM):
            account = accounts.of(scope.key)
            assert account.settled_pusd + account.held_pusd <= (scope.limit_pusd or 0)
            assert account.held_pusd == sum(open_holds)
    for held in open_holds:
        accounts.settle((DAY, TEAM), held, 0)
    assert accounts.of(TEAM.key) == accounts.of(DAY.key) == Account(settled_pusd=spent, held_pusd=0)


class Slow:
    """The arithmetic as it is told: every account looked at and changed with every step."""

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, str], Account] = {}

    def of(self, scope: Scope) -> Account:
        """The account of a scope."""
        return self.accounts.setdefault(scope.key, Account())

    def hold(self, scopes: Sequence[Scope], amount: int, *, enforce: bool) -> Refusal | None:
        """Refuses where a scope has no room."""
        for scope in scopes if enforce else ():
            account = self.of(scope)
            if scope.limit_pusd is not None and account.settled_pusd + account.held_pusd + amount > scope.limit_pusd:
                return Refusal(scope=scope, settled_pusd=account.settled_pusd, held_pusd=account.held_pusd)
        for scope in scopes:
            self.of(scope).held_pusd += amount
        return None

    def settle(self, scopes: Sequence[Scope], held: int, cost: int) -> tuple[Movement, ...]:
        """Tells of what ends at or above what is told from."""
        told = []
        for scope in scopes:
            account = self.of(scope)
            account.held_pusd -= held
            account.settled_pusd += cost
            if account.settled_pusd >= scope.tells_from_pusd:
                told.append(
                    Movement(scope=scope, before_pusd=account.settled_pusd - cost, after_pusd=account.settled_pusd)
                )
        return tuple(told)

    def tightest(self, scopes: Sequence[Scope]) -> tuple[Scope, int]:
        """The first of those with the least left, and what is used of it."""
        found: tuple[Scope, int] | None = None
        least = 0
        for scope in scopes:
            used = self.of(scope).settled_pusd + self.of(scope).held_pusd
            if scope.limit_pusd is not None and (found is None or scope.limit_pusd - used < least):
                found, least = (scope, used), scope.limit_pusd - used
        assert found is not None
        return found


NEVER = 1 << 64
BIG = Scope(name="daily", window="2026-11-23", limit_pusd=3_000, tells_from_pusd=2_400)
SMALL = Scope(name="team:research", window="2026-11", limit_pusd=900, tells_from_pusd=500)
SINCE = Scope(name="monthly", window="2026-11", tells_from_pusd=NEVER)
OTHER = Scope(name="team:other", window="2026-11", tells_from_pusd=NEVER)
LATER = Scope(name="team:research", window="2026-11", limit_pusd=700, tells_from_pusd=NEVER)
COMBINATIONS: tuple[Sequence[Scope], ...] = (
    (BIG, SINCE, SMALL), (BIG, SINCE, OTHER), (SINCE, OTHER), (LATER,), (), [BIG, OTHER],
)  # fmt: skip
LIMITED = [each for each in COMBINATIONS if any(scope.limit_pusd is not None for scope in each)]
RUNS = st.tuples(
    st.integers(0, len(COMBINATIONS) - 1),
    st.integers(1, 30),  # so many calls over these scopes
    st.integers(0, 60),  # each of which sets so much aside
    st.integers(0, 90),  # and costs so much, sometimes more than that
    st.sampled_from(["settled at once", "settled later", "enforced by nobody"]),
    st.sampled_from(
        ["nobody looks", "somebody looks", "an account is looked at", "the tightest is looked at", "one is forgotten"]
    ),
)


@given(runs=st.lists(RUNS, max_size=12))
def test_steps_added_up_are_those_made_one_by_one(runs: list[tuple[int, int, int, int, str, str]]) -> None:
    """What is refused and told, and what stands in the accounts: as if every step had changed every account."""
    quick, slow = Accounts(), Slow()
    open_holds: list[tuple[Sequence[Scope], int, int]] = []
    for which, calls, amount, cost, how, looks in runs:
        scopes = COMBINATIONS[which]
        for _ in range(calls):
            enforce = how != "enforced by nobody"
            refusal = quick.hold(scopes, amount, enforce=enforce)
            assert refusal == slow.hold(scopes, amount, enforce=enforce)
            if refusal is None:
                open_holds.append((scopes, amount, cost))
            while open_holds and (how != "settled later" or len(open_holds) > 5):
                ended = open_holds.pop(0)
                assert quick.settle(*ended) == slow.settle(*ended)
            if looks == "somebody looks":
                assert quick.copies(scopes) == [slow.of(scope) for scope in scopes]
            elif looks == "the tightest is looked at":
                assert [quick.tightest(each) for each in LIMITED] == [slow.tightest(each) for each in LIMITED]
        if looks == "an account is looked at":
            assert quick.of(BIG.key) == slow.of(BIG)
        elif looks == "one is forgotten":
            quick.forget(OTHER.key)
            slow.accounts.pop(OTHER.key, None)
    for scope in (BIG, SMALL, SINCE, OTHER):
        assert quick.copies([scope]) == [slow.of(scope)]


QUIET = Scope(name="team:quiet", limit_pusd=60, tells_from_pusd=NEVER)


def in_constant_use(accounts: Accounts, scopes: Sequence[Scope]) -> None:
    """From here on, steps over these scopes are added up where they can be."""
    for _ in range(20):
        accounts.settle(scopes, 0, 0)


def test_steps_added_up_use_the_last_unit_and_no_more() -> None:
    """Who is refused is told of the account as it stands."""
    accounts, scopes = Accounts(), (QUIET,)
    in_constant_use(accounts, scopes)
    assert [accounts.hold(scopes, 2) for _ in range(30)] == [None] * 30
    assert accounts.hold(scopes, 1) == Refusal(scope=QUIET, settled_pusd=0, held_pusd=60)
    accounts.settle(scopes, 2, 1)
    assert accounts.hold(scopes, 2) == Refusal(scope=QUIET, settled_pusd=1, held_pusd=58)
    assert accounts.hold(scopes, 1) is None


def test_an_account_that_is_there_twice_is_changed_twice() -> None:
    """Also by steps that come again and again."""
    accounts, twice = Accounts(), (QUIET, QUIET)
    in_constant_use(accounts, twice)
    for _ in range(30):
        assert accounts.hold(twice, 1) is None
    assert isinstance(accounts.hold(twice, 1), Refusal)
    assert accounts.of(QUIET.key) == Account(settled_pusd=0, held_pusd=60)


def test_steps_added_up_reach_accounts_that_were_dropped_or_forgotten() -> None:
    """They begin anew there, as for any other call."""
    counted = Scope(name="customer:busy", tells_from_pusd=NEVER)
    accounts, scopes = Accounts(most=10), (counted,)
    for _ in range(20):
        accounts.settle(scopes, 0, 3)
    assert accounts.of(counted.key) == Account(settled_pusd=60, held_pusd=0)
    for number in range(50):
        accounts.copies((Scope(name=f"customer:{number}"),))
    accounts.hold(scopes, 3)
    assert accounts.of(counted.key) == Account(settled_pusd=0, held_pusd=3)
    in_constant_use(accounts, scopes)
    accounts.hold(scopes, 3)
    accounts.forget(counted.key)
    accounts.hold(scopes, 5)
    assert accounts.of(counted.key) == Account(settled_pusd=0, held_pusd=5)


def test_a_threshold_is_crossed_once() -> None:
    """Each share of the limit is told when spending passes it, not before and not again."""
    assert crossed((0.8, 1.0), 100, 0, 79) == ()
    assert crossed((0.8, 1.0), 100, 79, 80) == (0.8,)
    assert crossed((0.8, 1.0), 100, 80, 99) == ()
    assert crossed((0.8, 1.0), 100, 10, 100) == (0.8, 1.0)


def test_scopes_that_are_only_counted_do_not_pile_up() -> None:
    """Beyond the cap, accounts are dropped that have no limit and hold nothing; all others stay exact."""
    accounts = Accounts(most=10)
    held = (Scope(name="customer:held"), TEAM)
    accounts.hold(held, 7)
    for number in range(100):
        scopes = (COUNTED, DAY, Scope(name=f"customer:{number}"))
        accounts.hold(scopes, 1)
        accounts.settle(scopes, 1, 1)
    assert len(accounts.keys()) <= 14
    assert accounts.of(DAY.key) == Account(settled_pusd=100, held_pusd=0)
    accounts.settle(held, 7, 5)
    assert accounts.of(TEAM.key) == accounts.of(("customer:held", "")) == Account(settled_pusd=5, held_pusd=0)


def test_a_forgotten_account_begins_anew_for_scopes_seen_before() -> None:
    """What is remembered of a tuple of scopes does not outlive the account."""
    accounts = Accounts()
    scopes = (TEAM,)
    accounts.settle(scopes, 0, 60)
    accounts.forget(TEAM.key)
    assert accounts.hold(scopes, 60) is None
    assert accounts.of(TEAM.key) == Account(settled_pusd=0, held_pusd=60)


def test_scopes_in_a_list_may_change() -> None:
    """Only what cannot change is remembered."""
    accounts = Accounts()
    scopes = [TEAM]
    accounts.hold(scopes, 1)
    scopes[0] = DAY
    accounts.hold(scopes, 1)
    assert [accounts.of(scope.key).held_pusd for scope in (TEAM, DAY)] == [1, 1]
