"""A real Prometheus on a free loopback port, scraping what it is told to, and its answers to queries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

NOT_FOUND = "no Prometheus on the PATH: install the Debian package `prometheus`, or put its program there"
_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')
_TIMEOUT_S = 10


def program_or_skip(name: str = "prometheus") -> str:
    """The program; where there is none, the test is skipped with the reason."""
    found = shutil.which(name)
    if found is None:
        import pytest

        pytest.skip(NOT_FOUND)
    return found


class Prometheus:
    """One server process; a context manager that ends it."""

    def __init__(self, config: Path, folder: Path) -> None:
        self._command = [
            program_or_skip(),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder}",
            "--web.listen-address=127.0.0.1:0",
            "--log.format=logfmt",
        ]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._process = process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        told = []
        ready = False
        for line in process.stderr:  # the two lines come from two of its goroutines, in either order
            told.append(line)
            if found := _LISTENING.search(line):
                self.url = f"http://{found[1]}"
            ready = ready or "Server is ready" in line
            if self.url and ready:
                return self
        process.wait()
        process.stderr.close()
        raise RuntimeError(f"Prometheus did not start:\n{''.join(told)}")

    def __exit__(self, *exc: object) -> None:
        process = self._process
        if process is not None:
            process.terminate()
            assert process.stderr is not None
            for _ in process.stderr:  # it may block on a full pipe before it ends
                pass
            process.wait()
            process.stderr.close()

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its HTTP interface."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply:
            answer = json.load(reply)
        assert answer["status"] == "success"
        return answer["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The samples an instant query gives now: labels and value."""
        data = self.get("query", query=expression)
        assert data["resultType"] == "vector"
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def number(self, expression: str) -> float | None:
        """The one value of a query, None where it gives none."""
        samples = self.query(expression)
        return samples[0][1] if samples else None
