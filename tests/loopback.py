"""A small HTTP/1.1 server on loopback that lets a test decide every byte it sends, and see when its client leaves."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

import msgspec

Handler = Callable[["Exchange"], Awaitable[None]]
_RESET = struct.pack("ii", 1, 0)


class Exchange:
    """One request as it arrived (header names in lower case), and the connection it came on."""

    def __init__(
        self, method: str, path: str, headers: dict[str, str], body: bytes, connection: int,
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.connection = connection
        self.client_left = False
        self._reader = reader
        self._writer = writer

    @property
    def json(self) -> dict[str, object]:
        """The body, decoded."""
        return msgspec.json.decode(self.body, type=dict[str, object])

    @property
    def provider(self) -> str:
        """The first part of the path: the tests give every provider a base URL of its own."""
        return self.path.split("/")[1]

    async def write(self, data: bytes) -> None:
        """Sends bytes as they are."""
        if self._writer.is_closing():  # asyncio's own transport would take them, uvloop's does not
            raise ConnectionResetError
        self._writer.write(data)
        await self._writer.drain()

    async def head(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Sends a status line and headers; without a length the body ends with the connection."""
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def reply(self, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Sends a whole reply, after which the connection can be used again."""
        told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        await self.head(status, told)
        await self.write(body)

    async def events(self, *parts: bytes, headers: Mapping[str, str] | None = None, end: bool = True) -> None:
        """Sends an event stream, each part in a piece of its own; without `end` it stays open."""
        await self.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked", **(headers or {})})
        for part in parts:
            await self.chunk(part)
        if end:
            await self.chunk(b"")

    async def chunk(self, data: bytes) -> None:
        """Sends one piece of a chunked body; an empty one ends it."""
        await self.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        """Tells the client, before the loop turns, that nothing more will come."""
        self._writer.write_eof()

    async def gone(self) -> None:
        """Returns when the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass
        self.client_left = True

    def close(self) -> None:
        """Closes the connection."""
        self._writer.close()

    def reset(self) -> None:
        """Breaks the connection off with a TCP reset."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()


class LoopbackServer:
    """`async with LoopbackServer(handler) as server`: the handler gets every request, one at a time per connection.

    `exchanges` are the requests so far, `connections` counts connections ever, `open` those open now.
    """

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self.open = 0
        self.failures: list[BaseException] = []
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """The server's origin."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def provider_urls(self, *names: str) -> dict[str, str]:
        """A base URL for each provider; `Exchange.provider` tells them apart."""
        return {name: f"{self.url}/{name}/v1" for name in names}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()
        if self.failures and exc[0] is None:
            raise self.failures[0]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition, which is about this server, holds."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        try:
            while (exchange := await _read(reader, writer, number)) is not None:
                self.exchanges.append(exchange)
                self._changed.set()
                await self.handler(exchange)
                self._changed.set()
                if writer.is_closing():
                    break
        except ConnectionError:
            pass  # the client left while we wrote
        except Exception as exc:  # noqa: BLE001  a handler's failure is the test's, raised at the end
            self.failures.append(exc)
        finally:
            self.open -= 1
            self._changed.set()
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> Exchange | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _version = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Exchange(method, path, headers, body, connection, reader, writer)


def chat_body(content: str = "Hello", *, prompt: int = 11, completion: int = 7, model: str = "gpt-4o-mini") -> bytes:
    """A whole reply in OpenAI's shape."""
    return msgspec.json.encode(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        }
    )


def chat_events(*texts: str, prompt: int = 11, completion: int = 7, model: str = "gpt-4o-mini") -> list[bytes]:
    """The same as a stream: one event a text, the finish reason, the usage, `[DONE]`."""
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": model}

    def event(delta: dict[str, str] | None, finish: str | None = None, **more: object) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        return b"data: %s\n\n" % msgspec.json.encode({**frame, "choices": choices, **more})

    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return [
        event({"role": "assistant", "content": ""}),
        *(event({"content": text}) for text in texts),
        event({}, "stop"),
        event(None, usage=usage),
        b"data: [DONE]\n\n",
    ]
