"""What an argument must be, checked before anything is sent: each check names the argument and the remedy."""

from __future__ import annotations

import ipaddress
import math
import sys
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any
from urllib.parse import urlsplit

from .errors import ConfigurationError

MAX_MESSAGE_CHARS = 32 * 1024 * 1024
"""Longest text of one request, in characters: above the largest context window on sale (10 million tokens)."""
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_DICTS, _TWO = {dict}, {2}
_role_of, _content_of = itemgetter("role"), itemgetter("content")
REASONING_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh"})


def check_message(message: object) -> None:
    """Refuses a message that no provider could take, naming what is wrong with it."""
    if isinstance(message, str):
        if not message or message.isspace():
            raise ConfigurationError("`message` is empty: give the text to send")
        check_text("message", message)
        return
    if type(message) is list:
        if are_plain(message):
            return
    elif isinstance(message, bytes | bytearray | memoryview):
        raise TypeError("`message` is bytes: decode it first, for example message.decode('utf-8')")
    elif message is None or isinstance(message, Mapping) or not isinstance(message, Sequence):
        raise TypeError(f"`message` must be a string or a list of messages, not {type(message).__name__}")
    if not message:
        raise ConfigurationError("`message` is an empty list: give at least one message")
    for position, item in enumerate(message):
        _check_one_message(position, item)


def are_plain(messages: list[Any]) -> bool:
    """Whether messages are right, since all are what nearly all are: a role and an ASCII text, nothing else.

    In as few steps for many messages as for one: each of them is taken by all messages at once, in C.
    """
    if {*map(type, messages)} != _DICTS or {*map(len, messages)} != _TWO:
        return False
    try:
        texts = [*map(_content_of, messages)]
        if all(map(str.isascii, texts)) and ROLES.issuperset(map(_role_of, messages)):
            return max(map(len, texts)) <= MAX_MESSAGE_CHARS
    except (KeyError, TypeError):  # another key, or what is no text
        pass
    return False


def _check_one_message(position: int, item: object) -> None:
    where = f"`message[{position}]`"
    if not isinstance(item, Mapping):
        raise TypeError(f"{where} must be a mapping with `role` and `content`, not {type(item).__name__}")
    role = item.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise ConfigurationError(f"{where} has role {role!r}: use one of {', '.join(sorted(ROLES))}")
    for field in ("name", "tool_call_id"):
        if not isinstance(item.get(field, ""), str | None):
            raise TypeError(f"{where}: `{field}` must be a string, not {type(item[field]).__name__}")
    _check_tool_calls(where, item.get("tool_calls"))
    content = item.get("content")
    if content is None:
        if role != "assistant" or not (item.get("tool_calls") or item.get("function_call")):
            raise ConfigurationError(f"{where} has no `content`; only an assistant message with tool calls may lack it")
        return
    if isinstance(content, str):
        check_text(f"message[{position}].content", content)
        return
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray):
        raise TypeError(f"{where}: `content` must be a string or a list of parts, not {type(content).__name__}")
    if not content:
        raise ConfigurationError(f"{where}: `content` is an empty list")
    for index, part in enumerate(content):
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise TypeError(
                f"{where}: `content[{index}]` must be a mapping with a `type`, such as 'text' or 'image_url'"
            )
        _check_part(f"message[{position}].content[{index}]", part)


def _check_part(where: str, part: Mapping[str, Any]) -> None:
    """Bytes above all: JSON would take them, as base64."""
    if part["type"] == "text" or isinstance(part.get("text"), str):
        check_text(f"{where}.text", part.get("text"))
    if part["type"] == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else image
        if not isinstance(url, str) or not url:
            raise TypeError(f"`{where}.image_url` has no url: give it as text, https://… or data:image/…")


def _check_tool_calls(where: str, calls: object) -> None:
    if calls is None:
        return
    if not isinstance(calls, Sequence) or isinstance(calls, str | bytes):
        raise TypeError(f"{where}: `tool_calls` must be a list of tool calls, not {type(calls).__name__}")
    for index, call in enumerate(calls):
        if not isinstance(call, Mapping) or not isinstance(call.get("function", {}), Mapping):
            raise TypeError(f"{where}: `tool_calls[{index}]` must be a mapping with `id` and `function`")
        arguments = call.get("function", {}).get("arguments")
        if isinstance(arguments, bytes | bytearray):
            raise TypeError(f"{where}: the arguments of `tool_calls[{index}]` must be JSON as text, not bytes")


def check_text(name: str, value: object) -> None:
    """Refuses what is no text, too long, or not expressible in UTF-8."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string, not {type(value).__name__}")
    if len(value) > MAX_MESSAGE_CHARS:
        raise ConfigurationError(
            f"`{name}` has {len(value):,} characters, more than any model takes (limit {MAX_MESSAGE_CHARS:,}): split it"
        )
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise ConfigurationError(
                f"`{name}` holds an unpaired surrogate at character {exc.start}, which is not valid text: "
                "decode the source with errors='replace'"
            ) from None


def check_label(name: str, value: object) -> None:
    """Refuses what cannot travel in a header: no text, empty, or with control characters."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string, not {type(value).__name__}")
    if not value or value.isspace():
        raise ConfigurationError(f"`{name}` is empty: leave it out or give a value")
    if not value.isprintable() and any(ord(char) < 32 or 127 <= ord(char) < 160 for char in value):
        raise ConfigurationError(f"`{name}` holds a control character or a line break, which no header may carry")
    check_text(name, value)


def check_number(low: float, high: float, what: str) -> Any:
    def check(name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"`{name}` must be a number, not {type(value).__name__}")
        if not low <= value <= high:
            raise ConfigurationError(f"`{name}` is {value!r}: it must be {what}")

    return check


def check_positive(name: str, value: object) -> None:
    check_number(0, sys.float_info.max, "a positive, finite number")(name, value)
    if not value:
        raise ConfigurationError(f"`{name}` is 0: it must be a positive, finite number")


def check_int(low: int, what: str) -> Any:
    def check(name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"`{name}` must be an integer, not {type(value).__name__}")
        if value < low or value >= 2**63:
            raise ConfigurationError(f"`{name}` is {value}: it must be {what}")

    return check


def check_bool(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, not {type(value).__name__}")
    return value


def check_mapping(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` must be a mapping, not {type(value).__name__}")
    for key in value:
        if not isinstance(key, str) or not key:
            raise TypeError(f"`{name}` has the key {key!r}: keys must be non-empty strings")


def check_price_table(name: str, value: object) -> None:
    """Refuses anything but a mapping; the prices in it are read where they are used."""
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` must be a mapping of models to prices, not {type(value).__name__}")


def check_models(name: str, value: object) -> None:
    """Refuses anything but a mapping of providers to models."""
    check_mapping(name, value)
    for key, model in value.items():  # type: ignore[attr-defined]
        check_label(f"{name}[{key!r}]", model)


def check_metrics(name: str, value: object) -> None:
    """Refuses anything but a mapping of names to finite numbers."""
    check_mapping(name, value)
    limit = sys.float_info.max
    for key, number in value.items():  # type: ignore[attr-defined]
        check_number(-limit, limit, "a finite number")(f"{name}[{key!r}]", number)


def check_extra_body(name: str, value: object) -> None:
    """Refuses fields that decide what a call costs and how its answer is read."""
    check_mapping(name, value)
    for key in ("messages", "model", "stream"):
        if key in value:  # type: ignore[operator]
            raise ConfigurationError(
                f"`{name}` holds {key!r}, which routing, budget and decoding must know of: use the argument for it"
            )
    for key, number in value.items():  # type: ignore[attr-defined]
        if isinstance(number, float) and not math.isfinite(number):
            raise ConfigurationError(f"`{name}[{key!r}]` is {number!r}, which JSON cannot say: give a finite number")


def check_attributes(name: str, value: object) -> None:
    check_mapping(name, value)
    for key, text in value.items():  # type: ignore[attr-defined]
        check_label(f"{name}[{key!r}]", text)


def check_providers(name: str, value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"`{name}` must be a list of provider names, not {type(value).__name__}")
    if not value:
        raise ConfigurationError(f"`{name}` is an empty list: name at least one provider or leave it out")
    for item in value:
        check_label(name, item)
    if len(set(value)) != len(value):
        raise ConfigurationError(f"`{name}` names a provider twice: {list(value)}")


def check_stop(name: str, value: object) -> None:
    for item in [value] if isinstance(value, str) else value if isinstance(value, Sequence) else [None]:
        check_text(name, item)
        if not item:
            raise ConfigurationError(f"`{name}` holds an empty text: name what should end the answer")


def check_tools(name: str, value: object) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError(f"`{name}` must be a list of tool definitions, not {type(value).__name__}")
    for index, tool in enumerate(value):
        if not isinstance(tool, Mapping) or "type" not in tool:
            raise TypeError(f"`{name}[{index}]` must be a mapping with a `type`, usually 'function'")
        function = tool.get("function")
        if tool["type"] == "function" and not (isinstance(function, Mapping) and isinstance(function.get("name"), str)):
            raise ConfigurationError(f"`{name}[{index}]` is a function tool without `function.name`")


def check_tool_choice(name: str, value: object) -> None:
    if isinstance(value, str) and value not in {"auto", "none", "required"}:
        raise ConfigurationError(
            f"`{name}` is {value!r}: use 'auto', 'none', 'required' or a mapping naming a function"
        )
    if not isinstance(value, str | Mapping):
        raise TypeError(f"`{name}` must be a string or a mapping, not {type(value).__name__}")


def check_effort(name: str, value: object) -> None:
    check_text(name, value)
    if value not in REASONING_EFFORTS:
        raise ConfigurationError(f"`{name}` is {value!r}: use one of {', '.join(sorted(REASONING_EFFORTS))}")


def check_response_model(name: str, value: object) -> None:
    if not isinstance(value, type):
        raise TypeError(f"`{name}` must be a class (msgspec Struct, dataclass or Pydantic model), not {value!r}")


def check_url(name: str, url: object) -> str:
    """An http(s) URL with a host and without user, query or fragment, its trailing slashes dropped."""
    if not isinstance(url, str):
        raise TypeError(f"`{name}` must be a URL as text, not {type(url).__name__}")
    if any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise ConfigurationError(f"`{name}` holds white space or a control character")
    if not {"@", "?", "#"}.isdisjoint(url):
        raise ConfigurationError(f"`{name}` must not hold a user, a query or a fragment: give scheme, host and path")
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError as exc:
        raise ConfigurationError(f"`{name}` is no valid URL ({exc})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        raise ConfigurationError(f"`{name}` is {url!r}: give an http(s) URL such as https://ai-gateway.helicone.ai")
    if parts.path.rstrip("/").endswith(("/chat/completions", "/messages")):
        raise ConfigurationError(f"`{name}` ends with an endpoint's path: give the URL up to the version segment")
    return url.rstrip("/")


def is_seen_by_the_network(url: str) -> bool:
    """Whether the network could read what is sent to an address: plain http to another machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def refuse_plain_http(name: str, url: str) -> None:
    """Refuses an address at which the network could read the keys; loopback is no network."""
    if is_seen_by_the_network(url):
        raise ConfigurationError(
            f"`{name}` is plain http to {urlsplit(url).hostname}, which would show the keys to the network: use https, "
            "or set allow_insecure_http=True if the network is yours"
        )
