"""The ledger of one machine: accounts and rows in an SQLite file that several processes may share."""

from .ledger import SqliteLedger, SqliteLedgerStatistics
from .location import path_of

__all__ = ["SqliteLedger", "SqliteLedgerStatistics", "path_of"]
