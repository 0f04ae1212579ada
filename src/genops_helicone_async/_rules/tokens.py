"""How many tokens a request has, before any provider says so: for holds and estimates, never for the charge."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec

TOKENS_PER_MESSAGE = 4
"""Role and separators around one message, as OpenAI's chat format has them."""
TOKENS_PER_REPLY = 3
"""The reply's own opening, once a request."""
TOKENS_PER_IMAGE = 1_600
"""The most an image takes at Claude (1,568 pixels on the long edge) and at GPT-4o, -4.1 and -5 (1,445)."""
CHARS_PER_AUDIO_TOKEN = 150
"""Base64 characters of sound a token: 32 tokens a second (Gemini; OpenAI 10) at no less than 29 kbit/s."""

HOLD_MARGIN = 1.25
"""Holds count texts that much higher than estimated: neither a foreign tokenizer nor a heuristic is exact."""

_ASCII_CHARS_PER_TOKEN = 3.8
_TOKENS_PER_OTHER_CHAR = 0.62  # a quarter, as for ASCII, counts Chinese and Japanese three times too low
_IMAGE_PARTS = frozenset({"image_url", "image", "input_image"})
_CLAUDE_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[.-](\d{1,2}))?(?!\d)")
_TEXTS, _TWO = {str}, {2}
_content_of = itemgetter("content")
_OPENAI = ("gpt-", "o1", "o3", "o4", "chatgpt-", "text-embedding-")
# Small OpenAI models that multiply an image's tokens: gpt-4o-mini 2,833 + 8 tiles of 5,667, the others 1,536
# patches times 1.62, 2.46 and 1.72 (platform.openai.com/docs/guides/images-vision, "Calculating costs").
_IMAGE_TOKENS = (
    (re.compile(r"gpt-4o-mini"), 48_169),
    (re.compile(r"gpt-(4\.1|5)-mini"), 2_489),
    (re.compile(r"gpt-(4\.1|5)-nano"), 3_779),
    (re.compile(r"o4-mini"), 2_642),
)


def texts_of(messages: list[Any]) -> list[str] | None:
    """The texts of messages that were checked, if each is a role and a text and nothing else; else None."""
    if {*map(len, messages)} == _TWO:
        try:
            texts = [*map(_content_of, messages)]
        except KeyError:  # an assistant's, with tool calls instead
            return None
        if {*map(type, texts)} == _TEXTS:
            return texts
    return None


def heuristic_tokens(text: str) -> int:
    """About as many tokens as the o200k encoding makes of a text, from its characters alone."""
    if text.isascii():
        return math.ceil(len(text) / _ASCII_CHARS_PER_TOKEN)
    ascii_chars = len(text.encode("ascii", "ignore"))
    return math.ceil(ascii_chars / _ASCII_CHARS_PER_TOKEN + (len(text) - ascii_chars) * _TOKENS_PER_OTHER_CHAR)


def most_tokens(text: str, counted: int) -> int:
    """Tokens that hardly any tokenizer exceeds for a text counted so.

    Tokenizers differ most beyond ASCII, where one that knows a script badly makes a token of every character and
    breaks the words between: what o200k counts for Tamil or Arabic is half of that.
    """
    most = math.ceil(counted * HOLD_MARGIN)
    if text.isascii():
        return most
    ascii_chars = len(text.encode("ascii", "ignore"))
    return max(most, math.ceil(ascii_chars / 2) + len(text) - ascii_chars)


def most_tokens_of_all(texts: Sequence[str], counts: Sequence[int]) -> int:
    """`most_tokens` of several texts together: each has its own margin."""
    if all(map(str.isascii, texts)):
        return sum(map(math.ceil, map(HOLD_MARGIN.__mul__, counts)))
    return sum(map(most_tokens, texts, counts))


@lru_cache(maxsize=1024)
def multiplier_for(model: str) -> float:
    """How many tokens a model's own tokenizer makes for one of o200k's.

    OpenAI 1.0; Claude up to 4.6 1.15 and newer 1.5; all others 1.1, as measured for Gemini, Llama and Mixtral.
    """
    name = model.lower().rpartition("/")[2]
    if version := _CLAUDE_VERSION.search(name):
        return 1.15 if (int(version[1]), int(version[2] or 0)) <= (4, 6) else 1.5
    if "claude" in name:
        return 1.5
    return 1.0 if name.startswith(_OPENAI) else 1.1


@lru_cache(maxsize=1024)
def image_tokens_for(model: str) -> int:
    """The most tokens one image takes at a model; a flat bound, as no image is opened."""
    return next((tokens for name, tokens in _IMAGE_TOKENS if name.search(model)), TOKENS_PER_IMAGE)


def estimate_input_tokens(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    count: Callable[[str], int] = heuristic_tokens,
    *,
    tokens_per_image: int = TOKENS_PER_IMAGE,
) -> int:
    """Input tokens of OpenAI-style messages and tools: texts by `count`, the rest by flat bounds.

    Tools, tool calls and parts of unknown kinds count as their JSON text, images `tokens_per_image` each, sound by
    its length.
    """
    total = TOKENS_PER_REPLY
    for message in messages:
        content = message.get("content")
        if len(message) == 2 and "role" in message and type(content) is str:  # as nearly all are
            total += TOKENS_PER_MESSAGE + (count(content) if content else 0)
            continue
        total += TOKENS_PER_MESSAGE + _content_tokens(content, count, tokens_per_image)
        for key in ("tool_calls", "function_call", "name", "tool_call_id"):
            if value := message.get(key):
                total += count(value if isinstance(value, str) else _json_text(value))
    return total + count(_json_text(tools)) if tools else total


def _content_tokens(content: Any, count: Callable[[str], int], tokens_per_image: int) -> int:
    if not content:
        return 0
    if isinstance(content, str):
        return count(content)
    total = 0
    for part in content:
        text, kind = part.get("text"), part.get("type")
        if isinstance(text, str):
            total += count(text)
        elif kind in _IMAGE_PARTS:
            total += tokens_per_image
        elif kind == "input_audio" and isinstance(sound := part.get("input_audio"), Mapping):
            total += math.ceil(len(str(sound.get("data", ""))) / CHARS_PER_AUDIO_TOKEN)
        else:
            total += count(_json_text(part))
    return total


def _json_text(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


__all__ = [
    "CHARS_PER_AUDIO_TOKEN",
    "HOLD_MARGIN",
    "TOKENS_PER_IMAGE",
    "TOKENS_PER_MESSAGE",
    "TOKENS_PER_REPLY",
    "estimate_input_tokens",
    "heuristic_tokens",
    "image_tokens_for",
    "most_tokens",
    "most_tokens_of_all",
    "multiplier_for",
    "texts_of",
]
