"""A chat-completion server faster than every client: a bare asyncio protocol that answers a fixed reply.

Run as a program it prints its port on a line and serves until its standard input closes. An argument is the number of
seconds after which it answers; without one it answers at once.
"""

from __future__ import annotations

import asyncio
import json
import sys

REPLY = json.dumps(
    {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "The quick brown fox. " * 30, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 120,
            "completion_tokens": 150,
            "total_tokens": 270,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
            "modality_tokens": {},
        },
        "system_fingerprint": "fp_benchmark",
    }
).encode()

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nHelicone-Id: 0fa878c5-4673-4bfa-885d-a90bced6779a\r\n"
    b"Helicone-Gateway-Mode: BYOK\r\nHelicone-Provider: openai\r\nHelicone-Model: gpt-4o-mini\r\n"
    b"Helicone-Status: success\r\nContent-Length: %d\r\n\r\n"
)
_ANSWER = _HEAD % len(REPLY) + REPLY


class _Answer(asyncio.Protocol):
    """Reads requests by their Content-Length and writes the answer to each."""

    def __init__(self, delay_s: float) -> None:
        self._buffer = b""
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            if self._delay_s:
                self._loop.call_later(self._delay_s, self._transport.write, _ANSWER)
            else:
                self._transport.write(_ANSWER)


async def serve(delay_s: float = 0.0) -> None:
    """Serves on a free loopback port until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Answer(delay_s), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0))
