"""Where rows come from: any kind of file or pipe gives the same records, and what is none of them is refused."""

import asyncio
import gzip
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bulk_files import standard_input

from genops_helicone_async import ConfigurationError
from genops_helicone_async.bulk.records import Beginning, Record
from genops_helicone_async.bulk.rows import BadLine, Row, RowReader
from genops_helicone_async.bulk.sources import RowSource, kind_of, open_source

pytestmark = pytest.mark.anyio

ROWS: list[dict[str, Any]] = [
    {"custom_id": "a", "message": 'Say "hi",\nplease', "max_tokens": 5},
    {"custom_id": "b", "message": "Wo ist mein Käse? 🧀", "temperature": 0.5},
]
JSONL = b"".join(msgspec.json.encode(row) + b"\n" for row in ROWS)
CSV = 'custom_id,message,max_tokens,temperature\na,"Say ""hi"",\nplease",5,\nb,Wo ist mein Käse? 🧀,,0.5\n'.encode()


async def opened(path: Path | None, **options: Any) -> RowSource:
    """The source of a path; opening looks at the file, which blocks."""
    return await asyncio.to_thread(open_source, None if path is None else str(path), **options)


async def taken(source: RowSource) -> list[Record]:
    """All records of a source."""
    return [record async for record in source.records()]


async def values(source: RowSource) -> list[Any]:
    """The fields of all rows, however they are written."""
    return [
        msgspec.json.decode(record.data) if isinstance(record.data, bytes) else record.data
        for record in await taken(source)
    ]


@pytest.mark.parametrize(
    "path, kind",
    [
        ("a.jsonl", "jsonl"), ("a.JSONL.gz", "jsonl"), ("a.csv", "csv"), ("a.csv.gz", "csv"), ("a.tsv", "csv"),
        ("a.parquet", "parquet"), ("dir.csv/a", "jsonl"), (None, "jsonl"),
    ],
)  # fmt: skip
async def test_the_suffix_tells_the_kind(path: str | None, kind: str) -> None:
    """Also behind `.gz`; without a telling one it is JSONL."""
    assert kind_of(path) == kind
    assert kind_of(path, "csv") == "csv"


@pytest.mark.parametrize("name, data", [("in.jsonl", JSONL), ("in.csv", CSV)])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
@pytest.mark.parametrize("packed", [False, True], ids=["", "gz"])
async def test_a_file_gives_its_rows(name: str, data: bytes, mark: bytes, packed: bool, tmp_path: Path) -> None:
    """JSONL and CSV, marked or not, packed or not, are the same rows."""
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(mark + data) if packed else mark + data)
    reader = RowReader({})
    rows = [reader.read_record(record) async for record in (await opened(path)).records()]
    assert all(isinstance(row, Row) for row in rows), rows
    told = [(row.custom_id, row.request.message) for row in rows if isinstance(row, Row)]
    assert told == [(row["custom_id"], row["message"]) for row in ROWS]


@pytest.mark.parametrize("kind, data", [("jsonl", JSONL), ("csv", CSV)])
async def test_standard_input_gives_its_rows(kind: Any, data: bytes) -> None:
    """A pipe is read as a file is; the kind has to be told where it is not JSONL."""
    with standard_input(data):
        assert await values(await opened(None, kind=kind)) == ROWS


async def test_several_gzip_files_in_one_are_one(tmp_path: Path) -> None:
    """As `cat a.gz b.gz` makes them."""
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(JSONL) + gzip.compress(JSONL))
    assert await values(await opened(path)) == ROWS * 2


async def test_a_torn_gzip_file_fails_after_its_rows(tmp_path: Path) -> None:
    """What could be unpacked is given, then the failure names the file."""
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(JSONL * 1000)[:-40])
    with pytest.raises(OSError, match=r"no whole gzip file: .*in\.jsonl\.gz"):
        await taken(await opened(path))


@pytest.mark.parametrize(
    "data, said",
    [
        ("x".encode("utf-16"), "is UTF-16: convert it first (iconv -f utf-16 -t utf-8)"),
        ("x".encode("utf-32"), "is UTF-32: convert it first (iconv -f utf-32 -t utf-8)"),
        ('{"message": "x"}'.encode("utf-16-le"), "every second place: it is UTF-16 without its mark, or no text"),
        (b"PAR1" + bytes(4), "is no text: --format parquet"),
        (gzip.compress(b"x", mtime=0), "is no text: gunzip it first, or name it .gz"),  # a third of it is NUL
        (gzip.compress(b"x", mtime=1_795_489_999), "is no text: gunzip it first, or name it .gz"),
    ],
    ids=["utf-16", "utf-32", "without mark", "parquet", "gzip", "gzip of 2026"],
)
async def test_another_encoding_is_refused_as_a_whole(data: bytes, said: str, tmp_path: Path) -> None:
    """A file before anything is read of it, a pipe with its first bytes; the remedy is named."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError) as refused:
        await opened(path)
    assert said in refused.value.message
    with standard_input(data), pytest.raises(ConfigurationError) as refused:
        await taken(await opened(None))
    assert refused.value.message.startswith("standard input")
    assert said in refused.value.message


async def test_only_the_beginning_is_looked_at() -> None:
    """Bytes further on may be anything; every block is given once."""
    blocks = iter([b"first", b"\xff\xfe", b"PAR1"])
    beginning = Beginning(lambda most: next(blocks, b""), "in")
    assert beginning.look() == b"first"
    assert [beginning.read(9) for _ in range(4)] == [b"first", b"\xff\xfe", b"PAR1", b""]


async def test_what_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    """A missing file, a folder, columns for JSON, Parquet through a pipe."""
    with pytest.raises(FileNotFoundError):
        await opened(tmp_path / "none.jsonl")
    with pytest.raises(ConfigurationError, match="it is a folder"):
        await opened(tmp_path)
    (tmp_path / "in.jsonl").write_bytes(JSONL)
    with pytest.raises(ConfigurationError, match="has its prompt as `message`"):
        await opened(tmp_path / "in.jsonl", prompt_column="question")
    with pytest.raises(ConfigurationError, match="cannot be read from a pipe, for its footer comes last"):
        await opened(None, kind="parquet")


async def test_a_file_that_is_refused_is_closed(tmp_path: Path) -> None:
    """No descriptor is left of a table with a wrong column."""
    path = tmp_path / "in.csv"
    path.write_bytes(b"message,what\nx,y\n")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with pytest.raises(ConfigurationError):
        await opened(path)
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before


async def test_records_keep_their_line_past_blank_ones(tmp_path: Path) -> None:
    """Blank lines are no records and still count; a bad line is a record like another."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\n  \n{"message": "x"}\n\nbroken\n')
    items = [RowReader({}).read_record(record) for record in await taken(await opened(path))]
    assert [(item.line, type(item)) for item in items] == [(3, Row), (5, BadLine)]


async def test_custom_ids_need_not_be_remembered() -> None:
    """Where somebody else finds those that come twice, a reader keeps none."""
    reader = RowReader({}, remember_ids=False)
    line = b'{"message": "x", "custom_id": "a"}'
    assert [isinstance(reader.read_record(Record(number=n, data=line)), Row) for n in (1, 2)] == [True, True]
