"""The loop thread that synchronous calls wait for: contexts, its end, and nothing left behind."""

import asyncio
import concurrent.futures
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from flow_parts import KEY, PRICES
from test_loops import ServerThread

from genops_helicone_async import GenOpsHeliconeAdapter
from genops_helicone_async._edges.loop_thread import LoopThread, _Job
from genops_helicone_async._flow.bulk_window import Mailbox, Window


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    """A loop thread of the test's own."""
    made = LoopThread()
    yield made
    if made._thread is not None:
        made._end(made._thread)


class Complaint(Exception):
    """A failure of the caller's own code."""


def test_an_error_is_collected_when_its_handler_is_done(thread: LoopThread) -> None:
    """It reaches the caller itself, with the traceback of both threads, and stands in no cycle."""

    async def fail() -> None:
        raise Complaint

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Complaint) as told:
            thread.call(fail)
        assert [entry.name for entry in told.traceback][-2:] == ["_run", "fail"]
        died = weakref.ref(told.value)
        del told
        assert died() is None
    finally:
        gc.enable()


def test_a_result_is_collected_with_its_last_user(thread: LoopThread) -> None:
    """The thread keeps neither the results nor the functions it has run."""

    async def make() -> Complaint:
        return Complaint()

    died = weakref.ref(thread.call(make))
    assert died() is None
    assert thread._jobs == set()


def test_anyio_knows_where_it_is_called_from_another_library(thread: LoopThread) -> None:
    """A caller on a thread that runs trio has its context say so; on the loop thread it is asyncio all the same."""
    sniffio = pytest.importorskip("sniffio")

    async def nap() -> str:
        await anyio.lowlevel.checkpoint()
        return anyio.get_current_task().name

    token = sniffio.current_async_library_cvar.set("trio")
    try:
        assert thread.call(nap)
        assert sniffio.current_async_library() == "trio"
    finally:
        sniffio.current_async_library_cvar.reset(token)


def test_who_still_waits_when_the_loop_ends_is_told(thread: LoopThread) -> None:
    """Called off by nobody: the wait ends with a `CancelledError`, also where the job had no time to begin."""
    waiting, heard = threading.Semaphore(0), []

    async def wait() -> None:
        waiting.release()
        await asyncio.Event().wait()

    def work() -> None:
        try:
            thread.call(wait)
        except concurrent.futures.CancelledError as exc:
            heard.append(exc)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert waiting.acquire(timeout=10)
    assert thread._thread is not None
    thread._end(thread._thread)
    for worker in workers:
        worker.join(10)
    assert len(heard) == 3


def test_a_job_that_never_began_ends_with_the_loop(thread: LoopThread) -> None:
    """One that came when the loop was about to close, and is begun by nobody."""

    async def nothing() -> None:
        pass

    thread.call(nothing)
    assert thread._thread is not None
    job = _Job(nothing, (), thread._loop)
    thread._jobs.add(job)
    thread._end(thread._thread)
    assert job.ended.acquire(timeout=10)
    with pytest.raises(concurrent.futures.CancelledError):
        job.outcome()


def test_a_job_called_off_before_it_began_does_nothing(thread: LoopThread) -> None:
    """An interrupt may come between handing a job over and its beginning."""
    began = []

    async def work() -> None:
        began.append("work")

    async def hand_over() -> None:
        job = _Job(work, (), thread._loop)
        job.call_off()
        job.begin()
        for _ in range(3):
            await anyio.lowlevel.checkpoint()

    thread.call(hand_over)
    assert began == []


@pytest.mark.anyio
async def test_a_mailbox_has_room_for_what_would_begin() -> None:
    """As many as may be on their way, less those in it; none while a result is ready, or after the end."""
    answered: list[asyncio.Future[Any]] = []

    async def run(request: Any) -> Any:
        answered.append(asyncio.get_running_loop().create_future())
        return await answered[-1]

    async def settle() -> None:
        for _ in range(3):
            await anyio.lowlevel.checkpoint()

    for ordered, room_behind_the_first in ((False, [3, 2, 0, 0]), (True, [3, 2, 2, 0])):
        answered.clear()
        box = Mailbox()
        window = Window(box, run, {}, 3, None, ordered=ordered)
        seen = [window.room()]
        box.put("first")
        seen.append(window.room())
        window.fill()
        box.put("second")
        window.fill()
        await settle()
        answered[1].set_result("second's")  # with an order, the first is to be given before it
        await settle()
        seen.append(window.room())
        answered[0].set_result("first's")
        await settle()
        seen.append(window.room())
        assert seen == room_behind_the_first
        assert window.next_ready() is not None
        assert window.next_ready() is not None
        assert window.room() == 3
        box.close()
        assert window.room() == 0
        await window.cancel()


@pytest.mark.anyio
async def test_a_mailbox_has_no_room_far_ahead_of_an_order() -> None:
    """With an order, at most four times what may be on its way is begun and not given back."""

    async def run(request: Any) -> Any:
        if first:
            await first.pop().wait()

    release = asyncio.Event()
    first = [release]
    box = Mailbox()
    window = Window(box, run, {}, 2, None, ordered=True)
    begun = 0
    while window.room():
        box.put("Hi")
        window.fill()
        begun += 1
        for _ in range(4):
            await anyio.lowlevel.checkpoint()
    assert begun == 8
    release.set()
    await window.cancel()


def test_requests_begin_as_they_are_read() -> None:
    """The synchronous `chat_many` begins a request before it reads the next one, which may take its time."""
    with ServerThread() as server, GenOpsHeliconeAdapter(KEY, gateway_url=server.url, prices=PRICES) as adapter:

        def requests() -> Iterator[str]:
            for number in range(4):
                assert begun(number)
                yield "Hi"

        def begun(number: int) -> bool:
            """Whether so many calls have come to the server, within ten seconds."""
            return number == 0 or any(len(server.exchanges) >= number or pause.wait(0.01) for _ in range(1000))

        pause = threading.Event()
        results = list(adapter.chat_many(requests(), provider="openai", max_in_flight=4))
        assert [result.ok for result in results] == [True] * 4


def test_no_more_requests_are_read_than_may_be_on_their_way() -> None:
    """With two in flight and nothing taken, a third is not asked for, in order or not."""
    with ServerThread() as server, GenOpsHeliconeAdapter(KEY, gateway_url=server.url, prices=PRICES) as adapter:
        for ordered in (False, True):
            read = 0

            def requests() -> Iterator[str]:
                nonlocal read
                for _ in range(20):
                    read += 1
                    yield "Hi"

            with adapter.chat_many(requests(), provider="openai", max_in_flight=2, ordered=ordered) as results:
                for taken in range(1, 11):
                    next(results)
                    assert read <= taken + (2 if not ordered else 8)
