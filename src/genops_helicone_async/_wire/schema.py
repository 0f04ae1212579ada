"""Structured output: a class to a JSON schema, and the model's JSON back to a value of the class."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from ..errors import ConfigurationError


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
    except Exception as exc:  # noqa: BLE001  a foreign class may raise anything while it is inspected
        raise ConfigurationError(f"`response_model` {model.__name__} has no JSON schema: {exc}") from exc
    defs = schema.pop("$defs", {})
    reference = schema.pop("$ref", None)
    if reference is not None:
        schema = {**defs[reference.rsplit("/", 1)[-1]], **schema}
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
    return {
        "type": "json_schema",
        "json_schema": {"name": model.__name__[:64], "schema": schema, "strict": _all_required(schema)},
    }


@lru_cache(maxsize=256)
def answer_tool_of(model: type) -> dict[str, Any]:
    """A tool whose arguments are the answer, for providers that cannot be given a `response_format`."""
    return {
        "type": "function",
        "function": {
            "name": "answer",
            "description": f"Give the answer as {model.__name__}. Call this exactly once.",
            "parameters": schema_of(model),
        },
    }


def parse(model: type, text: str) -> Any:
    """The value of the class in a model's JSON text, with a surrounding Markdown fence taken off.

    Raises:
        ValueError: the text is not JSON or does not fit the class.
    """
    text = text.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2].rpartition("```")[0]
    if hasattr(model, "model_validate_json"):
        return model.model_validate_json(text)
    return msgspec.json.decode(text.encode(), type=model)


def _close(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _close(item)
    elif isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        for item in node.values():
            _close(item)


def _all_required(node: Any) -> bool:
    if isinstance(node, list):
        return all(_all_required(item) for item in node)
    if not isinstance(node, dict):
        return True
    if node.get("type") == "object":
        properties = node.get("properties")
        if properties is None or set(properties) - set(node.get("required", ())):
            return False
    return all(_all_required(item) for item in node.values())


__all__ = ["answer_tool_of", "parse", "response_format_of", "schema_of"]
