"""In which order finished rows are written: as they come, or as the input has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from .journal_rows import Piece

_MOST_BYTES = 4 * 1024 * 1024
"""Of lines that were held, to be written at once: what had to wait for one slow row must not all be in memory."""


class OutputOrder:
    """Lets lines pass; in order, it keeps those whose turn has not come. `has_more`: there are some whose turn it is.

    Of what is held it knows the line numbers only: `fetch` gives the rest.
    """

    __slots__ = ("_early", "_expected", "_fetch", "has_more", "is_ordered")

    def __init__(self, fetch: Callable[[int], Piece], *, is_ordered: bool) -> None:
        self._fetch = fetch
        self.is_ordered = is_ordered
        self._expected: deque[int] = deque()
        self._early: set[int] = set()
        self.has_more = False

    def expect(self, line: int) -> None:
        """There will be an outcome of this line, to be written after those expected before."""
        if self.is_ordered:
            self._expected.append(line)

    def sort(self, pieces: Sequence[Piece]) -> tuple[Sequence[Piece], Sequence[Piece]]:
        """What can be written now, and what is to be held."""
        if not self.is_ordered:
            return pieces, ()
        arrived = {piece.line: piece for piece in pieces}
        ready: list[Piece] = []
        size = 0
        while self._expected and size < _MOST_BYTES:
            line = self._expected[0]
            piece = arrived.pop(line, None)
            if piece is None and line in self._early:
                self._early.discard(line)
                piece = self._fetch(line)
            if piece is None:
                break
            self._expected.popleft()
            ready.append(piece)
            size += len(piece.data)
        self.has_more = size >= _MOST_BYTES
        self._early.update(arrived)
        return ready, tuple(arrived.values())


__all__ = ["OutputOrder"]
