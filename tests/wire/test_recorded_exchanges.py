"""Every recorded exchange with Helicone's real worker becomes exactly what the table of expectations says."""

import json
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from genops_helicone_async._values import HttpReply
from genops_helicone_async._wire.dialects import Endpoint
from genops_helicone_async._wire.failures import classify
from genops_helicone_async._wire.replies import ReplyStream, decode_reply
from genops_helicone_async.errors import HeliconeError, StreamInterruptedError

_TABLE: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("expected_exchanges.json").read_text(encoding="utf-8")
)
_MET = [
    case for case, entry in _TABLE.items() if entry["meets"] and entry["shape"] in ("openai", "anthropic", "google")
]
_NOW_S = 1_795_439_000.0


def _endpoint(entry: dict[str, Any]) -> Endpoint:
    gateway = entry["mode"] == "ai_gateway"
    return Endpoint(
        provider=entry["provider"] or "openai",
        model=entry["model"] or "m",
        dialect="helicone" if gateway else "proxy",
        shape="anthropic" if entry["shape"] == "anthropic" and not gateway else "openai",
        base_url="https://gateway.test/v1",
        chat_url="https://gateway.test/v1/chat/completions",
        wire_model="m",
        headers={},
    )


def _load(shared_dir: Path, case: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((shared_dir / "fixtures" / "helicone" / f"{case}.json").read_text("utf-8"))
    return loaded


def _body(response: dict[str, Any]) -> bytes:
    body = response.get("body")
    return (body if isinstance(body, str) else json.dumps(body) if body is not None else "").encode()


def _http_reply(response: dict[str, Any]) -> HttpReply:
    headers = CIMultiDict({name: str(value) for name, value in response["headers"].items()})
    return HttpReply(status=response["status"], headers=headers, body=_body(response))


def _check_answer(reply: Any, ok: dict[str, Any]) -> None:
    calls = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in reply.tool_calls]
    assert (reply.content, reply.finish_reason, calls, reply.reasoning) == (
        ok["content"],
        ok["finish_reason"],
        ok["tool_calls"],
        ok["reasoning"],
    )
    usage = reply.usage
    if not ok["usage_known"]:
        assert usage is None
        return
    assert (usage.input, usage.output, usage.cached, usage.cache_write, usage.reasoning) == (
        ok["input_tokens"],
        ok["output_tokens"],
        ok["cached_input_tokens"],
        ok["cache_write_tokens"],
        ok["reasoning_tokens"],
    )
    assert reply.reported_cost_usd == ok["reported_cost_usd"]


def _check_error(error: HeliconeError, expected: dict[str, Any]) -> None:
    facts = {
        "class": type(error).__name__,
        **{
            name: getattr(error, name)
            for name in ("status_code", "http_status", "retry_safe", "retry_after_s", "throttled", "billed")
        },
        "which": getattr(error, "which", None),
    }
    assert facts == {name: expected[name] for name in facts}
    assert (expected["message_contains"] or "") in error.message


def _splits(response: dict[str, Any]) -> list[list[bytes]]:
    """The body as it was recorded in pieces, whole, and byte by byte."""
    whole = _body(response)
    recorded = [chunk.encode() for chunk in response.get("transfer_chunks") or [whole.decode()]]
    return [recorded, [whole], [whole[i : i + 1] for i in range(len(whole))]]


def _is_stream(reply: HttpReply) -> bool:
    return 200 <= reply.status < 300 and "text/event-stream" in reply.headers.get("content-type", "")


def _check_stream(entry: dict[str, Any], pieces: list[bytes]) -> None:
    stream = ReplyStream(_endpoint(entry), "id")
    chunks = [chunk for data in pieces for chunk in stream.feed(data)] + stream.close()
    if "ok" in entry:
        assert (stream.error(), stream.broken_event) == (None, False)
        _check_answer(stream.reply(), entry["ok"])
        assert "".join(chunk.content for chunk in chunks) == entry["ok"]["content"]
        return
    expected, error = entry["error"], stream.error()
    interrupted = expected["class"] == StreamInterruptedError.__name__
    assert (stream.finish_reason, stream.text, stream.has_content) == (None, expected.get("partial", ""), interrupted)
    if error is None:
        assert expected["message_contains"] is None
    elif interrupted:
        assert (expected["message_contains"] or "") in error.message
    else:
        _check_error(error, expected)


@pytest.mark.parametrize("case", _MET)
def test_a_recorded_reply_becomes_what_the_table_says(shared_dir: Path, case: str) -> None:
    """A reply decodes to the exact answer or error, whole, or as a stream in every split of its bytes."""
    entry, response = _TABLE[case], _load(shared_dir, case)["response"]
    reply, endpoint = _http_reply(response), _endpoint(_TABLE[case])
    if _is_stream(reply):
        for pieces in _splits(response):
            _check_stream(entry, pieces)
    elif "ok" in entry:
        _check_answer(decode_reply(reply.body, reply.status, endpoint, "id"), entry["ok"])
    elif 200 <= reply.status < 300:
        with pytest.raises(HeliconeError) as caught:
            decode_reply(reply.body, reply.status, endpoint, "id")
        _check_error(caught.value, entry["error"])
    else:
        _check_error(classify(reply, endpoint, request_id="id", now_s=_NOW_S), entry["error"])
