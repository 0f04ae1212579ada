"""Embeddings in the OpenAI shape: texts out, vectors in."""

from __future__ import annotations

from typing import Any

import msgspec

from .usage import OpenAiUsage


class _Row(msgspec.Struct):
    embedding: tuple[float, ...]
    index: int | None = None


class EmbeddingReply(msgspec.Struct):
    """A reply with vectors; `data` in the order of the texts once `ordered` has been called."""

    data: list[_Row]
    usage: OpenAiUsage | None = None
    model: str | None = None

    def ordered(self) -> tuple[tuple[float, ...], ...]:
        """The vectors in the order of the texts."""
        rows = sorted(enumerate(self.data), key=lambda pair: pair[0] if pair[1].index is None else pair[1].index)
        return tuple(row.embedding for _, row in rows)


_decode = msgspec.json.Decoder(EmbeddingReply).decode


def encode_embeddings(texts: tuple[str, ...], model: str, extra_body: Any) -> bytes:
    """The request's body."""
    return msgspec.json.encode({"model": model, "input": texts, "encoding_format": "float", **(extra_body or {})})


def decode_embeddings(body: bytes, expected: int) -> EmbeddingReply:
    """The vectors in a reply.

    Raises:
        msgspec.DecodeError: the body is no embeddings reply, or has another number of vectors than `expected`.
    """
    reply = _decode(body)
    if len(reply.data) != expected:
        raise msgspec.ValidationError(f"{len(reply.data)} vectors for {expected} texts")
    return reply


__all__ = ["EmbeddingReply", "decode_embeddings", "encode_embeddings"]
