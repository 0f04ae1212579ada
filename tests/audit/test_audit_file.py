"""The audit log's files: one chain over processes, parts and restarts; whatever is done to it is found."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from audit_parts import lines, no_room, written
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async._compliance_settings import AuditOptions
from genops_helicone_async._edges.audit import AuditLog, verify
from genops_helicone_async._edges.audit.file import AuditFile, parts_of, seal_of
from genops_helicone_async._rules.audit_chain import Broken, Link, chained, follow, read_link
from genops_helicone_async.cli import main

pytestmark = pytest.mark.anyio


@given(st.dictionaries(st.text(max_size=5).filter(lambda key: key not in ("seq", "prev")), st.text(max_size=20)))
def test_a_line_proves_its_place(facts: dict[str, Any]) -> None:
    """Whatever a line says, it can be read back, follows its predecessor, and no byte of it can be changed."""
    line, link = chained(Link(), facts)
    following, _ = chained(link, {"event": "x"})
    assert read_link(line[:-1]) == (link, Link().hash)
    assert follow(Link(), line[:-1]) == link
    assert follow(link, following[:-1]).seq == 2
    assert json.loads(line)["seq"] == 1
    for at in (0, 8, len(line) // 2, len(line) - 3):
        changed = line[:at] + bytes([line[at] ^ 1]) + line[at + 1 : -1]
        with pytest.raises(Broken):
            follow(Link(), changed)


def test_a_log_that_was_left_alone_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 0, with the number of lines and the last hash; files are their owner's only."""
    path = written(tmp_path / "audit.jsonl")
    assert main(["audit", "verify", str(path)]) == 0
    assert capsys.readouterr().out == f"OK: 5 lines, up to 5 {lines(path)[-1]['hash']}\n"
    assert [line["seq"] for line in lines(path)] == [1, 2, 3, 4, 5]
    assert [file.stat().st_mode & 0o777 for file in (path, seal_of(path))] == [0o600, 0o600]


def changed(path: Path) -> None:
    """Somebody changes what a line says."""
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number":7'))


def removed(path: Path) -> None:
    """Somebody removes a line."""
    path.write_bytes(
        b"".join(line for line in path.read_bytes().splitlines(keepends=True) if b'"number":2' not in line)
    )


def swapped(path: Path) -> None:
    """Somebody swaps two lines."""
    found = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*found[:2], found[3], found[2], *found[4:]]))


def doubled(path: Path) -> None:
    """Somebody repeats a line."""
    found = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*found[:3], found[2], *found[3:]]))


def beheaded(path: Path) -> None:
    """Somebody removes the first line."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def rewritten(path: Path) -> None:
    """Somebody writes a new chain, and leaves the seal."""
    seal = seal_of(path).read_bytes()
    path.unlink()
    seal_of(path).unlink()
    file = AuditFile(path, 10**6)
    for number in (0, 1, 7, 3, 4):
        file.append([{"event": "ended", "number": number}], sync=False)
    seal_of(path).write_bytes(seal)


def forged(path: Path) -> None:
    """Somebody replaces a line by another one with a right hash of its own."""
    found = path.read_bytes().splitlines(keepends=True)
    link, _ = read_link(found[1][:-1])
    other, _ = chained(link, {"event": "ended", "number": 7})
    path.write_bytes(b"".join([*found[:2], other, *found[3:]]))


def cut_off(path: Path) -> None:
    """Somebody cuts the last line in half."""
    path.write_bytes(path.read_bytes()[:-40])


def shortened(path: Path) -> None:
    """Somebody removes the last two lines."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


def emptied(path: Path) -> None:
    """Somebody empties the log."""
    path.write_bytes(b"")


def deleted(path: Path) -> None:
    """Somebody deletes the log and leaves the seal."""
    path.unlink()


def unsealed(path: Path) -> None:
    """Somebody deletes the seal."""
    seal_of(path).unlink()


def scribbled(path: Path) -> None:
    """Somebody writes something else into the seal."""
    seal_of(path).write_text("hello")


def foreign(path: Path) -> None:
    """Somebody adds a line of his own."""
    with path.open("ab") as log:
        log.write(b'{"seq":6,"event":"ended"}\n')


@pytest.mark.parametrize(
    "tamper, line, told",
    [
        (changed, 3, "its content does not have its hash"),
        (removed, 3, "it is line 4 of the log where line 3 belongs"),
        (swapped, 3, "it is line 4 of the log where line 3 belongs"),
        (doubled, 4, "it is line 3 of the log where line 4 belongs"),
        (beheaded, 1, "it is line 2 of the log where line 1 belongs"),
        (forged, 4, "it does not follow the line before it"),
        (rewritten, 5, "the seal knows another line of this number"),
        (cut_off, 5, "it is cut off"),
        (shortened, None, "ends with line 3 of the log, but the seal knows line 5"),
        (emptied, None, "ends with line 0 of the log, but the seal knows line 5"),
        (deleted, None, "ends with line 0 of the log, but the seal knows line 5"),
        (unsealed, None, "its seal is missing"),
        (scribbled, None, "the seal of the audit log is damaged"),
        (foreign, 6, "it is no line of an audit log"),
    ],
)
def test_tampering_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tamper: Any, line: int | None, told: str
) -> None:
    """Exit status 1, with the file, the line, and what is wrong with it."""
    path = written(tmp_path / "audit.jsonl")
    tamper(path)
    assert main(["audit", "verify", str(path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["line"]) == (False, line)
    assert told in found["problem"]
    assert main(["audit", "verify", str(path)]) == 1
    assert capsys.readouterr().out.startswith("NOT OK: ")


def test_a_pair_replaced_as_a_whole_cannot_be_found(tmp_path: Path) -> None:
    """What the pair cannot show: another log with its own seal is right, too; its last hash is another."""
    path, other = written(tmp_path / "audit.jsonl"), written(tmp_path / "other.jsonl", 4)
    before = verify(path).last_hash
    shutil.copy(other, path)
    shutil.copy(seal_of(other), seal_of(path))
    assert verify(path).ok
    assert verify(path).last_hash != before


@pytest.mark.parametrize("arguments", [["audit"], ["audit", "verify"], ["audit", "verify", "nowhere.jsonl"]])
def test_wrong_usage_is_status_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No action, no path, no such log."""
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_parts_are_one_chain(tmp_path: Path) -> None:
    """A full file is put aside and a new one goes on; a missing part is found, unless it is said to be elsewhere."""
    path = written(tmp_path / "audit.jsonl", 30, max_bytes=1000)
    parts = parts_of(path)
    assert len(parts) >= 3
    verdict = verify(path)
    assert (verdict.problem, verdict.lines, verdict.parts) == (None, 30, len(parts) + 1)
    parts[0].rename(tmp_path / "archived")
    assert "where line 1 belongs" in str(verify(path).problem)
    assert verify(path, partial=True).ok
    (tmp_path / "archived").rename(parts[0])
    parts[1].unlink()
    assert "belongs" in str(verify(path, partial=True).problem)


def test_a_new_process_goes_on_with_the_chain(tmp_path: Path) -> None:
    """Also where the last thing that happened was the beginning of a new part."""
    path = written(tmp_path / "audit.jsonl", 3)
    path.rename(path.with_name("audit.jsonl.000001"))
    written(path, 2)
    assert [line["seq"] for line in lines(path)] == [4, 5]
    assert verify(path).ok


def test_half_a_line_is_taken_off(tmp_path: Path) -> None:
    """A process that ended while it wrote leaves half a line, which no one saw: the next takes it off."""
    path = written(tmp_path / "audit.jsonl")
    with path.open("ab") as log:
        log.write(b'{"seq":6,"eve')
    assert verify(path).line == 6
    written(path, 1)
    assert verify(path).ok
    assert [line["seq"] for line in lines(path)] == [1, 2, 3, 4, 5, 6]


def test_a_full_disk_leaves_no_half_a_line(tmp_path: Path) -> None:
    """What did not fit is taken back, and the log can be gone on with."""
    path = written(tmp_path / "audit.jsonl")
    before = path.read_bytes()
    file = AuditFile(path, 10**6)
    with no_room(len(before) + 50), pytest.raises(OSError, match="File too large"):
        file.append([{"event": "ended"}], sync=True)
    assert path.read_bytes() == before
    assert b"next" not in seal_of(path).read_bytes()
    file.append([{"event": "ended"}], sync=True)
    assert verify(path).lines == 6


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    """Four processes add to one log at once, over several parts."""
    path = tmp_path / "audit.jsonl"
    program = textwrap.dedent(
        f"""
        from pathlib import Path
        from genops_helicone_async._edges.audit.file import AuditFile
        file = AuditFile(Path({str(path)!r}), 20_000)
        print("ready", flush=True)
        input()
        for number in range(100):
            file.append([{{"event": "ended", "number": number}}], sync=False)
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes) for _ in range(4)]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n"] * 4
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in processes] == [""] * 4
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    verdict = verify(path)
    assert (verdict.problem, verdict.lines, verdict.last_seq) == (None, 400, 400)
    assert verdict.parts > 1


async def test_lines_of_many_tasks_are_added_together(tmp_path: Path) -> None:
    """Who waits for a line finds it in the file; a hundred are there after a few writes."""
    log = AuditLog(AuditOptions(path=tmp_path / "audit.jsonl", fsync="always"))
    told = await asyncio.gather(*(log.added({"event": "admitted", "number": number}) for number in range(100)))
    assert told == [None] * 100
    assert (await asyncio.to_thread(verify, tmp_path / "audit.jsonl")).lines == 100
    await log.aclose()
    await log.aclose()
    assert (log.statistics().lines, log.statistics().waiting, log.statistics().lost) == (100, 0, 0)


async def test_lines_that_could_not_be_added_come_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the file takes none they are kept, which is told once; who waits is told at once."""
    folder = tmp_path / "later"
    log = AuditLog(AuditOptions(path=folder / "audit.jsonl"))
    log.put({"event": "ended", "number": 1})
    assert await log.added({"event": "admitted"}) == "No such file or directory"
    assert log.statistics().failures >= 1
    folder.mkdir()
    assert await log.added({"event": "admitted", "number": 2}) is None
    await log.aclose()
    assert [line["number"] for line in lines(folder / "audit.jsonl")] == [1, 2]
    assert len([message for message in caplog.messages if "cannot be written" in message]) == 1


async def test_lines_that_are_lost_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A log that is closed before its file takes anything says how many lines are missing."""
    log = AuditLog(AuditOptions(path=tmp_path / "nowhere" / "audit.jsonl"))
    for number in range(3):
        log.put({"event": "ended", "number": number})
    await log.aclose()
    assert log.statistics().lost == 3
    assert "3 line(s) are missing in the audit log" in caplog.text
