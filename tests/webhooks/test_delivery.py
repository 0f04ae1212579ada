"""The courier: what a receiver gets, what is tried again and when, what is dropped, and how it ends."""

import asyncio
import base64
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from genops_helicone_async import ConfigurationError
from genops_helicone_async._edges.http import HttpTransport
from genops_helicone_async._edges.webhooks import Courier, MemoryOutbox, Outbox, Receiver
from genops_helicone_async._edges.webhooks.outbox_file import FileOutbox
from genops_helicone_async._rules.webhook_retry import Again, Delivered, DeliveryPolicy, GivenUp, after_attempt
from genops_helicone_async._wire.webhooks import Alert, alert, signing_key
from loopback import Exchange, LoopbackServer

pytestmark = pytest.mark.anyio

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
QUICK = DeliveryPolicy(base_s=0.001, cap_s=0.002)
SLOW = DeliveryPolicy(base_s=3000, cap_s=3000)


def courier(outbox: Outbox | None = None, policy: DeliveryPolicy = QUICK, **settings: Any) -> Courier:
    """A courier that posts through the real transport."""
    outbox = MemoryOutbox() if outbox is None else outbox
    return Courier(
        outbox, lambda: HttpTransport(max_response_bytes=1024), random=lambda: 0.0, policy=policy, **settings
    )


def told(number: int = 1, channel: Any = "cost", created_s: float | None = None) -> Alert:
    """An alert."""
    now_s = time.time() if created_s is None else created_s
    return alert(f"msg_{number}", channel, "high_cost", {"number": number}, now_s)


def answering(*statuses: int, headers: dict[str, str] | None = None) -> Callable[[Exchange], Any]:
    """A handler that answers with these statuses, the last one for ever."""
    left = list(statuses)

    async def handler(exchange: Exchange) -> None:
        status = left.pop(0) if len(left) > 1 else left[0]
        await exchange.reply(status, b"{}", headers if status >= 300 else None)

    return handler


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    """A receiver that takes everything."""
    async with LoopbackServer(answering(200)) as running:
        yield running


async def test_a_delivery_is_signed_as_standard_webhooks_do(server: LoopbackServer) -> None:
    """The project's own library verifies id, timestamp and body, and refuses a changed body."""
    sender = courier()
    sender.aim({"cost": Receiver(url=f"{server.url}/cost?token=1", key=signing_key(SECRET))})
    sender.put(told(7))
    await server.until(lambda: len(server.exchanges) == 1)
    await sender.aclose()
    (got,) = server.exchanges
    assert (got.method, got.path, got.headers["content-type"]) == ("POST", "/cost?token=1", "application/json")
    verified = Webhook(SECRET).verify(got.body, got.headers)
    assert (verified["type"], verified["data"]) == ("high_cost", {"number": 7})
    assert datetime.fromisoformat(verified["timestamp"]).utcoffset() is not None
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body.replace(b"7", b"8"), got.headers)
    assert (sender.statistics().delivered, sender.statistics().waiting) == (1, 0)


async def test_without_a_secret_there_is_no_signature(server: LoopbackServer) -> None:
    """The id and the timestamp are there all the same, so that a receiver knows repeats."""
    sender = courier()
    sender.aim({"cost": Receiver(url=server.url)})
    sender.put(told(1))
    await server.until(lambda: len(server.exchanges) == 1)
    await sender.aclose()
    headers = server.exchanges[0].headers
    assert headers["webhook-id"] == "msg_1"
    assert "webhook-signature" not in headers
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


@pytest.mark.parametrize("secret", ["", "my secret", "whsec_" + base64.b64encode(bytes(23)).decode(), "ä"])
def test_a_bad_secret_is_refused_and_not_quoted(secret: str) -> None:
    """Too short or no base64: the error says how to make one."""
    with pytest.raises(ConfigurationError) as refused:
        signing_key(secret)
    assert "os.urandom(32)" in refused.value.message
    assert not secret or secret not in refused.value.message


async def test_a_failed_delivery_is_tried_again_with_the_same_id(caplog: pytest.LogCaptureFixture) -> None:
    """Until the receiver takes it; the failure is told once."""
    async with LoopbackServer(answering(500, 503, 302, 404, 200)) as server:
        sender = courier()
        sender.aim({"cost": Receiver(url=f"{server.url}/secret-path")})
        sender.put(told())
        await server.until(lambda: len(server.exchanges) == 5)
        await sender.aclose()
    assert {exchange.headers["webhook-id"] for exchange in server.exchanges} == {"msg_1"}
    statistics = sender.statistics()
    assert (statistics.delivered, statistics.failed_attempts, statistics.dropped) == (1, 4, 0)
    assert statistics.failing == {}
    assert [record.getMessage() for record in caplog.records] == [
        f"the cost webhook at 127.0.0.1:{server.port} failed, its alerts are kept: it answered 500"
    ]


@pytest.mark.parametrize(
    "facts, step",
    [
        ({"status": 200}, Delivered()),
        ({"status": 299}, Delivered()),
        ({"status": 410}, GivenUp("the receiver answered 410, it wants no more")),
        ({"status": 500}, Again(1.0)),
        ({"status": 500, "random": 0.5}, Again(0.75)),
        ({"status": 500, "attempts": 4}, Again(8.0)),
        ({"status": None, "attempts": 1000}, Again(300.0)),
        ({"status": 429, "retry_after_s": 40.0}, Again(40.0)),
        ({"status": 429, "retry_after_s": 0.1}, Again(1.0)),
        ({"status": 429, "retry_after_s": 1e6}, Again(3600.0)),
        ({"status": 500, "age_s": 24 * 3600}, GivenUp("not delivered within 24 hours")),
    ],
)
def test_what_follows_an_attempt(facts: dict[str, Any], step: object) -> None:
    """Waits double up to five minutes, Retry-After is honoured up to an hour, a day is the end."""
    given: dict[str, Any] = {"retry_after_s": None, "attempts": 1, "age_s": 0.0, "random": 0.0, **facts}
    assert after_attempt(DeliveryPolicy(), **given) == step


async def test_retry_after_is_waited_for() -> None:
    """The alert is due again when the receiver said, not before."""
    outbox = MemoryOutbox()
    async with LoopbackServer(answering(429, headers={"Retry-After": "1000"})) as server:
        sender = courier(outbox, flush_s=0.0)
        sender.aim({"cost": Receiver(url=server.url)})
        sender.put(told())
        await server.until(lambda: len(server.exchanges) == 1)
        while sender.statistics().failed_attempts == 0:
            await asyncio.sleep(0)
        due_s = outbox.next_due_s(["cost"])
        assert due_s is not None
        assert 990 < due_s - time.time() <= 1000
        await sender.aclose()


async def test_one_slow_receiver_does_not_hold_up_another() -> None:
    """A channel whose receiver never answers leaves the other channel alone."""

    async def handler(exchange: Exchange) -> None:
        if exchange.path == "/dead":
            await exchange.gone()
        await exchange.reply(200)

    async with LoopbackServer(handler) as server:
        sender = courier(flush_s=0.0)
        sender.aim({"cost": Receiver(url=f"{server.url}/dead"), "performance": Receiver(url=f"{server.url}/alive")})
        sender.put(told(1))
        await server.until(lambda: len(server.exchanges) == 1)
        for number in range(2, 12):
            sender.put(told(number, "performance"))
        await server.until(lambda: len(server.exchanges) == 11)
        await sender.aclose()
    assert [exchange.path for exchange in server.exchanges] == ["/dead", *["/alive"] * 10]
    assert sender.statistics().dropped == 1


async def test_a_receiver_that_wants_no_more_is_believed(caplog: pytest.LogCaptureFixture) -> None:
    """410 ends the alert; it is counted as dropped and told."""
    async with LoopbackServer(answering(410)) as server:
        sender = courier()
        sender.aim({"cost": Receiver(url=server.url)})
        sender.put(told())
        await server.until(lambda: len(server.exchanges) == 1)
        await sender.aclose()
    assert (sender.statistics().dropped, len(server.exchanges)) == (1, 1)
    assert "1 alert(s) dropped, 1 so far" in caplog.messages[-1]
    assert "it wants no more" in caplog.messages[-1]


async def test_a_full_outbox_drops_and_tells_once(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond its bound alerts are dropped, counted, and told once."""
    sender = courier(MemoryOutbox(most=3), flush_s=0.0)
    for number in range(10):
        sender.put(told(number))
    await sender.aclose()
    assert (sender.statistics().dropped, sender.statistics().waiting) == (10, 0)
    assert caplog.messages == [
        "1 alert(s) dropped, 1 so far: the outbox is full, its receiver has been away for too long",
        "3 alert(s) dropped, 10 so far: not delivered before the adapter was closed",
    ]


async def test_closing_tries_once_more_what_waits() -> None:
    """Also what is not due yet; then it is dropped and told."""
    async with LoopbackServer(answering(500, 500, 200)) as server:
        sender = courier(policy=SLOW)
        sender.aim({"cost": Receiver(url=server.url)})
        sender.put(told(1))
        await server.until(lambda: len(server.exchanges) == 1)
        while sender.statistics().failed_attempts == 0:
            await asyncio.sleep(0)
        sender.put(told(2))
        await server.until(lambda: len(server.exchanges) == 2)
        await sender.aclose()
    ids = [exchange.headers["webhook-id"] for exchange in server.exchanges]
    assert ids[:2] == ["msg_1", "msg_2"]
    assert sorted(ids[2:]) in (["msg_1"], ["msg_1", "msg_2"])
    statistics = sender.statistics()
    assert statistics.delivered + statistics.dropped == 2
    assert statistics.delivered >= 1


async def test_closing_is_bounded_and_can_be_repeated() -> None:
    """A receiver that never answers does not keep a closing adapter beyond its bound."""

    async def handler(exchange: Exchange) -> None:
        await exchange.gone()

    async with LoopbackServer(handler) as server:
        sender = courier(flush_s=0.05, timeout_s=1000)
        sender.aim({"cost": Receiver(url=server.url)})
        sender.put(told())
        await server.until(lambda: len(server.exchanges) == 1)
        await sender.aclose()
        await sender.aclose()
    assert sender.statistics().dropped == 1
    sender.put(told())
    assert sender.statistics().dropped == 2


async def test_an_alert_survives_a_restart(tmp_path: Path) -> None:
    """What could not be delivered stays in the file, and the next process delivers it once it knows a receiver."""
    path = tmp_path / "ledger.db.outbox"
    async with LoopbackServer(answering(500)) as dead:
        first = courier(FileOutbox(path), SLOW)
        first.aim({"cost": Receiver(url=f"{dead.url}/token-in-path", key=signing_key(SECRET))})
        first.put(told(1))
        await dead.until(lambda: len(dead.exchanges) == 1)
        await first.aclose()
    assert (first.statistics().dropped, first.statistics().waiting) == (0, 1)
    stored = path.read_bytes()
    assert b"token-in-path" not in stored
    assert signing_key(SECRET) not in stored
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE outbox SET due_s = 0")
    connection.close()
    async with LoopbackServer(answering(200)) as alive:
        second = courier(FileOutbox(path))
        second.aim({"cost": Receiver(url=alive.url)})
        await alive.until(lambda: len(alive.exchanges) == 1)
        await second.aclose()
    assert alive.exchanges[0].headers["webhook-id"] == "msg_1"
    with contextlib.closing(FileOutbox(path)) as left:
        assert len(left) == 0


async def test_an_alert_under_way_at_the_end_is_free_for_the_next_process(tmp_path: Path) -> None:
    """Closing in the middle of a delivery gives the alert back to the file, due as it was."""
    path = tmp_path / "outbox"

    async def never(exchange: Exchange) -> None:
        await exchange.gone()

    async with LoopbackServer(never) as server:
        sender = courier(FileOutbox(path), flush_s=0.0, timeout_s=1000)
        sender.aim({"cost": Receiver(url=server.url)})
        sender.put(told(1, created_s=time.time()))
        await server.until(lambda: len(server.exchanges) == 1)
        await sender.aclose()
    next_one = FileOutbox(path)
    now_s = time.time()
    assert next_one.take("cost", now_s, due_by_s=now_s, besides=()) is not None
    next_one.close()


def test_two_processes_do_not_take_the_same_alert(tmp_path: Path) -> None:
    """Who takes an alert has it for a while; when that is over, the other may."""
    path = tmp_path / "outbox"
    one, two = FileOutbox(path), FileOutbox(path)
    assert one.add(told(1, created_s=100.0))
    assert one.add(told(1, created_s=100.0))  # the same again is no second one
    assert len(two) == 1
    taken = one.take("cost", 100.0, due_by_s=100.0, besides=())
    assert taken is not None
    assert two.take("cost", 100.0, due_by_s=100.0, besides=()) is None
    assert two.next_due_s(["cost"]) == 160.0
    assert two.take("performance", 160.0, due_by_s=160.0, besides=()) is None
    again = two.take("cost", 160.0, due_by_s=160.0, besides=())
    assert again is not None
    assert again.alert == taken.alert
    again.due_s, again.attempts = 200.0, 2
    two.put_back(again)
    assert one.next_due_s(["cost"]) == 200.0
    assert one.take("cost", 200.0, due_by_s=200.0, besides=["msg_1"]) is None
    later = one.take("cost", 200.0, due_by_s=200.0, besides=["msg_2"])
    assert later is not None
    assert later.attempts == 2
    one.remove("msg_1")
    assert len(two) == 0
    one.close()
    two.close()


async def test_a_file_that_cannot_be_used_is_no_reason_to_lose_an_alert(
    server: LoopbackServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no outbox to be had on the disk, alerts wait in memory, which is told once."""
    sender = courier(FileOutbox(tmp_path / "nowhere" / "outbox"))
    sender.aim({"cost": Receiver(url=server.url)})
    for number in range(3):
        sender.put(told(number))
    await server.until(lambda: len(server.exchanges) == 3)
    await sender.aclose()
    assert sender.statistics().delivered == 3
    assert len([message for message in caplog.messages if "alerts are kept in memory" in message]) == 1


async def test_an_abandoned_courier_ends_its_thread(server: LoopbackServer) -> None:
    """Nobody has to close it: when it is gone, what waits is delivered and the thread ends."""
    sender = courier()
    engine = sender._engine
    sender.aim({"cost": Receiver(url=server.url)})
    sender.put(told())
    del sender
    thread = engine._thread
    assert thread is not None
    await asyncio.to_thread(thread.join)
    assert engine.delivered == 1


def test_nothing_shows_more_than_the_host() -> None:
    """Many a webhook's URL is a secret, as the signing key is."""
    sender = courier()
    sender.aim({"cost": Receiver(url="https://hooks.example/T0/B0/XXX?key=abc", key=b"k" * 32)})
    shown = f"{sender!r} {sender._engine.receivers!r} {sender.statistics()!r}"
    assert "hooks.example" in shown
    assert "T0" not in shown
    assert "abc" not in shown
    assert "kkk" not in shown


def test_the_body_is_plain_json() -> None:
    """Type, timestamp and data, as Standard Webhooks recommend."""
    body = msgspec.json.decode(alert("i", "cost", "high_cost", {"spent": 1.5}, 0.0).body)
    assert body == {"type": "high_cost", "timestamp": "1970-01-01T00:00:00Z", "data": {"spent": 1.5}}


def test_quiet_without_anybody_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    """A courier that is never used starts no thread and says nothing."""
    with caplog.at_level(logging.DEBUG):
        sender = courier()
        assert sender._engine._thread is None
        assert repr(sender) == "Courier(nobody, 0 waiting, 0 delivered, 0 dropped)"
    assert caplog.messages == []


async def test_a_body_without_end_does_not_matter() -> None:
    """The status says it all: what else a receiver has to say is not waited for."""

    async def handler(exchange: Exchange) -> None:
        await exchange.head(200, {"Content-Length": "1000000"})
        await exchange.gone()

    async with LoopbackServer(handler) as server:
        sender = courier(timeout_s=1000)
        sender.aim({"cost": Receiver(url=server.url)})
        sender.put(told())
        await sender.aclose()
    assert (sender.statistics().delivered, sender.statistics().failed_attempts) == (1, 0)
