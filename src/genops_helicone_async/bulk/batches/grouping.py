"""Which batch a row goes into: one provider and model each, within what the provider and memory allow."""

from __future__ import annotations

import msgspec

from ..._flow.attempt import encode
from ..._flow.ticket import Target
from ..._wire.batches import BatchShape
from ..._wire.batches_anthropic import AnthropicBatchShape
from ..._wire.batches_openai import OpenAiBatchShape
from ...errors import ConfigurationError
from ..rows import Row
from .store import KeptRow

SHAPES: dict[str, BatchShape] = {"openai": OpenAiBatchShape(), "anthropic": AnthropicBatchShape()}
"""Providers whose batch API is spoken here."""


class Draft(msgspec.Struct, kw_only=True):
    """The rows of a batch that is not submitted yet, as they will be sent and as they are kept."""

    number: int
    target: Target
    kept: list[KeptRow] = []
    lines: list[bytes] = []
    size: int = 0

    def add(self, row: Row, line: bytes) -> None:
        """Takes a row."""
        self.kept.append(KeptRow.of(row))
        self.lines.append(line)
        self.size += len(line) + 1


def mark_of(job: str, number: int) -> str:
    """What a batch is called at the provider; its rows' ids begin with it."""
    return f"genops-{job}-{number}"


def wire_id(job: str, number: int, line: int) -> str:
    """A row's id at the provider, which every provider takes, whatever the user's own `custom_id` is."""
    return f"{mark_of(job, number)}-{line}"


def line_of(job: str, number: int, custom_id: str) -> int | None:
    """The line of a row of this batch; None where the id is of another."""
    digits = custom_id.removeprefix(f"{mark_of(job, number)}-")
    return int(digits) if digits != custom_id and digits.isascii() and digits.isdigit() else None


def encoded(row: Row, target: Target, job: str, number: int) -> bytes:
    """The row as it goes into the batch: the very body that a live call would have.

    Raises:
        ConfigurationError: the provider's shape cannot say it.
    """
    body = encode(row.request, target.endpoint, stream=False)
    return SHAPES[target.endpoint.provider].row(wire_id(job, number, row.line), body)


def batchable(targets: list[Target]) -> Target | None:
    """The first of the targets that has a batch API which can be reached: with the provider's own key."""
    for target in targets:
        if target.endpoint.provider in SHAPES and target.endpoint.dialect == "proxy":
            return target
    return None


def no_batch_api(targets: list[Target]) -> ConfigurationError:
    """The error for a row that no batch API takes."""
    names = ", ".join(dict.fromkeys(target.endpoint.provider for target in targets))
    known = [target.endpoint.provider for target in targets if target.endpoint.provider in SHAPES]
    if known:
        return ConfigurationError(
            f"batches of {known[0]} go to its own host with its own key: set {known[0].upper()}_API_KEY, and beside a "
            f"gateway URL of your own name that host (--provider-url {known[0]}=URL), or send rows live (--via live)"
        )
    return ConfigurationError(
        f"{names or 'nobody'} has no batch API here, only OpenAI and Anthropic have: choose one of them "
        "(--provider openai), or send the rows live (--via live), or each as it can be (--via auto)"
    )


__all__ = ["SHAPES", "Draft", "batchable", "encoded", "line_of", "mark_of", "no_batch_api", "wire_id"]
