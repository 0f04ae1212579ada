"""The seal of an audit log: what was done to its end is found, and never written over; what a crash leaves is right."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from audit_parts import lines, written

from genops_helicone_async._edges.audit import verify
from genops_helicone_async._edges.audit.file import AuditFile, parts_of, seal_of
from genops_helicone_async._rules.audit_chain import Link, Seal, chained, read_link
from genops_helicone_async.cli import main


def shortened(path: Path) -> None:
    """Somebody removes the last two lines."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


def cut_off(path: Path) -> None:
    """Somebody cuts the last line in half."""
    path.write_bytes(path.read_bytes()[:-40])


def unsealed(path: Path) -> None:
    """Somebody deletes the seal."""
    seal_of(path).unlink()


def shortened_and_unsealed(path: Path) -> None:
    """Somebody removes lines and the seal."""
    shortened(path)
    seal_of(path).unlink()


def shortened_and_blanked(path: Path) -> None:
    """Somebody removes lines and empties the seal."""
    shortened(path)
    seal_of(path).write_bytes(b"")


def lengthened(path: Path) -> None:
    """Somebody adds a line that follows the last one, with a right hash."""
    link, _ = read_link(path.read_bytes().splitlines()[-1])
    with path.open("ab") as log:
        log.write(chained(link, {"event": "ended", "number": 7})[0])


@pytest.mark.parametrize(
    "tamper, told",
    [
        (shortened, "lines are missing at its end"),
        (cut_off, "lines are missing at its end"),
        (unsealed, "its seal is missing"),
        (shortened_and_unsealed, "its seal is missing"),
        (shortened_and_blanked, "its seal is missing"),
        (lengthened, "the seal knows lines up to 5: 1 more were added after it"),
    ],
)
def test_what_was_done_to_the_end_is_not_sealed(tmp_path: Path, tamper: Any, told: str) -> None:
    """To write on would hide it; nothing is changed, so that the trace stays."""
    path = written(tmp_path / "audit.jsonl")
    tamper(path)
    before = path.read_bytes() if path.exists() else b""
    with pytest.raises(OSError, match=told):
        written(path, 1)
    assert path.read_bytes() == before
    assert not verify(path).ok


def test_a_log_cut_back_with_its_seal_is_noticed_by_who_writes_it(tmp_path: Path) -> None:
    """A running process knows where it was, also when log and seal are both put back."""
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path, 10**6)
    file.append([{"n": 1}], sync=False)
    log, seal = path.read_bytes(), seal_of(path).read_bytes()
    file.append([{"n": 2}], sync=False)
    path.write_bytes(log)
    seal_of(path).write_bytes(seal)
    with pytest.raises(OSError, match="it was cut back to line 1, its seal with it"):
        file.append([{"n": 3}], sync=False)


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    """Whoever moves the log with its seal gets a new one, also of a process that goes on writing."""
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path, 10**6)
    file.append([{"n": 1}, {"n": 2}], sync=False)
    for each in (path, seal_of(path)):
        each.rename(tmp_path / f"old-{each.name}")
    file.append([{"n": 3}], sync=False)
    assert (verify(path).lines, verify(tmp_path / "old-audit.jsonl").lines) == (1, 2)


def test_a_process_killed_while_it_wrote_does_no_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever it was killed within a batch, the log is right and said to be unfinished, and the next goes on."""
    for cut, torn in ((0, 0), (0, 30), (1, 0), (2, 30), (3, 0)):
        path = written(tmp_path / f"{cut}-{torn}.jsonl", 2)
        program = (
            "import os, sys; from pathlib import Path; from genops_helicone_async._edges.audit import file\n"
            "whole = file._write_all\n"
            "def some(descriptor, data):\n"
            "    is_seal = len(data) == 256\n"
            "    lines, cut = data.splitlines(True), int(sys.argv[2])\n"
            "    begun = b''.join(lines[:cut]) + b''.join(lines[cut:])[:int(sys.argv[3])]\n"
            "    whole(descriptor, data if is_seal else begun)\n"
            "    is_seal or os._exit(9)\n"
            "file._write_all = some\n"
            "file.AuditFile(Path(sys.argv[1]), 10**6).append([{'n': 1}, {'n': 2}, {'n': 3}], sync=False)\n"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program, str(path), str(cut), str(torn)], env=environment, check=False
        )
        assert done.returncode == 9
        verdict = verify(path)
        assert (verdict.problem, verdict.lines, verdict.unsealed) == (None, 2 + cut, cut)
        assert main(["audit", "verify", str(path)]) == 0
        assert ("was killed" in capsys.readouterr().out) is (cut > 0)
        written(path, 1)
        assert (verify(path).problem, verify(path).lines, verify(path).unsealed) == (None, 3 + cut, 0)


def test_an_unfinished_batch_cannot_be_forged(tmp_path: Path) -> None:
    """While the seal waits for lines, only as many may come, and the last has to be the one it waits for."""
    first, _ = chained(Link(), {"n": 1})
    begun = Link(1, read_link(first[:-1])[0].hash)
    _, second = chained(begun, {"n": 2})
    seal = Seal(1, begun.hash, 2, second.hash)
    assert [seal.problem_with(end) for end in (begun, second)] == [None, None]
    assert "rewritten" in str(seal.problem_with(Link(2, "0" * 64)))
    assert "1 more" in str(seal.problem_with(Link(3, "0" * 64)))
    assert "missing" in str(seal.problem_with(Link(0)))


@pytest.mark.parametrize("name", ["audit.jsonl", "audit[1]*.jsonl"])
def test_no_part_is_overwritten(tmp_path: Path, name: str) -> None:
    """Also where the log's name has characters that mean something in patterns."""
    path = written(tmp_path / name, 60, max_bytes=4096)
    assert (verify(path).problem, verify(path).lines, verify(path).parts) == (None, 60, len(parts_of(path)) + 1)
    assert len(parts_of(path)) > 1


def test_lines_may_be_long_and_odd(tmp_path: Path) -> None:
    """A line of a megabyte, half a character and a sum beyond 64 bits are written, and gone on from."""
    path = tmp_path / "audit.jsonl"
    AuditFile(path, 10**7).append([{"who": {"team": "x" * 10**6}}], sync=False)
    AuditFile(path, 10**7).append([{"id": "a\udcffb", "more": [{"cost_pusd": 2**70}]}], sync=False)
    written(path, 1, 10**7)
    assert verify(path).lines == 3
    assert (lines(path)[1]["id"], lines(path)[1]["more"]) == ("a?b", [{"cost_pusd": str(2**70)}])
