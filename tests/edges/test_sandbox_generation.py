"""Laws of what the simulated models make: tokens, JSON for schemas, replies to any body at all."""

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async.testing import SandboxGateway
from genops_helicone_async.testing._simulated.asks import AskRefused, anthropic_ask, gemini_ask, openai_ask
from genops_helicone_async.testing._simulated.json_values import UnusableSchema, value_for
from genops_helicone_async.testing._simulated.tokens import count_tokens, split_tokens

KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)

BOUNDS = st.integers(-50, 50)
LEAVES = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(
        lambda low, width: {"type": "integer", "minimum": low, "maximum": low + width}, BOUNDS, st.integers(0, 9)
    ),
    st.builds(lambda low: {"type": "integer", "exclusiveMinimum": low, "multipleOf": 7}, BOUNDS),
    st.builds(lambda high: {"type": "number", "exclusiveMaximum": high}, BOUNDS),
    st.builds(
        lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
        st.integers(0, 30),
        st.integers(0, 9),
    ),
    st.builds(lambda values: {"enum": values}, st.lists(JSON, min_size=1, max_size=3)),
    st.builds(lambda value: {"const": value}, JSON),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda parts: {"type": "object", "properties": parts, "required": sorted(parts)},
            st.dictionaries(st.text(max_size=5), inner, max_size=3),
        ),
        st.builds(
            lambda item, least: {"type": "array", "items": item, "minItems": least, "maxItems": least + 2},
            inner,
            st.integers(0, 3),
        ),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)


def satisfies(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value is valid, for the keywords used above."""
    if "const" in schema:
        return bool(value == schema["const"])
    if "enum" in schema:
        return value in schema["enum"]
    if "anyOf" in schema:
        return any(satisfies(value, option) for option in schema["anyOf"])
    kind = schema["type"]
    if not isinstance(value, KINDS[kind]) or (kind in ("integer", "number") and isinstance(value, bool)):
        return False
    if kind == "object":
        return set(schema["required"]) <= set(value) and all(
            satisfies(value[name], inner) for name, inner in schema["properties"].items() if name in value
        )
    if kind == "array":
        fits = schema["minItems"] <= len(value) <= schema["maxItems"]
        return fits and all(satisfies(inner, schema["items"]) for inner in value)
    if kind == "string":
        return bool(schema["minLength"] <= len(value) <= schema["maxLength"])
    if kind in ("integer", "number"):
        return bool(
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and schema.get("exclusiveMinimum", value - 1) < value < schema.get("exclusiveMaximum", value + 1)
            and value % schema.get("multipleOf", 0.5) == 0
        )
    return True


@given(SCHEMAS, st.integers(0, 9))
def test_values_satisfy_their_schema(schema: dict[str, Any], seed: int) -> None:
    """Whatever the schema asks, the value made for it is valid."""
    assert satisfies(value_for(schema, random.Random(seed)), schema)


def test_a_recursive_schema_ends() -> None:
    """A tree of trees has a last leaf, and every required part."""
    node = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
        "required": ["name", "children"],
    }
    tree = value_for({"$ref": "#/$defs/node", "$defs": {"node": node}}, random.Random(1))

    def depth(found: Any) -> int:
        assert set(found) == {"name", "children"}
        return 1 + max(map(depth, found["children"]), default=0)

    assert depth(tree) < 10


@given(JSON, st.integers(0, 3))
def test_nonsense_for_a_schema_is_refused_or_answered(schema: Any, seed: int) -> None:
    """A schema that is none makes no other error than its own."""
    with contextlib.suppress(UnusableSchema):
        json.dumps(value_for({"type": "object", "properties": {"a": schema}, "items": schema}, random.Random(seed)))


def test_a_circle_is_refused() -> None:
    """A `$ref` to itself is told, not followed for ever."""
    with pytest.raises(UnusableSchema):
        value_for(
            {"anyOf": [{"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}]}, random.Random(1)
        )


@given(st.text(max_size=60))
def test_tokens_are_the_text(text: str) -> None:
    """Splitting loses nothing, and counting agrees with it."""
    assert "".join(split_tokens(text)) == text
    assert count_tokens(text) == len(split_tokens(text))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("Say hello", 2), ("internationalization", 4), ("café ☕", 3), ("日本語", 3), ("a  b\n", 3), ("   ", 1)],
)
def test_the_token_rule(text: str, tokens: int) -> None:
    """Five ASCII characters are a token, and so is every other character."""
    assert count_tokens(text) == tokens


KEYS = st.sampled_from(
    [
        "model",
        "messages",
        "max_tokens",
        "temperature",
        "tools",
        "tool_choice",
        "response_format",
        "stop",
        "n",
        "stream_options",
        "usage",
        "system",
        "contents",
        "generationConfig",
        "toolConfig",
        "thinking",
        "cache_control",
    ]
)
MESSAGE = st.dictionaries(st.sampled_from(["role", "content", "tool_calls"]), JSON, max_size=3)
BODIES = st.dictionaries(KEYS, JSON | st.lists(MESSAGE, max_size=2), max_size=5).map(
    lambda body: {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}], **body}
)


@given(BODIES)
def test_any_body_is_read_or_refused(body: dict[str, Any]) -> None:
    """A body of any types becomes a request or a 400, in every shape."""
    for read in (openai_ask, anthropic_ask, lambda one: gemini_ask(one, "m", stream=False)):
        with contextlib.suppress(AskRefused):
            assert read(body).prompt_tokens >= 3


def test_prices_are_checked_when_given() -> None:
    """A price of no parts is refused at construction."""
    with pytest.raises(ValueError, match="a price is"):
        SandboxGateway(prices={("openai", "m"): []})
