"""Tokens that requests need as bearer: got from a token endpoint or from Google, kept, renewed and put in.

A source gets a token (`client_credentials.py`, `service_account.py`), a keeper has it fetched once for everybody
(`keeper.py`), and a transport puts it into each request (`transport.py`).
"""

from .client_credentials import ClientCredentials
from .keeper import Sender, TokenKeeper, TokenSource, TokenStatistics
from .service_account import ServiceAccount
from .transport import AuthorizedTransport

__all__ = [
    "AuthorizedTransport",
    "ClientCredentials",
    "Sender",
    "ServiceAccount",
    "TokenKeeper",
    "TokenSource",
    "TokenStatistics",
]
