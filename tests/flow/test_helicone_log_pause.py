"""Helicone's log, when it is away: in virtual time, for its waits are what is tested."""

import asyncio
import threading

from virtual_time import run_virtually

from genops_helicone_async._edges.helicone_log.engine import AT_ONCE, Engine
from genops_helicone_async._helicone_settings import LogTarget
from genops_helicone_async._rules.log_delivery import LogPolicy
from genops_helicone_async._secret import Secret
from genops_helicone_async._values import HttpReply, HttpRequest
from genops_helicone_async._wire.helicone_log import LoggedAttempt

ENTRY = LoggedAttempt(
    request_id="00000000-0000-4000-8000-000000000000", url="https://llm.example/v1/chat/completions", shape="openai",
    model="m", attribution={}, request_body=b"{}", status=200, started_s=1.5, ended_s=2.0, reply_body=b"{}",
)  # fmt: skip


class Scripted:
    """A sender on a loop of jumping time: refuses so many, then takes the rest, and notes when each came."""

    def __init__(self, refused: int, entries: int) -> None:
        self._refused = refused
        self._left = entries
        self.came_s: list[float] = []
        self.done = asyncio.Event()

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        self.came_s.append(asyncio.get_running_loop().time())
        if len(self.came_s) <= self._refused:
            return HttpReply(status=503, headers={}, body=b"")
        self._left -= 1
        if not self._left:
            self.done.set()
        return HttpReply(status=200, headers={}, body=b"ok")

    async def aclose(self) -> None:
        """Nothing is open."""


def test_a_failure_pauses_all() -> None:
    """A few fail at once; then nobody is sent until the wait is over, not even those that were never tried."""

    async def run() -> tuple[list[float], int, int]:
        loop = asyncio.get_running_loop()
        sender = Scripted(AT_ONCE, 20)
        engine = Engine(
            LogTarget(url="http://127.0.0.1/log", key=Secret("key")), lambda: sender, LogPolicy(), loop.time,
            lambda: 0.5, timeout_s=10.0, flush_s=5.0,
        )  # fmt: skip
        engine._thread = threading.current_thread()  # the loop of this test takes the thread's place
        for _ in range(20):
            engine.put(ENTRY)
        main = asyncio.create_task(engine._main())
        await sender.done.wait()
        started_s = sender.came_s[0]
        while engine.waiting:
            await asyncio.sleep(0)
        left = engine.waiting_bytes
        engine.stop()
        await main
        return [round(came_s - started_s, 3) for came_s in sender.came_s], left, engine.logged

    (came_s, left, logged), _ = run_virtually(run())
    assert came_s == [0.0] * AT_ONCE + [0.75] * 20
    assert (left, logged) == (0, 20)
