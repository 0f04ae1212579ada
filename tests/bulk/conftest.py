"""A sandbox as the environment's gateway and an empty folder to work in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from genops_helicone_async.testing import SandboxGateway


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SandboxGateway]:
    """A sandbox that answers at once, set as the gateway of the environment; the folder is an empty one."""
    with SandboxGateway.in_thread(latency_scale=0) as running:
        monkeypatch.setenv("HELICONE_GATEWAY_URL", running.url)
        monkeypatch.setenv("HELICONE_API_KEY", running.api_key)
        monkeypatch.chdir(tmp_path)
        yield running
