"""The log's courier: what is tried again and what is not, what is kept while it waits, and how it ends."""

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from genops_helicone_async._edges.helicone_log import LogCourier
from genops_helicone_async._edges.helicone_log.engine import AT_ONCE, MOST_ENTRIES
from genops_helicone_async._edges.http import HttpTransport
from genops_helicone_async._helicone_settings import LogTarget
from genops_helicone_async._rules.log_delivery import Dropped, Later, Logged, LogPolicy, after_log_attempt
from genops_helicone_async._secret import Secret
from genops_helicone_async._wire.helicone_log import LoggedAttempt
from loopback import Exchange, LoopbackServer

pytestmark = pytest.mark.anyio

KEY = "opaqueword1234"
SOON = LogPolicy(base_s=0.001)


def entry(number: int = 0, body: bytes = b"{}") -> LoggedAttempt:
    """An attempt to be told."""
    return LoggedAttempt(
        request_id=f"00000000-0000-4000-8000-{number:012d}", url="https://llm.example/v1/chat/completions",
        shape="openai", model="m", attribution={}, request_body=body, status=200, started_s=1.5, ended_s=2.0,
        reply_body=b'{"ok":true}',
    )  # fmt: skip


def courier(server: LoopbackServer, **settings: Any) -> LogCourier:
    """A courier to that server, in real time."""
    target = LogTarget(url=f"{server.url}/log", key=Secret(KEY))
    given = {"random": lambda: 0.5, "policy": SOON, **settings}
    return LogCourier(target, lambda: HttpTransport(max_response_bytes=10_000), **given)


class Receiver:
    """Answers by a script, then `ok`, and says when so many have come."""

    def __init__(self, *script: tuple[int, bytes], until: int) -> None:
        self._script = list(script)
        self._until = until
        self.ids: list[str] = []
        self.all_came = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        told: Any = exchange.json
        self.ids.append(told["providerRequest"]["meta"]["Helicone-Request-Id"][-1])
        status, body = self._script.pop(0) if self._script else (200, b"ok")
        await exchange.reply(status, body)
        if len(self.ids) >= self._until:
            self.all_came.set()


FAILS = pytest.mark.parametrize(
    "failure", [(200, b'{"error": "logging failed"}'), (500, b"oh"), (429, b"{}"), (503, b""), (401 + 7, b"")]
)


@FAILS
async def test_a_failure_that_may_pass_is_tried_again(failure: tuple[int, bytes]) -> None:
    """A log that failed is told with a 200, too; each is tried again until it is taken."""
    receiver = Receiver(failure, failure, until=3)
    async with LoopbackServer(receiver) as server:
        log = courier(server)
        log.put(entry(7))
        await receiver.all_came.wait()
        await log.aclose()
    told = log.statistics()
    assert receiver.ids == ["7"] * 3
    assert (told.logged, told.failed_deliveries, told.dropped, told.waiting, told.failing) == (1, 2, 0, 0, None)


@pytest.mark.parametrize("status", [400, 401, 403, 413, 422])
async def test_what_is_wrong_for_good_is_dropped(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """What Helicone calls wrong is not told again; that is said once, and without the key."""
    refusal = (status, f'{{"error": "not {KEY}"}}'.encode())
    receiver = Receiver(refusal, refusal, until=2)
    async with LoopbackServer(receiver) as server:
        log = courier(server)
        with caplog.at_level(logging.WARNING):
            log.put(entry(1))
            log.put(entry(2))
            await receiver.all_came.wait()
            await log.aclose()
    told = log.statistics()
    assert (sorted(receiver.ids), told.logged, told.dropped, told.waiting) == (["1", "2"], 0, 2, 0)
    assert len([line for line in caplog.messages if "is not in Helicone's log" in line]) == 1
    assert KEY not in caplog.text + repr(told)


async def test_while_one_fails_the_others_wait() -> None:
    """A log that is away is asked for one entry after another, not for all of them at once, and loses none."""
    receiver = Receiver(*[(503, b"")] * 3, until=MANY + 3)
    async with LoopbackServer(receiver) as server:
        log = courier(server)
        for number in range(MANY):
            log.put(entry(number))
        await receiver.all_came.wait()
        await log.aclose()
    assert (log.statistics().logged, log.statistics().dropped) == (MANY, 0)
    assert len(receiver.ids) == MANY + 3


MANY = 40


async def test_few_go_at_once() -> None:
    """No more connections than a few, however many wait."""
    open_now, most, release, full = 0, 0, asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        if open_now == AT_ONCE:
            full.set()
        await release.wait()
        open_now -= 1
        await exchange.reply(200, b"ok")

    async with LoopbackServer(handle) as server:
        log = courier(server)
        for number in range(3 * AT_ONCE):
            log.put(entry(number))
        await full.wait()
        release.set()
        await log.aclose()
    assert (most, log.statistics().logged) == (AT_ONCE, 3 * AT_ONCE)


async def test_what_waits_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """So many entries and so many bytes; what is too much is dropped at once, counted, and said once by reason."""

    async def hang(exchange: Exchange) -> None:
        await exchange.gone()

    async with LoopbackServer(hang) as server:
        log = courier(server, flush_s=0.01)
        with caplog.at_level(logging.WARNING):
            log.put(entry(body=b'"' + b"x" * 11 * 2**20 + b'"'))
            for number in range(MOST_ENTRIES + 5):
                log.put(entry(number))
        told = log.statistics()
        assert (told.waiting, told.dropped) == (MOST_ENTRIES, 6)
        assert len(caplog.messages) == 2
        await log.aclose()
    other = courier(server, flush_s=0.01)
    for _ in range(9):
        other.put(entry(body=b'"' + b"x" * 9 * 2**20 + b'"'))
    assert (other.statistics().waiting, other.statistics().dropped) == (7, 2)
    assert other.statistics().waiting_bytes < 64 * 2**20
    await other.aclose()
    assert other.statistics().waiting_bytes == 0


async def test_what_waits_is_told_at_the_end() -> None:
    """`aclose` goes on telling; afterwards nothing is taken, and closing again is no error."""
    receiver = Receiver(until=1)
    async with LoopbackServer(receiver) as server:
        log = courier(server)
        for number in range(30):
            log.put(entry(number))
        await log.aclose()
        assert (log.statistics().logged, log.statistics().dropped) == (30, 0)
        log.put(entry())
        await log.aclose()
    assert (len(receiver.ids), log.statistics().dropped) == (30, 1)


async def test_an_entry_that_is_no_json_stops_nobody() -> None:
    """A value that no header carries cannot be told; the next entry is."""
    receiver = Receiver(until=1)
    bad = msgspec.structs.replace(entry(), attribution={"": "x"})
    async with LoopbackServer(receiver) as server:
        log = courier(server)
        log.put(bad)
        log.put(entry(3))
        await receiver.all_came.wait()
        await log.aclose()
    assert (receiver.ids, log.statistics().logged, log.statistics().dropped) == (["3"], 1, 1)


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        ({"status": 200}, Logged()),
        ({"status": 200, "error": "no"}, Later(0.75)),
        ({"status": None, "error": "no connection"}, Later(0.75)),
        ({"status": 429, "error": "x", "retry_after_s": 20.0}, Later(20.0)),
        ({"status": 429, "error": "x", "retry_after_s": 9e9}, Later(300.0)),
        ({"status": 500, "error": "x", "attempts": 4}, Later(6.0)),
        ({"status": 500, "error": "x", "attempts": 7}, Later(45.0)),
        ({"status": 500, "error": "x", "attempts": 8}, Dropped("x, 8 times")),
        ({"status": 400, "error": "x"}, Dropped("x")),
        ({"status": 408, "error": "x"}, Later(0.75)),
        ({"status": 302, "error": "x"}, Later(0.75)),
    ],
)
def test_what_becomes_of_an_entry(facts: dict[str, Any], step: object) -> None:
    """Waits double to a minute, a wish of the log is honoured up to five, and the eighth failure is the last."""
    given = {"error": None, "retry_after_s": None, "attempts": 1, **facts}
    assert after_log_attempt(LogPolicy(), random=0.5, **given) == step
