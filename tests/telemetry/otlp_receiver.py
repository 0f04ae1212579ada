"""A collector's endpoint: takes OTLP over HTTP, decodes the protobuf, and keeps what came."""

from __future__ import annotations

from typing import Any, Self

from aiohttp import web
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PROTOBUF = "application/x-protobuf"


class OtlpReceiver:
    """Listens on a free loopback port; `metrics` has the latest value of each series, `spans` all that came."""

    def __init__(self) -> None:
        self.url = ""
        self.refused: list[str] = []
        self.metrics: dict[str, dict[frozenset[tuple[str, Any]], Any]] = {}
        self.kinds: dict[str, str] = {}
        self.spans: list[Any] = []

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/metrics", self._take_metrics)
        app.router.add_post("/v1/traces", self._take_traces)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()

    def total(self, name: str) -> float:
        """The sum of a metric over every label set."""
        return sum(self.metrics[name].values())

    async def _take_metrics(self, request: web.Request) -> web.Response:
        message = await self._decoded(request, ExportMetricsServiceRequest())
        for resource in message.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    kind = self.kinds[metric.name] = str(metric.WhichOneof("data"))
                    found = self.metrics.setdefault(metric.name, {})
                    for point in getattr(metric, kind).data_points:
                        found[frozenset(plain(point.attributes).items())] = value_of(point)
        return answer(ExportMetricsServiceResponse())

    async def _take_traces(self, request: web.Request) -> web.Response:
        message = await self._decoded(request, ExportTraceServiceRequest())
        self.spans += [
            span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans
        ]
        return answer(ExportTraceServiceResponse())

    async def _decoded(self, request: web.Request, message: Any) -> Any:
        if request.content_type != PROTOBUF:
            self.refused.append(request.content_type)
            raise web.HTTPUnsupportedMediaType
        try:
            message.ParseFromString(await request.read())
        except DecodeError as exc:
            self.refused.append(str(exc))
            raise web.HTTPBadRequest from exc
        return message


def value_of(point: Any) -> Any:
    """A number, or a histogram's point."""
    if not hasattr(point, "as_double"):
        return point
    return point.as_double if point.WhichOneof("value") == "as_double" else point.as_int


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes as Python has them."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def answer(message: Message) -> web.Response:
    """An answer as the protocol wants it."""
    return web.Response(body=message.SerializeToString(), content_type=PROTOBUF)
