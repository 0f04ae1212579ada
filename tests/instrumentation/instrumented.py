"""What the tests of auto-instrumentation stand on: a watched process, its spans, servers that say what is wanted."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from genops_helicone_async import SessionSummary
from genops_helicone_async.instrumentation import Instrumentation, init, uninstrument
from genops_helicone_async.testing import SandboxGateway, awu_spans, validate_awu

MESSAGES: Any = [{"role": "user", "content": "Say hello"}]
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES}
STREAMED: dict[str, Any] = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
BEARER = {"Authorization": "Bearer openai-key"}


class Watched:
    """A process under watch: what was switched on, and the spans that came of it."""

    def __init__(self, instrumentation: Instrumentation, exporter: InMemorySpanExporter) -> None:
        self.on = instrumentation
        self._exporter = exporter

    @property
    def usage(self) -> SessionSummary:
        """What all calls came to."""
        return self.on.governance.get_usage_summary()

    def awus(self) -> list[ReadableSpan]:
        """The AWUs so far; every one of them complies."""
        units: list[ReadableSpan] = awu_spans(self._exporter.get_finished_spans())
        assert validate_awu(units) == ()
        return units


@contextmanager
def watching(gateway: SandboxGateway | None = None, **settings: Any) -> Iterator[Watched]:
    """Watches the process for as long as the block lasts, the sandbox's hosts among Helicone's."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False, resource=Resource({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    if gateway is not None:
        settings = {"gateway_url": gateway.url, "provider_urls": gateway.provider_urls, **settings}
    try:
        yield Watched(init(tracer_provider=provider, **settings), exporter)
    finally:
        uninstrument()


def billed_as(gateway: SandboxGateway, summary: SessionSummary) -> None:
    """The sums are the sandbox's own bill, to the last pico-dollar, and by model."""
    assert round(summary.total_cost * 1e12) == gateway.bill.total_pusd
    assert summary.request_count == len(gateway.bill)


class _Scripted(BaseHTTPRequestHandler):
    """Answers every POST as its server says."""

    protocol_version = "HTTP/1.1"
    server: "Scripted"

    def do_POST(self) -> None:
        """Reads the request whole, then answers."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in self.server.pieces:
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        if self.server.is_whole:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


class Scripted(ThreadingHTTPServer):
    """A server on a loopback port whose replies are given."""

    daemon_threads = True
    status = 200
    is_whole = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Scripted)
        self.headers: dict[str, str] = {"Content-Type": "application/json"}
        self.pieces: list[bytes] = []
        self.seen: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def scripted() -> Iterator[Scripted]:
    """A running `Scripted`."""
    server = Scripted()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
