"""Holding, settling and releasing money: over all scopes or none, and never above a limit through a hold."""

from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.ledger import Account, Accounts, Movement, Refusal, Scope, crossed

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
