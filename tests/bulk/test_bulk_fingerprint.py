"""A file's fingerprint: its bytes decide the digest, and its rows are counted as a source gives them."""

import asyncio
import gzip
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async.bulk.fingerprint import RowCount, fingerprint_of
from genops_helicone_async.bulk.sources import open_source


def counted(data: bytes, block: int, kind: str = "jsonl") -> int:
    """The rows of a text that comes in blocks."""
    count = RowCount(kind)  # type: ignore[arg-type]
    for at in range(0, len(data), block):
        count.add(data[at : at + block])
    return count.finish()


@given(st.lists(st.sampled_from([b"a", b"", b" ", b"\t\r", b"{} ", b"\r"])), st.booleans(), st.integers(1, 9))
def test_lines_that_are_not_blank_are_counted(lines: list[bytes], ends: bool, block: int) -> None:
    """Whatever they are made of, and however the file is cut."""
    data = b"\n".join(lines) + b"\n" * ends
    assert counted(data, block) == sum(bool(line.strip()) for line in lines)


CELLS = st.sampled_from(["x", "", "two\nlines", 'a "quoted" one', "\n", ","])


@given(st.lists(st.tuples(st.sampled_from(["m", "a\nb", '"']), CELLS)), st.booleans(), st.integers(1, 9))
def test_rows_of_csv_are_counted(rows: list[tuple[str, str]], ends: bool, block: int) -> None:
    """A line break within quotes begins no row, a quote within quotes ends none; the row of names is none."""
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    data = "\n".join(["message,team", *lines]) + "\n" * ends
    assert counted(data.encode(), block, "csv") == len(rows)


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    """BLAKE2b of the file as it lies there, packed or not; one byte makes another."""
    data = b'{"message": "x"}\n' * 3
    for name, content in (("a.jsonl", data), ("a.jsonl.gz", gzip.compress(data) + gzip.compress(data))):
        (tmp_path / name).write_bytes(content)
        found = fingerprint_of(str(tmp_path / name))
        assert found.digest == hashlib.blake2b(content, digest_size=32).hexdigest()
        assert (found.size, found.rows) == (len(content), 3 if content is data else 6)
        assert found.mb_per_s > 0
    assert fingerprint_of(str(tmp_path / "a.jsonl"), count_rows=False).rows is None


def test_parquet_tells_its_rows_itself(tmp_path: Path) -> None:
    """They need not be counted."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    write_table(pa.table({"message": ["a", "b"]}), tmp_path / "in.parquet")
    assert fingerprint_of(str(tmp_path / "in.parquet")).rows == 2


@pytest.mark.anyio
async def test_it_counts_what_a_source_gives(tmp_path: Path) -> None:
    """Over more than one block, with quotes and blank lines in it."""
    path = tmp_path / "in.csv"
    path.write_text("message,team\n" + f'"a ""b""\nc{"x" * 400}",t\n\nplain,\n' * 12_000)
    found = await asyncio.to_thread(fingerprint_of, str(path))
    source = await asyncio.to_thread(open_source, str(path))
    assert found.rows == len([record async for record in source.records()]) == 24_000
