"""A line of a bulk job becomes a request, or the reason why it cannot be one."""

import asyncio
import io
import os
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from genops_helicone_async.bulk.job import rows_of
from genops_helicone_async.bulk.lines import BLOCK_BYTES, MAX_LINE_BYTES, Line, line_batches
from genops_helicone_async.bulk.reading_ahead import ReadingAhead
from genops_helicone_async.bulk.rows import BadLine, Row, RowReader
from genops_helicone_async.bulk.sources import open_source

Item = Row | BadLine | None


def read(line: Any, defaults: dict[str, Any] | None = None, known: frozenset[str] = frozenset()) -> Item:
    """What becomes of a line, given as bytes or as a value to be written as JSON."""
    data = line if isinstance(line, bytes) else msgspec.json.encode(line)
    return RowReader(defaults or {}, known).read(7, data)


def keywords(row: Item) -> dict[str, Any]:
    """The keywords that a row sets, without those left alone."""
    assert isinstance(row, Row), row
    fields = {name: getattr(row.request, name) for name in row.request.__struct_fields__}
    return {name: value for name, value in fields.items() if value is not None}


def test_a_message_row_takes_any_chat_keyword() -> None:
    """A row with a message is the keywords of a chat."""
    given = {"message": "Hi", "provider": "groq", "max_tokens": 5, "team": "research", "temperature": None}
    row = read({**given, "custom_id": "a"})
    assert isinstance(row, Row)
    assert (row.line, row.custom_id, row.is_default_target) == (7, "a", False)
    assert keywords(row) == {"message": "Hi", "provider": "groq", "max_tokens": 5, "team": "research"}


def test_messages_may_be_a_conversation() -> None:
    """`messages` is the conversation; without a custom_id a row is named after its line."""
    conversation = [{"role": "user", "content": "Hi"}]
    row = read({"messages": conversation})
    assert isinstance(row, Row)
    assert (row.custom_id, row.is_default_target) == ("line-7", True)
    assert keywords(row) == {"message": conversation}


def test_a_batch_row_is_mapped_field_by_field() -> None:
    """OpenAI's batch format: known fields of the body become keywords, unknown ones go along, a stream is none."""
    messages = [{"role": "user", "content": "Hi"}]
    body = {
        "model": "gpt-4o-mini/openai", "messages": messages, "max_completion_tokens": 9, "max_tokens": 5, "top_p": 0.5,
        "stop": ["x"], "seed": 3, "reasoning_effort": "low", "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto", "temperature": 1,
        "user": "u", "logprobs": True, "stream": True, "n": None,
    }  # fmt: skip
    row = read({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body, "team": "t"})
    assert keywords(row) == {
        "message": messages, "model": "gpt-4o-mini/openai", "max_tokens": 9, "top_p": 0.5, "stop": ["x"], "seed": 3,
        "reasoning_effort": "low", "response_format": {"type": "json_object"}, "tools": body["tools"],
        "tool_choice": "auto", "temperature": 1, "extra_body": {"user": "u", "logprobs": True}, "team": "t",
    }  # fmt: skip


DEFAULTS = {"providers": ["openai", "groq"], "model_preferences": {"groq": "g"}, "max_tokens": 9}


@pytest.mark.parametrize(
    "own, left",
    [
        ({}, DEFAULTS),
        ({"max_tokens": 3}, {**DEFAULTS, "max_tokens": 3}),
        ({"provider": "anthropic"}, {"provider": "anthropic", "max_tokens": 9}),
        ({"providers": ["groq"]}, {"providers": ["groq"], "max_tokens": 9}),
        ({"model": "m"}, {"providers": ["openai", "groq"], "model": "m", "max_tokens": 9}),
        ({"model": "m/groq"}, {"model": "m/groq", "max_tokens": 9}),
        ({"model": "m/mistral"}, {"model": "m/mistral", "max_tokens": 9}),
        ({"model": "meta/llama"}, {"providers": ["openai", "groq"], "model": "meta/llama", "max_tokens": 9}),
    ],
)
def test_a_row_wins_over_the_command_line(own: dict[str, Any], left: dict[str, Any]) -> None:
    """Who names a provider, also by a model's suffix, takes no provider or model of the command line."""
    assert keywords(read({"message": "Hi", **own}, DEFAULTS, frozenset({"mistral"}))) == {"message": "Hi", **left}


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"not json", "not JSON: invalid character (byte 4)"),
        (b'{"message": "a"', "not JSON: Input data was truncated"),
        (b'{"message": "caf\xe9"}', "not UTF-8 at byte 17 (0xE9); is it Latin-1 or Windows-1252?"),
        (b'\xff\xfe{"message": "a"}', "not UTF-8 at byte 1 (0xFF); is it Latin-1 or Windows-1252?"),
        (b'{"message": "a\0b"}', "no text: a NUL byte at byte 15"),
        (b"[" * 40_000 + b"]" * 40_000, "nested too deeply"),
        (b'["a"]', "the line is an array, not a JSON object"),
        (b'"a"', "the line is a text, not a JSON object"),
        (b"null", "the line is null, not a JSON object"),
        (b"3.5", "the line is a number, not a JSON object"),
        ({}, "the row has no `message`, `messages` or `body`"),
        ({"message": ""}, "`message` is empty: give the text to send"),
        ({"message": 3}, "`message` must be a string or a list of messages, not int"),
        ({"message": "a", "messages": []}, "the row has both `message` and `messages`: give one"),
        ({"messages": [{"role": "robot", "content": "a"}]}, None),
        ({"message": "a", "max_tokns": 3}, "unknown field 'max_tokns'; did you mean 'max_tokens'?"),
        ({"message": "a", "max_tokens": "3"}, "`max_tokens` must be an integer, not str"),
        ({"message": "a", "max_tokens": 0}, "`max_tokens` is 0: it must be 1 or more"),
        ({"message": "a", "provider": "x", "providers": ["y"]}, None),
        ({"message": "a", "custom_id": 5}, "`custom_id` is 5: it must be a text"),
        ({"message": "a", "custom_id": ""}, "`custom_id` is '': it must be a text"),
        ({"body": [1]}, "`body` is an array, not an object"),
        ({"body": {"model": "m"}}, "`body` has no `messages`"),
        ({"body": {"messages": []}}, "`message` is an empty list: give at least one message"),
        ({"method": "GET", "body": {}}, "`method` is 'GET': only POST can be sent"),
        ({"url": "/v1/embeddings", "body": {}}, "`url` is '/v1/embeddings': only /v1/chat/completions can be sent"),
    ],
)
def test_a_bad_line_has_its_reason(line: Any, reason: str | None) -> None:
    """Whatever is wrong with a line is said, with its number and its text."""
    bad = read(line)
    assert isinstance(bad, BadLine)
    data = line if isinstance(line, bytes) else msgspec.json.encode(line)
    assert (bad.line, bad.raw) == (7, data.decode("utf-8", "backslashreplace"))
    assert bad.reason == reason or (reason is None and bad.reason)


def test_a_custom_id_is_used_once() -> None:
    """The second row of one name is refused, also where one of them has it only by default."""
    reader = RowReader({})
    lines = [
        {"custom_id": "a"},
        {"custom_id": "a"},
        {"custom_id": "line-4"},
        {},
        {},
        {"custom_id": "line-5"},
        {"custom_id": "line-05"},
    ]
    read_ = [reader.read(number, msgspec.json.encode({"message": "x", **line})) for number, line in enumerate(lines, 1)]
    assert [item.reason if isinstance(item, BadLine) else item.custom_id for item in read_ if item is not None] == [
        "a",
        "`custom_id` 'a' is that of line 1 already",
        "line-4",
        "`custom_id` 'line-4' is that of line 3 already",
        "line-5",
        "`custom_id` 'line-5' is that of line 5 already",
        "line-05",
    ]  # fmt: skip


def test_a_refused_row_leaves_its_name_free() -> None:
    """A bad line does not take its custom_id away from the good one that follows."""
    reader = RowReader({})
    assert isinstance(reader.read(1, b'{"message": "", "custom_id": "a"}'), BadLine)
    assert isinstance(reader.read(2, b'{"message": "x", "custom_id": "a"}'), Row)


@pytest.mark.parametrize("blank", [b"", b"  ", b"\t\r"])
def test_blank_lines_are_nothing(blank: bytes) -> None:
    """An empty line is no row and no mistake."""
    assert read(blank) is None


def test_a_byte_order_mark_is_passed_over() -> None:
    """A file that some editors wrote begins with a mark; elsewhere it is a mistake."""
    line = b'\xef\xbb\xbf{"message": "x"}'
    reader = RowReader({})
    assert isinstance(reader.read(1, line), Row)
    assert isinstance(reader.read(2, line), BadLine)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a",
        b"a\n",
        b"a\r\nb\n\nc",
        b"\n\n",
        b"x" * (BLOCK_BYTES - 1) + b"\n" + b"y" * 3 * BLOCK_BYTES + b"\nz",
        b"".join(b"%d\n" % number for number in range(100_000)),
    ],
    ids=["nothing", "one", "ended", "mixed", "blank", "long", "many"],
)
def test_lines_are_those_of_the_file(data: bytes) -> None:
    """However a file is cut into blocks, its lines are whole, in order, and counted from 1."""
    file = io.BytesIO(data)
    lines = [line for batch in line_batches(file.read) for line in batch]
    expected = data.split(b"\n")
    expected = expected[:-1] if expected[-1] == b"" else expected
    assert [line.data for line in lines] == expected
    assert [line.number for line in lines] == list(range(1, len(expected) + 1))


@pytest.mark.anyio
async def test_a_line_beyond_all_measure_is_one_bad_line(tmp_path: Path) -> None:
    """A line longer than any request is reported once, cut; the rest of it is passed over, the next one is read."""
    path = tmp_path / "in.jsonl"
    with path.open("wb") as file:
        file.write(b"begun " * 100)
        file.truncate(3 * MAX_LINE_BYTES)  # no bytes on the disk
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"message": "x"}')
    source = await asyncio.to_thread(open_source, str(path))
    items = [item async for item in rows_of(source, RowReader({}))]
    assert [(item.line, type(item)) for item in items] == [(1, BadLine), (2, Row)]
    assert isinstance(items[0], BadLine)
    assert items[0].reason.startswith("longer than 67,")
    assert len(items[0].raw) == 100_000


def lines_ahead(descriptor: int) -> ReadingAhead[Line]:
    """The lines of a descriptor, read ahead as a source does."""
    return ReadingAhead(partial(line_batches, partial(os.read, descriptor)), partial(os.close, descriptor))


@pytest.mark.anyio
async def test_reading_stays_a_few_blocks_ahead(tmp_path: Path) -> None:
    """A file of any size is read only as fast as its lines are taken."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"some line of text\n" * BLOCK_BYTES)
    descriptor = os.open(path, os.O_RDONLY)
    source = lines_ahead(descriptor)
    lines = source.items()
    assert (await anext(lines)).data == b"some line of text"
    assert os.lseek(descriptor, 0, os.SEEK_CUR) <= 5 * BLOCK_BYTES
    source.stop()
    assert [line async for line in lines] == []


@pytest.mark.anyio
async def test_stopping_ends_a_pipe_that_never_speaks() -> None:
    """Lines end at once when they are stopped, also while the reader waits for more."""
    reading, writing = os.pipe()
    os.write(writing, b"one\ntw")
    source = lines_ahead(reading)
    lines = source.items()
    assert (await anext(lines)).data == b"one"
    source.stop()
    assert [line async for line in lines] == []
    os.close(writing)
