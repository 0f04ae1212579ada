"""One adapter on several event loops, one after the other or at once, and what it leaves behind: nothing."""

import asyncio
import gc
import os
import ssl
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import pytest
from flow_parts import KEY, PRICES

from genops_helicone_async import ConfigurationError, GenOpsHeliconeAsyncAdapter
from loopback import Exchange, LoopbackServer, chat_body, chat_events

CERTIFICATE = Path(__file__).parents[1] / "edges" / "loopback_certificate.pem"


async def answer(exchange: Exchange) -> None:
    """Answers every chat, streamed or not; with the text `hang` it never ends."""
    hangs = b"hang" in exchange.body
    if exchange.json.get("stream"):
        await exchange.events(*chat_events("Hello"), end=not hangs)
    elif not hangs:
        await exchange.reply(200, chat_body('{"answer": "42"}' if b"response_format" in exchange.body else "Hello"))
    if hangs:
        await exchange.gone()


def adapter_at(url: str) -> GenOpsHeliconeAsyncAdapter:
    """An adapter whose price list has to be looked up."""
    return GenOpsHeliconeAsyncAdapter(KEY, gateway_url=url)


async def chat_once(adapter: GenOpsHeliconeAsyncAdapter) -> str:
    """One short call."""
    return (await adapter.chat_async("Hi", provider="openai")).content


class ServerThread:
    """The loopback server on a thread and loop of its own, for tests that bring their own loops."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        async with LoopbackServer(answer, tls=self._tls) as self.server:
            self._ready.set()
            await self._done.wait()

    def __enter__(self) -> LoopbackServer:
        self._thread.start()
        self._ready.wait()
        return self.server

    def __exit__(self, *_exc: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()


def test_an_adapter_serves_one_loop_after_the_other() -> None:
    """Each `asyncio.run` gets connections of its own; those of the loop before are closed."""
    with ServerThread() as server:
        adapter = adapter_at(server.url)
        assert [asyncio.run(chat_once(adapter)) for _ in range(3)] == ["Hello"] * 3
        assert server.connections == 3
        assert len({exchange.connection for exchange in server.exchanges}) == 3


def test_loops_that_ended_are_forgotten() -> None:
    """However many loops an adapter has served, it remembers the last one only."""
    with ServerThread() as server:  # without a price to look up: the thread that does may keep its loop
        adapter = GenOpsHeliconeAsyncAdapter(KEY, gateway_url=server.url, prices=PRICES)
        loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

        async def call() -> None:
            loops.append(weakref.ref(asyncio.get_running_loop()))
            await chat_once(adapter)

        for _ in range(5):
            asyncio.run(call())
        gc.collect()
        assert sum(loop() is not None for loop in loops) <= 1


def test_loops_in_several_threads_share_an_adapter() -> None:
    """Begun at the same moment, price look-up included, all calls of all threads are answered."""
    threads, calls = 4, 25
    start = threading.Barrier(threads)
    answers: list[str] = []
    with ServerThread() as server:
        adapter = adapter_at(server.url)

        async def talk() -> None:
            answers.extend(await asyncio.gather(*(chat_once(adapter) for _ in range(calls))))

        def run() -> None:
            start.wait()
            asyncio.run(talk())

        running = [threading.Thread(target=run) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        ids = {exchange.headers["helicone-request-id"] for exchange in server.exchanges}
    assert answers == ["Hello"] * threads * calls
    assert len(ids) == threads * calls


def test_a_closed_adapter_is_closed_on_every_loop() -> None:
    """After `aclose` a call is a `ConfigurationError`, there and on any other loop; closing again is harmless."""
    with ServerThread() as server:
        adapter = adapter_at(server.url)

        async def use_and_close() -> None:
            async with adapter:
                await chat_once(adapter)
            await adapter.aclose()
            with pytest.raises(ConfigurationError, match="the adapter is closed"):
                await chat_once(adapter)
            with pytest.raises(ConfigurationError, match="the adapter is closed"):
                adapter.stream_async("Hi", provider="openai")

        asyncio.run(use_and_close())
        with pytest.raises(ConfigurationError, match="the adapter is closed"):
            asyncio.run(chat_once(adapter))


SCRIPTS = {
    "in a function": """
        async def main():
            adapter = make()
            print((await adapter.chat_async("Hi", provider="openai")).content)
        asyncio.run(main())
        """,
    "as a module's global": """
        adapter = make()
        async def main():
            return await asyncio.gather(*(adapter.chat_async("Hi", provider="openai") for _ in range(10)))
        asyncio.run(main())
        print(asyncio.run(main())[0].content)
        """,
    "collected inside the loop": """
        async def main():
            adapter = make()
            text = (await adapter.chat_async("Hi", provider="openai")).content
            del adapter
            gc.collect()
            await asyncio.sleep(0)
            print(text)
        asyncio.run(main())
        """,
    "with calls in flight": """
        adapter = make()
        async def main():
            await adapter.chat_async("Hi", provider="openai")
            calls = [asyncio.create_task(adapter.chat_async("hang", provider="openai")) for _ in range(10)]
            await asyncio.wait(calls, timeout=0.1)
            print("Hello")
        asyncio.run(main())
        """,
    "with a stream half read": """
        adapter = make()
        async def main():
            stream = await adapter.stream_async("hang", provider="openai").__aenter__()
            print((await anext(stream)).content)
        asyncio.run(main())
        """,
    "with a stream left by break": """
        adapter = make()
        async def main():
            async with adapter.stream_async("hang", provider="openai") as stream:
                async for chunk in stream:
                    print(chunk.content)
                    break
        asyncio.run(main())
        """,
    "with many calls left by break": """
        adapter = make()
        async def main():
            async for result in adapter.chat_many(["Hi", *["hang"] * 50], provider="openai", max_in_flight=20):
                print(result.response.content)
                break
        asyncio.run(main())
        """,
    "with many calls half read": """
        adapter = make()
        async def main():
            results = adapter.chat_many(["Hi", *["hang"] * 50], provider="openai", max_in_flight=20)
            print((await anext(results)).response.content)
        asyncio.run(main())
        """,
    "closed": """
        async def main():
            async with make() as adapter:
                print((await adapter.chat_async("Hi", provider="openai")).content)
        asyncio.run(main())
        """,
    "never used": """
        adapter = make()
        print("Hello")
        """,
}

BARE_LOOPS = {
    "on a loop that is closed by hand": """
        def main():
            adapter, loop = make(), asyncio.new_event_loop()
            text = loop.run_until_complete(adapter.chat_async("Hi", provider="openai")).content
            loop.close()
            return text
        print(main())
        gc.collect()
        """,
    "on a loop that is never closed": """
        adapter, loop = make(), asyncio.new_event_loop()
        print(loop.run_until_complete(adapter.chat_async("Hi", provider="openai")).content)
        """,
}

PREAMBLE = f"""
import asyncio, gc, logging, os, sys
from genops_helicone_async import GenOpsHeliconeAsyncAdapter, GenOpsHeliconeAdapter

# How long a callback took is the machine's affair, not a leak.
logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("Executing"))

def make(kind=GenOpsHeliconeAsyncAdapter):
    return kind({KEY!r}, gateway_url=os.environ["SERVER"], prices={{"openai/gpt-4o-mini": {{"input": 1, "output": 2}}}})
"""

# Each script has its own globals, which live until the program ends, as a module's do.
ALL_IN_ONE = """
kept = []
for name, script in eval(os.environ["SCRIPTS"]).items():
    print(name, end=": ")
    kept.append({**globals()})
    exec(script, kept[-1])
    gc.collect()
"""


def said(url: str, scripts: dict[str, str], *options: str) -> tuple[list[str], str, int]:
    """What a program that runs the scripts prints and complains of, and how it ends."""
    told = {name: textwrap.dedent(script) for name, script in scripts.items()}
    tls = {"SSL_CERT_FILE": str(CERTIFICATE)} if url.startswith("https:") else {}
    done = subprocess.run(
        [sys.executable, *options, "-c", PREAMBLE + ALL_IN_ONE],
        env={**os.environ, **tls, "SERVER": url, "SCRIPTS": repr(told), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.stdout.splitlines(), done.stderr, done.returncode


@pytest.mark.timeout(60)
@pytest.mark.parametrize("tls", [False, True])
def test_without_aclose_nothing_is_left_unclosed(tls: bool) -> None:
    """Whatever a program does with an adapter, it ends without a word, also where warnings are errors."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
    if context is not None:
        context.load_cert_chain(CERTIFICATE)
    with ServerThread(context) as server:
        printed, complaints, status = said(server.url, SCRIPTS, "-W", "error", "-X", "dev")
    assert (complaints, status) == ("", 0)
    assert printed == [f"{name}: Hello" for name in SCRIPTS]


@pytest.mark.timeout(60)
def test_a_loop_ended_the_old_way_leaves_no_message() -> None:
    """A loop that does not finish its asynchronous generators leaves asyncio's own warnings, but none of ours."""
    with ServerThread() as server:
        printed, complaints, status = said(server.url, BARE_LOOPS)
    assert (complaints, status) == ("", 0)
    assert printed == [f"{name}: Hello" for name in BARE_LOOPS]
