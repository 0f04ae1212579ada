"""Helicone's prepaid credits: the balance, and the worst-case reserve asked for before a call."""

from decimal import Decimal

from .._simulated.catalogue import BY_GATEWAY_NAME
from .._simulated.prices import PUSD_PER_USD, PriceBook
from .catalogue import Endpoint


class Credits:
    """The organisation's balance; `None` never runs out."""

    __slots__ = ("_balance_pusd", "_book")

    def __init__(self, balance_usd: float | None, book: PriceBook) -> None:
        self._book = book
        self._balance_pusd: int | None = None
        self.refill(balance_usd)

    def refill(self, balance_usd: float | None) -> None:
        """Set the balance."""
        self._balance_pusd = None if balance_usd is None else int(Decimal(str(balance_usd)) * PUSD_PER_USD)

    def refusal(self, endpoint: Endpoint) -> str | None:
        """The refusal's message where the balance does not cover the worst case, else None.

        The worst case is full context plus longest reply; by a slip of units that Helicone's own code has,
        its dollars are taken for cents, and one cent is added.
        """
        if self._balance_pusd is None:
            return None
        provider = BY_GATEWAY_NAME[endpoint.provider].name
        input_usd, output_usd = self._book.base_rates_usd(provider, endpoint.model)
        needed_cents = input_usd * endpoint.context_tokens + output_usd * endpoint.max_output_tokens + 1
        available_cents = Decimal(self._balance_pusd) * 100 / PUSD_PER_USD
        if available_cents >= needed_cents:
            return None
        return (
            f"Insufficient balance for escrow. Available: {_plain(available_cents)} cents, "
            f"needed: {_plain(needed_cents)} cents"
        )

    def spend(self, cost_pusd: int) -> None:
        """Take a reply's cost from the balance."""
        if self._balance_pusd is not None:
            self._balance_pusd -= cost_pusd


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
