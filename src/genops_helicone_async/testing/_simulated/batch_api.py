"""Which requests to a provider's host are about batches and their files, and the faults that strike those."""

from ..exchange import Arrival, Reply
from ..faults import CUTTING, NOTHING_PRODUCED, FaultPlan
from .anthropic_batches import AnthropicBatches
from .batches import BatchBoard
from .catalogue import Provider
from .errors import refusal, scripted_refusal
from .openai_batches import OpenAiBatches, Refused

_WITH_BATCHES = {"openai": "", "anthropic": "messages/"}
"""Providers with a batch API here, and where it begins below their version segment."""


class BatchApi:
    """Answers for the batch APIs of OpenAI and Anthropic."""

    __slots__ = ("_faults", "_shapes")

    def __init__(self, board: BatchBoard, faults: FaultPlan) -> None:
        self._faults = faults
        self._shapes: dict[str, OpenAiBatches | AnthropicBatches] = {
            "openai": OpenAiBatches(board, faults),
            "anthropic": AnthropicBatches(board),
        }

    def answer(self, arrival: Arrival, provider: Provider) -> Reply | None:
        """The reply, None for a request about something else."""
        path = _path_of(arrival, provider)
        if path is None:
            return None
        fault = self._faults.draw(provider.name, (_subject(path),), stream=False, gateway=False)
        if fault is not None and fault.kind == "status":
            made = scripted_refusal(provider, fault)
            return Reply(status=made.status, headers=made.headers, body=made.body, content_type=made.content_type)
        if fault is not None and fault.kind in NOTHING_PRODUCED:
            return Reply(fault=fault)
        shape = self._shapes[provider.name]
        try:
            if arrival.method == "GET":
                reply = shape.read(provider, path, arrival.query)
            else:
                reply = shape.write(provider, path, arrival)
        except Refused as refused:
            made = refusal(provider, refused.status, refused.message)
            return Reply(status=made.status, headers=made.headers, body=made.body, content_type=made.content_type)
        reply.fault = fault if fault is not None and fault.kind in CUTTING else None
        return reply


def _path_of(arrival: Arrival, provider: Provider) -> str | None:
    """What follows the version segment and, for Anthropic, `messages/`; None where it is about neither."""
    begin = _WITH_BATCHES.get(provider.name)
    if begin is None:
        return None
    path = arrival.path.partition("/v1/")[2].rstrip("/")
    if not path.startswith(begin):
        return None
    path = path.removeprefix(begin)
    return path if path.partition("/")[0] in ("batches", "files") else None


def _subject(path: str) -> str:
    """What faults call it."""
    if path.endswith(("/results", "/content")):
        return "results"
    if path.endswith("/cancel"):
        return "cancel"
    return "files" if path.startswith("files") else "batches"


__all__ = ["BatchApi"]
