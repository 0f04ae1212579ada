"""Whatever goes wrong in instrumentation, the caller's call does what it would have done; it is told once."""

import json
import logging
from typing import Any

import httpx
import openai
import pytest
import requests
from instrumented import ASK, BEARER, MESSAGES, STREAMED, scripted, watching

from genops_helicone_async.instrumentation import reporting
from genops_helicone_async.instrumentation.foreign_call import ForeignCall
from genops_helicone_async.instrumentation.governor import Governor
from genops_helicone_async.instrumentation.replying import Replying
from genops_helicone_async.testing import SandboxGateway


def failing(*args: Any, **options: Any) -> Any:
    """A step of ours with a bug in it."""
    raise RuntimeError("a bug of ours")


STEPS = [
    (Governor, "begin"), (ForeignCall, "admit_nowait"), (Replying, "__init__"), (Replying, "feed"),
    (Replying, "settle"), (Replying, "response"),
]  # fmt: skip


@pytest.mark.parametrize(("owner", "step"), STEPS)
def test_a_bug_of_ours_changes_nothing(
    gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, owner: type, step: str
) -> None:
    """Each step that fails leaves every call as it was, and is reported once for all of them."""
    monkeypatch.setattr(reporting, "_reported", set())
    url = f"{gateway.provider_urls['openai']}/chat/completions"
    with watching(gateway), caplog.at_level(logging.ERROR, "genops_helicone_async"):
        monkeypatch.setattr(owner, step, failing)
        with openai.OpenAI(base_url=gateway.provider_urls["openai"], api_key="k", max_retries=0) as client:
            whole = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
            chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True))
        with requests.post(url, json=STREAMED, headers=BEARER, stream=True) as response:
            lines = [line for line in response.iter_lines() if line]
        monkeypatch.undo()
    assert (whole.choices[0].finish_reason, chunks[-1].choices[0].finish_reason) == ("stop", "stop")
    assert lines[-1] == b"data: [DONE]"
    assert len(gateway.bill) == 3
    told = [record.getMessage() for record in caplog.records]
    assert told
    assert len(told) == len(set(told))


def test_a_body_too_large_to_look_at_passes() -> None:
    """It is not kept beside the caller, who gets all of it; what it cost is an estimate."""
    answer = {
        "id": "c", "object": "chat.completion", "model": "gpt-4o-mini",
        "usage": {"prompt_tokens": 5, "completion_tokens": 5},
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x" * 5000}}],
    }  # fmt: skip
    with scripted() as server, watching(provider_urls={"openai": server.url}, max_response_bytes=1000) as watched:
        server.pieces = [json.dumps(answer).encode()]
        assert httpx.post(f"{server.url}/chat/completions", json=ASK).json() == answer
        (unit,) = watched.awus()
    assert unit.attributes is not None
    assert unit.attributes["error.type"] == "DecodeError"
    assert unit.attributes["genops.accounting.incomplete"] is True


ODD: list[Any] = [
    {"model": "gpt-4o-mini", "messages": [{"role": "narrator", "content": "Hi"}]},
    {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
    {"model": "gpt-4o-mini", "messages": [{"role": "user"}, 7, None], "temperature": "hot", "max_tokens": -3},
    {"model": "gpt-4o-mini", "messages": "Hi", "stop": 4, "tools": {"a": 1}},
    {"model": "gpt-4o-mini", "messages": MESSAGES, "n": "two", "stop": ["a"], "seed": 2**70},
    {"messages": MESSAGES},
    {"model": ["gpt-4o-mini"], "messages": []},
]


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
def test_odd_requests_are_watched_all_the_same(body: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What our own checks would refuse is the provider's business; its answer is counted."""
    answer = {
        "id": "c", "object": "chat.completion", "model": "gpt-4o-mini",
        "usage": {"prompt_tokens": 5, "completion_tokens": 2},
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
    }  # fmt: skip
    with scripted() as server, watching(provider_urls={"openai": server.url}) as watched:
        server.pieces = [json.dumps(answer).encode()]
        assert httpx.post(f"{server.url}/chat/completions", json=body).json() == answer
        assert json.loads(server.seen[0][2]) == body
        assert len(watched.awus()) == 1
    assert (watched.usage.input_tokens, watched.usage.output_tokens) == (5, 2)
    assert [record for record in caplog.records if record.name.endswith("instrumentation")] == []
