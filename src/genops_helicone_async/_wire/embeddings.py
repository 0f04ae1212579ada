"""Embeddings in the OpenAI shape: texts out, vectors in."""

from __future__ import annotations

from typing import Any

import msgspec

from .usage import ABSENT, OpenAiUsage, decode_openai_usage, read_usage


class _Row(msgspec.Struct):
    embedding: tuple[float, ...]
    index: int | None = None


class _Body(msgspec.Struct):
    data: list[_Row]
    usage: msgspec.Raw = ABSENT
    model: str | None = None


class EmbeddingReply(msgspec.Struct):
    """A reply with vectors; `ordered` gives them in the order of the texts, whatever order they came in."""

    data: list[_Row]
    usage: OpenAiUsage | None = None
    model: str | None = None

    def ordered(self) -> tuple[tuple[float, ...], ...]:
        """The vectors in the order of the texts."""
        rows = sorted(enumerate(self.data), key=lambda pair: pair[0] if pair[1].index is None else pair[1].index)
        return tuple(row.embedding for _, row in rows)


_decode = msgspec.json.Decoder(_Body).decode


def encode_embeddings(texts: tuple[str, ...], model: str, extra_body: Any) -> bytes:
    """The request's body."""
    return msgspec.json.encode({"model": model, "input": texts, "encoding_format": "float", **(extra_body or {})})


def decode_embeddings(body: bytes, expected: int) -> EmbeddingReply:
    """The vectors in a reply.

    Raises:
        msgspec.DecodeError: the body is no embeddings reply, or its vectors are not one for each of `expected` texts.
    """
    try:
        reply = _decode(body)
    except RecursionError as exc:
        raise msgspec.DecodeError("the JSON is nested too deeply") from exc
    places = [row.index for row in reply.data if row.index is not None]
    if len(reply.data) != expected:
        raise msgspec.ValidationError(f"{len(reply.data)} vectors for {expected} texts")
    if places and sorted(places) != list(range(expected)):
        raise msgspec.ValidationError("the vectors do not say which text each belongs to")
    return EmbeddingReply(data=reply.data, usage=read_usage(reply.usage, decode_openai_usage), model=reply.model)


__all__ = ["EmbeddingReply", "decode_embeddings", "encode_embeddings"]
