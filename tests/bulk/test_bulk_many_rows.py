"""Statements for many rows at once: every row is met, and the empty ones that fill a size up are none."""

import sqlite3

from genops_helicone_async.bulk.journal_lookups import Lookups
from genops_helicone_async.bulk.many_rows import ManyRows

INSERT = ManyRows("INSERT OR IGNORE INTO one SELECT column1, column2 FROM {rows} WHERE column1 IS NOT NULL", 2)
FIND = ManyRows("SELECT column2, size FROM {rows} JOIN one ON line = column1", 2)


def table() -> sqlite3.Connection:
    """A database with a table of two numbers."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE one (line INTEGER PRIMARY KEY, size INTEGER)")
    return connection


def test_rows_of_any_number_are_all_met() -> None:
    """Numbers below, at and above what one statement takes give so many rows, each as it was given."""
    for count in (1, 63, 64, 65, 256, 257, 1_000):
        connection = table()
        lines, sizes = list(range(1, count + 1)), [line * 10 for line in range(1, count + 1)]
        assert INSERT.run(connection, lines, sizes) == count
        assert connection.execute("SELECT line, size FROM one").fetchall() == list(zip(lines, sizes, strict=True))
        connection.close()


def test_rows_that_are_there_are_not_counted_and_are_found() -> None:
    """Of rows that are there already none is changed, and a query over many rows gives those it finds."""
    connection = table()
    INSERT.run(connection, [7, 300], [70, 3_000])
    assert INSERT.run(connection, range(1, 301), [0] * 300) == 298
    assert list(FIND.select(connection, [7, 300, 999], [1, 2, 3])) == [(1, 70), (2, 3_000)]
    connection.close()


def test_the_first_with_a_hash_is_told_for_the_others_only() -> None:
    """Of equal hashes, in one batch or in two, the first line has none before it and the others have the first."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE row (line INTEGER PRIMARY KEY, id INTEGER, hash INTEGER, state INTEGER)")
    lookups = Lookups(connection)
    hashes = [line % 290 for line in range(1, 301)]
    assert lookups.taken_names(hashes, range(1, 301)) == {line: line - 290 for line in range(291, 301)}
    assert lookups.taken_names([5, -5, 6], [401, 402, 6]) == {401: 5}
    assert lookups.earlier_requests([5, -5, 6], [401, 402, 6]) == {}
    connection.close()
