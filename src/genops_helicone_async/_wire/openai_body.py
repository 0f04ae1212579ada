"""What replies and stream events in the OpenAI shape look like, as far as anything of them is read."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec

from .usage import ABSENT, ExactUsage


class Function(msgspec.Struct):
    """What is called, and with what."""

    name: str | None = None
    arguments: Any = None


class ToolCallPart(msgspec.Struct):
    """One of `tool_calls`, or a piece of it."""

    id: str | None = None
    index: int | None = None
    function: Function | None = None


class Message(msgspec.Struct):
    """`message`, or a stream's `delta`."""

    content: str | list[Any] | None = None
    tool_calls: list[ToolCallPart] | None = None
    function_call: Function | None = None
    refusal: str | None = None
    reasoning: Any = None
    reasoning_content: Any = None

    def is_only_text(self) -> bool:
        """Whether there is nothing beside the content, as in nearly every piece of a stream."""
        return not any(beside_content(self))


beside_content = attrgetter("tool_calls", "function_call", "reasoning", "reasoning_content")


class Choice(msgspec.Struct):
    """One of the answers asked for."""

    index: int | None = 0
    message: Message | None = None
    delta: Message | None = None
    finish_reason: str | None = None


class Body(msgspec.Struct):
    """A reply or an event, whatever its usage, id and error are."""

    choices: list[Choice] | None = None
    usage: msgspec.Raw = ABSENT
    model: str | None = None
    id: Any = None
    error: msgspec.Raw = ABSENT


class WholeChoice(msgspec.Struct):
    """The answer, where one was asked for, and it is no piece of a stream."""

    message: Message
    index: Literal[0] | None = 0
    finish_reason: str | None = None


class Whole(msgspec.Struct):
    """A reply where all is as it should be, as in nearly every one: looked at while it is decoded.

    Taking a usage apart by itself would cost half as much again.
    """

    choices: Annotated[list[WholeChoice], msgspec.Meta(min_length=1)]
    usage: ExactUsage | None = None
    model: str | None = None
    id: str | None = None
    error: None = None


decode_body = msgspec.json.Decoder(Body).decode
decode_whole = msgspec.json.Decoder(Whole).decode


__all__ = [
    "Body",
    "Choice",
    "Function",
    "Message",
    "ToolCallPart",
    "Whole",
    "WholeChoice",
    "beside_content",
    "decode_body",
    "decode_whole",
]
