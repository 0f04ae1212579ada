"""CSV: names and types of columns, cells with anything in them, and rows that cost only themselves."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genops_helicone_async import ConfigurationError
from genops_helicone_async.bulk.cells import columns_of, row_of
from genops_helicone_async.bulk.csv_rows import MAX_CELL_CHARS, CsvRows
from genops_helicone_async.bulk.records import Record
from genops_helicone_async.bulk.rows import Row, RowReader


def records_of(data: bytes, block: int = 0, **options: Any) -> list[Record]:
    """The records of a CSV text, read in blocks of so many bytes."""
    return [record for batch in table_of(data, block, **options).batches() for record in batch]


def table_of(data: bytes, block: int = 0, **options: Any) -> CsvRows:
    """A table of these bytes."""
    parts: Iterator[bytes] = iter([data[at : at + block] for at in range(0, len(data), block)] if block else [data])
    return CsvRows(lambda most: next(parts, b""), "in.csv", lambda names: columns_of(names, **options))


def told(record: Record) -> tuple[int, Any]:
    """A record's number, and its fields or its reason."""
    return record.number, record.reason or record.data


def test_cells_become_what_their_keyword_takes() -> None:
    """Numbers, truths, lists and objects by the keyword's type; an empty cell is none."""
    header = "message,max_tokens,temperature,seed,cache,providers,stop,attributes,tools,timeout_seconds,team"
    row = '007,5, 0.5 ,-1,Yes,"groq, openai",[,"{""a"": ""b""}","[{""type"": ""function""}]",30,'
    (record,) = records_of(f"{header}\n{row}\n".encode())
    assert record.data == {
        "message": "007", "max_tokens": 5, "temperature": 0.5, "seed": -1, "cache": True,
        "providers": ["groq", "openai"], "stop": "[", "attributes": {"a": "b"}, "tools": [{"type": "function"}],
        "timeout_seconds": 30.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "cell, reason",
    [
        ("max_tokens,ten", "`max_tokens` is 'ten': it must be a whole number"),
        ("max_tokens,5.5", "`max_tokens` is '5.5': it must be a whole number"),
        ("temperature,warm", "`temperature` is 'warm': it must be a number"),
        ("temperature,nan", "`temperature` is 'nan': it must be a number"),
        ("cache,perhaps", "`cache` is 'perhaps': it must be true or false"),
        ("attributes,{a}", "`attributes` is '{a}': it must be JSON: "),
        ('stop,"[""a""]"', None),
    ],
)
def test_a_cell_of_the_wrong_kind_is_told(cell: str, reason: str | None) -> None:
    """The row is bad, with the keyword, the cell and what it has to be."""
    name, _, value = cell.partition(",")
    (record,) = records_of(f"message,{name}\nx,{value}\n".encode())
    assert (record.reason or "").startswith(reason or "")
    assert (record.reason is None) == (reason is None)


@pytest.mark.parametrize(
    "header, options, said",
    [
        ("message,max_tokns", {}, "column 2, 'max_tokns', is no keyword of a chat. Did you mean 'max_tokens'?"),
        ("id,question", {}, "column 1, 'id', is no keyword of a chat. (name the column of"),
        ("id,question", {"prompt_column": "question"}, "column 1, 'id', is no keyword of a chat. (leave it out with "),
        ("question,team", {"prompt_column": "qestion"}, "column 1, 'question', is no keyword of a chat. Did you mean"),
        ("message,team", {"prompt_column": "question"}, "there is no column 'question': there are 'message', 'team'"),
        ("team,project", {}, "no column has the prompts: name one `message`, or say which it is with --prompt-column"),
        ("message,team,team", {}, "two columns give `team`: leave one out"),
        ("message,q", {"prompt_column": "q"}, "two columns give `message`: leave one out"),
        ("message,,team", {}, "column 2 has no name: name it in the first row"),
        ('"message,team', {}, "the row of column names is no CSV: unexpected end of data"),
        ("message\rx\ry", {}, "no CSV; its lines end in CR alone: convert it first (tr '\\r' '\\n')"),
        ("", {}, "has no row of column names"),
        ("\n\n", {}, "has no row of column names"),
    ],
)  # fmt: skip
def test_columns_that_are_not_ours_are_refused(header: str, options: dict[str, Any], said: str) -> None:
    """Before any row is sent, with the number, the name and the nearest of ours."""
    with pytest.raises(ConfigurationError) as refused:
        table_of(header.encode(), **options).read_header()
    assert refused.value.message.startswith("in.csv")
    assert said in refused.value.message


def test_columns_may_be_named_or_passed_over() -> None:
    """`prompt_column` is the message; ignored columns are no keywords, `*` ignores every unknown one."""
    data = b"question,answer,team\nq,a,t\n"
    named = [{"message": "q", "team": "t"}]
    assert [record.data for record in records_of(data, prompt_column="question", ignored=("answer",))] == named
    assert [record.data for record in records_of(data, prompt_column="question", ignored=("*",))] == named
    only = [{"message": "q"}]
    assert [record.data for record in records_of(data, prompt_column="question", ignored=("*", "team"))] == only


def test_rows_have_as_many_cells_as_columns() -> None:
    """Too few or too many cells are a bad row of their own; empty cells behind the last column are nothing."""
    data = b"message,team,\nx,y\nx,y,,\nx\n\nx,y,z\n x ,\n"
    assert [told(record) for record in records_of(data)] == [
        (2, {"message": "x", "team": "y"}),
        (3, {"message": "x", "team": "y"}),
        (4, "1 cell in a table of 2 columns"),
        (6, "3 cells in a table of 2 columns"),
        (7, {"message": " x "}),
    ]


def test_a_row_is_named_after_the_line_it_begins_on() -> None:
    """A cell with line breaks makes the next row begin further down."""
    records = records_of(b'message\n"a\nb\nc"\nd\n')
    assert [told(record) for record in records] == [(2, {"message": "a\nb\nc"}), (5, {"message": "d"})]
    rows = [RowReader({}).read_record(record) for record in records]
    assert [row.custom_id for row in rows if isinstance(row, Row)] == ["line-2", "line-5"]


def test_what_is_wrong_with_a_row_costs_that_row_only() -> None:
    """Another encoding, a NUL byte, a stray quote: told with the line and the byte; the others are read."""
    data = b'message\ngood\ncaf\xe9\nno\0ne\n"a" b\n"two\nl\xc3nes"\nlast\n'
    assert [told(record) for record in records_of(data)] == [
        (2, {"message": "good"}),
        (3, "not UTF-8 at byte 4 of line 3 (0xE9); is it Latin-1 or Windows-1252?"),
        (4, "no text: a NUL byte in line 4"),
        (5, 'a quote within a quoted cell has to be doubled (""): the row ends up in pieces without'),
        (6, "not UTF-8 at byte 2 of line 7 (0xC3); is it Latin-1 or Windows-1252?"),
        (8, {"message": "last"}),
    ]


def test_what_stood_there_is_kept() -> None:
    """A bad row's text goes to the errors file as it was, escaped where it is no UTF-8."""
    (bad,) = records_of(b'message,team\n"a\nb",\xff,x\n')
    assert RowReader({}).read_record(bad).raw == '"a\nb",\\xff,x'  # type: ignore[union-attr]


def test_a_quote_that_is_never_closed_is_one_bad_row() -> None:
    """It takes in what follows, up to a limit, and no more."""
    (bad,) = records_of(b'message\n"open\nx\ny\n')
    assert told(bad) == (2, "a quote that is opened in the row of line 2 is never closed")
    line = b"y" * 999 + b"\n"
    lines = MAX_CELL_CHARS // len(line) + 1
    records = records_of(b'message\n"' + line * lines + b"after\n", 1 << 20)
    assert told(records[0]) == (2, "a quote that is opened in the row of line 2 is never closed")
    assert records[-1].data == {"message": "after"}


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_the_first_row_tells_what_separates(delimiter: str) -> None:
    """Spreadsheets of half of the world write semicolons."""
    data = delimiter.join(["message", "temperature"]) + "\n" + delimiter.join(['"a,b;c"', "0.5"]) + "\n"
    assert [record.data for record in records_of(data.encode())] == [{"message": "a,b;c", "temperature": 0.5}]


@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r")), min_size=2, max_size=2)),
    st.integers(1, 40),
)
def test_any_text_comes_back(rows: list[list[str]], block: int) -> None:
    """Whatever is written in quotes is read, however the file is cut into blocks."""
    lines = ["message,team", *(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)]
    found = [record.data for record in records_of("\n".join(lines).encode(), block)]
    assert found == [{name: cell for name, cell in zip(("message", "team"), row, strict=True) if cell} for row in rows]


def test_every_keyword_of_a_chat_can_be_a_column() -> None:
    """But for the one that is a class of Python's."""
    from genops_helicone_async.chat_request import ChatOptions

    names = sorted({*ChatOptions.__annotations__, "message"} - {"response_model"})
    assert len(columns_of(names)) == len(names)
    with pytest.raises(ConfigurationError, match="is no keyword of a chat"):
        columns_of(["message", "response_model"])


def test_lines_may_end_in_cr_and_lf() -> None:
    """As spreadsheets write them; within quotes they stay as they are."""
    records = records_of(b'message,team\r\n"a\r\nb",t\r\n\r\nc,\r\n')
    assert [told(record) for record in records] == [(2, {"message": "a\r\nb", "team": "t"}), (5, {"message": "c"})]


def test_a_slow_pipe_gives_rows_as_they_come() -> None:
    """A row is given before the next block is read."""
    parts = iter([b"message\none\n", b"two\nth", b"ree\n"])
    read = 0

    def reading(most: int) -> bytes:
        nonlocal read
        read += 1
        return next(parts, b"")

    batches = CsvRows(reading, "in", columns_of).batches()
    assert [(read, [record.data for record in batch]) for batch in batches] == [
        (1, [{"message": "one"}]), (2, [{"message": "two"}]), (3, [{"message": "three"}]),
    ]  # fmt: skip


def test_cells_are_read_in_any_order() -> None:
    """Rows of a shuffled table are the same rows."""
    names = ["message", "team", "max_tokens"]
    random.Random(1).shuffle(names)
    cells = {"message": "m", "team": "t", "max_tokens": "3"}
    assert row_of(columns_of(names), [cells[name] for name in names]) == {**cells, "max_tokens": 3}
