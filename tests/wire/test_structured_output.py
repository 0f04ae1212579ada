"""Structured output: classes to schemas, the answer by a tool call where no schema is taken, and back to values."""

import dataclasses
import json
from typing import Any, Literal

import msgspec
import pydantic
import pytest

from genops_helicone_async._values import Reply
from genops_helicone_async._wire.openai_shape import encode_chat
from genops_helicone_async._wire.schema import (
    answer_tool_for,
    parse,
    response_format_of,
    schema_of,
    take_answer,
)
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.errors import ConfigurationError
from genops_helicone_async.models import ToolCall


class City(msgspec.Struct):
    """A msgspec Struct."""

    name: str
    population: int


@dataclasses.dataclass
class Town:
    """A dataclass."""

    name: str
    population: int


class Place(pydantic.BaseModel):
    """A Pydantic model."""

    name: str
    population: int


class Country(msgspec.Struct):
    """A class that holds others."""

    capital: City
    cities: list[City]


class Loose(msgspec.Struct):
    """Not everything here is required."""

    name: str
    population: int = 0


class Node(msgspec.Struct):
    """A class that holds itself."""

    value: int
    children: list["Node"]


class Scores(msgspec.Struct):
    """A map with any keys, which a strict schema cannot say."""

    by_name: dict[str, int]


class Pair(msgspec.Struct):
    """A tuple of fixed length, which a strict schema cannot say."""

    both: tuple[int, str]


class Cat(pydantic.BaseModel):
    """One of two kinds."""

    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    """The other kind."""

    kind: Literal["dog"]


class Pet(pydantic.BaseModel):
    """A tagged union, `oneOf` in its schema."""

    pet: Cat | Dog = pydantic.Field(discriminator="kind")


Box = pydantic.create_model("Box[int] of ä", value=(int, ...))

DEEP = '{"name": "Oslo", "population": 7, "more": ' + "[" * 100_000

FLAT = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["name", "population"],
    "additionalProperties": False,
}


def without_titles(schema: Any) -> Any:
    """A schema without what only describes it."""
    if isinstance(schema, dict):
        return {key: without_titles(value) for key, value in schema.items() if key not in ("title", "description")}
    return [without_titles(item) for item in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("model", [City, Town, Place])
def test_a_flat_class_is_one_closed_object(model: type) -> None:
    """Struct, dataclass and Pydantic model of the same fields give the same strict schema."""
    expected = {"name": model.__name__, "schema": FLAT, "strict": True}
    assert without_titles(response_format_of(model)) == {"type": "json_schema", "json_schema": expected}


def test_a_nested_class_is_closed_throughout() -> None:
    """Definitions come along, each closed, and the root is an object itself."""
    reference = {"$ref": "#/$defs/City"}
    assert without_titles(schema_of(Country)) == {
        "type": "object",
        "properties": {"capital": reference, "cities": {"type": "array", "items": reference}},
        "required": ["capital", "cities"],
        "additionalProperties": False,
        "$defs": {"City": FLAT},
    }


def test_a_class_that_holds_itself_keeps_its_definition() -> None:
    """The root stands among the definitions only where it is referred to."""
    node = {
        "type": "object",
        "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
        "required": ["value", "children"],
        "additionalProperties": False,
    }
    assert without_titles(schema_of(Node)) == {**node, "$defs": {"Node": node}}


@pytest.mark.parametrize(
    "model, strict",
    [(City, True), (Country, True), (Node, True), (Loose, False), (Scores, False), (Pair, False), (Pet, False)],
)
def test_strict_is_asked_for_where_the_schema_allows_it(model: type, strict: bool) -> None:
    """OpenAI refuses a strict schema with optional properties, open maps, tuples or `oneOf`."""
    assert response_format_of(model)["json_schema"]["strict"] is strict


def test_a_schemas_name_is_one_the_api_takes() -> None:
    """Letters, digits, underscore and hyphen, at most 64 of them."""
    long = pydantic.create_model("A" * 80, value=(int, ...))
    names = [response_format_of(model)["json_schema"]["name"] for model in (Box, long)]
    assert names == ["Box_int__of__", "A" * 64]


@pytest.mark.parametrize("model", [int, str, list, object])
def test_what_is_no_object_is_refused(model: type) -> None:
    """Only classes with fields have a schema of their own; the message names the argument."""
    with pytest.raises(ConfigurationError, match=r"^`response_model` "):
        schema_of(model)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Oslo", "population": 7}',
        '  {"name": "Oslo", "population": 7}\n',
        '```json\n{"name": "Oslo", "population": 7}\n```',
        '```\n{"name": "Oslo", "population": 7}\n```\n',
        '```json {"name": "Oslo", "population": 7}```',
    ],
)
@pytest.mark.parametrize("model", [City, Town, Place])
def test_json_becomes_a_value_of_the_class(model: type, text: str) -> None:
    """Bare or in a Markdown fence, the model's text is read into the class."""
    assert parse(model, text) == model(name="Oslo", population=7)


@pytest.mark.parametrize("text", ["", "Oslo", "{", '{"name": "Oslo"}', '{"name": 1, "population": 7}', DEEP])
@pytest.mark.parametrize("model", [City, Town, Place])
def test_json_that_does_not_fit_is_a_value_error(model: type, text: str) -> None:
    """No JSON, missing or wrong fields, endless nesting: always a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        parse(model, text)


def sent(request: ChatRequest, *, answer_by_tool: bool) -> dict[str, Any]:
    """The body in the OpenAI shape."""
    body = encode_chat(request, "m", "anthropic", stream=False, stream_usage=False, answer_by_tool=answer_by_tool)
    decoded: dict[str, Any] = json.loads(body)
    return decoded


FORCED = {"type": "function", "function": {"name": "answer"}}
WEATHER = {"type": "function", "function": {"name": "weather"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "city", "schema": FLAT}}


def test_a_response_model_is_sent_natively() -> None:
    """Where `response_format` is honoured it carries the schema, and no tool is added."""
    body = sent(ChatRequest(message="Hi", response_model=City), answer_by_tool=False)
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "response_format": response_format_of(City),
    }


def test_a_callers_own_response_format_stays() -> None:
    """An explicit `response_format` is what is sent."""
    request = ChatRequest(message="Hi", response_model=City, response_format={"type": "json_object"})
    assert sent(request, answer_by_tool=False)["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("asked", [{"response_model": City}, {"response_format": SCHEMA}])
def test_claude_answers_by_a_forced_tool_named_so(asked: dict[str, Any]) -> None:
    """The gateway drops `response_format` for Claude and fails on `required`: the tool is forced by its name."""
    body = sent(ChatRequest(message="Hi", **asked), answer_by_tool=True)
    function = body["tools"][0]["function"]
    assert (sorted(body), body["tool_choice"], function["name"], without_titles(function["parameters"])) == (
        ["messages", "model", "tool_choice", "tools"], FORCED, "answer", FLAT,
    )  # fmt: skip


@pytest.mark.parametrize("more", [{"tools": [WEATHER]}, {"reasoning_effort": "low"}])
def test_the_answer_is_not_forced_beside_tools_or_thinking(more: dict[str, Any]) -> None:
    """Other tools must stay callable, and Claude refuses a forced tool while it thinks."""
    body = sent(ChatRequest(message="Hi", response_model=City, **more), answer_by_tool=True)
    assert ([tool["function"]["name"] for tool in body["tools"]][-1], body["tool_choice"]) == ("answer", "auto")


@pytest.mark.parametrize("asked", [{}, {"response_format": {"type": "json_object"}}])
def test_without_a_schema_nothing_changes(asked: dict[str, Any]) -> None:
    """A call that asks for no particular JSON gets no tool, and its `response_format` is left as it is."""
    request = ChatRequest(message="Hi", **asked)
    assert sent(request, answer_by_tool=True) == sent(request, answer_by_tool=False)


def test_a_tool_of_the_callers_own_named_answer_is_refused() -> None:
    """Two tools of one name could not be told apart in the reply."""
    tool = {"type": "function", "function": {"name": "answer"}}
    with pytest.raises(ConfigurationError, match=r"^`tools` holds a tool named 'answer'"):
        answer_tool_for(ChatRequest(message="Hi", tools=[tool], response_model=City))


ANSWER = ToolCall(id="c1", name="answer", arguments='{"name":"Oslo","population":7}')
OTHER = ToolCall(id="c2", name="weather", arguments="{}")


@pytest.mark.parametrize(
    "calls, ended, expected",
    [
        ((ANSWER,), "tool_calls", (ANSWER.arguments, (), "stop")),
        ((ANSWER,), "stop", (ANSWER.arguments, (), "stop")),
        ((ANSWER,), "length", (ANSWER.arguments, (), "length")),
        ((ANSWER,), None, (ANSWER.arguments, (), None)),
        ((OTHER, ANSWER), "tool_calls", (ANSWER.arguments, (OTHER,), "tool_calls")),
        (
            (ANSWER, msgspec.structs.replace(ANSWER, id="c3", arguments="{}")),
            "tool_calls",
            (ANSWER.arguments, (), "stop"),
        ),
        ((OTHER,), "tool_calls", ("said", (OTHER,), "tool_calls")),
        ((), "stop", ("said", (), "stop")),
    ],
)
def test_the_answer_is_taken_out_of_its_tool_call(
    calls: tuple[ToolCall, ...], ended: str | None, expected: tuple[Any, ...]
) -> None:
    """Its arguments become the content; a cut-off answer stays cut off, other calls stay calls."""
    reply = take_answer(Reply(content="said", finish_reason=ended, usage=None, tool_calls=calls, served_model="m"))
    assert (reply.content, reply.tool_calls, reply.finish_reason) == expected
    assert reply.served_model == "m"
