"""Everything the dialects share: keys, providers, bill, faults, caches, clock."""

import time
from collections.abc import Collection, Mapping

from ._helicone.attempts import AttemptPlanner
from ._helicone.credits import Credits
from ._helicone.rate_limits import PolicyLimits
from ._helicone.records import HeliconeRecords
from ._helicone.response_cache import ResponseCache
from ._simulated.batches import BatchBoard
from ._simulated.catalogue import PROVIDERS, canonical_name
from ._simulated.prices import PriceBook, PriceOverride
from ._simulated.upstream import UnknownModels, Upstream
from .bill import Bill
from .faults import FaultPlan

REFUSED_KEY = "bad-key"
"""A provider key that is always refused."""


class SandboxState:
    """The sandbox's shared services, built once from the gateway's settings."""

    __slots__ = (
        *("batches", "bill", "book", "cache", "credits", "faults", "latency_scale", "limits", "own_keys", "records"),
        *("planner", "upstream", "_credits_usd", "_helicone_keys", "_provider_keys"),
    )

    def __init__(
        self,
        *,
        seed: int,
        latency_scale: float,
        helicone_keys: Collection[str],
        provider_keys: Mapping[str, str] | None,
        byok: bool | Collection[str],
        credits_usd: float | None,
        prices: Mapping[tuple[str, str], PriceOverride] | None,
        cached_prompts: bool,
        unknown_models: UnknownModels,
        keep_bill_rows: bool,
        keep_records: int,
    ) -> None:
        self.latency_scale = latency_scale
        self._helicone_keys = set(helicone_keys)
        self._provider_keys = {canonical_name(name): key for name, key in (provider_keys or {}).items()}
        self._credits_usd = credits_usd
        self.own_keys = _stored_keys(byok)
        if credits_usd is None and self.own_keys:
            self._credits_usd = 0.0
        self.book = PriceBook(prices)
        self.bill = Bill(self.book, keep_rows=keep_bill_rows)
        self.faults = FaultPlan(seed)
        self.credits = Credits(self._credits_usd, self.book)
        self.cache = ResponseCache(seed)
        self.limits = PolicyLimits()
        self.records = HeliconeRecords(keep_records)
        self.planner = AttemptPlanner(self.own_keys, self.book)
        self.upstream = Upstream(
            seed=seed,
            latency_scale=latency_scale,
            book=self.book,
            bill=self.bill,
            faults=self.faults,
            cached_prompts=cached_prompts,
            unknown_models=unknown_models,
        )
        self.batches = BatchBoard(self.upstream)

    @staticmethod
    def now_s() -> float:
        """The sandbox's clock."""
        return time.monotonic()

    def knows_helicone_key(self, key: str) -> bool:
        """Whether a Helicone key, or its write-only `pk-` twin, belongs to the organisation."""
        return key in self._helicone_keys or f"s{key[1:]}" in self._helicone_keys

    def accept(self, key: str) -> None:
        """From now on the key belongs to the organisation."""
        self._helicone_keys.add(key)

    def revoke(self, key: str) -> None:
        """From now on it does not."""
        self._helicone_keys.discard(key)

    def accepts_provider_key(self, provider: str, key: str) -> bool:
        """Whether a provider takes this key: the one given for it, else any but `bad-key`."""
        expected = self._provider_keys.get(provider)
        if expected is not None:
            return key == expected
        return bool(key) and key != REFUSED_KEY

    def reset(self) -> None:
        """Forget bill, faults, caches, limits and spent credits."""
        self.bill.clear()
        self.faults.clear()
        self.faults.struck = 0
        self.cache.clear()
        self.limits.clear()
        self.records.clear()
        self.upstream.clear()
        self.batches.clear()
        self.credits.refill(self._credits_usd)


def _stored_keys(byok: bool | Collection[str]) -> frozenset[str]:
    if byok is True:
        return frozenset(name for name in PROVIDERS if name != "helicone")
    names = () if byok is False else byok
    return frozenset(canonical_name(name) for name in names)
