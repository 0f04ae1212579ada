"""Which event loop runs what the package starts by itself."""

import asyncio
from collections.abc import Iterator

import pytest
from flow_parts import KEY, PRICES
from test_loops import ServerThread

from genops_helicone_async import ConfigurationError, GenOpsHeliconeAdapter
from genops_helicone_async._edges.event_loop import VARIABLE, new_event_loop, run_on_loop
from genops_helicone_async._edges.loop_thread import LoopThread


async def kind_of_loop() -> str:
    """The package that the running loop comes from."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.fixture(params=["asyncio", "uvloop"])
def wanted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The variable, set to each of the two loops."""
    pytest.importorskip(request.param)
    monkeypatch.setenv(VARIABLE, request.param)
    return request.param


def test_the_loop_is_the_one_that_the_variable_names(wanted: str) -> None:
    """For commands and for the thread of synchronous calls."""
    thread = LoopThread(new_event_loop)
    assert (run_on_loop(kind_of_loop()), thread.call(kind_of_loop)) == (wanted, wanted)
    assert thread._thread is not None
    thread._end(thread._thread)


def test_without_the_variable_it_is_asyncios_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets another loop for having it installed."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert run_on_loop(kind_of_loop()) == "asyncio"


def test_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the names that there are; a synchronous call says so, too, and again."""
    monkeypatch.setenv(VARIABLE, "fast")
    with pytest.raises(ConfigurationError, match="GENOPS_EVENT_LOOP is 'fast': use 'asyncio' or 'uvloop'"):
        run_on_loop(kind_of_loop())
    thread = LoopThread(new_event_loop)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="use 'asyncio' or 'uvloop'"):
            thread.call(kind_of_loop)


def test_uvloop_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is in the message."""
    monkeypatch.setenv(VARIABLE, "uvloop")
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'genops-helicone-async\[uvloop\]'"):
        new_event_loop()


def test_a_synchronous_adapter_on_each_loop(wanted: str) -> None:
    """Chats, streams and many calls, in a process of its own loop thread."""
    from genops_helicone_async import blocking

    thread = blocking._thread
    if thread._thread is not None:
        thread._end(thread._thread)  # a loop that runs stays what it is
    with ServerThread() as server, GenOpsHeliconeAdapter(KEY, gateway_url=server.url, prices=PRICES) as adapter:
        assert adapter.chat("Hi", provider="openai").content == "Hello"
        with adapter.stream("Hi", provider="openai") as stream:
            assert "".join(chunk.content for chunk in stream) == "Hello"
        assert [result.ok for result in adapter.chat_many(["Hi"] * 5, provider="openai")] == [True] * 5
        assert thread.call(kind_of_loop) == wanted
    assert thread._thread is not None
    thread._end(thread._thread)
