"""Requests that are asked while others are on their way: sent together when the loop's turn ends, or not at all."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from genops_helicone_async import GatewayError
from genops_helicone_async._edges.http import HttpTransport
from genops_helicone_async._values import HttpReply, HttpRequest
from loopback import Exchange, LoopbackServer

pytestmark = pytest.mark.anyio

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
ON_THEIR_WAY = 3


class Busy:
    """A transport with idle lines, and three requests that are not answered before `let_go` is set."""

    def __init__(self) -> None:
        self.transport = HttpTransport(max_response_bytes=1000)
        self.server = LoopbackServer(self.handle)
        self.let_go = asyncio.Event()
        self.last: Exchange
        self.held: list[asyncio.Task[HttpReply]]

    async def handle(self, exchange: Exchange) -> None:
        if exchange.path == "/held":
            await self.let_go.wait()
        await exchange.write(FINE)
        self.last = exchange

    def request(self, path: str = "/quick") -> HttpRequest:
        return HttpRequest(method="POST", url=self.server.url + path, headers={}, body=b"{}")

    async def send(self, request: HttpRequest) -> HttpReply:
        return await self.transport.send(request, asyncio.get_running_loop().time() + 20)

    def begin(self, count: int, path: str = "/quick") -> tuple[list[HttpRequest], list[asyncio.Task[HttpReply]]]:
        requests = [self.request(path) for _ in range(count)]
        return requests, [asyncio.create_task(self.send(request)) for request in requests]


@pytest.fixture
async def busy() -> AsyncIterator[Busy]:
    """Three requests on their way, four idle lines, the last of which was used for `last`."""
    made = Busy()
    async with made.server:
        _, warming = made.begin(ON_THEIR_WAY + 4, "/held")
        await made.server.until(lambda: len(made.server.exchanges) == len(warming))
        made.let_go.set()
        await asyncio.gather(*warming)
        made.let_go.clear()
        _, made.held = made.begin(ON_THEIR_WAY, "/held")
        await made.server.until(lambda: len(made.server.exchanges) == len(warming) + ON_THEIR_WAY)
        await made.send(made.request())
        made.server.exchanges.clear()
        yield made
        made.let_go.set()
        await asyncio.gather(*made.held, return_exceptions=True)
        await made.transport.aclose()


async def test_all_of_one_turn_go_out_when_it_ends(busy: Busy) -> None:
    """None before the last was asked, all before the next turn's end, and each gets its reply on an open line."""
    connections = busy.server.connections
    requests, tasks = busy.begin(4)
    await asyncio.sleep(0)  # all of them have asked
    assert [request.sent for request in requests] == [False] * 4
    await asyncio.sleep(0)
    assert [request.sent for request in requests] == [True] * 4
    assert [reply.body for reply in await asyncio.gather(*tasks)] == [b"fine"] * 4
    assert (len(busy.server.exchanges), busy.server.connections) == (4, connections)
    busy.let_go.set()
    assert [reply.body for reply in await asyncio.gather(*busy.held)] == [b"fine"] * ON_THEIR_WAY


async def test_with_few_on_their_way_a_request_goes_out_at_once() -> None:
    """A turn of the loop more would be dearer than what it saves."""
    busy = Busy()
    async with busy.server:
        await busy.send(busy.request())
        (request,), (task,) = busy.begin(1)
        await asyncio.sleep(0)
        assert request.sent
        assert (await task).body == b"fine"
        await busy.transport.aclose()


async def test_a_call_that_is_given_up_within_the_turn_was_never_sent(busy: Busy) -> None:
    """So that it cannot have cost anything; its neighbours are sent."""
    requests, tasks = busy.begin(3)
    await asyncio.sleep(0)
    tasks[1].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result).__name__ for result in done] == ["HttpReply", "CancelledError", "HttpReply"]
    assert [request.sent for request in requests] == [True, False, True]
    assert len(busy.server.exchanges) == 2


async def test_bytes_that_come_before_the_request_is_out_are_no_reply_to_it(busy: Busy) -> None:
    """They were on the line already: the request goes out on another one."""
    (request,), (task,) = busy.begin(1)
    await busy.last.write(FINE.replace(b"fine", b"evil"))  # in the socket before the request is asked for
    assert ((await task).body, request.sent) == (b"fine", True)
    assert len(busy.server.exchanges) == 1


async def test_a_connection_that_ends_before_the_request_is_out_is_no_failure(busy: Busy) -> None:
    """Nothing was sent on it: the request goes out on another one."""
    (request,), (task,) = busy.begin(1)
    busy.last.end()
    assert ((await task).body, request.sent) == (b"fine", True)
    assert len(busy.server.exchanges) == 1


async def test_closing_within_the_turn_ends_what_was_asked(busy: Busy) -> None:
    """It is told, whether it had gone out or not, and nobody waits for ever."""
    _, tasks = busy.begin(1)
    await asyncio.sleep(0)
    await busy.transport.aclose()
    with pytest.raises(GatewayError):
        await tasks[0]
