"""A chat-completion server cheaper than every client: one epoll loop in one thread, prebuilt replies, no framework.

    python benchmarks/loopback_server.py [DELAY_S] [--core 1] [--events 400] [--events-per-write 16] [--interval 0]

It prints its port on a line and serves until its standard input closes. A request whose body asks for a stream is
answered with `--events` server-sent events, so many to a write, `--interval` seconds apart; every other POST with one
reply of about 1 KB, after DELAY_S. `GET /figures` tells its own CPU time, pid, cores and how many requests it has
seen, `GET /delay/SECONDS` changes the delay.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import itertools
import json
import os
import re
import resource
import select
import socket
import sys
import time
from collections import deque

ANSWER_TEXT = "The quick brown fox. " * 30
REPLY = json.dumps(
    {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": ANSWER_TEXT, "refusal": None},
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

_HELICONE = (
    b"Helicone-Id: 0fa878c5-4673-4bfa-885d-a90bced6779a\r\nHelicone-Gateway-Mode: BYOK\r\n"
    b"Helicone-Provider: openai\r\nHelicone-Model: gpt-4o-mini\r\nHelicone-Status: success\r\n"
)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + _HELICONE + b"Content-Length: %d\r\n\r\n"
_ANSWER = _HEAD % len(REPLY) + REPLY
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + _HELICONE + b"Transfer-Encoding: chunked\r\n\r\n"
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAMED = re.compile(rb'"stream": ?true')
_READ_BYTES = 256 * 1024
TEXT_OF_EVENT = "word "


def stream_pieces(events: int, per_write: int) -> list[bytes]:
    """The answer to a streamed request, by writes: `events` with content, their end, the usage and `[DONE]`."""
    told = {"id": "chatcmpl-benchmark", "object": "chat.completion.chunk", "created": 1760000000}
    told |= {"model": "gpt-4o-mini-2024-07-18", "system_fingerprint": "fp_benchmark"}

    def event(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return b"data: " + json.dumps({**told, "choices": [choice], "usage": None}).encode() + b"\n\n"

    one = event({"content": TEXT_OF_EVENT})
    counted = {"prompt_tokens": 120, "completion_tokens": events, "total_tokens": 120 + events}
    last = b"data: " + json.dumps({**told, "choices": [], "usage": counted}).encode() + b"\n\ndata: [DONE]\n\n"
    sizes = [per_write] * (events // per_write) + [events % per_write] * bool(events % per_write)
    pieces = [one * size for size in sizes]
    pieces[0] = event({"role": "assistant", "content": ""}) + pieces[0]
    pieces[-1] += event({}, "stop") + last
    framed = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    framed[0] = _STREAM_HEAD + framed[0]
    framed[-1] += b"0\r\n\r\n"
    return framed


class _Connection:
    """A client's connection: bytes of a request not yet whole, and bytes that did not fit into the socket."""

    __slots__ = ("inbox", "outbox", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.inbox = b""
        self.outbox: deque[bytes] = deque()


class Server:
    """Everything it knows: its connections, what is due later, and counts."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._delay_s, self._interval_s = options.delay_s, options.interval
        self._pieces = stream_pieces(options.events, options.events_per_write)
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._due: list[tuple[float, int, _Connection, bytes]] = []
        self._number = itertools.count()
        self._requests = self._most_waiting = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Until standard input ends."""
        listening = self._listener.fileno()
        self._poll.register(listening, select.EPOLLIN)
        self._poll.register(0, select.EPOLLIN | select.EPOLLHUP)
        while True:
            wait_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else -1
            for fd, happened in self._poll.poll(wait_s, 512):
                connection = self._connections.get(fd)
                if connection is not None:
                    self._serve_one(connection, happened)
                elif fd == listening:
                    self._accept()
                elif fd == 0 and not os.read(0, 4096):
                    return
            if self._due:
                self._answer_due()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[sock.fileno()] = _Connection(sock)
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def _serve_one(self, connection: _Connection, happened: int) -> None:
        try:
            if happened & select.EPOLLOUT:
                self._send_kept(connection)
            if not happened & ~select.EPOLLOUT:
                return
            read = connection.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            read = b""
        if not read:
            self._forget(connection)
            return
        inbox = connection.inbox + read if connection.inbox else read
        while (end := inbox.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(inbox, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(inbox) < whole:
                break
            self._answer(connection, inbox, end, whole)
            inbox = inbox[whole:]
        connection.inbox = inbox

    def _answer(self, connection: _Connection, inbox: bytes, end: int, whole: int) -> None:
        if inbox.startswith(b"GET /"):
            self._send(connection, self._told(inbox[5:end].split(b" ", 1)[0].decode()))
            return
        self._requests += 1
        if _STREAMED.search(inbox, end, whole):
            self._stream(connection)
        elif self._delay_s:
            self._later(time.monotonic() + self._delay_s, connection, _ANSWER)
        else:
            self._send(connection, _ANSWER)

    def _stream(self, connection: _Connection) -> None:
        if not self._interval_s:
            for piece in self._pieces:
                self._send(connection, piece)
            return
        now_s = time.monotonic()
        for number, piece in enumerate(self._pieces):
            self._later(now_s + number * self._interval_s, connection, piece)

    def _later(self, at_s: float, connection: _Connection, data: bytes) -> None:
        heapq.heappush(self._due, (at_s, next(self._number), connection, data))
        self._most_waiting = max(self._most_waiting, len(self._due))

    def _answer_due(self) -> None:
        now_s = time.monotonic()
        while self._due and self._due[0][0] <= now_s:
            _, _, connection, data = heapq.heappop(self._due)
            self._send(connection, data)

    def _send(self, connection: _Connection, data: bytes) -> None:
        """Sends, or keeps for when the socket has room again."""
        if not connection.outbox:
            try:
                data = data[connection.sock.send(data) :]
            except BlockingIOError:
                pass
            except OSError:  # gone: reading will tell
                return
            if not data:
                return
            self._poll.modify(connection.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        connection.outbox.append(data)

    def _send_kept(self, connection: _Connection) -> None:
        outbox = connection.outbox
        while outbox:
            sent = connection.sock.send(outbox[0])
            if sent < len(outbox[0]):
                outbox[0] = outbox[0][sent:]
                return
            outbox.popleft()
        self._poll.modify(connection.sock.fileno(), select.EPOLLIN)

    def _told(self, path: str) -> bytes:
        """The answer to a GET: figures, after the delay was changed if that was asked."""
        if path.startswith("delay/"):
            self._delay_s = float(path.removeprefix("delay/"))
        self._most_waiting = 0 if path.startswith("delay/") else self._most_waiting
        used = resource.getrusage(resource.RUSAGE_SELF)
        figures = {
            "pid": os.getpid(),
            "cores": sorted(os.sched_getaffinity(0)),
            "user_s": used.ru_utime,
            "system_s": used.ru_stime,
            "requests": self._requests,
            "connections": len(self._connections),
            "most_waiting": self._most_waiting,
        }
        body = json.dumps(figures).encode()
        return _HEAD % len(body) + body

    def _forget(self, connection: _Connection) -> None:
        fd = connection.sock.fileno()
        if self._connections.pop(fd, None) is not None:
            self._poll.unregister(fd)
            connection.sock.close()


def main() -> None:
    """Prints the port and serves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("delay_s", type=float, nargs="?", default=0.0, metavar="DELAY_S")
    parser.add_argument("--core", type=int, help="the core it keeps to")
    parser.add_argument("--events", type=int, default=400)
    parser.add_argument("--events-per-write", type=int, default=16)
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between the writes of a stream")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    server = Server(options)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    gc.disable()  # nothing here is a cycle
    server.serve()


if __name__ == "__main__":
    main()
