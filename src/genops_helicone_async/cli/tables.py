"""Tables on the screen: drawn by rich on a terminal that has it, aligned plain text everywhere else."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

if TYPE_CHECKING:
    from rich.console import Console

RICH_HINT = "pip install 'genops-helicone-async[cli]'"
"""What brings rich, and with it bars and colours."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of text under named columns; a column whose name ends in ` >` is aligned to the right.

    `total` is a last row set off from the others.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    total: tuple[str, ...] | None = None


def has_rich() -> bool:
    """Whether rich is installed."""
    return importlib.util.find_spec("rich") is not None


def print_table(table: Table, out: TextIO, console: Console | None = None) -> None:
    """Prints a table; with a console it is drawn, else it is plain text, as in a file or a pipe."""
    if console is None and has_rich() and out.isatty():
        from rich.console import Console

        console = Console(file=out)
    if console is None:
        print(plain(table), file=out)
    else:
        console.print(drawn(table), "")


def plain(table: Table) -> str:
    """The table as aligned text."""
    names = tuple(name.removesuffix(" >") for name in table.columns)
    rows = [names, *table.rows, *([table.total] if table.total else [])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names))]
    lines = [_line(row, widths, table.columns) for row in rows]
    rule = "  ".join("-" * width for width in widths)
    body = [lines[0], rule, *lines[1:]]
    if table.total:
        body.insert(-1, rule)
    return "\n".join([table.title, *body, ""])


def _line(row: tuple[str, ...], widths: list[int], columns: tuple[str, ...]) -> str:
    cells = [
        cell.rjust(width) if name.endswith(" >") else cell.ljust(width)
        for cell, width, name in zip(row, widths, columns, strict=True)
    ]
    return "  ".join(cells).rstrip()


def drawn(table: Table) -> Any:
    """The table as something rich can print."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(
        title=table.title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD,
        pad_edge=False, show_edge=False, show_footer=table.total is not None,
    )  # fmt: skip
    for index, name in enumerate(table.columns):
        made.add_column(
            name.removesuffix(" >"), Text(table.total[index] if table.total else "", style="bold"),
            justify="right" if name.endswith(" >") else "left", header_style="dim", no_wrap=True,
            style="cyan" if index == 0 else "",
        )  # fmt: skip
    for row in table.rows:
        made.add_row(*map(Text, row))
    return made


__all__ = ["RICH_HINT", "Table", "drawn", "has_rich", "plain", "print_table"]
