"""What a call gets that the cache answers: the whole answer, for nothing, with nobody asked."""

import asyncio
from typing import Any

import msgspec
import pytest
from cache_parts import CacheRig, SlowStore, counting
from virtual_time import in_virtual_time

from genops_helicone_async import (
    BudgetExceededError,
    ConfigurationError,
    DecodeError,
    StreamInterruptedError,
    multi_provider_cost_tracking,
)
from genops_helicone_async._edges.answers_memory import MemoryAnswers
from genops_helicone_async._flow.call_spans import CallTelemetry
from genops_helicone_async._rules.cached_answers import LATER, decode_answer, encode_answer
from genops_helicone_async._values import Currency
from genops_helicone_async.models import PUSD_PER_USD, ToolCall
from genops_helicone_async.testing import ScriptedTransport
from genops_helicone_async.testing.scripted import Answer, Hang, chat_answer, stream_answer

pytestmark = pytest.mark.anyio


class Legs(msgspec.Struct):
    """An answer in a shape."""

    legs: int


async def test_a_hit_is_a_receipt_of_nothing() -> None:
    """The same answer and tokens, no cost, no attempt, no budget held, and what it had cost before."""
    rig = CacheRig(counting())
    first = await rig.chat(provider="openai", session_id="one")
    hit = await rig.chat(provider="openai", session_id="two")
    assert (hit.content, hit.finish_reason, hit.raw) == (first.content, first.finish_reason, first.raw)
    assert (hit.provider, hit.model, hit.session_id) == (first.provider, first.model, "two")
    assert (hit.cached, hit.cost, hit.attempts) == (True, 0.0, ())
    assert (hit.usage.input_tokens, hit.usage.output_tokens, hit.usage.saved_cost) == (10, 5, first.cost)
    assert (hit.usage.provider_cost, hit.usage.helicone_cost) == (0.0, 0.0)
    assert first.usage.saved_cost == 0.0
    assert (hit.routing.strategy, hit.routing.selected) == ("cache", "openai")
    assert hit.routing.reason == "answered from the cache: nobody was asked"
    assert hit.metadata["original_request_id"] == first.request_id != hit.request_id
    assert (hit.metadata["cache"], hit.metadata["cache_store"]) == ("hit", "memory")
    assert [(hold.held_pusd > 0, hold.settled) for hold in rig.budget.holds] == [
        (True, [round(first.cost * PUSD_PER_USD)]),
        (False, [0]),
    ]
    record = rig.records[1]
    assert (record.attempts, record.rows, record.cost_pusd, record.failed_pusd) == ([], [], 0, 0)
    assert record.saved_pusd == round(first.cost * PUSD_PER_USD)
    assert (record.response, record.routing) == (hit, hit.routing)
    rig.assert_settled(calls=2)


@in_virtual_time
async def test_an_answer_lives_exactly_as_long_as_it_was_said() -> None:
    """Up to the last moment of its time it is given again, and at its end not any more."""
    rig = CacheRig(counting(), ttl_s=60)
    loop = asyncio.get_running_loop()
    await rig.chat(provider="openai")
    kept_at = loop.time()
    await asyncio.sleep(59.999)
    hit = await rig.chat(provider="openai")
    assert (hit.cached, hit.metadata["cache_age_s"]) == (True, "59.999")
    await asyncio.sleep(kept_at + 60 - loop.time())
    assert (await rig.chat(provider="openai")).cached is False


@in_virtual_time
async def test_a_shorter_time_holds_for_what_was_kept_before() -> None:
    """Whoever wants nothing older than ten seconds gets nothing older, where others keep it for a minute."""
    loop = asyncio.get_running_loop()
    store = SlowStore()
    long, short = CacheRig(counting(), store, ttl_s=60), CacheRig(counting(), store, ttl_s=10)
    await long.chat(provider="openai")
    await long.kept()
    await asyncio.sleep(9)
    assert (await short.chat(provider="openai")).cached is True
    await asyncio.sleep(1)
    assert (await short.chat(provider="openai")).cached is False
    assert loop.time() > 0


async def test_a_call_may_stay_out() -> None:
    """`cache=False` neither looks nor keeps; `cache=True` is what a cache does anyway."""
    rig = CacheRig(counting())
    await rig.chat(provider="openai", cache=False)
    first = await rig.chat(provider="openai", cache=True)
    out = await rig.chat(provider="openai", cache=False)
    again = await rig.chat(provider="openai")
    assert [first.content, out.content, again.content] == ["2", "3", "2"]
    assert rig.counts == (1, 0, 1)


async def test_an_adapter_without_a_cache_says_so() -> None:
    """`cache=True` is refused, with the remedy; nothing is sent."""
    transport = counting()
    rig = CacheRig(transport)
    rig.pipeline.caching.replace(None)
    with pytest.raises(ConfigurationError, match="call enable_caching, or leave it out"):
        await rig.chat(provider="openai", cache=True)
    assert (await rig.chat(provider="openai", cache=False)).cached is False
    assert len(transport.requests) == 1


TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]


def full_answer() -> Answer:
    """Reasoning, text and a tool call."""
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"moon"}'}}
    message = {"role": "assistant", "content": "Let me see", "reasoning_content": "Hm", "tool_calls": [call]}
    body = {
        "model": "gpt-4o-mini-2024",
        "id": "chatcmpl-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 3}},
    }
    return Answer(headers={"content-type": "application/json"}, parts=(msgspec.json.encode(body),))


async def test_tools_and_reasoning_come_back() -> None:
    """Every part of an answer is kept: text, reasoning, tool calls, tokens of each kind, the model that served it."""
    rig = CacheRig(ScriptedTransport([full_answer()]))
    first = await rig.chat(provider="openai", tools=TOOLS)
    hit = await rig.chat(provider="openai", tools=TOOLS)
    assert hit.tool_calls == (ToolCall(id="call_1", name="look", arguments='{"at":"moon"}'),)
    assert (hit.content, hit.reasoning, hit.finish_reason) == ("Let me see", "Hm", "tool_calls")
    assert (hit.usage.reasoning_tokens, hit.metadata["served_model"]) == (3, "gpt-4o-mini-2024")
    same = ("content", "reasoning", "tool_calls", "finish_reason", "raw_body", "provider", "model")
    assert [getattr(hit, name) for name in same] == [getattr(first, name) for name in same]


async def test_a_parsed_answer_is_parsed_again() -> None:
    """`parsed` is a value of the call's own class."""
    rig = CacheRig(ScriptedTransport([chat_answer('{"legs": 4}')]))
    await rig.chat(provider="openai", response_model=Legs)
    hit = await rig.chat(provider="openai", response_model=Legs)
    assert (hit.cached, hit.parsed) == (True, Legs(legs=4))


async def test_an_answer_that_did_not_fit_is_not_kept() -> None:
    """It was paid for and raised; the next call asks anew."""
    rig = CacheRig(ScriptedTransport([chat_answer("four"), chat_answer('{"legs": 4}')]))
    with pytest.raises(DecodeError):
        await rig.chat(provider="openai", response_model=Legs)
    second = await rig.chat(provider="openai", response_model=Legs)
    assert (second.cached, second.parsed) == (False, Legs(legs=4))
    rig.assert_settled(calls=2)


async def test_an_answer_that_fits_this_class_no_more_is_asked_for_anew() -> None:
    """A class with rules of its own refuses what another call was content with: that is a miss, never an error."""
    strict = [False]

    class Moody(msgspec.Struct):
        """Takes what it likes."""

        legs: int

        def __post_init__(self) -> None:
            if strict[0] and self.legs != 2:
                raise ValueError("two legs, please")

    rig = CacheRig(ScriptedTransport([chat_answer('{"legs": 4}'), chat_answer('{"legs": 2}')]))
    await rig.chat(provider="openai", response_model=Moody)
    strict[0] = True
    second = await rig.chat(provider="openai", response_model=Moody)
    assert (second.cached, second.parsed.legs) == (False, 2)
    assert (await rig.chat(provider="openai", response_model=Moody)).cached is True


@pytest.mark.parametrize(
    ("finish_reason", "is_kept"),
    [("stop", True), ("length", True), ("tool_calls", True), ("content_filter", False), ("who_knows", False)],
)
async def test_only_whole_answers_are_kept(finish_reason: str, is_kept: bool) -> None:
    """One cut by the call's own `max_tokens` is whole; one that a filter stopped is not."""
    rig = CacheRig(ScriptedTransport(lambda _request: chat_answer("x", finish_reason=finish_reason)))
    await rig.chat(provider="openai")
    assert (await rig.chat(provider="openai")).cached is is_kept


async def test_a_stream_comes_back_as_a_stream() -> None:
    """The same pieces in the same order, then `response` with the whole answer, for nothing."""
    transport = counting()
    rig = CacheRig(transport)
    async with rig.stream(provider="openai") as stream:
        first = [chunk async for chunk in stream]
    async with rig.stream(provider="openai") as again:
        with pytest.raises(ConfigurationError, match="read to its end"):
            _ = again.response
        second = [chunk async for chunk in again]
    assert (second, len(transport.requests)) == (first, 1)
    assert (again.response.content, again.response.cached, again.response.cost) == ("answer 1", True, 0.0)
    assert (again.text, again.response.usage.saved_cost) == ("answer 1", stream.response.cost)
    assert (rig.records[1].streamed, rig.records[1].attempts) == (True, [])
    rig.assert_settled(calls=2)


async def test_a_stream_from_the_cache_may_be_left_early() -> None:
    """It is over when it begins: leaving books nothing more."""
    rig = CacheRig(counting())
    async with rig.stream(provider="openai") as stream:
        _ = [chunk async for chunk in stream]
    async with rig.stream(provider="openai") as again:
        assert (await anext(again)).content == "answer "
    rig.assert_settled(calls=2)
    assert rig.counts == (1, 0, 1)


async def test_a_stream_that_broke_or_was_left_is_not_kept() -> None:
    """Only a stream that was read to its end is an answer."""
    rig = CacheRig(
        ScriptedTransport([stream_answer("half", finish_reason=None), stream_answer("a", "b"), stream_answer("c")])
    )
    with pytest.raises(StreamInterruptedError):
        async with rig.stream(provider="openai") as stream:
            _ = [chunk async for chunk in stream]
    async with rig.stream(provider="openai") as stream:
        await anext(stream)
    async with rig.stream(provider="openai") as stream:
        text = "".join([chunk.content async for chunk in stream])
    assert (text, stream.response.cached) == ("c", False)
    assert rig.counts == (0, 0, 3)


async def test_a_hit_asks_no_budget() -> None:
    """A budget that is spent refuses what costs something, and nothing else."""
    from genops_helicone_async import GenOpsHeliconeAsyncAdapter
    from genops_helicone_async.testing import SandboxGateway

    async with (
        SandboxGateway(latency_scale=0) as sandbox,
        GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter,
    ):
        adapter.enable_caching()
        first = await adapter.chat_async("Hi", provider="openai")
        adapter.set_budget_limits(daily_limit=1e-9)
        with pytest.raises(BudgetExceededError):
            await adapter.chat_async("Something else", provider="openai")
        with multi_provider_cost_tracking("session", budget=0.0) as tracker:
            hit = await adapter.chat_async("Hi", provider="openai", max_cost=None)
        assert (hit.cached, hit.cost) == (True, 0.0)
        assert adapter.get_budget_status()[0].held == 0
        summary, all_of_them = tracker.get_session_summary(), adapter.get_usage_summary()
        assert (summary.cache_hits, summary.request_count, summary.total_cost) == (1, 1, 0.0)
        assert (summary.saved_cost, all_of_them.saved_cost) == (first.cost, first.cost)
        assert sum(row.cost_pusd for row in sandbox.bill.rows) == round(all_of_them.total_cost * PUSD_PER_USD)


async def test_a_wave_under_a_budget_holds_one_worst_case() -> None:
    """A budget with room for one call serves a hundred identical ones."""
    from genops_helicone_async import GenOpsHeliconeAsyncAdapter
    from genops_helicone_async.testing import SandboxGateway

    async with (
        SandboxGateway(latency_scale=0) as sandbox,
        GenOpsHeliconeAsyncAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter,
    ):
        adapter.set_budget_limits(daily_limit=0.0008)
        adapter.enable_caching()
        calls = (adapter.chat_async("Hi", provider="openai", max_tokens=1000) for _ in range(100))
        responses = await asyncio.gather(*calls)
        assert [response.cached for response in responses].count(True) == 99
        assert len(sandbox.bill.rows) == 1


async def test_whoever_answered_is_told_again() -> None:
    """After a failover the answer is that of the second, the second time without asking the first."""
    from genops_helicone_async.testing.scripted import error_answer

    rig = CacheRig(ScriptedTransport([error_answer(503), chat_answer("from groq")]), retry_attempts=0)
    first = await rig.chat(providers=["openai", "groq"])
    hit = await rig.chat(providers=["openai", "groq"])
    assert (first.provider, hit.provider, hit.content, hit.attempts) == ("groq", "groq", "from groq", ())
    assert hit.usage.saved_cost == first.cost


@pytest.mark.parametrize("strategy", ["fan_out", "race", "consensus", "hedged"])
async def test_several_providers_are_cached_each(strategy: str) -> None:
    """A second round over the same providers asks nobody."""
    from several_parts import several

    transport = ScriptedTransport(lambda _request: chat_answer("same"))
    rig = CacheRig(transport)
    await several(rig, "fan_out")
    asked = len(transport.requests)
    again = await several(rig, strategy)
    assert (len(transport.requests), again.cost) == (asked, 0.0)
    assert all(response.cached for response in again.responses.values())
    assert again.content == "same"


async def test_embeddings_are_not_cached() -> None:
    """They are asked for each time; to want it otherwise is told to be impossible."""
    from genops_helicone_async._flow.embed import Embedding
    from genops_helicone_async.chat_request import EmbedRequest

    body = {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    answer = Answer(headers={"content-type": "application/json"}, parts=(msgspec.json.encode(body),))
    transport = ScriptedTransport(lambda _request: answer)
    rig = CacheRig(transport)
    for _ in range(2):
        await Embedding(rig.pipeline, EmbedRequest.of("Hi", "openai", None, {})).run()
    assert (len(transport.requests), rig.counts) == (2, (0, 0, 0))
    with pytest.raises(ConfigurationError, match="embeddings have none"):
        await Embedding(rig.pipeline, EmbedRequest.of("Hi", "openai", None, {"cache": True})).run()


def _surrogate() -> Any:
    return [{"role": "user", "content": "Hi", "odd": object()}]


async def test_what_has_no_key_is_not_cached() -> None:
    """A call that cannot be written down fails as it does without a cache, with its own error."""
    rig = CacheRig(counting())
    with pytest.raises(ConfigurationError, match="cannot be sent as JSON"):
        await rig.chat(_surrogate(), provider="openai")
    assert rig.counts == (0, 0, 0)


async def test_damaged_bytes_are_a_miss() -> None:
    """Every byte of a kept answer counts: with any one of them changed it is none, and is asked for anew."""
    clock = asyncio.get_running_loop().time
    store = MemoryAnswers(2**20, clock)
    transport = counting()
    rig = CacheRig(transport, store)
    await rig.chat(provider="openai")
    (key, (_, value)), *_ = store._entries.items()
    assert decode_answer(value, key) is not None
    for position in range(len(value)):
        broken = value[:position] + bytes([value[position] ^ 1]) + value[position + 1 :]
        assert decode_answer(broken, key) is None
    for broken in (b"", value[:-1], value + b"x", b"gha\x01", b"\x80\x04N.", value[20:]):
        assert decode_answer(broken, key) is None
    store.put_nowait(key, value[:-1], 60)
    assert (await rig.chat(provider="openai")).content == "2"
    assert (await rig.chat(provider="openai")).content == "2"


async def test_an_answer_under_a_wrong_name_is_a_miss() -> None:
    """Whatever store mixes up its entries, an answer is only given to the call that it was made for."""
    store = MemoryAnswers(2**20, asyncio.get_running_loop().time)
    rig = CacheRig(counting(), store)
    await rig.chat("one", provider="openai")
    await rig.chat("two", provider="openai")
    (one, (_, first)), (two, (_, second)) = store._entries.items()
    store.put_nowait(one, second, 60)
    store.put_nowait(two, first, 60)
    assert [(await rig.chat(text, provider="openai")).content for text in ("one", "two")] == ["3", "4"]


async def test_an_answer_survives_its_bytes() -> None:
    """What is kept is read back as it was, stream or not."""
    store = SlowStore()
    rig = CacheRig(ScriptedTransport([full_answer(), stream_answer("a", "b")]), store)
    await rig.chat(provider="openai", tools=TOOLS)
    async with rig.stream(provider="openai") as stream:
        chunks = tuple([chunk async for chunk in stream])
    await rig.kept()
    answers = [decode_answer(value, key) for key, value in store.held.items()]
    assert [answer is not None and encode_answer(answer) for answer in answers] == list(store.held.values())
    assert answers[1] is not None
    assert answers[1].chunks == chunks
    assert store.get_nowait(b"") is LATER


async def test_a_very_large_answer_is_given_to_all_and_kept_by_none() -> None:
    """Above eight mebibytes an answer is for those who wait for it."""
    store = SlowStore()
    transport = ScriptedTransport(lambda _request: chat_answer("x" * (9 * 2**20)))
    rig = CacheRig(transport, store)
    responses = await asyncio.gather(*(rig.chat(provider="openai") for _ in range(3)))
    await rig.kept()
    assert [response.cached for response in responses] == [False, True, True]
    assert (len(transport.requests), store.held, rig.told.stored) == (1, {}, 0)


async def test_the_span_of_a_hit_complies() -> None:
    """It is a unit that was allowed, reserved nothing and cost nothing; the witness of all tests looks at it, too."""
    rig = CacheRig(counting())
    await rig.chat(provider="openai", sla_tier="gold", sla_latency_ms=500.0)
    await rig.chat(provider="openai", sla_tier="gold", sla_latency_ms=500.0)
    telemetry = CallTelemetry(Currency(), "NO_CONTENT", "tests")
    spans = telemetry.spans_of(rig.records[1], {}, 10**18)
    (unit,) = spans.units
    content = unit.content()
    assert (spans.parent, unit.name, unit.kind, content.error_type) == (None, "chat gpt-4o-mini", "internal", None)
    expected = {
        "genops.policy.result": "ALLOWED",
        "genops.accounting.reserved": 0.0,
        "genops.accounting.actual": 0.0,
        "genops.accounting.reconciliation_delta": 0.0,
        "genops.cost.total": 0.0,
        "genops.cost.source": "cache",
        "genops.cache.result": "hit",
        "genops.cache.saved_cost": 2e-05,
        "genops.sla.met": True,
        "gen_ai.response.finish_reasons": ("stop",),
    }
    assert {name: content.attributes.get(name) for name in expected} == expected
    assert not [name for name in content.attributes if name.startswith(("gen_ai.usage", "genops.tokens", "server."))]
    assert [event.name for event in content.events] == [
        "genops.policy.evaluated",
        "genops.budget.reservation",
        "genops.cost.calculated",
        "genops.budget.reconciliation",
    ]


async def test_a_hit_waits_for_no_limit() -> None:
    """A provider that may not be asked now answers from the cache."""
    transport = ScriptedTransport([chat_answer("one"), Hang()])
    rig = CacheRig(transport)
    await rig.chat(provider="openai")
    hanging = asyncio.create_task(rig.chat("another", provider="openai"))
    await asyncio.sleep(0)
    for _ in range(rig.settings.max_connections):
        assert (await rig.chat(provider="openai")).cached is True
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
