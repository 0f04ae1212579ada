"""Finding a batch whose creation was never answered: it may exist, and must then not be created again.

OpenAI's batches carry our mark in their metadata: a listed one is ours or not, for certain. Anthropic's carry nothing.
There a batch that was created about then, with as many rows, and that this job does not know already, is a suspect; its
rows' ids tell, but only once it has ended. Until then nothing is submitted in its place. What is left to trust is that
the provider's list shows a batch `listing_s` after it was created: a list that lags behind longer could have it
submitted twice.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import aclosing
from typing import Literal

from ..._edges.batches import BatchService
from ..._wire.batches import BatchView
from .grouping import line_of, mark_of
from .store import Batch

CLOCKS_APART_S = 3600.0
"""How far the provider's clock may be from ours."""

Verdict = BatchView | Literal["absent", "perhaps"]


async def find(service: BatchService, batch: Batch, job: str, known_ids: Collection[str], cleared: set[str]) -> Verdict:
    """The batch, or that there is none, or that one which has not ended may be it.

    `known_ids` are those of the job's other batches; `cleared` collects those that were looked into and are not it.
    """
    views = await service.since(batch.began_s - CLOCKS_APART_S)
    if service.shape.keeps_marks:
        mark = mark_of(job, batch.number)
        return next((view for view in views if view.mark == mark), "absent")
    verdict: Verdict = "absent"
    for view in views:
        if view.id in known_ids or view.id in cleared or view.rows != batch.rows:
            continue
        if view.created_s > batch.began_s + CLOCKS_APART_S:
            continue
        if view.phase == "running":
            verdict = "perhaps"
        elif await _is_ours(service, view, job, batch.number):
            return view
        else:
            cleared.add(view.id)
    return verdict


async def _is_ours(service: BatchService, view: BatchView, job: str, number: int) -> bool:
    """Whether the rows of a batch that has ended are ours: the first one's id tells."""
    async with aclosing(service.results(view)) as results:
        async for result in results:
            return line_of(job, number, result.custom_id) is not None
    return False


__all__ = ["CLOCKS_APART_S", "Verdict", "find"]
