"""How long an access token is used: renewed ahead of its end, and not sent in its last moments. In seconds."""

from __future__ import annotations

import math

import msgspec

UNTOLD_LIFE_S = 300.0
"""Of a token whose server does not say how long it lives: short, for a longer one costs only requests for tokens."""
_AHEAD_S = 300.0
_MARGIN_S = 30.0
_LONGEST_LIFE_S = 30 * 86_400.0


class TokenLife(msgspec.Struct, frozen=True, kw_only=True):
    """From `renew_at_s` on a token is renewed while it still serves; from `ends_at_s` on it does not serve."""

    renew_at_s: float
    ends_at_s: float


def life_of(asked_at_s: float, lifetime_s: float | None) -> TokenLife:
    """The life of a token that was asked for at `asked_at_s` and told to live `lifetime_s`; None: nothing was told.

    It is counted from the question, before which the server cannot have begun to count. The last 30 s, or the last
    tenth of a short life, are left to the network and to clocks that differ.
    """
    told_s = UNTOLD_LIFE_S if lifetime_s is None else lifetime_s
    lifetime_s = min(max(told_s, 0.0), _LONGEST_LIFE_S) if math.isfinite(told_s) else _LONGEST_LIFE_S
    return TokenLife(
        renew_at_s=asked_at_s + lifetime_s - min(_AHEAD_S, lifetime_s / 5),
        ends_at_s=asked_at_s + lifetime_s - min(_MARGIN_S, lifetime_s / 10),
    )


__all__ = ["UNTOLD_LIFE_S", "TokenLife", "life_of"]
