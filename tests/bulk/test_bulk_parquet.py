"""Parquet: typed and nested columns become keywords, in memory that does not grow with the file."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from genops_helicone_async import ConfigurationError
from genops_helicone_async.bulk.records import Record
from genops_helicone_async.bulk.rows import BadLine, Row, RowReader
from genops_helicone_async.bulk.sources import RowSource, open_source

pytestmark = pytest.mark.anyio


def write(path: Path, columns: dict[str, Any], **options: Any) -> None:
    """A Parquet file of these columns."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    write_table(pa.table(columns), path, **options)


async def opened(path: Path, **options: Any) -> RowSource:
    """The source of a path; opening looks at the file, which blocks."""
    return await asyncio.to_thread(open_source, str(path), **options)


async def records_of(path: Path, **options: Any) -> list[Record]:
    """All records of a file."""
    return [record async for record in (await opened(path, **options)).records()]


async def test_columns_have_types_of_their_own(tmp_path: Path) -> None:
    """Integers with gaps, which are floats; lists, objects, maps; numbers as names; texts where a type is missing."""
    import pyarrow as pa

    messages = [{"role": "user", "content": "Hi", "name": None}]
    columns = {
        "custom_id": [7, 8],
        "messages": [messages, messages],
        "max_tokens": pa.array([5.0, None]),
        "temperature": ["0.5", None],
        "providers": [["groq", "openai"], None],
        "attributes": pa.array([[("a", "b")], None], pa.map_(pa.string(), pa.string())),
        "cache": [True, None],
        "team": pa.array(["t", None]).dictionary_encode(),
    }
    write(tmp_path / "in.parquet", columns)
    first, second = await records_of(tmp_path / "in.parquet")
    told = [{"role": "user", "content": "Hi"}]
    assert first.data == {
        "custom_id": "7", "messages": told, "max_tokens": 5, "temperature": 0.5, "providers": ["groq", "openai"],
        "attributes": {"a": "b"}, "cache": True, "team": "t",
    }  # fmt: skip
    assert second.data == {"custom_id": "8", "messages": told}
    assert all(isinstance(RowReader({}).read_record(record), Row) for record in (first, second))


async def test_rows_are_numbered_over_row_groups(tmp_path: Path) -> None:
    """From 1 to the last, whatever groups and batches the file is read in; the file itself tells how many."""
    write(tmp_path / "in.parquet", {"question": [f"q{n}" for n in range(1, 1001)]}, row_group_size=7)
    source = await opened(tmp_path / "in.parquet", prompt_column="question")
    assert source.rows == 1000
    found = [(record.number, record.data) async for record in source.records()]
    assert found == [(n, {"message": f"q{n}"}) for n in range(1, 1001)]


async def test_a_bad_row_costs_itself_only(tmp_path: Path) -> None:
    """A value that does not fit, or a text that is no UTF-8, is told with the row's number."""
    import pyarrow as pa

    raw = pa.array([b"good", b"caf\xe9", b"last"]).cast(pa.binary())
    message = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    write(tmp_path / "in.parquet", {"message": message, "max_tokens": ["1", "2", "many"]})
    reader = RowReader({})
    items = [reader.read_record(record) for record in await records_of(tmp_path / "in.parquet")]
    assert [(item.line, item.reason if isinstance(item, BadLine) else None) for item in items] == [
        (1, None),
        (2, "a text that is not UTF-8 at byte 4"),
        (3, "`max_tokens` is 'many': it must be a whole number"),
    ]
    assert items[2].raw == '{"message":"last","max_tokens":"many"}'  # type: ignore[union-attr]


async def test_binary_and_other_types_of_prompts(tmp_path: Path) -> None:
    """Bytes are a text in UTF-8; what is no text at all is a bad row."""
    write(tmp_path / "a.parquet", {"message": [b"caf\xc3\xa9"]})
    (record,) = await records_of(tmp_path / "a.parquet")
    assert record.data == {"message": "café"}
    write(tmp_path / "b.parquet", {"message": [["a"]]})
    (record,) = await records_of(tmp_path / "b.parquet")
    assert record.reason == "`message` is ['a']: it must be a text, not list"


async def test_what_is_no_parquet_is_refused_at_once(tmp_path: Path) -> None:
    """Another kind of file, or columns that are not ours, with the path; nothing stays open."""
    (tmp_path / "in.parquet").write_bytes(b"message\nx\n" * 10)
    with pytest.raises(ConfigurationError, match=r"in\.parquet is no Parquet file: "):
        await opened(tmp_path / "in.parquet")
    write(tmp_path / "ok.parquet", {"mesage": ["x"]})
    with pytest.raises(ConfigurationError, match=r"ok\.parquet: column 1, 'mesage', is no keyword .* 'message'"):
        await opened(tmp_path / "ok.parquet")
    with pytest.raises(FileNotFoundError):
        await opened(tmp_path / "none.parquet")


async def test_a_file_that_is_damaged_further_on_says_so(tmp_path: Path) -> None:
    """What came before is given; the failure names the file."""
    path = tmp_path / "in.parquet"
    message = [f"{n:050d}" for n in range(20_000)]
    write(path, {"message": message}, compression="none", row_group_size=10_000, use_dictionary=False)
    data = bytearray(path.read_bytes())
    middle = len(data) * 3 // 4
    data[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(data)
    records = (await opened(path)).records()
    assert [(await anext(records)).number for _ in range(10_000)] == list(range(1, 10_001))
    with pytest.raises(OSError, match=r"damaged Parquet: .*in\.parquet"):
        assert [record.number async for record in records]


async def test_without_pyarrow_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that installs it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'genops-helicone-async\[parquet\]'"):
        await opened(tmp_path / "in.parquet")


async def test_memory_does_not_grow_with_the_row_group(tmp_path: Path) -> None:
    """A row group of 40 MB is read piece by piece: what Arrow holds at once stays below 12 MB."""
    import pyarrow as pa

    rows = 40_000
    text = [f"{n:06d}" * 170 for n in range(rows)]
    write(tmp_path / "in.parquet", {"message": text}, row_group_size=rows, compression="none", use_dictionary=False)
    del text
    before, most = pa.total_allocated_bytes(), 0
    numbers = 0
    async for record in (await opened(tmp_path / "in.parquet")).records():
        numbers += record.number
        most = max(most, pa.total_allocated_bytes() - before)
    assert numbers == rows * (rows + 1) // 2
    assert most < 12_000_000
