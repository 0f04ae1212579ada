"""What is the same call and what is another: every field of a request, and everything about where it goes."""

import unicodedata
from typing import Any

import msgspec
import pytest
from cache_parts import CacheRig, counting
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._rules.cache_keys import (
    CONTENT,
    KEY_STRATEGIES,
    ROUTING,
    TENANT,
    WITHOUT_EFFECT,
    KeyStrategy,
    Place,
    call_key,
    normalised,
)
from genops_helicone_async.chat_request import ChatRequest, make_request

pytestmark = pytest.mark.anyio

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
OTHER_TOOL = {"type": "function", "function": {"name": "see", "parameters": {"type": "object", "properties": {}}}}
ONE = {"provider": "openai"}
SEVERAL = {"providers": ["openai", "groq"]}


class Legs(msgspec.Struct):
    """An answer in a shape."""

    legs: int = 0


class Arms(msgspec.Struct):
    """Another with the same schema but for its name."""

    legs: int = 0


# A call, and the same with one field changed (or two, where one alone makes no sense).
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "message": (ONE, {"message": "Hi!"}),
    "system_prompt": (ONE, {"system_prompt": "Be brief"}),
    "temperature": (ONE, {"temperature": 0.5}),
    "max_tokens": (ONE, {"max_tokens": 7}),
    "top_p": (ONE, {"top_p": 0.5}),
    "stop": (ONE, {"stop": ["."]}),
    "seed": (ONE, {"seed": 7}),
    "tools": ({**ONE, "tools": [TOOL]}, {"tools": [OTHER_TOOL]}),
    "tool_choice": ({**ONE, "tools": [TOOL]}, {"tool_choice": "required"}),
    "response_format": (ONE, {"response_format": {"type": "json_object"}}),
    "response_model": ({**ONE, "response_model": Legs}, {"response_model": Arms}),
    "reasoning_effort": (ONE, {"reasoning_effort": "low"}),
    "extra_body": (ONE, {"extra_body": {"n": 2}}),
    "provider": (ONE, {"provider": "groq"}),
    "model": (ONE, {"model": "gpt-4o"}),
    "providers": (SEVERAL, {"providers": ["groq", "openai"]}),
    "model_preferences": (SEVERAL, {"model_preferences": {"openai": "gpt-4o"}}),
    "routing_strategy": (SEVERAL, {"routing_strategy": "cost_optimized"}),
    "provider_preferences": (
        {"provider_preferences": {"openai": 0.5, "groq": 0.5}}, {"provider_preferences": {"openai": 0.4, "groq": 0.6}},
    ),
    "fallback_strategy": (SEVERAL, {"fallback_strategy": "cost_optimized"}),
    "max_cost": (SEVERAL, {"max_cost": 5.0}),
    "prices": (SEVERAL, {"prices": {("openai", "gpt-4o-mini"): {"input": 3.0, "output": 4.0}}}),
    "team": (ONE, {"team": "b"}),
    "project": (ONE, {"project": "b"}),
    "customer_id": (ONE, {"customer_id": "b"}),
    "environment": (ONE, {"environment": "b"}),
    "cost_center": (ONE, {"cost_center": "b"}),
    "feature": (ONE, {"feature": "b"}),
    "user_id": (ONE, {"user_id": "b"}),
    "attributes": (ONE, {"attributes": {"tenant": "b"}}),
}  # fmt: skip
WITHOUT: dict[str, Any] = {
    "cache": True,
    "custom_metrics": {},
    "enforce_budget": False,
    "priority": 9,
    "session_id": "another",
    "session_name": "another",
    "session_path": "/another",
    "sla_latency_ms": 5.0,
    "sla_tier": "gold",
    "timeout_seconds": 5.0,
}


def test_every_field_of_a_request_has_its_place() -> None:
    """A field that is added belongs to one of four kinds, and then to these tests."""
    kinds = [*CONTENT, *ROUTING, *TENANT, *WITHOUT_EFFECT]
    assert sorted(kinds) == sorted(ChatRequest.__struct_fields__)
    assert sorted(CHANGES) == sorted([*CONTENT, *ROUTING, *TENANT])
    assert sorted(WITHOUT) == sorted(WITHOUT_EFFECT)


@pytest.mark.parametrize("strategy", KEY_STRATEGIES)
@pytest.mark.parametrize("field", CHANGES)
async def test_a_changed_field_is_a_miss(field: str, strategy: KeyStrategy) -> None:
    """The call is answered from the cache the second time, and asks anew with the one change."""
    base, change = CHANGES[field]
    transport = counting()
    rig = CacheRig(transport, strategy=strategy)
    if field == "response_model":
        transport = counting()
        rig = CacheRig(_json_answers(), strategy=strategy)
    first = await rig.chat(**base)
    again = await rig.chat(**base)
    message = change.get("message", "Hi")
    other = await rig.chat(message, **{**base, **{name: value for name, value in change.items() if name != "message"}})
    assert (first.cached, again.cached, other.cached) == (False, True, False)
    assert rig.counts == (1, 0, 2)


def _json_answers() -> Any:
    from genops_helicone_async.testing import ScriptedTransport
    from genops_helicone_async.testing.scripted import chat_answer

    return ScriptedTransport(lambda _request: chat_answer('{"legs": 4}'))


@pytest.mark.parametrize("field", WITHOUT)
async def test_a_field_without_effect_is_a_hit(field: str) -> None:
    """What cannot change an answer does not keep it from being given again."""
    rig = CacheRig(counting())
    first = await rig.chat(**ONE)
    again = await rig.chat(**ONE, **{field: WITHOUT[field]})
    assert (first.cached, again.cached, again.content) == (False, True, first.content)


async def test_a_stream_is_another_call() -> None:
    """What is asked for at once is not given in pieces, nor the other way round."""
    rig = CacheRig(counting())
    whole = await rig.chat(**ONE)
    async with rig.stream(**ONE) as stream:
        text = "".join([chunk.content async for chunk in stream])
    assert (whole.content, text, stream.response.cached) == ("1", "answer 2", False)


async def test_one_provider_and_a_list_of_it_are_two_calls() -> None:
    """Who may answer is a part of the call, also where only the first ever does."""
    rig = CacheRig(counting())
    await rig.chat(provider="openai")
    several = await rig.chat(providers=["openai", "groq"])
    again = await rig.chat(providers=["openai", "groq"])
    assert (several.cached, several.provider, again.cached, again.provider) == (False, "openai", True, "openai")


async def test_default_attributes_separate_tenants() -> None:
    """Two adapters on one store, each for a team: neither gets the other's answers."""
    from genops_helicone_async._edges.answers_memory import MemoryAnswers

    store = MemoryAnswers(2**20, lambda: 0.0)
    one = CacheRig(counting(), store, default_attributes={"team": "one"})
    two = CacheRig(counting(), store, default_attributes={"team": "two"})
    await one.chat(**ONE)
    assert [(await rig.chat(**ONE)).cached for rig in (one, two, two)] == [True, False, True]


PLACE = Place(
    provider="openai", model="m", dialect="proxy", shape="openai", url="https://a.example/v1/chat/completions",
    wire_model="m", headers={"Authorization": "Bearer one"}, body=b"{}",
)  # fmt: skip


def key(*places: Place, request: ChatRequest | None = None, streamed: bool = False) -> bytes:
    """The key of a call to these places."""
    asked = request or make_request("Hi", {})
    return call_key("exact_match", asked, {"team": "a"}, places, streamed=streamed)


@pytest.mark.parametrize("field", Place.__struct_fields__)
def test_another_place_is_another_key(field: str) -> None:
    """Provider, model, dialect, shape, URL, name on the wire, headers and body, each of them alone."""
    other: Any = {"headers": {"Authorization": "Bearer two"}, "body": b"{ }"}.get(field, "other")
    assert key(msgspec.structs.replace(PLACE, **{field: other})) != key(PLACE)


def test_order_and_number_of_places_count() -> None:
    """Who is asked first decides who answers."""
    other = msgspec.structs.replace(PLACE, provider="groq")
    assert len({key(PLACE), key(PLACE, other), key(other, PLACE), key(PLACE, PLACE), key()}) == 5


def test_a_short_lived_token_is_no_part_of_the_key() -> None:
    """Google's access tokens change every hour, and the account does not."""
    tokens = [
        msgspec.structs.replace(PLACE, headers={"Authorization": f"Bearer {token}", "X": "y"})
        for token in ("ya29.one", "ya29.two", "one", "two")
    ]
    assert [key(place) == key(tokens[0]) for place in tokens] == [True, True, False, False]


def test_what_a_body_may_leave_out_is_in_the_key_itself() -> None:
    """Fields that a provider's shape drops, the class of an answer, whether it streams: with one body."""
    options: list[dict[str, Any]] = [{}, {"seed": 7}, {"reasoning_effort": "low"}, {"response_model": Legs}]
    options.append({"response_model": Arms})
    keys = {key(PLACE, request=make_request("Hi", each)) for each in options} | {key(PLACE, streamed=True)}
    assert len(keys) == len(options) + 1


def test_parts_do_not_run_into_each_other() -> None:
    """What ends one value cannot begin the next."""
    one = msgspec.structs.replace(PLACE, provider="ab", model="c")
    two = msgspec.structs.replace(PLACE, provider="a", model="bc")
    assert key(one) != key(two)


def test_strategies_do_not_share_answers() -> None:
    """An answer kept by content is none for who wants it byte by byte."""
    request = make_request("Hi", {})
    keys = {call_key(strategy, request, {}, [PLACE], streamed=False) for strategy in ("content_hash", "exact_match")}
    assert len(keys) == 2


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


def seen(text: str) -> tuple[Any, Any]:
    """A text as `content_hash` sees it, as the message and as a part of one."""
    whole = normalised(make_request(text, {"system_prompt": text}))
    parts = normalised(make_request([{"role": "user", "content": [{"type": "text", "text": text}]}], {}))
    assert whole.system_prompt == whole.message
    return whole.message, parts.message


@given(TEXTS)
def test_content_hash_sees_normal_form_without_white_space_around(text: str) -> None:
    """NFC, stripped, in strings and in parts; a second look changes nothing."""
    expected = unicodedata.normalize("NFC", text).strip()
    assert seen(text) == (expected, [{"role": "user", "content": [{"type": "text", "text": expected}]}])
    assert seen(f" \n{unicodedata.normalize('NFD', text)}\t") == seen(text)


@given(TEXTS, TEXTS)
def test_content_hash_tells_other_texts_apart(one: str, two: str) -> None:
    """Two texts look the same only if their normal forms are."""
    same = unicodedata.normalize("NFC", one).strip() == unicodedata.normalize("NFC", two).strip()
    assert (seen(one) == seen(two)) is same


async def test_only_content_hash_forgives_spelling() -> None:
    """A composed accent and white space around are one text to it; inner white space is not."""
    for strategy, expected in (("content_hash", [True, True, False]), ("exact_match", [False, False, False])):
        rig = CacheRig(counting(), strategy=strategy)  # type: ignore[arg-type]
        await rig.chat("caf\u00e9 au lait", **ONE)
        others = ("cafe\u0301 au lait", "  caf\u00e9 au lait\n", "caf\u00e9  au lait")
        assert [(await rig.chat(other, **ONE)).cached for other in others] == expected


def test_what_is_sent_keeps_its_spelling() -> None:
    """Normalising is for keys: the request itself stays as it was."""
    request = make_request([{"role": "user", "content": " Hi "}], {"system_prompt": " Be brief "})
    normalised(request)
    assert (request.messages()[0]["content"], request.messages()[1]["content"]) == (" Be brief ", " Hi ")
