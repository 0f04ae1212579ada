"""A program: answers as many requests at once as it is told to wait for, and says how many it held. See the test."""

import asyncio
import sys

from loopback import chat_body

BODY = chat_body("Hello")
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Holder:
    """Holds every request until the wanted number is in flight, then answers all of them."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.held: list[asyncio.Transport] = []
        self.most = 0
        self.open = 0
        self.closed = asyncio.Event()

    def arrived(self, transport: asyncio.Transport) -> None:
        """One more in flight."""
        self.held.append(transport)
        self.most = max(self.most, len(self.held))
        if len(self.held) == self.wanted:
            for waiting in self.held:
                waiting.write(REPLY)
            self.held.clear()


class Connection(asyncio.Protocol):
    """Knows a request by the end of its head, and its body by its length; they are small and come alone."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.holder.open += 1

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if separator and len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            self.received = b""
            assert isinstance(self.transport, asyncio.Transport)
            self.holder.arrived(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.holder.open -= 1
        if not self.holder.open:
            self.holder.closed.set()


async def main() -> None:
    """Serves until the last client has left."""
    holder = Holder(int(sys.argv[1]))
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(holder), "127.0.0.1", 0, backlog=holder.wanted
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await holder.closed.wait()
    print(holder.most, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
