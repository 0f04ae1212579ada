"""A sandbox with the providers' batch APIs, and the journal of a job."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from batch_parts import FileJournal

from genops_helicone_async.testing import SandboxGateway


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxGateway]:
    """A sandbox that answers at once."""
    async with SandboxGateway(latency_scale=0) as gateway:
        yield gateway


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FileJournal]:
    """A journal of the job."""
    kept = FileJournal(tmp_path / "out.journal")
    yield kept
    kept.close()
