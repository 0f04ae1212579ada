"""What a request asks of a model, whatever shape it came in: prompt, limits, tools, wanted JSON."""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import msgspec

from .tokens import TOKENS_PER_IMAGE, TOKENS_PER_MESSAGE, count_tokens


class AskRefused(ValueError):
    """The provider would refuse this request with a 400."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


P = ParamSpec("P")
T = TypeVar("T")


def _refusing(read: Callable[P, T]) -> Callable[P, T]:
    """Turn a body of unexpected types into a refusal."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except AskRefused:
            raise
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise AskRefused("Invalid type for a value in the request body.") from error

    return reading


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model may call."""

    name: str
    schema: Any


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a completion."""

    model: str
    prompt: str
    last_user: str
    prompt_tokens: int
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    choices: int = 1
    tools: tuple[Tool, ...] = ()
    forced_tool: str | None = None
    """A tool's name, or "" for any tool."""
    after_tool_result: bool = False
    wants_json: bool = False
    schema: Any = None
    reasoning: bool = False
    marks_cache: bool = False
    reports_cost: bool = False


@_refusing
def openai_ask(body: Mapping[str, Any], model: str | None = None) -> Ask:
    """Read a Chat Completions body; `model` wins over the body's own."""
    model = model or body.get("model")
    if not isinstance(model, str) or not model:
        raise AskRefused("you must provide a model parameter", "model")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise AskRefused("Missing required parameter: 'messages'.", "messages")
    _check_numbers(body)
    texts, images = _read_messages(messages)
    tools = tuple(
        Tool(name=str(function.get("name", "")), schema=function.get("parameters"))
        for tool in body.get("tools") or ()
        if isinstance(tool, dict) and isinstance(function := tool.get("function"), dict)
    )
    forced = _openai_forced_tool(body.get("tool_choice"))
    wanted = body.get("response_format") or {}
    return Ask(
        model=model,
        prompt="\n".join(texts),
        last_user=_last_user(messages),
        prompt_tokens=_prompt_tokens(texts, images, body.get("tools")),
        stream=bool(body.get("stream")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop=_stops(body.get("stop")),
        choices=int(body.get("n") or 1),
        tools=tools if body.get("tool_choice") != "none" else (),
        forced_tool=forced if tools else None,
        after_tool_result=messages[-1].get("role") == "tool",
        wants_json=wanted.get("type") in ("json_object", "json_schema"),
        schema=(wanted.get("json_schema") or {}).get("schema"),
        reasoning=body.get("reasoning_effort") not in (None, "none"),
        marks_cache="cache_control" in body or _marks_cache(messages),
        reports_cost=bool((body.get("usage") or {}).get("include")),
    )


@_refusing
def anthropic_ask(body: Mapping[str, Any]) -> Ask:
    """Read an Anthropic Messages body."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise AskRefused("model: Field required")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise AskRefused("messages: at least one message is required")
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        raise AskRefused("max_tokens: Field required")
    _check_numbers(body, highest_temperature=1.0)
    texts, images = _read_messages(messages)
    if system := _text_of(body.get("system")):
        texts.insert(0, system)
    tools = tuple(
        Tool(name=str(tool.get("name", "")), schema=tool.get("input_schema"))
        for tool in body.get("tools") or ()
        if isinstance(tool, dict) and "input_schema" in tool
    )
    choice = body.get("tool_choice") or {}
    forced = {"any": "", "tool": choice.get("name")}.get(choice.get("type", ""))
    last_content = messages[-1].get("content")
    return Ask(
        model=model,
        prompt="\n".join(texts),
        last_user=_last_user(messages),
        prompt_tokens=_prompt_tokens(texts, images, body.get("tools")),
        stream=bool(body.get("stream")),
        include_usage=True,
        max_tokens=body["max_tokens"],
        stop=_stops(body.get("stop_sequences")),
        tools=tools if choice.get("type") != "none" else (),
        forced_tool=forced if tools else None,
        after_tool_result=isinstance(last_content, list)
        and any(isinstance(part, dict) and part.get("type") == "tool_result" for part in last_content),
        reasoning=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
        marks_cache=_marks_cache([*messages, {"content": body.get("system")}, *(body.get("tools") or ())]),
    )


@_refusing
def gemini_ask(body: Mapping[str, Any], model: str, *, stream: bool) -> Ask:
    """Read a `generateContent` body."""
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise AskRefused("* GenerateContentRequest.contents: contents is not specified")
    messages = [
        {"role": one.get("role", "user"), "content": one.get("parts")} for one in contents if isinstance(one, dict)
    ]
    texts, images = _read_messages(messages)
    if system := _text_of((body.get("systemInstruction") or {}).get("parts")):
        texts.insert(0, system)
    config = body.get("generationConfig") or {}
    _check_numbers(config)
    tools = tuple(
        Tool(name=str(declared.get("name", "")), schema=declared.get("parameters"))
        for tool in body.get("tools") or ()
        for declared in tool.get("functionDeclarations") or ()
    )
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = calling.get("allowedFunctionNames") or [""]
    return Ask(
        model=model,
        prompt="\n".join(texts),
        last_user=_last_user(messages),
        prompt_tokens=_prompt_tokens(texts, images, body.get("tools")),
        stream=stream,
        include_usage=True,
        max_tokens=config.get("maxOutputTokens"),
        stop=_stops(config.get("stopSequences")),
        tools=tools if calling.get("mode") != "NONE" else (),
        forced_tool=allowed[0] if tools and calling.get("mode") == "ANY" else None,
        wants_json=config.get("responseMimeType") == "application/json",
        schema=config.get("responseJsonSchema") or config.get("responseSchema"),
        reasoning=(config.get("thinkingConfig") or {}).get("thinkingBudget", 0) != 0,
    )


def _check_numbers(body: Mapping[str, Any], highest_temperature: float = 2.0) -> None:
    temperature = body.get("temperature")
    if temperature is not None and not (
        isinstance(temperature, (int, float)) and 0 <= temperature <= highest_temperature
    ):
        raise AskRefused(f"Invalid 'temperature': {temperature!r} is out of range.", "temperature")
    for name in ("max_tokens", "max_completion_tokens", "maxOutputTokens", "n"):
        value = body.get(name)
        if value is not None and not (isinstance(value, int) and value >= 1):
            raise AskRefused(f"Invalid '{name}': integer below minimum value. Expected >= 1.", name)


def _read_messages(messages: Iterable[Any]) -> tuple[list[str], int]:
    texts: list[str] = []
    images = 0
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise AskRefused(f"Missing required parameter: 'messages[{number}].role'.", "messages")
        content = message.get("content")
        texts.append(_text_of(content))
        if calls := message.get("tool_calls"):
            texts[-1] += msgspec.json.encode(calls).decode()
        if isinstance(content, list):
            images += sum(_is_image(part) for part in content)
    return texts, images


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and (
        part.get("type") in ("image_url", "image") or "inlineData" in part or "fileData" in part
    )


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = []
    for part in content:
        if not isinstance(part, dict):
            continue
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif part.get("type") == "tool_result":
            texts.append(_text_of(part.get("content")))
        elif any(key in part for key in ("input", "functionCall", "functionResponse")):
            texts.append(msgspec.json.encode(part).decode())
    return "\n".join(texts)


def _last_user(messages: list[Any]) -> str:
    spoken = (_text_of(one.get("content")) for one in reversed(messages) if one.get("role") == "user")
    return next((text for text in spoken if text), "")


def _prompt_tokens(texts: list[str], images: int, tools: Any) -> int:
    tokens = TOKENS_PER_MESSAGE + TOKENS_PER_IMAGE * images
    tokens += sum(TOKENS_PER_MESSAGE + count_tokens(text) for text in texts)
    if tools:
        tokens += count_tokens(msgspec.json.encode(tools).decode())
    return tokens


def _stops(stop: Any) -> tuple[str, ...]:
    if isinstance(stop, str):
        return (stop,)
    return tuple(one for one in stop or () if isinstance(one, str) and one)


def _openai_forced_tool(choice: Any) -> str | None:
    if isinstance(choice, dict):
        return str((choice.get("function") or {}).get("name", ""))
    return "" if choice == "required" else None


def _marks_cache(blocks: Iterable[Any]) -> bool:
    for block in blocks:
        if not isinstance(block, dict):
            continue
        if "cache_control" in block:
            return True
        if isinstance(content := block.get("content"), list) and _marks_cache(content):
            return True
    return False
