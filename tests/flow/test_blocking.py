"""The synchronous adapter: the same answers from any number of threads, and nothing left when the process ends."""

import asyncio
import functools
import gc
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from flow_parts import KEY, PRICES
from test_loops import ServerThread, said

from genops_helicone_async import (
    ConfigurationError,
    DeadlineExceededError,
    GenOpsHeliconeAdapter,
    HeliconeResponse,
    instrument_helicone,
    multi_provider_cost_tracking,
)
from genops_helicone_async._edges.loop_thread import LoopThread
from loopback import LoopbackServer


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackServer]:
    """A server on a thread of its own; messages with `hang` are never answered."""
    with ServerThread() as running:
        yield running


@pytest.fixture
def adapter(server: LoopbackServer) -> Iterator[GenOpsHeliconeAdapter]:
    """An adapter on that server."""
    with GenOpsHeliconeAdapter(KEY, gateway_url=server.url, prices=PRICES) as made:
        yield made


def settled(adapter: GenOpsHeliconeAdapter) -> bool:
    """Whether nothing is on its way any more, within a few seconds."""
    for _ in range(500):
        told = adapter.statistics()
        if (told.slots.taken, told.http.in_flight) == (0, 0):
            return True
        time.sleep(0.01)  # there is no event to wait for across the loop's thread
    return False


def test_a_chat(adapter: GenOpsHeliconeAdapter) -> None:
    """One call, one answer, its cost counted."""
    response = adapter.chat("Hi", provider="openai")
    assert (response.content, response.usage.input_tokens, response.usage.output_tokens) == ("Hello", 11, 7)
    assert round(response.cost * 10**12) == 11 * 1_000_000 + 7 * 2_000_000


def test_a_stream(adapter: GenOpsHeliconeAdapter) -> None:
    """Chunks in a loop, the response afterwards."""
    with adapter.stream("Hi", provider="openai") as stream:
        assert [chunk.content for chunk in stream if chunk.content] == ["Hello"]
    assert (stream.response.content, stream.text) == ("Hello", "Hello")


def test_a_stream_left_early(adapter: GenOpsHeliconeAdapter) -> None:
    """Leaving the block drops the connection and gives everything back."""
    with adapter.stream("hang", provider="openai") as stream:
        for chunk in stream:
            assert chunk.content == "Hello"
            break
    told = adapter.statistics()
    assert (told.slots.taken, told.http.in_flight) == (0, 0)
    with pytest.raises(ConfigurationError, match="read to its end"):
        _ = stream.response


def test_a_stream_that_is_dropped(adapter: GenOpsHeliconeAdapter) -> None:
    """Entered and forgotten: collected in this thread, it is settled on the loop's."""
    stream = adapter.stream("hang", provider="openai").__enter__()
    assert next(iter(stream)).content == "Hello"
    assert adapter.statistics().slots.taken == 1
    del stream
    gc.collect()
    assert settled(adapter)


def test_errors_come_through(adapter: GenOpsHeliconeAdapter) -> None:
    """What the call raises is raised here, without a cycle that keeps it alive."""
    with pytest.raises(ConfigurationError, match="message"):
        adapter.chat("")
    with pytest.raises(TypeError, match="colour"):
        adapter.chat("Hi", colour="red")  # type: ignore[call-arg]
    with pytest.raises(DeadlineExceededError):
        adapter.chat("hang", provider="openai", timeout_seconds=0.05)
    assert settled(adapter)


def loop_threads() -> set[int | None]:
    """The loop threads there are; instrumentation has one of its own."""
    return {thread.ident for thread in threading.enumerate() if thread.name == "genops-helicone"}


def test_many_threads_at_once(adapter: GenOpsHeliconeAdapter) -> None:
    """Fifty threads, one loop: every thread gets its own answers."""
    answers: list[HeliconeResponse] = []
    errors: list[BaseException] = []
    before = loop_threads()

    def work() -> None:
        try:
            answers.extend(adapter.chat("Hi", provider="openai") for _ in range(4))
        except BaseException as exc:  # noqa: BLE001  told by the test
            errors.append(exc)

    threads = [threading.Thread(target=work) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len({response.request_id for response in answers}) == 200
    assert len(loop_threads() - before) <= 1


@pytest.mark.anyio
async def test_from_inside_a_running_loop(adapter: GenOpsHeliconeAdapter) -> None:
    """A thread that runs a loop may call, too; it waits."""
    assert adapter.chat("Hi", provider="openai").content == "Hello"
    with adapter.stream("Hi", provider="openai") as stream:
        assert "".join(chunk.content for chunk in stream) == "Hello"
    assert [result.ok for result in adapter.chat_many(["Hi", "Hi"], provider="openai")] == [True, True]


def test_the_callers_context_is_kept(adapter: GenOpsHeliconeAdapter) -> None:
    """Context variables of the calling thread hold inside the call: each thread's tracker counts its own calls."""
    counted: dict[int, int] = {}

    def work(calls: int) -> None:
        with multi_provider_cost_tracking() as tracker:
            for _ in range(calls):
                adapter.chat("Hi", provider="openai")
            list(adapter.chat_many(["Hi"] * calls, provider="openai"))
            with adapter.stream("Hi", provider="openai") as stream:
                list(stream)
        counted[calls] = tracker.get_session_summary().request_count

    threads = [threading.Thread(target=work, args=(calls,)) for calls in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == {calls: 2 * calls + 1 for calls in (1, 2, 3)}


def test_many_calls(adapter: GenOpsHeliconeAdapter) -> None:
    """All results, in order if asked for."""
    results = list(adapter.chat_many((f"Hi {number}" for number in range(50)), provider="openai", ordered=True))
    assert [result.index for result in results] == list(range(50))
    assert {result.response.content for result in results if result.response} == {"Hello"}


def test_requests_are_read_in_the_callers_thread(adapter: GenOpsHeliconeAdapter) -> None:
    """The iterable may belong to its thread, as a database cursor does."""
    threads = set()

    def requests() -> Iterator[str]:
        for _ in range(5):
            threads.add(threading.current_thread())
            yield "Hi"

    assert len(list(adapter.chat_many(requests(), provider="openai"))) == 5
    assert threads == {threading.current_thread()}


def test_a_producer_that_waits_holds_up_nobody_else(adapter: GenOpsHeliconeAdapter) -> None:
    """While one thread's iterable waits for its next request, other threads' calls are answered."""
    inbox: queue.Queue[str | None] = queue.Queue()
    results: queue.Queue[int] = queue.Queue()

    def work() -> None:
        for result in adapter.chat_many(iter(inbox.get, None), provider="openai"):
            results.put(result.index)

    thread = threading.Thread(target=work)
    thread.start()
    inbox.put("Hi")
    assert adapter.chat("Hi", provider="openai").content == "Hello"
    inbox.put("Hi")
    inbox.put(None)
    thread.join()
    assert sorted([results.get(), results.get()]) == [0, 1]


def test_requests_may_call_the_adapter(adapter: GenOpsHeliconeAdapter) -> None:
    """A request may be made from the answer to another call."""

    def requests() -> Iterator[str]:
        for _ in range(3):
            yield adapter.chat("Hi", provider="openai").content

    assert [result.request for result in adapter.chat_many(requests(), provider="openai", ordered=True)] == [
        "Hello"
    ] * 3


def test_an_asynchronous_iterable_is_taken_too(adapter: GenOpsHeliconeAdapter) -> None:
    """It is read on the loop's thread."""

    async def requests() -> Any:
        for _ in range(3):
            yield "Hi"

    assert len(list(adapter.chat_many(requests(), provider="openai"))) == 3


def test_an_iterable_that_fails_is_heard_after_the_answers(adapter: GenOpsHeliconeAdapter) -> None:
    """What had been begun is given, then the caller's own error comes."""

    def requests() -> Iterator[str]:
        yield "Hi"
        raise LookupError("no more")

    results = adapter.chat_many(requests(), provider="openai")
    assert next(results).index == 0
    with pytest.raises(LookupError, match="no more"):
        next(results)


def test_an_iterable_that_exits_harms_nobody(adapter: GenOpsHeliconeAdapter) -> None:
    """`SystemExit` from the caller's own code ends the caller's iteration, not the loop that all share."""

    def requests() -> Iterator[str]:
        yield "hang"
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        next(adapter.chat_many(requests(), provider="openai"))
    assert adapter.chat("Hi", provider="openai").content == "Hello"
    assert settled(adapter)


def test_breaking_off_cancels_the_rest(adapter: GenOpsHeliconeAdapter) -> None:
    """When the loop is left, the other calls end."""
    for result in adapter.chat_many(["Hi", *["hang"] * 9], provider="openai"):
        assert result.index == 0
        break
    gc.collect()
    assert settled(adapter)


def test_results_collected_on_the_loops_thread_are_ended(adapter: GenOpsHeliconeAdapter) -> None:
    """The garbage collector may run on the loop's own thread, where nobody can wait for the loop."""
    results = adapter.chat_many(["Hi", *["hang"] * 9], provider="openai")
    assert next(results).index == 0
    kept = [results]
    del results

    async def drop() -> None:
        kept.clear()

    from genops_helicone_async import blocking

    blocking._call(drop)
    assert settled(adapter)


def test_raise_ends_the_iteration(adapter: GenOpsHeliconeAdapter) -> None:
    """With `on_error="raise"` the first error is raised."""
    results = adapter.chat_many(["Hi", "", "Hi"], provider="openai", on_error="raise", ordered=True)
    assert next(results).index == 0
    with pytest.raises(ConfigurationError, match="message"):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize("requests", ["one", b"one", {"message": "one"}, 7])
def test_one_message_is_not_many(requests: Any, adapter: GenOpsHeliconeAdapter) -> None:
    """A message where an iterable of them is meant is refused at once."""
    with pytest.raises(TypeError):
        adapter.chat_many(requests)


def test_the_other_verbs(server: LoopbackServer, adapter: GenOpsHeliconeAdapter) -> None:
    """Several providers, embeddings, checks and statistics answer as those of the asynchronous adapter do."""
    several = adapter.multi_provider_chat("Hi", ["openai", "groq"])
    assert sorted(several.responses) == ["groq", "openai"]
    with pytest.raises(ConfigurationError, match="no embeddings"):
        adapter.embed("Hi")
    assert set(adapter.validate_providers()) == {"openai", "anthropic", "groq"}
    assert adapter.statistics().retry_quota == 500
    assert adapter.settings.gateway_url == server.url
    assert repr(adapter).startswith("GenOpsHeliconeAdapter(over GenOpsHeliconeAsyncAdapter(http://127.0.0.1:")


def test_closed_is_closed(server: LoopbackServer) -> None:
    """After `close` every verb is a `ConfigurationError`; closing again is harmless."""
    adapter = instrument_helicone(KEY, gateway_url=server.url)
    adapter.close()
    adapter.close()
    for verb in (
        functools.partial(adapter.chat, "Hi"),
        functools.partial(adapter.stream, "Hi"),
        functools.partial(adapter.chat_many, ["Hi"]),
        adapter.validate_providers,
    ):
        with pytest.raises(ConfigurationError, match="the adapter is closed"):
            verb()


def test_ctrl_c_cancels_the_call(server: LoopbackServer, adapter: GenOpsHeliconeAdapter) -> None:
    """Interrupted while it waits, the call does not go on unseen: the server sees its client leave."""
    adapter.chat("Hi", provider="openai")
    before = len(server.exchanges)

    def interrupt() -> None:
        while len(server.exchanges) == before:
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        adapter.chat("hang", provider="openai")
    interrupter.join()
    assert settled(adapter)
    assert adapter.chat("Hi", provider="openai").content == "Hello"


def test_an_interrupt_at_any_moment_calls_the_job_off() -> None:
    """Also one that comes while the waiting thread does not know yet that its job has begun."""
    thread = LoopThread()
    main = threading.main_thread().ident or 0
    cancelled = threading.Semaphore(0)

    async def interrupting() -> None:
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.release()

    for _ in range(50):
        with pytest.raises(KeyboardInterrupt):
            thread.call(interrupting)
        assert cancelled.acquire(timeout=10)
    thread._end(thread.call(where))


async def where() -> threading.Thread:
    """The thread that this runs on."""
    return threading.current_thread()


def test_the_loop_waits_for_nobody_on_its_own_thread(adapter: GenOpsHeliconeAdapter) -> None:
    """A call from code that runs on the loop's thread is refused instead of waiting for itself for ever."""

    async def requests() -> Any:
        yield adapter.chat("Hi", provider="openai").content

    with pytest.raises(RuntimeError, match="event loop thread"):
        list(adapter.chat_many(requests(), provider="openai"))
    assert adapter.chat("Hi", provider="openai").content == "Hello"


class Exits(msgspec.Struct):
    """A model that ends the program when it is filled."""

    answer: str

    def __post_init__(self) -> None:
        raise SystemExit(3)


def test_an_exit_in_the_callers_code_ends_nobody_elses_calls(adapter: GenOpsHeliconeAdapter) -> None:
    """`SystemExit` from a caller's own model reaches that caller; calls of other threads go on."""
    with adapter.stream("Hi", provider="openai") as stream:
        with pytest.raises(SystemExit):
            adapter.chat("model", provider="openai", response_model=Exits)
        assert "".join(chunk.content for chunk in stream) == "Hello"
    assert settled(adapter)


def test_a_loop_that_has_ended_is_started_anew() -> None:
    """Whoever still calls after the end, as another handler at the exit of the process may, is answered."""
    thread = LoopThread()
    first = thread.call(where)
    assert first is thread._thread
    thread._end(first)
    assert (first.is_alive(), repr(thread)) == (False, "LoopThread(not running)")
    second = thread.call(where)
    assert second is not first
    assert repr(thread) == "LoopThread(running)"
    thread._end(second)


SCRIPTS = {
    "called": """
        adapter = make(GenOpsHeliconeAdapter)
        print(adapter.chat("Hi", provider="openai").content)
        """,
    "with a stream half read": """
        adapter = make(GenOpsHeliconeAdapter)
        stream = adapter.stream("hang", provider="openai").__enter__()
        print(next(iter(stream)).content)
        """,
    "with many calls half read": """
        adapter = make(GenOpsHeliconeAdapter)
        results = adapter.chat_many(["Hi", *["hang"] * 50], provider="openai")
        print(next(results).response.content)
        """,
    "never used": """
        adapter = make(GenOpsHeliconeAdapter)
        print("Hello")
        """,
    "with a thread that still waits": """
        import threading
        adapter = make(GenOpsHeliconeAdapter)
        def wait():
            try:
                adapter.chat("hang", provider="openai")
            except BaseException:
                pass
        threading.Thread(target=wait, daemon=True).start()
        print("Hello")
        """,
}

FORKS = {
    "in a fork": """
        adapter = make(GenOpsHeliconeAdapter)
        adapter.chat("Hi", provider="openai")
        import signal
        from genops_helicone_async.blocking import _thread
        _thread._lock.acquire()  # as if another thread were starting a loop at this very moment
        child = os.fork()
        if not child:
            signal.alarm(10)
            adapter.chat("Hi", provider="openai")
            sys.exit(0)
        _thread._lock.release()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(adapter.chat("Hi", provider="openai").content if status == 0 else status)
        """,
}


@pytest.mark.timeout(60)
def test_the_end_of_the_process_closes_it() -> None:
    """Without `close`, and whatever is still going on, a program ends without a word and without waiting."""
    with ServerThread() as server:
        printed, complaints, status = said(server.url, SCRIPTS, "-W", "error", "-X", "dev")
    assert (complaints, status) == ("", 0)
    assert printed == [f"{name}: Hello" for name in SCRIPTS]


@pytest.mark.timeout(60)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_has_a_loop_of_its_own() -> None:
    """A child process calls as its parent does, each over connections of its own."""
    with ServerThread() as server:
        printed, complaints, status = said(server.url, FORKS, "-W", "ignore:This process:DeprecationWarning")
    assert (complaints, status) == ("", 0)
    assert printed == ["in a fork: Hello"]
