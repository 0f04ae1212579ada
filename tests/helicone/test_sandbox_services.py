"""The sandbox's Helicone beside its gateway: REST API and log answer as the protocol says, to any client."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio

ID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
LOG: dict[str, Any] = {
    "providerRequest": {"url": "custom-model-nopath", "json": {"model": "m"}, "meta": {"Helicone-User-Id": "ada"}},
    "providerResponse": {"status": 200, "headers": {}, "json": {"ok": True}},
    "timing": {
        "startTime": {"seconds": 1, "milliseconds": 2},
        "endTime": {"seconds": 2, "milliseconds": 0},
        "timeToFirstToken": 150,
    },
}


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxGateway]:
    """A Helicone."""
    async with SandboxGateway(latency_scale=0) as running:
        yield running


async def post(sandbox: SandboxGateway, url: str, document: Any, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of the answer; the key is the sandbox's unless another is given."""
    sent = {"Authorization": f"Bearer {sandbox.api_key}", **headers}
    body = io.BytesIO(json.dumps(document).encode())
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=sent) as reply:
        return reply.status, await reply.text(), {name.lower(): value for name, value in reply.headers.items()}


def without(document: dict[str, Any], part: str, name: str) -> dict[str, Any]:
    """The document less one field."""
    return {**document, part: {key: value for key, value in document[part].items() if key != name}}


@pytest.mark.parametrize(
    ("path", "document", "answer"),
    [
        (f"{ID}/feedback", {"rating": True}, (201, '{"data":null,"error":null}')),
        (f"{ID}/score", {"scores": {"a": 1, "b": False}}, (201, '{"data":null,"error":null}')),
        ("42/feedback", {"rating": True}, (500, '{"data":null,"error":"Invalid requestId: must be a valid UUID"}')),
        (f"{ID}/score", {"scores": {"a": 0.5}}, (500, '{"data":null,"error":"Error adding scores to request."}')),
    ],
)
async def test_the_api_answers_in_its_envelope(
    sandbox: SandboxGateway, path: str, document: Any, answer: tuple[int, str]
) -> None:
    """201 for what it took, 500 and a text for what it did not."""
    assert (await post(sandbox, f"{sandbox.api_url}/v1/request/{path}", document))[:2] == answer
    taken = (sandbox.feedback, sandbox.scores)
    assert (taken != ({}, {})) is (answer[0] == 201)


async def test_the_api_knows_its_keys(sandbox: SandboxGateway) -> None:
    """401 with Helicone's own body, and nothing is noted."""
    url = f"{sandbox.api_url}/v1/request/{ID}/feedback"
    status, text, _ = await post(sandbox, url, {"rating": True}, Authorization="Bearer sk-other")
    assert (status, '"trace":"isAuthenticated.error"' in text, sandbox.feedback) == (401, True, {})


async def test_the_log_takes_a_call(sandbox: SandboxGateway) -> None:
    """`ok` with its id; a header of the request itself wins over the one told inside."""
    status, text, headers = await post(sandbox, sandbox.log_url, LOG, **{"Helicone-User-Id": "eve"})
    (logged,) = sandbox.logged
    assert (status, text, headers["helicone-id"]) == (200, "ok", logged.request_id)
    assert (logged.meta, logged.status, logged.response) == ({"helicone-user-id": "eve"}, 200, {"ok": True})
    assert (logged.started_s, logged.ended_s, logged.first_token_ms) == (1.002, 2.0, 150)


@pytest.mark.parametrize(
    "document",
    [
        without(LOG, "providerResponse", "json"),
        without(LOG, "providerResponse", "status"),
        without(LOG, "providerResponse", "headers"),
        without(LOG, "providerRequest", "meta"),
        {**LOG, "timing": {"startTime": LOG["timing"]["endTime"], "endTime": LOG["timing"]["startTime"]}},
        [],
    ],
)
async def test_the_log_refuses_what_is_not_whole(sandbox: SandboxGateway, document: Any) -> None:
    """400 with the reason, as the worker's validation has it."""
    status, text, _ = await post(sandbox, sandbox.log_url, document)
    assert (status, text.startswith('{"error":'), sandbox.logged) == (400, True, ())


async def test_the_log_refuses_the_unknown_and_the_too_large(sandbox: SandboxGateway) -> None:
    """401 for a key it does not know, 400 beyond 10 MB."""
    assert (await post(sandbox, sandbox.log_url, LOG, Authorization="Bearer sk-other"))[0] == 401
    large = {**LOG, "padding": "x" * 10 * 2**20}
    assert (await post(sandbox, sandbox.log_url, large))[:2] == (400, "Payload too large")
    assert sandbox.logged == ()


async def test_a_call_told_again_is_written_over(sandbox: SandboxGateway) -> None:
    """The same id is the same call; `reset` forgets them all."""
    meta = {"Helicone-Request-Id": ID}
    for status in (200, 500):
        sent, back = {**LOG["providerRequest"], "meta": meta}, {**LOG["providerResponse"], "status": status}
        await post(sandbox, sandbox.log_url, {"providerRequest": sent, "providerResponse": back})
    assert [(call.request_id, call.status) for call in sandbox.logged] == [(ID, 500)]
    sandbox.reset()
    assert sandbox.logged == ()
