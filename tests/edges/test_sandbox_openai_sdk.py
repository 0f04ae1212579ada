"""The official `openai` SDK talks to the sandbox: plain OpenAI endpoint and AI Gateway, sync and async."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from genops_helicone_async.testing import Fault, SandboxGateway

MESSAGES: Any = [{"role": "user", "content": "Say hello"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
                "required": ["city", "days"],
            },
        },
    }
]
ENDPOINTS = [("openai", "gpt-4o-mini"), ("gateway", "gpt-4o-mini/openai"), ("gateway", "claude-4.5-haiku/anthropic")]


@pytest.fixture
def gateway() -> Iterator[SandboxGateway]:
    with SandboxGateway.in_thread(latency_scale=0) as running:
        yield running


def place(gateway: SandboxGateway, endpoint: str) -> dict[str, Any]:
    base_url = gateway.openai_url if endpoint == "openai" else f"{gateway.url}/v1"
    return {"base_url": base_url, "api_key": gateway.api_key, "max_retries": 0}


@pytest.mark.parametrize(("endpoint", "model"), ENDPOINTS)
def test_sync_chat_stream_and_tools(gateway: SandboxGateway, endpoint: str, model: str) -> None:
    """Chat, stream with usage, and forced tool calls come through the sync client."""
    with openai.OpenAI(**place(gateway, endpoint)) as client:
        whole = client.chat.completions.create(model=model, messages=MESSAGES)
        with client.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        ) as stream:
            chunks = list(stream)
        forced: Any = {"type": "function", "function": {"name": "get_weather"}}
        called = client.chat.completions.create(model=model, messages=MESSAGES, tools=TOOLS, tool_choice=forced)
    text = whole.choices[0].message.content
    assert text is not None
    assert text.startswith("About 'Say hello':")
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert whole.choices[0].finish_reason == "stop"
    assert called.choices[0].finish_reason == "tool_calls"
    calls: Any = called.choices[0].message.tool_calls
    assert [call.type for call in calls] == ["function"]
    arguments = json.loads(calls[0].function.arguments)
    assert isinstance(arguments["city"], str)
    assert 1 <= arguments["days"] <= 7


@pytest.mark.anyio
@pytest.mark.parametrize(("endpoint", "model"), ENDPOINTS)
async def test_async_chat_and_stream(endpoint: str, model: str) -> None:
    """Chat and stream come through the async client."""
    async with (
        SandboxGateway(latency_scale=0) as gateway,
        openai.AsyncOpenAI(**place(gateway, endpoint)) as client,
    ):
        whole = await client.chat.completions.create(model=model, messages=MESSAGES)
        streamed = ""
        async for chunk in await client.chat.completions.create(model=model, messages=MESSAGES, stream=True):
            for choice in chunk.choices:
                streamed += choice.delta.content or ""
    assert streamed == whole.choices[0].message.content


def test_streamed_tool_calls_add_up(gateway: SandboxGateway) -> None:
    """The pieces of a streamed tool call make valid arguments; naming the tool in the prompt is enough."""
    wish: Any = [{"role": "user", "content": "Please get weather for Paris"}]
    with openai.OpenAI(**place(gateway, "openai")) as client:
        stream = client.chat.completions.create(model="gpt-4o-mini", messages=wish, tools=TOOLS, stream=True)
        calls = [c.choices[0].delta.tool_calls[0] for c in stream if c.choices and c.choices[0].delta.tool_calls]
    assert (calls[0].function and calls[0].function.name) == "get_weather"
    arguments = json.loads("".join(call.function.arguments or "" for call in calls if call.function))
    assert set(arguments) == {"city", "days"}


def test_embeddings_and_models(gateway: SandboxGateway) -> None:
    """Embeddings come as the SDK asks for them, in base64, and the model list can be read."""
    with openai.OpenAI(**place(gateway, "openai")) as client:
        reply = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], dimensions=8)
        again = client.embeddings.create(model="text-embedding-3-small", input="a", dimensions=8)
        names = {model.id for model in client.models.list()}
    assert [len(item.embedding) for item in reply.data] == [8, 8]
    assert sum(number**2 for number in reply.data[0].embedding) == pytest.approx(1)
    assert again.data[0].embedding == reply.data[0].embedding != reply.data[1].embedding
    assert {"gpt-4o-mini", "text-embedding-3-small"} <= names


def test_structured_output(gateway: SandboxGateway) -> None:
    """A JSON schema is answered with JSON that satisfies it."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        },
        "required": ["name", "tags", "next"],
    }
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    with openai.OpenAI(**place(gateway, "openai")) as client:
        reply = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, response_format=wanted)
    value = json.loads(reply.choices[0].message.content or "")
    assert isinstance(value["name"], str)
    assert set(value["tags"]) <= {"a", "b"}
    assert value["next"] is None or set(value["next"]) == {"name", "tags", "next"}


def test_errors_are_the_sdks_own(gateway: SandboxGateway) -> None:
    """Refused keys, unknown models and rate limits raise the SDK's exceptions."""
    with (
        openai.OpenAI(base_url=gateway.openai_url, api_key="bad-key", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="Incorrect API key"),
    ):
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    with openai.OpenAI(**place(gateway, "openai")) as client:
        with pytest.raises(openai.NotFoundError, match="unknown-1"):
            client.chat.completions.create(model="unknown-1", messages=MESSAGES)
        with pytest.raises(openai.BadRequestError, match="messages"):
            client.chat.completions.create(model="gpt-4o-mini", messages=[])
        gateway.faults.add(Fault(kind="status", status=429, retry_after=1))
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert caught.value.response.headers["retry-after"] == "1"


def test_the_sdk_retries_by_itself(gateway: SandboxGateway) -> None:
    """A single 503 is overcome by the SDK's own retry."""
    gateway.faults.add(Fault(kind="status", status=503, times=1, retry_after_ms=1))
    with openai.OpenAI(base_url=gateway.openai_url, api_key=gateway.api_key, max_retries=1) as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert [seen.status for seen in gateway.requests] == [503, 200]
