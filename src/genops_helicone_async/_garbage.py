"""How often Python looks for cyclic garbage, for programs with thousands of calls on their way."""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 20, 100)
"""Python's own are (700, 10, 10), of 3.14 (2000, 10, 0): too few for all that 10,000 calls on their way hold."""


def tune_garbage_collection() -> tuple[int, int, int]:
    """Has Python look for cyclic garbage less often, in the whole process; gives the thresholds as they were.

    For programs that keep thousands of calls on their way: each holds some hundred objects, and looking through all of
    them again and again costs more there than anything else. Calls leave no cycles behind, so nothing is missed by
    looking less often; garbage of other libraries lives longer. Call it once, at the start and after the imports: what
    exists by then is not looked at any more (`gc.freeze`). The package never does so by itself.

        former = tune_garbage_collection()
        ...
        gc.set_threshold(*former)  # where the rest of a program is to be as it was
    """
    former = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    return former


__all__ = ["THRESHOLDS", "tune_garbage_collection"]
