"""The sandbox gateway: test code that talks to Helicone without Helicone, without keys, and with a bill to check."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._helicone.records import LoggedCall
    from .awu import Violation, awu_spans, validate_awu, validate_metrics
    from .bill import Bill, BillRow
    from .faults import Fault, FaultKind, FaultPlan
    from .gateway import DEFAULT_KEY, SandboxGateway, serve_forever
    from .request_log import SeenRequest
    from .scripted import ScriptedTransport
    from .server import SandboxStatistics

__all__ = [
    "DEFAULT_KEY",
    "Bill",
    "BillRow",
    "Fault",
    "FaultKind",
    "FaultPlan",
    "LoggedCall",
    "SandboxGateway",
    "SandboxStatistics",
    "ScriptedTransport",
    "SeenRequest",
    "Violation",
    "awu_spans",
    "serve_forever",
    "validate_awu",
    "validate_metrics",
]

_HOMES = {
    "DEFAULT_KEY": "gateway",
    "Bill": "bill",
    "BillRow": "bill",
    "Fault": "faults",
    "FaultKind": "faults",
    "FaultPlan": "faults",
    "LoggedCall": "_helicone.records",
    "SandboxGateway": "gateway",
    "SandboxStatistics": "server",
    "ScriptedTransport": "scripted",
    "SeenRequest": "request_log",
    "Violation": "awu",
    "awu_spans": "awu",
    "serve_forever": "gateway",
    "validate_awu": "awu",
    "validate_metrics": "awu",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
