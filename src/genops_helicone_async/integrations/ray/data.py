"""A step of a Ray Data pipeline: a column of prompts in, the same batch with answers, costs and errors out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ...errors import ConfigurationError
from ...models import BulkResult
from .plan import WorkerPlan
from .worker import configure

ANSWER, COST, ERROR = "answer", "cost", "error"


class HeliconeBatches:
    """For `dataset.map_batches(HeliconeBatches, fn_constructor_kwargs={"plan": plan}, ...)`; batches are dicts.

    Each of Ray Data's actors makes one adapter and answers a batch at a time, all its rows at once. It adds the columns
    `answer` and `error`, texts of which one is empty, and `cost`, in the plan's currency, of all attempts known to be
    billed. Ray Data may run a batch again when an actor is lost: a cache in Redis makes that free.

    Args:
        plan: What the adapter is; `plan.completed(os.environ)` takes this process's keys along.
        prompt: The column of prompts, or of conversations as lists of messages.
        **options: Keywords of every chat, such as `provider` and `max_tokens`.

    Raises:
        ConfigurationError: a setting is wrong, or the sum of the actors would not keep to a limit.
    """

    def __init__(self, plan: WorkerPlan | None = None, *, prompt: str = "prompt", **options: Any) -> None:
        from ...blocking import GenOpsHeliconeAdapter

        plan = (plan or WorkerPlan()).completed(os.environ)
        os.environ.update(plan.environ or {})
        self._adapter = GenOpsHeliconeAdapter(**plan.settings)
        configure(self._adapter, plan)
        self._max_in_flight = plan.max_in_flight
        self._prompt = prompt
        self._options = options

    def __repr__(self) -> str:
        return f"HeliconeBatches(prompt={self._prompt!r})"

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with its answers; a row that fails does not fail the others.

        Raises:
            ConfigurationError: the column of prompts is missing, or one of the results' is there already.
        """
        if self._prompt not in batch:
            raise ConfigurationError(f"the batch has no column {self._prompt!r}: it has {', '.join(map(repr, batch))}")
        if taken := [name for name in (ANSWER, COST, ERROR) if name in batch]:
            raise ConfigurationError(f"the batch has a column {taken[0]!r} already: rename it first")
        requests = [{"message": _message(prompt)} for prompt in batch[self._prompt]]
        many = self._adapter.chat_many(requests, max_in_flight=self._max_in_flight, ordered=True, **self._options)
        with many as results:
            rows = [_columns(result) for result in results]
        answers, costs, errors = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
        return {**batch, ANSWER: answers, COST: costs, ERROR: errors}

    def close(self) -> None:
        """Closes the adapter; Ray Data ends its actors without calling this, and leases then end by themselves."""
        self._adapter.close()


def _message(prompt: Any) -> str | list[Any]:
    # Arrays have a text type of their own, and conversations come as arrays of dicts.
    if isinstance(prompt, str):
        return str(prompt)
    return list(prompt) if isinstance(prompt, Sequence) or hasattr(prompt, "tolist") else prompt


def _columns(result: BulkResult) -> tuple[str, float, str]:
    attempts = result.response.attempts if result.response is not None else getattr(result.error, "attempts", ())
    cost = float(sum(attempt.cost for attempt in attempts if attempt.billed != "maybe"))
    if result.response is not None:
        return result.response.content, cost, ""
    return "", cost, f"{type(result.error).__name__}: {result.error}"


__all__ = ["ANSWER", "COST", "ERROR", "HeliconeBatches"]
