"""What is sent in the Messages shape: OpenAI-style calls said in Anthropic's words."""

import json
from typing import Any

import msgspec
import pytest

from genops_helicone_async._wire.anthropic_shape import encode_messages
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.errors import ConfigurationError


class City(msgspec.Struct):
    """An answer's class."""

    name: str


def sent(*, message: Any = "Hi", stream: bool = False, **fields: Any) -> dict[str, Any]:
    """The body as the other side reads it."""
    request = ChatRequest(message=message, **fields)
    decoded: dict[str, Any] = json.loads(encode_messages(request, "claude-haiku-4-5", stream=stream))
    return decoded


def turns(*messages: dict[str, Any]) -> Any:
    """The turns that these messages become."""
    return sent(message=list(messages))["messages"]


def text(words: str) -> dict[str, str]:
    """A text block."""
    return {"type": "text", "text": words}


def user(*blocks: Any) -> dict[str, Any]:
    """A user's turn."""
    return {"role": "user", "content": list(blocks)}


def call(arguments: Any, identity: Any = "c1") -> dict[str, Any]:
    """An assistant's message with one tool call."""
    function = {"name": "weather", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": identity, "type": "function", "function": function}]}


BARE = {"model": "claude-haiku-4-5", "max_tokens": 4096, "messages": [user(text("Hi"))]}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "w", "parameters": {"type": "object", "properties": {"a": {}}}},
}
NATIVE = {"name": "weather", "description": "w", "input_schema": {"type": "object", "properties": {"a": {}}}}


def test_a_bare_call_sends_what_messages_must_have() -> None:
    """Model, turns and a limit, which Messages insists on; the caller's governance stays at home."""
    assert sent(user_id="u-1", team="research", seed=7, max_cost=1.0) == BARE


@pytest.mark.parametrize(
    "field, value, expected",
    [
        ("temperature", 0.0, {"temperature": 0.0}),
        ("temperature", 1.7, {"temperature": 1.0}),
        ("top_p", 0.5, {"top_p": 0.5}),
        ("max_tokens", 9, {"max_tokens": 9}),
        ("stop", "END", {"stop_sequences": ["END"]}),
        ("stop", [], {}),
        ("tools", [], {}),
        ("stop", ("a", "b"), {"stop_sequences": ["a", "b"]}),
        ("stream", True, {"stream": True}),
        ("extra_body", {"top_k": 5, "max_tokens": 1}, {"top_k": 5, "max_tokens": 1}),
        ("reasoning_effort", "none", {}),
    ],
)
def test_fields_are_renamed_and_bounded(field: str, value: Any, expected: dict[str, Any]) -> None:
    """Messages' own names and ranges; `extra_body` has the last word."""
    assert sent(**{field: value}) == {**BARE, **expected}


def test_system_text_is_taken_out_of_the_conversation() -> None:
    """The system prompt, system and developer messages, wherever they stand, go into `system` in order."""
    body = sent(
        system_prompt="one",
        message=[
            {"role": "system", "content": "two"},
            {"role": "user", "content": "Hi"},
            {"role": "developer", "content": [{"type": "text", "text": "three"}]},
        ],
    )
    assert (body["system"], body["messages"]) == ([text("one"), text("two"), text("three")], [user(text("Hi"))])


def test_neighbours_of_one_role_are_one_turn() -> None:
    """Messages wants roles to alternate: user texts and tool results merge, also across a system message."""
    assert turns(
        {"role": "user", "content": "a"},
        {"role": "system", "content": "s"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
        {"role": "assistant", "content": "d"},
    ) == [user(text("a"), text("b")), {"role": "assistant", "content": [text("c"), text("d")]}]


def test_a_conversation_with_tools_round_trips() -> None:
    """Calls become `tool_use` with decoded input, results `tool_result` in the user's turn, in order."""
    assert turns(
        {"role": "user", "content": "Weather?"},
        {**call('{"city":"Oslo"}'), "content": "Looking."},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "sun"}]},
        {"role": "user", "content": "Thanks"},
    ) == [
        user(text("Weather?")),
        {
            "role": "assistant",
            "content": [
                text("Looking."),
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        user(
            {"type": "tool_result", "tool_use_id": "c1", "content": [text("rain")]},
            {"type": "tool_result", "tool_use_id": "c2", "content": [text("sun")]},
            text("Thanks"),
        ),
    ]


@pytest.mark.parametrize("arguments", ["", None, "{}", {}])
def test_a_call_without_arguments_has_an_empty_input(arguments: Any) -> None:
    """However "no arguments" is written, `input` is an object."""
    assert turns({"role": "user", "content": "a"}, call(arguments))[1]["content"][0]["input"] == {}


@pytest.mark.parametrize(
    "image, source",
    [
        ({"url": "https://x/y.png"}, {"type": "url", "url": "https://x/y.png"}),
        ("https://x/y.png", {"type": "url", "url": "https://x/y.png"}),
        (
            {"url": "data:image/jpeg;base64,/9j/4A=="},
            {"type": "base64", "media_type": "image/jpeg", "data": "/9j/4A=="},
        ),
        ({"url": "data:;base64,AA=="}, {"type": "base64", "media_type": "image/png", "data": "AA=="}),
        (
            {"url": "data:image/webp;charset=x;base64,AA=="},
            {"type": "base64", "media_type": "image/webp", "data": "AA=="},
        ),
    ],
)
def test_images_travel_by_address_or_in_full(image: Any, source: dict[str, str]) -> None:
    """A web address stays one, a data URL is taken apart."""
    part = {"type": "image_url", "image_url": image}
    assert turns({"role": "user", "content": [part]}) == [user({"type": "image", "source": source})]


def test_anthropics_own_parts_pass_through() -> None:
    """Documents, cache marks and whatever else is already in Anthropic's words is left alone."""
    parts = [
        {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
    ]
    assert turns({"role": "user", "content": parts}) == [user(*parts)]


def test_empty_texts_are_left_out() -> None:
    """Messages refuses empty text blocks and empty turns."""
    assert turns(
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "a"}]},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "user", "content": ""},
    ) == [user(text("a")), {"role": "assistant", "content": [text("no")]}]


@pytest.mark.parametrize(
    "tool_choice, expected",
    [
        (None, None),
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
        ({"type": "tool", "name": "weather"}, {"type": "tool", "name": "weather"}),
    ],
)
def test_tools_and_the_choice_among_them(tool_choice: Any, expected: Any) -> None:
    """Function tools become Anthropic's, tools already in its words pass, and every choice has its counterpart."""
    native = {"type": "web_search_20250305", "name": "web_search"}
    body = sent(tools=[WEATHER, native], tool_choice=tool_choice)
    assert (body["tools"], body.get("tool_choice")) == ([NATIVE, native], expected)


def test_a_tool_without_parameters_takes_an_empty_object() -> None:
    """`input_schema` is required there, `description` is not."""
    body = sent(tools=[{"type": "function", "function": {"name": "now"}}])
    assert body["tools"] == [{"name": "now", "input_schema": {"type": "object", "properties": {}}}]


def test_a_choice_without_tools_is_not_sent() -> None:
    """Messages refuses a `tool_choice` beside no tools."""
    assert sent(tool_choice="auto") == BARE


ANSWER = {
    "name": "answer",
    "description": "Give the answer as City. Call this exactly once.",
    "input_schema": {
        "title": "City",
        "description": "An answer's class.",
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    },
}


@pytest.mark.parametrize(
    "more, tools, choice",
    [
        ({}, [ANSWER], {"type": "tool", "name": "answer"}),
        ({"tool_choice": "none"}, [ANSWER], {"type": "tool", "name": "answer"}),
        ({"tools": [WEATHER]}, [NATIVE, ANSWER], {"type": "auto"}),
        ({"reasoning_effort": "low"}, [ANSWER], {"type": "auto"}),
    ],
)
def test_a_structured_answer_comes_by_a_tool(more: dict[str, Any], tools: list[Any], choice: Any) -> None:
    """The answer's tool is forced, unless other tools must stay callable or Claude is to think first."""
    body = sent(response_model=City, **more)
    assert (body["tools"], body["tool_choice"]) == (tools, choice)


@pytest.mark.parametrize(
    "effort, max_tokens, budget, limit",
    [
        ("minimal", None, 1024, 1024 + 4096),
        ("low", None, 1024, 1024 + 4096),
        ("medium", None, 4096, 8192),
        ("high", None, 16384, 20480),
        ("xhigh", None, 32768, 36864),
        ("high", 4096, 2048, 4096),
        ("low", 4096, 1024, 4096),
        ("high", 2048, 1024, 2048),
    ],
)
def test_thinking_fits_into_the_callers_limit(effort: str, max_tokens: int | None, budget: int, limit: int) -> None:
    """`max_tokens` is what the caller may be charged for, thoughts included; without one the answer has room beside."""
    body = sent(reasoning_effort=effort, max_tokens=max_tokens)
    thinking = {"type": "enabled", "budget_tokens": budget}
    assert (body["thinking"], body["max_tokens"]) == (thinking, limit)


def test_a_limit_too_small_for_thinking_leaves_it_out() -> None:
    """Messages wants at least 1,024 tokens of thinking: below twice that there is none."""
    assert sent(reasoning_effort="high", max_tokens=2047) == {**BARE, "max_tokens": 2047}


def test_thinking_takes_no_temperature() -> None:
    """Beside thinking Messages refuses sampling settings: they are left out."""
    assert {"temperature", "top_p"}.isdisjoint(sent(reasoning_effort="low", temperature=0.2, top_p=0.5))


def test_no_thinking_is_asked_for_after_a_tools_result() -> None:
    """There Messages wants its earlier thoughts back, which OpenAI-style messages do not carry."""
    messages = [{"role": "user", "content": "a"}, call("{}"), {"role": "tool", "tool_call_id": "c1", "content": "b"}]
    assert "thinking" not in sent(message=messages, reasoning_effort="high")


A = {"role": "user", "content": "a"}


@pytest.mark.parametrize(
    "messages, problem",
    [
        ([{"role": "system", "content": "only"}], "at least one user message"),
        ([{"role": "user", "content": ""}], "at least one user message"),
        ([A, call("{not json")], "not JSON"),
        ([A, call("[" * 100_000)], "not JSON"),
        ([A, call("[1]")], "no JSON object"),
        ([A, call("{}", None)], "`id`"),
        ([A, call("{}"), {"role": "tool", "content": "x"}], "`tool_call_id`"),
        ([A, {"role": "function", "name": "f", "content": "x"}], "`function_call`"),
        ([A, {"role": "assistant", "content": None, "function_call": {"name": "f"}}], "`function_call`"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png,raw"}]}], "base64"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png"}]}], "base64"),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], "'input_audio'"),
    ],
)
def test_what_anthropic_cannot_be_told_is_refused(messages: list[dict[str, Any]], problem: str) -> None:
    """The error names the argument and the part of it, before anything is sent."""
    with pytest.raises(ConfigurationError, match=rf"^`message`.*{problem}"):
        sent(message=messages)


def test_a_choice_that_names_nothing_is_refused() -> None:
    """The error says how a function is named."""
    with pytest.raises(ConfigurationError, match=r"^`tool_choice` names no function: use .*'name'"):
        sent(tools=[WEATHER], tool_choice={"type": "function"})
