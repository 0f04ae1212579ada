"""Request ids: UUIDs of version 4, unique over threads and forks."""

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator

import pytest

from genops_helicone_async._edges.ids import RequestIds

THREADS = 4
IDS_PER_THREAD = 20_000


def test_ids_are_uuids_of_version_4() -> None:
    """Each id is in the canonical form, its version and variant as RFC 9562 has them, over several blocks."""
    ids = RequestIds()
    made = [ids() for _ in range(1000)]
    assert [str(uuid.UUID(text)) for text in made] == made
    assert {(uuid.UUID(text).version, uuid.UUID(text).variant) for text in made} == {(4, uuid.RFC_4122)}
    seen = ["".join(sorted(set(digits))) for digits in zip(*made, strict=True)]
    random = "0123456789abcdef"
    expected = [
        *[random] * 8,
        "-",
        *[random] * 4,
        "-",
        "4",
        *[random] * 3,
        "-",
        "89ab",
        *[random] * 3,
        "-",
        *[random] * 12,
    ]
    assert seen == expected
    assert len(set(made)) == len(made)


@pytest.fixture
def threads_take_turns_at_once() -> Iterator[None]:
    """Makes the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_take_turns_at_once")
def test_threads_share_a_source_without_sharing_an_id() -> None:
    """One adapter on several loops has one source of ids: no thread fails, none gets another's."""
    ids = RequestIds()
    made: list[list[str]] = [[] for _ in range(THREADS)]

    def take(into: list[str]) -> None:
        into.extend(ids() for _ in range(IDS_PER_THREAD))

    threads = [threading.Thread(target=take, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({text for into in made for text in into}) == THREADS * IDS_PER_THREAD


_FORKS = """
import os
from genops_helicone_async._edges.ids import RequestIds

ids = RequestIds()
ids()
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, ids().encode())
    os._exit(0)
os.close(writing)
with os.fdopen(reading) as pipe:
    print(pipe.read(), ids())
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_makes_other_ids() -> None:
    """A child process does not repeat what its parent is about to hand out. In a process without other threads."""
    done = subprocess.run([sys.executable, "-c", _FORKS], capture_output=True, text=True, timeout=60, check=True)
    of_child, of_parent = done.stdout.split()
    assert uuid.UUID(of_child).version == 4
    assert of_child != of_parent
