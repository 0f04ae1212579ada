"""Leases of rows: each row has one outcome that counts, whoever had it, and who had it in vain is known."""

import pytest
from crew_parts import outcome, row
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async.errors import Attempt
from genops_helicone_async.integrations.ray.leases import MOST_LOSSES, NAMES_KEPT, LeaseBook, Names

BILLED = (Attempt(provider="openai", model="m", request_id="r", billed="yes"),)
REFUSED = (Attempt(provider="openai", model="m", request_id="r", billed="no"),)


def lines(rows: object) -> list[int]:
    """The line numbers of rows or outcomes."""
    return [each.line for each in rows]  # type: ignore[attr-defined]


@pytest.fixture
def book() -> LeaseBook:
    """Six rows, all of them free."""
    book = LeaseBook()
    for number in range(1, 7):
        book.add(row(number))
    return book


def test_rows_are_leased_in_their_order_and_once(book: LeaseBook) -> None:
    """Nobody gets what another has; who asks for more than there is gets what there is."""
    assert lines(book.lease(1, 4)) == [1, 2, 3, 4]
    assert lines(book.lease(2, 4)) == [5, 6]
    assert (book.lease(1, 4), book.free, book.pending(1), book.pending(2)) == ([], 0, 4, 2)


def test_a_lost_workers_rows_go_first_and_are_named(book: LeaseBook) -> None:
    """In their order, without those that have an outcome."""
    book.lease(1, 4)
    book.deliver(1, [outcome(2)])
    assert book.release(1) == []
    assert (book.released.count, book.released.first) == (3, ["row 1", "row 3", "row 4"])
    assert lines(book.lease(2, 6)) == [1, 3, 4, 5, 6]


def test_the_second_outcome_of_a_row_is_dropped_and_named(book: LeaseBook) -> None:
    """The late one of a lost worker counts if it is the first; whichever is second does not."""
    book.lease(1, 2)
    book.release(1)
    book.lease(2, 6)
    assert lines(book.deliver(1, [outcome(1, attempts=BILLED)])) == [1]
    assert book.deliver(2, [outcome(1, attempts=BILLED)]) == []
    assert (book.doubled.count, book.doubled.first, book.pending(2)) == (1, ["row 1"], 5)


def test_a_second_outcome_that_cost_nothing_is_no_double(book: LeaseBook) -> None:
    """It is dropped, and nobody is told that it was billed."""
    book.lease(1, 1)
    assert lines(book.deliver(1, [outcome(1), outcome(1, attempts=REFUSED)])) == [1]
    assert book.doubled.count == 0


def test_a_late_outcome_saves_the_row_from_being_sent_again(book: LeaseBook) -> None:
    """As long as nobody has it anew."""
    book.lease(1, 2)
    book.release(1)
    assert lines(book.deliver(1, [outcome(2)])) == [2]
    assert lines(book.lease(2, 9)) == [1, 3, 4, 5, 6]


def test_what_is_given_back_is_free_again(book: LeaseBook) -> None:
    """It counts as no loss; what is not the giver's any more stays where it is."""
    book.lease(1, 3)
    assert book.give_back(1, outcome(2, kind="unsent"))
    assert not book.give_back(1, outcome(2, kind="unsent"))
    assert not book.give_back(7, outcome(1, kind="unsent"))
    assert (lines(book.lease(2, 1)), book.released.count) == ([2], 0)


def test_a_row_that_workers_die_of_is_given_up(book: LeaseBook) -> None:
    """After so many lost workers it is the caller's to say what came of it; the others go on."""
    for worker in range(1, MOST_LOSSES):
        assert lines(book.lease(worker, 1)) == [1]
        assert book.release(worker) == []
    book.lease(9, 2)
    assert lines(book.release(9)) == [1]
    assert lines(book.lease(10, 9)) == [2, 3, 4, 5, 6]


def test_it_is_over_when_every_row_has_its_outcome(book: LeaseBook) -> None:
    """And no row will come; rows that nobody will do are taken out."""
    book.is_complete = True
    book.lease(1, 4)
    book.deliver(1, [outcome(1), outcome(2), outcome(3)])
    assert lines(book.empty()) == [5, 6]
    assert not book.is_over
    book.deliver(1, [outcome(4)])
    assert book.is_over


def test_so_many_names_are_kept() -> None:
    """Beyond them, rows are counted only."""
    names = Names()
    for number in range(NAMES_KEPT + 5):
        names.add(str(number))
    assert (names.count, len(names.first)) == (NAMES_KEPT + 5, NAMES_KEPT)


@given(
    st.lists(
        st.tuples(st.sampled_from(["lease", "deliver", "release", "late", "back"]), st.integers(0, 3)), max_size=60
    )
)
def test_whatever_happens_each_row_counts_once(steps: list[tuple[str, int]]) -> None:
    """Leases, answers, losses, late answers and rows given back, in any order: at the end one outcome for every row."""
    book, counted, worker_of, had = LeaseBook(), [], [0, 1, 2, 3], {}
    for number in range(1, 9):
        book.add(row(number))
    book.is_complete = True
    for what, slot in steps:
        worker = worker_of[slot]
        mine = had.setdefault(worker, [])
        if what == "lease":
            mine += lines(book.lease(worker, 3))
        elif what == "deliver" and mine:
            counted += lines(book.deliver(worker, [outcome(mine.pop())]))
        elif what == "back" and mine:
            book.give_back(worker, outcome(mine.pop(), kind="unsent"))
        elif what == "release":
            counted += lines(book.release(worker))
            worker_of[slot] = max(worker_of) + 1
        elif what == "late":
            gone = [each for each in had if each not in worker_of and had[each]]
            counted += [line for each in gone for line in lines(book.deliver(each, [outcome(had[each].pop())]))]
    for worker in worker_of:
        counted += lines(book.deliver(worker, [outcome(line) for line in had.get(worker, [])]))
    counted += lines(book.deliver(99, [outcome(line) for line in lines(book.lease(99, 99))]))
    assert sorted(counted) == list(range(1, 9))
    assert book.is_over
