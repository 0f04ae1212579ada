"""Prompts and answers in telemetry: nowhere unless the operator opts in, and then exactly where."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from exported import Spans, told
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio

VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CONTENT = ("gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages")


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    """A gateway that answers at once."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


async def captured(gateway: SandboxGateway, message: Any = "Who am I?", *, watched: bool = False) -> Any:
    """A call's span, its log records, and the answer."""
    spans, exporter = Spans(watched=watched), InMemoryLogRecordExporter()
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    async with GenOpsHeliconeAsyncAdapter(
        gateway.api_key, gateway_url=gateway.url, tracer_provider=spans.provider, logger_provider=logs
    ) as adapter:
        response = await adapter.chat_async(message, provider="openai", system_prompt="Be kind")
    return spans.one(), [log.log_record for log in exporter.get_finished_logs()], response


@pytest.mark.parametrize("watched", [False, True], ids=["direct", "through the tracer"])
@pytest.mark.parametrize(
    ("mode", "on_span", "as_event"),
    [
        (None, False, False),
        ("NO_CONTENT", False, False),
        ("SPAN_ONLY", True, False),
        ("EVENT_ONLY", False, True),
        ("SPAN_AND_EVENT", True, True),
        ("span_only", True, False),
        ("true", False, False),
        ("everything", False, False),
    ],
)
async def test_content_goes_where_the_operator_says(
    gateway: SandboxGateway,
    monkeypatch: pytest.MonkeyPatch,
    mode: str | None,
    on_span: bool,
    as_event: bool,
    watched: bool,
) -> None:
    """Four modes; whatever is no mode keeps content out. The event lies within the span and says what the span says."""
    if mode is not None:
        monkeypatch.setenv(VARIABLE, mode)
    span, logs, response = await captured(gateway, watched=watched)
    expected = {
        "gen_ai.system_instructions": [{"type": "text", "content": "Be kind"}],
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Who am I?"}]}],
        "gen_ai.output.messages": [
            {
                "role": "assistant",
                "parts": [{"type": "text", "content": response.content}],
                "finish_reason": response.finish_reason,
            }
        ],
    }
    places = [told(span), *(dict(log.attributes) for log in logs)]
    seen = [{name: json.loads(place[name]) for name in CONTENT if name in place} for place in places]
    assert seen == [expected if on_span else {}, *([expected] if as_event else [])]
    for log in logs:
        assert log.event_name == "gen_ai.client.inference.operation.details"
        assert (log.trace_id, log.span_id) == (span.context.trace_id, span.context.span_id)
        assert log.timestamp == span.end_time
        assert dict(log.attributes)["genops.accounting.actual"] == response.cost


async def test_parts_of_a_conversation_are_told_apart(gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tool calls and their results are parts of their own; of an image only that there was one."""
    monkeypatch.setenv(VARIABLE, "SPAN_ONLY")
    call = {"id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": '{"city": "Rome"}'}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    conversation = [
        {"role": "user", "content": [{"type": "text", "text": "Where?"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    span, _, _ = await captured(gateway, conversation)
    assert json.loads(told(span)["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Where?"}, {"type": "image_url"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "call_1", "name": "lookup", "arguments": '{"city": "Rome"}'}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "sunny"}]},
    ]
