"""What the simulated model says: text, tool calls, JSON and token counts, all derived from seed and request."""

import random
from hashlib import blake2b, shake_256
from typing import Literal

import msgspec

from .asks import Ask, Tool
from .json_values import value_for
from .prices import Usage
from .tokens import split_tokens

Finish = Literal["stop", "length", "tool_calls"]

CACHEABLE_TOKENS = 1024
"""Prompts of more tokens than this can be cached by providers."""

_REASONING_MODELS = ("o1", "o3", "o4", "gpt-5", "reasoner", "reasoning", "grok-4", "grok-3-mini", "gpt-oss")
_THINK_WHEN_ASKED = ("anthropic", "gemini", "vertex")
_SENTENCES = (
    "The short answer is that it depends on how much traffic there is.",
    "Start with the smallest change that can be measured, then measure it.",
    "A queue hides a slow consumer for a while; it does not make it faster.",
    "Most of the cost sits in the prompt, so trim that first.",
    "Two providers behind one interface are already a small insurance.",
    "Retries without a budget turn a hiccup into an outage.",
    "Here is a café rule that holds: pay for what you order, once.",
    "Keep the totals as integers; rounding is a decision, not an accident.",
    "The naïve version works until the second customer arrives.",
    "In practice the ninety-ninth percentile is what people remember.",
    "A deadline is shared by everyone who works on the request.",
    "Cached answers are cheap, stale answers are expensive.",
    "Write it down, name the unit, and give the source of the figure.",
    "If the price is unknown, say so — never call it zero.",
    "One sentence in Greek for good measure: καλημέρα.",
    "That is all there is to it. ✅",
)


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call the model makes; `pieces` are its arguments in tokens."""

    id: str
    name: str
    arguments: str
    pieces: tuple[str, ...]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of the `n` replies; `pieces` are its text in tokens."""

    text: str
    pieces: tuple[str, ...]
    tool_call: ToolCall | None
    finish: Finish


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole reply with what it is billed for."""

    serial: int
    created: int
    model: str
    choices: tuple[Choice, ...]
    reasoning: str
    usage: Usage

    @property
    def first(self) -> Choice:
        """The first of the replies."""
        return self.choices[0]


def answer(ask: Ask, *, seed: int, provider: str, serial: int, created: int, cached_tokens: int = 0) -> Answer:
    """The reply to a request: the same for the same seed, provider, model and prompt."""
    rng = random.Random(_digest(seed, provider, ask.model, ask.prompt))
    thinks = any(mark in ask.model for mark in _REASONING_MODELS)
    thinks = thinks or (ask.reasoning and provider in _THINK_WHEN_ASKED)
    reasoning = split_tokens(_compose(rng, "the question") * 3)[: rng.randint(24, 96)] if thinks else []
    room = ask.max_tokens
    if room is not None:
        reasoning = reasoning[:room]
        room -= len(reasoning)
    choices = tuple(_choose(ask, rng, room, number) for number in range(ask.choices))
    spoken = sum(len(choice.pieces) + (len(choice.tool_call.pieces) if choice.tool_call else 0) for choice in choices)
    written = ask.prompt_tokens - cached_tokens if ask.marks_cache and _caches_writes(ask, provider) else 0
    usage = Usage(
        input_tokens=ask.prompt_tokens,
        cached_tokens=cached_tokens,
        cache_write_tokens=max(0, written - TAIL_TOKENS),
        output_tokens=spoken + len(reasoning),
        reasoning_tokens=len(reasoning),
    )
    return Answer(
        serial=serial,
        created=created,
        model=ask.model,
        choices=choices,
        reasoning="".join(reasoning),
        usage=usage,
    )


TAIL_TOKENS = 4
"""Tokens after the last cache mark, which Anthropic never writes to its cache."""


def _caches_writes(ask: Ask, provider: str) -> bool:
    return provider == "anthropic" and ask.prompt_tokens > CACHEABLE_TOKENS


def embedding(text: str, *, seed: int, model: str, dimensions: int) -> list[float]:
    """A unit vector for the text: the same for the same seed, model and text."""
    raw = memoryview(shake_256(f"{seed}|{model}|{text}".encode("utf-8", "replace")).digest(2 * dimensions))
    numbers = [number / 32768 for number in raw.cast("h")]
    length = sum(number * number for number in numbers) ** 0.5 or 1.0
    return [number / length for number in numbers]


def _digest(seed: int, *parts: str) -> int:
    text = "\0".join((str(seed), *parts)).encode("utf-8", "replace")
    return int.from_bytes(blake2b(text, digest_size=8).digest())


def _choose(ask: Ask, rng: random.Random, room: int | None, number: int) -> Choice:
    if (tool := _called_tool(ask)) is not None:
        return _tool_choice(tool, rng, room, number)
    if ask.wants_json:
        schema = ask.schema or {"type": "object", "properties": {"answer": {}}, "required": ["answer"]}
        text = msgspec.json.encode(value_for(schema, rng)).decode()
    else:
        text = _compose(rng, " ".join(ask.last_user.split()[:6]) or "nothing")
    for stop in ask.stop:
        text = text.partition(stop)[0]
    pieces = split_tokens(text)
    finish: Finish = "stop"
    if room is not None and len(pieces) > room:
        pieces, finish = pieces[:room], "length"
        text = "".join(pieces)
    return Choice(text=text, pieces=tuple(pieces), tool_call=None, finish=finish)


def _called_tool(ask: Ask) -> Tool | None:
    if not ask.tools:
        return None
    if ask.forced_tool is not None:
        return next((tool for tool in ask.tools if tool.name == ask.forced_tool), ask.tools[0])
    if ask.after_tool_result:
        return None
    spoken = ask.last_user.lower()
    for tool in ask.tools:
        if tool.name.lower() in spoken or tool.name.lower().replace("_", " ") in spoken:
            return tool
    return ask.tools[0] if "use a tool" in spoken or "call a tool" in spoken else None


def _tool_choice(tool: Tool, rng: random.Random, room: int | None, number: int) -> Choice:
    schema = tool.schema or {"type": "object", "properties": {}}
    arguments = msgspec.json.encode(value_for(schema, rng)).decode()
    pieces = split_tokens(arguments)
    finish: Finish = "tool_calls"
    if room is not None and len(pieces) > room:
        pieces, finish = pieces[:room], "length"
    call = ToolCall(
        id=f"{rng.getrandbits(64):016x}{number}",
        name=tool.name,
        arguments="".join(pieces),
        pieces=tuple(pieces),
    )
    return Choice(text="", pieces=(), tool_call=call, finish=finish)


def _compose(rng: random.Random, topic: str) -> str:
    sentences = [_SENTENCES[rng.randrange(len(_SENTENCES))] for _ in range(rng.randint(1, 5))]
    return " ".join((f"About {topic!r}:", *sentences))
