"""What the tests of the audit log are built from: an adapter on a loopback server, and the log's lines."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from genops_helicone_async._edges.audit.file import AuditFile
from loopback import Exchange, LoopbackServer, chat_body, chat_events

KEY = "sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd"
PROVIDER_KEY = "sk-provider-key-that-must-not-show"
PROMPT = "The patient's name is Rumpelstiltskin"
ANSWER = "Rumpelstiltskin sends his regards"
PRICES = {
    "openai/gpt-4o-mini": {"input": 1.0, "output": 2.0},
    "groq/llama-3.1-8b-instant": {"input": 1.0, "output": 2.0},
}


async def provider(exchange: Exchange) -> None:
    """Answers chats, streamed or not, and checks; a prompt with `fail` gets an error that quotes the prompt."""
    if exchange.method == "GET":
        await exchange.reply(200, b"{}")
    elif b"fail" in exchange.body:
        told = {"error": {"message": f"bad prompt: {PROMPT}", "type": "invalid_request_error", "code": PROMPT}}
        await exchange.reply(400, msgspec.json.encode(told))
    elif exchange.json.get("stream"):
        await exchange.events(*chat_events(ANSWER))
    else:
        await exchange.reply(200, chat_body(ANSWER))


def settings(server: LoopbackServer, **more: Any) -> dict[str, Any]:
    """The constructor's arguments for an adapter on that server."""
    return {
        "helicone_api_key": KEY,
        "provider_urls": server.provider_urls("openai", "groq"),
        "provider_keys": {"openai": PROVIDER_KEY, "groq": PROVIDER_KEY},
        "prices": PRICES,
        "retry_attempts": 0,
        **more,
    }


def lines(path: Path) -> list[dict[str, Any]]:
    """The log's lines, decoded."""
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


@contextlib.contextmanager
def no_room(limit_bytes: int) -> Iterator[None]:
    """Files can only be this long, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def written(path: Path, count: int = 5, max_bytes: int = 10**6) -> Path:
    """A log with as many lines."""
    file = AuditFile(path, max_bytes)
    for number in range(count):
        file.append([{"event": "ended", "number": number}], sync=False)
    return path
