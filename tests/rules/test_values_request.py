"""A chat request is checked when it is made: every bad argument is named, before anything is sent."""

from collections import UserDict, deque
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._arguments import MAX_MESSAGE_CHARS, REASONING_EFFORTS, ROLES
from genops_helicone_async._wire.anthropic_shape import encode_messages
from genops_helicone_async._wire.openai_shape import encode_chat
from genops_helicone_async.chat_request import ChatOptions, ChatRequest, EmbedRequest, make_request
from genops_helicone_async.errors import ConfigurationError

NAN, INFINITE = float("nan"), float("inf")


def refused(kind: type[Exception], problem: str, **fields: Any) -> None:
    """Expects a request with these fields to be refused with this problem at the start of the message."""
    with pytest.raises(kind, match=f"^{problem}"):
        ChatRequest(**{"message": "Hi", **fields})


@pytest.mark.parametrize("message", ["", " ", "\n\t", "\u2003"])
def test_an_empty_message_is_refused(message: str) -> None:
    """White space is no question."""
    refused(ConfigurationError, "`message` is empty: give the text to send", message=message)


@pytest.mark.parametrize("kind", [b"Hi", bytearray(b"Hi"), memoryview(b"Hi")])
def test_bytes_are_refused_with_the_remedy(kind: object) -> None:
    """Which encoding they are in is the caller's to know."""
    refused(TypeError, r"`message` is bytes: decode it first, for example message.decode\('utf-8'\)", message=kind)


@pytest.mark.parametrize("message", [None, 5, True, 1.5, {"role": "user", "content": "Hi"}, object(), iter([]), {"Hi"}])
def test_a_message_of_the_wrong_kind_is_a_type_error(message: object) -> None:
    """One message alone must stand in a list; None and numbers are no messages."""
    refused(
        TypeError, f"`message` must be a string or a list of messages, not {type(message).__name__}", message=message
    )


def test_an_oversized_message_is_refused() -> None:
    """Above what any model takes nothing is sent; the limit and the length are told."""
    text = "x" * (MAX_MESSAGE_CHARS + 1)
    refused(ConfigurationError, r"`message` has 33,554,433 characters, .* split it", message=text)
    part = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    refused(ConfigurationError, r"`message\[0\].content\[0\].text` has 33,554,433 characters", message=part)


@pytest.mark.parametrize(
    "message, problem",
    [
        ("a\ud800b", "`message` holds an unpaired surrogate at character 1"),
        ([{"role": "user", "content": "\udfff"}], r"`message\[0\].content` holds an unpaired surrogate at character 0"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "ab\ud800"}]}],
            r"`message\[0\].content\[0\].text` holds an unpaired surrogate at character 2",
        ),
    ],
)
def test_half_a_character_is_refused(message: Any, problem: str) -> None:
    """It has no bytes to send; the place is told."""
    refused(ConfigurationError, problem, message=message)


USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    "messages, kind, problem",
    [
        ([], ConfigurationError, "`message` is an empty list"),
        ((), ConfigurationError, "`message` is an empty list"),
        (["Hi"], TypeError, r"`message\[0\]` must be a mapping with `role` and `content`, not str"),
        ([USER, None], TypeError, r"`message\[1\]` must be a mapping"),
        ([{"content": "Hi"}], ConfigurationError, r"`message\[0\]` has role None: use one of assistant, developer"),
        ([{"role": "User", "content": "Hi"}], ConfigurationError, r"`message\[0\]` has role 'User'"),
        ([{"role": ["user"], "content": "Hi"}], ConfigurationError, r"`message\[0\]` has role \['user'\]"),
        ([{"role": "user"}], ConfigurationError, r"`message\[0\]` has no `content`"),
        ([{"role": "tool", "content": None}], ConfigurationError, r"`message\[0\]` has no `content`"),
        ([{"role": "assistant", "content": None}], ConfigurationError, r"`message\[0\]` has no `content`"),
        ([{"role": "assistant", "tool_calls": []}], ConfigurationError, r"`message\[0\]` has no `content`"),
        ([{"role": "assistant", "tool_calls": "f()"}], TypeError, r"`message\[0\]`: `tool_calls` must be a list"),
        ([{"role": "assistant", "tool_calls": [5]}], TypeError, r"`message\[0\]`: `tool_calls\[0\]` must be a mapping"),
        ([{"role": "assistant", "tool_calls": [{"function": "f"}]}], TypeError, r"`message\[0\]`: `tool_calls\[0\]`"),
        ([{"role": "user", "content": 5}], TypeError, r"`message\[0\]`: `content` must be a string or a list of parts"),
        ([{"role": "user", "content": b"Hi"}], TypeError, r"`message\[0\]`: `content` must be .*, not bytes"),
        ([{"role": "user", "content": {"type": "text"}}], TypeError, r"`message\[0\]`: `content` must be .*, not dict"),
        ([{"role": "user", "content": []}], ConfigurationError, r"`message\[0\]`: `content` is an empty list"),
        ([{"role": "user", "content": ["Hi"]}], TypeError, r"`message\[0\]`: `content\[0\]` must be a mapping with a"),
        (
            [{"role": "user", "content": [{"text": "Hi"}]}],
            TypeError,
            r"`message\[0\]`: `content\[0\]` must be a mapping",
        ),
        ([{"role": "user", "content": [{"type": 5}]}], TypeError, r"`message\[0\]`: `content\[0\]` must be a mapping"),
        ([{**USER, "name": b"Ann"}], TypeError, r"`message\[0\]`: `name` must be a string, not bytes"),
        ([{**USER, "tool_call_id": 5}], TypeError, r"`message\[0\]`: `tool_call_id` must be a string, not int"),
        (
            [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": b"{}"}}]}],
            TypeError,
            r"`message\[0\]`: the arguments of `tool_calls\[0\]` must be JSON as text, not bytes",
        ),
    ],
)
def test_a_malformed_list_of_messages_is_refused(messages: Any, kind: type[Exception], problem: str) -> None:
    """The message and the part of it that are wrong are named by their place."""
    refused(kind, problem, message=messages)


@pytest.mark.parametrize(
    "part, problem",
    [
        ({"type": "text"}, r"`message\[0\].content\[0\].text` must be a string, not NoneType"),
        ({"type": "text", "text": b"Hi"}, r"`message\[0\].content\[0\].text` must be a string, not bytes"),
        *(
            ({"type": "image_url", **image}, r"`message\[0\].content\[0\].image_url` has no url: give it as text")
            for image in ({}, {"image_url": {}}, {"image_url": {"url": 5}}, {"image_url": {"url": ""}})
        ),
    ],
)
def test_a_part_without_its_text_or_image_is_refused(part: dict[str, Any], problem: str) -> None:
    """Bytes above all, which JSON would take as base64."""
    refused(TypeError, problem, message=[{"role": "user", "content": [part]}])


@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE])
def test_a_number_that_json_cannot_say_is_refused_in_the_extra_body(value: float) -> None:
    """It would arrive as null."""
    refused(ConfigurationError, r"`extra_body\['min_p'\]` is .*, which JSON cannot say", extra_body={"min_p": value})


@pytest.mark.parametrize(
    "messages",
    [
        [USER],
        (USER,),
        deque([USER]),
        [MappingProxyType(USER)],
        [UserDict(USER)],
        [{"role": role, "content": "x"} for role in sorted(ROLES)],
        [{"role": "user", "content": ""}],
        [{"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]}, USER],
        [{"role": "assistant", "function_call": {"name": "f"}}, USER],
        [
            {
                "role": "user",
                "content": ({"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "u"}}),
            }
        ],
    ],
)
def test_a_sound_conversation_is_taken(messages: Any) -> None:
    """Any sequence of any mappings, with texts, images, calls and results."""
    assert len(ChatRequest(message=messages).messages()) == len(messages)


@pytest.mark.parametrize(
    "name, value",
    [
        *(("temperature", value) for value in (NAN, INFINITE, -0.1, 2.1, 10**400, -(10**400))),
        *(("top_p", value) for value in (NAN, -0.1, 1.1)),
        *(("max_tokens", value) for value in (0, -1, 2**63)),
        *(("seed", value) for value in (2**63, -(2**63) - 1)),
        *(("max_cost", value) for value in (0, -1, NAN, INFINITE, 10**400)),
        *(("timeout_seconds", value) for value in (0, -1, NAN, INFINITE, 10**400)),
        *(("sla_latency_ms", value) for value in (0, -1, NAN, INFINITE, 10**400)),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_refused(name: str, value: float) -> None:
    """The message names the argument, the value and what it must be."""
    refused(ConfigurationError, rf"`{name}` is .*: it must be ", **{name: value})


@pytest.mark.parametrize("value", [True, False, "1", [1], {"a": 1}, b"1", object()])
@pytest.mark.parametrize(
    "name", ["temperature", "top_p", "max_tokens", "seed", "max_cost", "timeout_seconds", "sla_latency_ms", "priority"]
)
def test_what_is_no_number_is_a_type_error(name: str, value: object) -> None:
    """A bool is no number, nor is a text that spells one."""
    refused(TypeError, rf"`{name}` must be an? (number|integer), not {type(value).__name__}", **{name: value})


@pytest.mark.parametrize("name", ["max_tokens", "seed", "priority"])
def test_a_fraction_is_no_count(name: str) -> None:
    """Tokens, seeds and priorities are whole."""
    refused(TypeError, rf"`{name}` must be an integer, not float", **{name: 1.0})


@pytest.mark.parametrize(
    "name, value",
    [
        ("temperature", 0),
        ("temperature", 2.0),
        ("top_p", 1),
        ("max_tokens", 2**63 - 1),
        ("seed", -(2**63)),
        ("priority", -5),
        ("max_cost", 1e-12),
    ],
)
def test_the_ends_of_a_range_belong_to_it(name: str, value: Any) -> None:
    """Bounds are taken as they are."""
    assert getattr(ChatRequest(message="Hi", **{name: value}), name) == value


LABELS = (
    "provider", "model", "routing_strategy", "fallback_strategy", "session_id", "session_path", "session_name", "team",
    "project", "customer_id", "environment", "cost_center", "feature", "user_id", "sla_tier",
)  # fmt: skip


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize(
    "value, kind, problem",
    [
        ("", ConfigurationError, "is empty"),
        ("  ", ConfigurationError, "is empty"),
        ("a\nb", ConfigurationError, "holds a control character or a line break"),
        ("a\r\nX-Y: z", ConfigurationError, "holds a control character or a line break"),
        ("a\x00", ConfigurationError, "holds a control character"),
        ("ä\x85", ConfigurationError, "holds a control character"),
        ("a\ud800", ConfigurationError, "holds an unpaired surrogate"),
        (5, TypeError, "must be a string, not int"),
        (b"a", TypeError, "must be a string, not bytes"),
        (["a"], TypeError, "must be a string, not list"),
    ],
)
def test_a_label_is_printable_text(name: str, value: object, kind: type[Exception], problem: str) -> None:
    """Everything that travels in a header or names a thing is checked alike."""
    refused(kind, f"`{name}` {problem}", **{name: value})


@pytest.mark.parametrize(
    "name, value, kind, problem",
    [
        ("providers", "openai", TypeError, "`providers` must be a list of provider names, not str"),
        ("providers", {"openai"}, TypeError, "`providers` must be a list of provider names, not set"),
        ("providers", [], ConfigurationError, "`providers` is an empty list"),
        ("providers", ["openai", "openai"], ConfigurationError, "`providers` names a provider twice"),
        ("providers", [5], TypeError, "`providers` must be a string, not int"),
        ("providers", ["a\nb"], ConfigurationError, "`providers` holds a control"),
        ("model_preferences", ["gpt-4"], TypeError, "`model_preferences` must be a mapping, not list"),
        ("model_preferences", {"openai": 5}, TypeError, r"`model_preferences\['openai'\]` must be a string, not int"),
        ("model_preferences", {"openai": ""}, ConfigurationError, r"`model_preferences\['openai'\]` is empty"),
        ("model_preferences", {5: "gpt-4"}, TypeError, "`model_preferences` has the key 5"),
        ("provider_preferences", "openai", TypeError, "`provider_preferences` must be a mapping, not str"),
        (
            "custom_metrics",
            {"m": NAN},
            ConfigurationError,
            r"`custom_metrics\['m'\]` is nan: it must be a finite number",
        ),
        ("custom_metrics", {"m": -INFINITE}, ConfigurationError, r"`custom_metrics\['m'\]` is -inf"),
        ("custom_metrics", {"m": "1"}, TypeError, r"`custom_metrics\['m'\]` must be a number, not str"),
        ("attributes", {"a": 5}, TypeError, r"`attributes\['a'\]` must be a string, not int"),
        ("attributes", {"a": "b\nc"}, ConfigurationError, r"`attributes\['a'\]` holds a control character"),
        ("attributes", [("a", "b")], TypeError, "`attributes` must be a mapping, not list"),
        ("attributes", {"": "b"}, TypeError, "`attributes` has the key ''"),
        ("enforce_budget", 1, TypeError, "`enforce_budget` must be True or False, not int"),
        ("cache", "yes", TypeError, "`cache` must be True or False, not str"),
        ("system_prompt", 5, TypeError, "`system_prompt` must be a string, not int"),
        ("system_prompt", "\ud800", ConfigurationError, "`system_prompt` holds an unpaired surrogate"),
        ("stop", 5, TypeError, "`stop` must be a string, not NoneType"),
        ("stop", "", ConfigurationError, "`stop` holds an empty text"),
        ("stop", ["a", ""], ConfigurationError, "`stop` holds an empty text"),
        ("stop", [5], TypeError, "`stop` must be a string, not int"),
        ("stop", b"a", TypeError, "`stop` must be a string, not int"),
        ("tools", {"type": "function"}, TypeError, "`tools` must be a list of tool definitions, not dict"),
        ("tools", "f", TypeError, "`tools` must be a list of tool definitions, not str"),
        ("tools", ["f"], TypeError, r"`tools\[0\]` must be a mapping with a `type`"),
        ("tools", [{"function": {"name": "f"}}], TypeError, r"`tools\[0\]` must be a mapping with a `type`"),
        (
            "tools",
            [{"type": "function"}],
            ConfigurationError,
            r"`tools\[0\]` is a function tool without `function.name`",
        ),
        (
            "tools",
            [{"type": "function", "function": {"name": 5}}],
            ConfigurationError,
            r"`tools\[0\]` is a function tool",
        ),
        ("tool_choice", "any", ConfigurationError, "`tool_choice` is 'any': use 'auto', 'none', 'required'"),
        ("tool_choice", 5, TypeError, "`tool_choice` must be a string or a mapping, not int"),
        ("response_format", "json", TypeError, "`response_format` must be a mapping, not str"),
        ("response_model", "City", TypeError, r"`response_model` must be a class .*, not 'City'"),
        ("response_model", 5, TypeError, "`response_model` must be a class"),
        ("reasoning_effort", "huge", ConfigurationError, "`reasoning_effort` is 'huge': use one of high, low"),
        ("reasoning_effort", 5, TypeError, "`reasoning_effort` must be a string, not int"),
        ("reasoning_effort", ["low"], TypeError, "`reasoning_effort` must be a string, not list"),
        ("extra_body", [("a", 1)], TypeError, "`extra_body` must be a mapping, not list"),
        ("extra_body", {5: 1}, TypeError, "`extra_body` has the key 5"),
        ("extra_body", {"model": "gpt-4"}, ConfigurationError, "`extra_body` holds 'model', which routing, budget"),
        ("extra_body", {"messages": []}, ConfigurationError, "`extra_body` holds 'messages'"),
        ("extra_body", {"stream": True}, ConfigurationError, "`extra_body` holds 'stream'"),
    ],
)
def test_every_other_argument_is_checked_too(name: str, value: object, kind: type[Exception], problem: str) -> None:
    """The argument, the place in it and the remedy are in the message."""
    refused(kind, problem, **{name: value})


def test_one_provider_or_several_not_both() -> None:
    """Which one should win is not ours to guess."""
    refused(ConfigurationError, "give `provider` for one or `providers` for several", provider="a", providers=["b"])


def test_a_configuration_error_is_a_value_error() -> None:
    """Callers who do not know this library's errors catch it as well."""
    with pytest.raises(ValueError, match=r"^`temperature` is 3"):
        ChatRequest(message="Hi", temperature=3)


def test_a_request_cannot_be_changed() -> None:
    """It was checked once; a change is a new request."""
    with pytest.raises(AttributeError):
        ChatRequest(message="Hi").temperature = 5  # type: ignore[misc]


def test_a_changed_copy_is_checked_again() -> None:
    """No way round the checks."""
    with pytest.raises(ConfigurationError, match=r"^`temperature` is 5"):
        msgspec.structs.replace(ChatRequest(message="Hi"), temperature=5)


def test_the_text_of_a_conversation() -> None:
    """All texts in order, the system's first; images and calls have none."""
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "b"},
    ]
    assert ChatRequest(message=messages, system_prompt="s").text() == "s\na\nb"
    assert (ChatRequest(message="x").text(), ChatRequest(message="x", system_prompt="s").text()) == ("x", "s\nx")


def test_messages_leave_the_callers_list_alone() -> None:
    """The system prompt is put before a copy."""
    given: list[Any] = [USER]
    request = ChatRequest(message=given, system_prompt="s")
    assert (request.messages(), given) == ([{"role": "system", "content": "s"}, USER], [USER])


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"temprature": 1}, "unexpected keyword argument 'temprature'; did you mean 'temperature'?"),
        ({"zzz": 1}, "unexpected keyword argument 'zzz'"),
        ({"temperature": "hot"}, "`temperature` must be a number, not str"),
    ],
)
def test_an_unknown_keyword_is_a_type_error_with_a_hint(options: dict[str, Any], problem: str) -> None:
    """Nothing is swallowed; a misspelling is recognised."""
    with pytest.raises(TypeError) as caught:
        make_request("Hi", options)
    assert str(caught.value) == problem


def test_the_verbs_keywords_are_the_requests_fields() -> None:
    """What type checkers are told is what is taken."""
    assert set(ChatOptions.__annotations__) | {"message"} == set(ChatRequest.__struct_fields__)


@pytest.mark.parametrize(
    "texts, model, kind, problem",
    [
        (None, None, TypeError, "`texts` must be a string or a list of strings, not NoneType"),
        (b"Hi", None, TypeError, "`texts` must be a string or a list of strings, not bytes"),
        ([], None, ConfigurationError, "`texts` is empty"),
        (["a", ""], None, ConfigurationError, r"`texts\[1\]` is empty"),
        ([5], None, TypeError, r"`texts\[0\]` must be a string, not int"),
        (["\ud800"], None, ConfigurationError, r"`texts\[0\]` holds an unpaired surrogate"),
        ("Hi", 5, TypeError, "`model` must be a string, not int"),
    ],
)
def test_texts_to_embed_are_checked(texts: Any, model: Any, kind: type[Exception], problem: str) -> None:
    """Each text is named by its place."""
    with pytest.raises(kind, match=f"^{problem}"):
        EmbedRequest.of(texts, "openai", model, {})


def test_one_text_is_a_list_of_one() -> None:
    """With the provider's own embedding model unless another is named; without either there is none."""
    request = EmbedRequest.of("Hi", "openai", None, {"team": "t"})
    assert (request.texts, request.message, request.model, request.team) == (
        ("Hi",),
        "Hi",
        "text-embedding-3-small",
        "t",
    )
    with pytest.raises(ConfigurationError, match=r"^`model` is missing: 'groq' has no default embedding model"):
        EmbedRequest.of("Hi", "groq", None, {})


_TEXT = st.text(max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | _TEXT | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "odd"])}, optional={"text": _TEXT, "image_url": _VALUES}
)
_MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from([*sorted(ROLES), "odd"])},
    optional={
        "content": _TEXT | st.lists(_PARTS, max_size=2) | _VALUES,
        "tool_calls": _VALUES | st.just([{"id": "c", "function": {"name": "f", "arguments": "{}"}}]),
        "tool_call_id": _TEXT,
    },
)


@given(
    message=_TEXT | st.lists(_MESSAGES, max_size=3) | _VALUES,
    fields=st.dictionaries(
        st.sampled_from([name for name in ChatRequest.__struct_fields__ if name != "message"]), _VALUES, max_size=3
    ),
    effort=st.sampled_from([None, *sorted(REASONING_EFFORTS)]),
)
def test_whatever_is_asked_is_refused_by_name_or_can_be_sent(
    message: Any, fields: dict[str, Any], effort: str | None
) -> None:
    """No argument gets past the checks only to break the encoding: a named refusal, or a body that is JSON."""
    refusals: list[Exception] = []
    try:
        request = ChatRequest(**{"message": message, "reasoning_effort": effort, **fields})
        bodies = [
            encode_chat(request, "m", "openai", stream=False, stream_usage=True),
            encode_chat(request, "m", "anthropic", stream=True, stream_usage=False, answer_by_tool=True),
            encode_messages(request, "m", stream=True),
        ]
    except (TypeError, ConfigurationError) as refusal:
        refusals, bodies = [refusal], []
    assert [refusal for refusal in refusals if "`" not in str(refusal)] == []
    assert [type(msgspec.json.decode(body)) for body in bodies] == [dict] * len(bodies)
