"""A value for any JSON schema: small, deterministic, and valid against the schema it was made for."""

import random
from typing import Any

_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor")
_FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "email": "sandbox@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}
_MAX_DEPTH = 12


class UnusableSchema(ValueError):
    """The schema contradicts itself, or is none."""


def value_for(schema: Any, rng: random.Random) -> Any:
    """A value that satisfies the schema.

    Knows types, `properties`, `items`, `prefixItems`, `enum`, `const`, `$ref` within the document, `anyOf`,
    `oneOf`, `allOf`, bounds of numbers, strings and arrays, and the usual formats; other keywords are ignored.

    Raises:
        UnusableSchema: A keyword has a value of the wrong type, or a `$ref` leads in a circle.
    """
    try:
        return _value(schema, rng, schema, 0)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise UnusableSchema(f"the sandbox cannot satisfy this JSON schema: {error}") from error


def _value(schema: Any, rng: random.Random, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict):
        return _WORDS[rng.randrange(len(_WORDS))]
    if depth > 4 * _MAX_DEPTH:
        raise ValueError("it never ends")
    if "$ref" in schema:
        return _value(_resolve(schema["$ref"], root), rng, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if enum := schema.get("enum"):
        return enum[rng.randrange(len(enum))]
    for choice in ("anyOf", "oneOf"):
        if options := schema.get(choice):
            # The last option of a recursive schema is as a rule the one that ends it (`null`).
            picked = options[-1] if depth > _MAX_DEPTH else options[rng.randrange(len(options))]
            return _value(picked, rng, root, depth + 1)
    if parts := schema.get("allOf"):
        return _all_of(schema, parts, rng, root, depth)
    return _typed(schema, rng, root, depth)


def _typed(schema: dict[str, Any], rng: random.Random, root: Any, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind == "object" or (kind is None and "properties" in schema):
        return _object(schema, rng, root, depth)
    if kind == "array" or (kind is None and "items" in schema):
        return _array(schema, rng, root, depth)
    if kind == "integer":
        return int(_number(schema, rng, whole=True))
    if kind == "number":
        return _number(schema, rng, whole=False)
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "null":
        return None
    return _string(schema, rng)


def _object(schema: dict[str, Any], rng: random.Random, root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    return {
        name: _value(inner, rng, root, depth + 1)
        for name, inner in properties.items()
        # Optional parts stop a recursive schema from growing without end.
        if name in required or depth < 2
    }


def _array(schema: dict[str, Any], rng: random.Random, root: Any, depth: int) -> list[Any]:
    fixed = [_value(part, rng, root, depth + 1) for part in schema.get("prefixItems") or ()]
    least = int(schema.get("minItems", 0 if depth > 3 else 1))
    most = int(schema.get("maxItems", max(least, 3)))
    wanted = max(least, min(most, 0 if depth > 3 else rng.randint(1, 3)))
    inner = schema.get("items", {})
    if inner is False:
        return fixed
    return fixed + [_value(inner, rng, root, depth + 1) for _ in range(wanted - len(fixed))]


def _number(schema: dict[str, Any], rng: random.Random, *, whole: bool) -> float:
    step = schema.get("multipleOf") or (1 if whole else 0.5)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        low = 0 if high is None else high - 100 * step
    if high is None:
        high = low + 100 * step
    first = -(-low // step)
    first += 1 if first * step <= schema.get("exclusiveMinimum", first * step - 1) else 0
    last = high // step
    last -= 1 if last * step >= schema.get("exclusiveMaximum", last * step + 1) else 0
    value: float = rng.randint(int(first), int(last)) * step if last >= first else low
    return value


def _string(schema: dict[str, Any], rng: random.Random) -> str:
    if (form := schema.get("format")) in _FORMATS:
        return _FORMATS[form]
    text = f"{_WORDS[rng.randrange(len(_WORDS))]} {rng.randrange(100)}"
    text = text.ljust(int(schema.get("minLength", 0)), "x")
    return text[: int(schema.get("maxLength", len(text)))]


def _all_of(schema: dict[str, Any], parts: list[Any], rng: random.Random, root: Any, depth: int) -> Any:
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts:
        resolved = _resolve(part["$ref"], root) if isinstance(part, dict) and "$ref" in part else part
        for key, value in resolved.items():
            if key == "properties":
                merged["properties"] = {**merged.get("properties", {}), **value}
            elif key == "required":
                merged["required"] = [*merged.get("required", ()), *value]
            else:
                merged.setdefault(key, value)
    return _value(merged, rng, root, depth + 1)


def _resolve(reference: str, root: Any) -> Any:
    found = root
    for part in reference.lstrip("#").strip("/").split("/"):
        if not part:
            continue
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return found
