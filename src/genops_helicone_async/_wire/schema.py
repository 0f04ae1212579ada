"""Structured output: a class to a JSON schema, to a tool where no schema is taken, and the model's JSON to a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from .._values import Reply
from ..chat_request import ChatRequest
from ..errors import ConfigurationError

ANSWER_TOOL = "answer"
"""The name of the tool whose arguments are the answer."""
_NOT_STRICT = frozenset(
    {
        "allOf",
        "not",
        "oneOf",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "unevaluatedProperties",
        "uniqueItems",
    }
)
_FENCED = re.compile(r"```\w*\s*(.*?)\s*```", re.DOTALL)


@lru_cache(maxsize=256)
def schema_of(model: type) -> dict[str, Any]:
    """The JSON schema of a msgspec Struct, a dataclass or a Pydantic model, self-contained and closed.

    Raises:
        ConfigurationError: the class cannot be expressed as a JSON schema.
    """
    try:
        if hasattr(model, "model_json_schema"):
            schema = dict(model.model_json_schema())
        else:
            schema = dict(msgspec.json.schema(model))
    except Exception as exc:  # a foreign class may raise anything while it is inspected
        raise ConfigurationError(f"`response_model` {model.__name__} has no JSON schema: {exc}") from exc
    defs = schema.pop("$defs", {})
    reference = schema.pop("$ref", None)
    if reference is not None:
        name = reference.rsplit("/", 1)[-1]
        schema = {**defs[name], **schema}
        if reference.encode() not in msgspec.json.encode(defs):  # every token of it is paid for
            del defs[name]
    if schema.get("type") != "object":
        raise ConfigurationError(
            f"`response_model` {model.__name__} is no object: give a Struct, dataclass or Pydantic model"
        )
    if defs:
        schema["$defs"] = defs
    _close(schema)
    return schema


@lru_cache(maxsize=256)
def response_format_of(model: type) -> dict[str, Any]:
    """The OpenAI `response_format` for a class; strict where the schema allows it (every property required)."""
    schema = schema_of(model)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", model.__name__)[:64]
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": schema, "strict": _can_be_strict(schema)},
    }


@lru_cache(maxsize=256)
def answer_tool_of(model: type) -> dict[str, Any]:
    """A tool whose arguments are the answer, for providers that cannot be given a `response_format`."""
    return _answer_tool(model.__name__, schema_of(model))


def answer_tool_for(request: ChatRequest) -> dict[str, Any] | None:
    """The answer tool of a call with a `response_model` or a JSON schema as its `response_format`, else None.

    Raises:
        ConfigurationError: the class has no JSON schema, or one of the call's own tools has the answer tool's name.
    """
    if request.response_model is not None:
        tool = answer_tool_of(request.response_model)
    else:
        wanted = (request.response_format or {}).get("json_schema")
        if not isinstance(wanted, Mapping) or not isinstance(wanted.get("schema"), Mapping):
            return None
        tool = _answer_tool(str(wanted.get("name") or "JSON"), wanted["schema"])
    if any((own.get("function") or own).get("name") == ANSWER_TOOL for own in request.tools or ()):
        raise ConfigurationError(
            f"`tools` holds a tool named {ANSWER_TOOL!r}, under which Claude gives its structured answer: rename yours"
        )
    return tool


def _answer_tool(title: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    described = f"Give the answer as {title}. Call this exactly once."
    return {"type": "function", "function": {"name": ANSWER_TOOL, "description": described, "parameters": schema}}


def may_force_answer(request: ChatRequest) -> bool:
    """Whether the answer tool can be forced: not beside other tools, and Claude takes no forced tool while thinking."""
    return not request.tools and request.reasoning_effort in (None, "none")


def take_answer(reply: Reply) -> Reply:
    """The reply with the arguments of its `answer` tool call as its content; unchanged where there is no such call."""
    answer = next((call for call in reply.tool_calls if call.name == ANSWER_TOOL), None)
    if answer is None:
        return reply
    others = tuple(call for call in reply.tool_calls if call.name != ANSWER_TOOL)
    ended = reply.finish_reason
    return msgspec.structs.replace(
        reply,
        content=answer.arguments,
        tool_calls=others,
        finish_reason="stop" if ended == "tool_calls" and not others else ended,
    )


def parse(model: type, text: str) -> Any:
    """The value of the class in a model's JSON text, with a surrounding Markdown fence taken off.

    Raises:
        ValueError: the text is not JSON or does not fit the class.
    """
    text = text.strip()
    if fenced := _FENCED.fullmatch(text):
        text = fenced[1]
    try:
        if hasattr(model, "model_validate_json"):
            return model.model_validate_json(text)
        return msgspec.json.decode(text, type=model)
    except RecursionError as exc:
        raise ValueError("the JSON is nested too deeply") from exc


def _close(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _close(item)
    elif isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        for item in node.values():
            _close(item)


def _can_be_strict(node: Any) -> bool:
    """Strict schemas list every property as required and do without the keywords OpenAI refuses in them."""
    if isinstance(node, list):
        return all(_can_be_strict(item) for item in node)
    if not isinstance(node, dict):
        return True
    if not _NOT_STRICT.isdisjoint(node):
        return False
    if node.get("type") == "object":
        properties = node.get("properties")
        if properties is None or set(properties) - set(node.get("required", ())):
            return False
        if node.get("additionalProperties") is not False:
            return False
    return all(_can_be_strict(item) for item in node.values())


__all__ = [
    "answer_tool_for",
    "answer_tool_of",
    "may_force_answer",
    "parse",
    "response_format_of",
    "schema_of",
    "take_answer",
]
