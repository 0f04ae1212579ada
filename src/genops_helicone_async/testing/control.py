"""The control interface under `/__sandbox__/`: read bill and requests, script faults, from any language."""

from collections.abc import Callable
from typing import Any

import msgspec

from .bill import Bill
from .exchange import Arrival, Reply, json_reply, text_reply
from .faults import Fault, FaultPlan
from .request_log import SeenRequest

PREFIX = "/__sandbox__"

_PATHS = {
    "GET /__sandbox__/": "this page",
    "GET /__sandbox__/bill": "the bill; ?rows=1 lists its rows",
    "GET /__sandbox__/requests": "what was asked, secrets hidden; ?last=N, ?bodies=1",
    "GET /__sandbox__/statistics": "counters",
    "GET /__sandbox__/faults": "the faults in force",
    "POST /__sandbox__/faults": "add a fault, or a list of them",
    "DELETE /__sandbox__/faults": "clear faults, outages and hidden limits",
    "POST /__sandbox__/down": '{"provider": "openai", "for_s": 5}',
    "POST /__sandbox__/up": '{"provider": "openai"}',
    "POST /__sandbox__/limits": '{"provider": "openai", "requests_per_minute": 60, "burst": 5}',
    "POST /__sandbox__/reset": "forget bill, requests, faults and caches",
}


class _Outage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider: str
    for_s: float | None = None


class _Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider: str
    requests_per_minute: float
    burst: int = 1


class Control:
    """Answers the control interface."""

    __slots__ = ("_bill", "_faults", "_places", "_requests", "_reset", "_statistics")

    def __init__(
        self,
        *,
        bill: Bill,
        faults: FaultPlan,
        requests: Callable[[], tuple[SeenRequest, ...]],
        statistics: Callable[[], Any],
        reset: Callable[[], None],
        places: Callable[[], dict[str, Any]],
    ) -> None:
        self._bill = bill
        self._faults = faults
        self._requests = requests
        self._statistics = statistics
        self._reset = reset
        self._places = places

    def answer(self, arrival: Arrival) -> Reply:
        """Answer one request."""
        name = arrival.path.removeprefix(PREFIX).strip("/")
        try:
            found = self._read(name, arrival) if arrival.method == "GET" else self._change(name, arrival)
        except (ValueError, msgspec.DecodeError) as error:
            return json_reply({"error": str(error)}, 400)
        return json_reply(found) if found is not None else text_reply(404, "No such control; see /__sandbox__/")

    def _read(self, name: str, arrival: Arrival) -> Any:
        if name == "":
            return {"controls": _PATHS, **self._places()}
        if name == "bill":
            return self._shown_bill(with_rows=arrival.query.get("rows") == "1")
        if name == "requests":
            rows = self._requests()[-int(arrival.query.get("last", 1000)) :]
            return [_shown_request(row, with_body=arrival.query.get("bodies") == "1") for row in rows]
        if name == "statistics":
            return self._statistics()
        return list(self._faults) if name == "faults" else None

    def _change(self, name: str, arrival: Arrival) -> Any:
        if arrival.method == "DELETE" and name == "faults":
            self._faults.clear()
        elif name == "faults":
            faults = msgspec.json.decode(arrival.body, type=Fault | list[Fault])
            self._faults.add(*([faults] if isinstance(faults, Fault) else faults))
        elif name == "down":
            outage = msgspec.json.decode(arrival.body, type=_Outage)
            self._faults.down(outage.provider, outage.for_s)
        elif name == "up":
            self._faults.up(msgspec.json.decode(arrival.body, type=_Outage).provider)
        elif name == "limits":
            limit = msgspec.json.decode(arrival.body, type=_Limit)
            self._faults.set_hidden_limit(limit.provider, limit.requests_per_minute, limit.burst)
        elif name == "reset":
            self._reset()
        else:
            return None
        return {"ok": True}

    def _shown_bill(self, *, with_rows: bool) -> dict[str, Any]:
        bill = self._bill
        shown: dict[str, Any] = {
            "total_pusd": bill.total_pusd,
            "total_usd": bill.total_usd,
            "gateway_fee_pusd": bill.gateway_fee_pusd,
            "replies": len(bill),
            "by_provider": bill.by_provider,
            "by_model": bill.by_model,
        }
        return {**shown, "rows": bill.rows} if with_rows else shown


def _shown_request(row: SeenRequest, *, with_body: bool) -> dict[str, Any]:
    shown = msgspec.structs.asdict(row)
    shown["headers"] = row.headers.redacted()
    shown["body"] = row.body.decode("utf-8", "replace") if with_body else len(row.body)
    return shown
