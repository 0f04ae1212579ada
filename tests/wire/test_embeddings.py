"""Embeddings: texts out, one vector for each text back, in the texts' order."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from genops_helicone_async._wire.embeddings import decode_embeddings, encode_embeddings
from genops_helicone_async._wire.usage import OpenAiUsage


def body(*rows: dict[str, Any], **more: Any) -> bytes:
    """A reply with these rows."""
    return json.dumps({"object": "list", "data": rows, **more}).encode()


def row(*vector: float, **index: Any) -> dict[str, Any]:
    """One vector."""
    return {"object": "embedding", "embedding": vector, **index}


def test_a_request_asks_for_floats() -> None:
    """Model and texts, and what the caller adds."""
    sent = encode_embeddings(("a", "ü"), "m", {"dimensions": 2})
    assert json.loads(sent) == {"model": "m", "input": ["a", "ü"], "encoding_format": "float", "dimensions": 2}


@pytest.mark.parametrize(
    "rows",
    [
        [row(1, 2, index=0), row(3.5, index=1)],
        [row(3.5, index=1), row(1, 2, index=0)],
        [row(1, 2), row(3.5)],
        [row(1, 2, index=None), row(3.5, index=None)],
    ],
)
def test_vectors_come_in_the_order_of_their_texts(rows: list[dict[str, Any]]) -> None:
    """By their index where they have one, else as they stand."""
    assert decode_embeddings(body(*rows), 2).ordered() == ((1.0, 2.0), (3.5,))


def test_usage_and_model_are_read() -> None:
    """What was billed, and by what it was served."""
    reply = decode_embeddings(body(row(1), usage={"prompt_tokens": 3, "total_tokens": 3}, model="m-1"), 1)
    assert (reply.usage, reply.model) == (OpenAiUsage(prompt_tokens=3, total_tokens=3), "m-1")


@pytest.mark.parametrize("usage", [None, "n/a", [], {"prompt_tokens": "3"}])
def test_a_senseless_usage_leaves_the_vectors(usage: Any) -> None:
    """They were paid for."""
    reply = decode_embeddings(body(row(1), usage=usage), 1)
    assert (reply.usage, reply.ordered()) == (None, ((1.0,),))


@pytest.mark.parametrize(
    "reply",
    [
        b"", b"null", b"{}", b"<html>", b'{"data":"none"}', b'{"error":{"message":"no"}}', b"[" * 100_000,
        body(), body(row(1)), body(row(1), row(2), row(3)), body(row(1, index=0), row(2, index=0)),
        body(row(1, index=0), row(2, index=5)), body(row(1, index=0), row(2)), body(row(1, index=-1), row(2, index=0)),
        body({"embedding": "AACAPw=="}, {"embedding": "AACAPw=="}), body({"embedding": [None]}, row(1)), body({}, {}),
    ],
)  # fmt: skip
def test_what_is_not_one_vector_for_each_text_is_a_decode_error(reply: bytes) -> None:
    """Too few, too many, of unknown place or no vectors at all: never a vector for the wrong text."""
    with pytest.raises(msgspec.DecodeError):
        decode_embeddings(reply, 2)


def test_the_recorded_reply_is_read(shared_dir: Path) -> None:
    """What OpenAI's own host was recorded to answer."""
    case = json.loads((shared_dir / "fixtures" / "helicone" / "oai_embeddings.json").read_text("utf-8"))
    recorded = json.loads(case["response"]["body"])
    reply = decode_embeddings(case["response"]["body"].encode(), len(recorded["data"]))
    assert reply.ordered() == tuple(tuple(map(float, entry["embedding"])) for entry in recorded["data"])
    assert reply.usage == msgspec.convert(recorded["usage"], OpenAiUsage)
