"""What is sent in the OpenAI shape: what the caller set, under the names the provider takes, and nothing else."""

import json
from types import MappingProxyType
from typing import Any

import pytest

from genops_helicone_async._wire.openai_shape import encode_chat
from genops_helicone_async.chat_request import ChatRequest
from genops_helicone_async.errors import ConfigurationError


def sent(
    request: ChatRequest,
    model: str = "gpt-4o-mini",
    provider: str = "openai",
    *,
    stream: bool = False,
    stream_usage: bool = True,
    answer_by_tool: bool = False,
) -> dict[str, Any]:
    """The body as the other side reads it."""
    body = encode_chat(
        request, model, provider, stream=stream, stream_usage=stream_usage, answer_by_tool=answer_by_tool
    )
    decoded: dict[str, Any] = json.loads(body)
    return decoded


WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
BARE = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}


def test_a_bare_call_sends_model_and_messages_only() -> None:
    """What was not asked for is not sent, so that the provider's own defaults hold."""
    assert sent(ChatRequest(message="Hi")) == BARE


def test_governance_stays_at_home() -> None:
    """Attribution, budgets, routing and deadlines never reach the provider's body."""
    request = ChatRequest(
        message="Hi",
        provider="openai",
        model="other",
        max_cost=1.0,
        team="research",
        user_id="u-1",
        session_id="s",
        timeout_seconds=5,
        cache=True,
        attributes={"a": "b"},
        routing_strategy="failover",
    )
    assert sent(request) == BARE


@pytest.mark.parametrize(
    "name, value",
    [
        ("temperature", 0.0),
        ("temperature", 2),
        ("top_p", 0.5),
        ("stop", "END"),
        ("stop", ["a", "b"]),
        ("seed", 0),
        ("max_tokens", 1),
        ("tools", [WEATHER]),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "function": {"name": "weather"}}),
        ("response_format", {"type": "json_object"}),
        ("reasoning_effort", "low"),
    ],
)
def test_a_field_that_was_set_is_sent_as_given(name: str, value: Any) -> None:
    """Each of the sampling and tool fields travels under its own name, zeros included."""
    assert sent(ChatRequest(message="Hi", **{name: value})) == {**BARE, name: value}


@pytest.mark.parametrize("empty", [[], ()])
@pytest.mark.parametrize("name", ["tools", "stop"])
def test_an_empty_list_is_none(name: str, empty: Any) -> None:
    """Providers refuse empty lists of tools and stops: they mean the same as none."""
    assert sent(ChatRequest(message="Hi", **{name: empty})) == BARE


def test_the_system_prompt_goes_first() -> None:
    """It stands before the conversation, whatever that begins with."""
    request = ChatRequest(message=[{"role": "assistant", "content": "Hello"}], system_prompt="Be brief")
    assert sent(request)["messages"] == [
        {"role": "system", "content": "Be brief"},
        {"role": "assistant", "content": "Hello"},
    ]


@pytest.mark.parametrize(
    "provider, model, name",
    [
        ("openai", "o1-mini", "max_completion_tokens"),
        ("openai", "o3", "max_completion_tokens"),
        ("openai", "o4-mini", "max_completion_tokens"),
        ("openai", "gpt-5.1", "max_completion_tokens"),
        ("openai", "o3-mini/openai", "max_completion_tokens"),
        ("openai", "openai/o3-mini", "max_completion_tokens"),
        ("azure", "gpt-5-mini", "max_completion_tokens"),
        ("openai", "gpt-4o", "max_tokens"),
        ("openai", "omni-moderation", "max_tokens"),
        ("openrouter", "o3", "max_tokens"),
        ("groq", "gpt-5-like", "max_tokens"),
    ],
)
def test_openais_reasoning_models_take_another_name_for_the_limit(provider: str, model: str, name: str) -> None:
    """o-series and gpt-5 at OpenAI and Azure refuse `max_tokens`, in every dialect's spelling of the model."""
    body = sent(ChatRequest(message="Hi", max_tokens=9), model, provider)
    assert {key: body.get(key) for key in ("max_tokens", "max_completion_tokens") if key in body} == {name: 9}


@pytest.mark.parametrize(
    "stream_usage, expected",
    [(True, {"stream": True, "stream_options": {"include_usage": True}}), (False, {"stream": True})],
)
def test_a_stream_asks_for_its_usage_where_that_is_taken(stream_usage: bool, expected: dict[str, Any]) -> None:
    """`stream_options` goes only to providers that do not refuse it."""
    assert sent(ChatRequest(message="Hi"), stream=True, stream_usage=stream_usage) == {**BARE, **expected}


def test_extra_body_wins() -> None:
    """What the caller spells out for this provider replaces what we would have sent, and adds to it."""
    request = ChatRequest(message="Hi", temperature=0.5, extra_body={"temperature": 0.1, "logit_bias": {"50256": -100}})
    assert sent(request) == {**BARE, "temperature": 0.1, "logit_bias": {"50256": -100}}


def test_messages_with_tools_and_images_travel_unchanged() -> None:
    """The OpenAI shape is the caller's own: calls, results and parts are passed on as they are."""
    messages: list[dict[str, Any]] = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What?"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    assert sent(ChatRequest(message=messages))["messages"] == messages


def test_any_mapping_and_sequence_will_do() -> None:
    """Read-only mappings and tuples are as good as dicts and lists, at any depth."""
    part = MappingProxyType({"type": "text", "text": "Hi"})
    request = ChatRequest(message=(MappingProxyType({"role": "user", "content": (part,)}),))
    assert sent(request)["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


def test_every_character_survives() -> None:
    """Text beyond ASCII arrives as it was written, as UTF-8."""
    text = 'ä€😀\u2028"\\\n\x00'
    assert sent(ChatRequest(message=text))["messages"] == [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    "argument, fields",
    [
        ("extra_body", {"extra_body": {"x": object()}}),
        ("extra_body", {"extra_body": {"x": "\ud800"}}),
        ("extra_body", {"extra_body": {"x": {(1, 2): 3}}}),
        ("tools", {"tools": [{"type": "function", "function": {"name": "f", "parameters": object()}}]}),
        ("response_format", {"response_format": {"type": object()}}),
        ("message", {"message": [{"role": "user", "content": [{"type": "input_audio", "input_audio": object()}]}]}),
    ],
)
def test_what_json_cannot_say_is_refused_by_its_argument(argument: str, fields: dict[str, Any]) -> None:
    """A value without a form in JSON is a configuration error that names the argument, before anything is sent."""
    with pytest.raises(ConfigurationError, match=f"^`{argument}` cannot be sent as JSON"):
        sent(ChatRequest(**{"message": "Hi", **fields}))


def test_a_value_that_holds_itself_is_refused() -> None:
    """Endless nesting is found out, not followed."""
    loop: dict[str, Any] = {}
    loop["again"] = loop
    with pytest.raises(ConfigurationError, match=r"^`extra_body` cannot be sent as JSON"):
        sent(ChatRequest(message="Hi", extra_body={"loop": loop}))
