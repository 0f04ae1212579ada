"""The ledger of one machine: accounts and rows in an SQLite file that several processes may share.

Calls ask (`ledger.py`), one thread answers (`writer.py`): it takes whatever was asked since it last looked, carries it
out in one transaction (`books.py`, `store.py`), and answers each event loop once. Every decision is made under the
file's write lock, over what all processes have settled and hold, so that their sum never passes a limit.

What is durable when. Rows and the accounts they move are on the disk before their settlement says so
(`synchronous=FULL`). Holds are in the file, where other processes see them, but not waited for: those that a power cut
undoes belonged to processes that it ended. Holds are sums by process, scope and window, under a lease that is renewed
while the process lives; rows are only ever added, each request id once (`known_rows.py`).

What cannot be written is kept and tried again (`kept.py`), and no hold is granted meanwhile.
"""

from .ledger import SqliteLedger, SqliteLedgerStatistics
from .location import path_of

__all__ = ["SqliteLedger", "SqliteLedgerStatistics", "path_of"]
