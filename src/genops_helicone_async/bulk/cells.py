"""The columns of a table of rows: which chat keyword each one is, and how its cells become that keyword's value.

No I/O. A cell of text becomes what the keyword takes (`max_tokens` a whole number, `providers` a list, `attributes` an
object written as JSON); a cell that has a type of its own, as Parquet's have, is taken as it is.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from ..chat_request import ChatOptions
from ..errors import ConfigurationError

Convert = Callable[[Any], Any]

_ROW_FIELDS = ("custom_id", "message", "messages", "method", "url", "body")
_NOT_IN_A_FILE = ("response_model",)
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column: the row's field that it gives, and what makes its cells that field's values."""

    field: str
    convert: Convert


def columns_of(
    names: Sequence[str], *, prompt_column: str | None = None, ignored: Collection[str] = ()
) -> tuple[Column | None, ...]:
    """What each column of a table is; None for one that is ignored. `*` in `ignored` is every one that is unknown.

    Raises:
        ConfigurationError: a column is unknown, there twice, or the one of the prompts is missing.
    """
    found: list[Column | None] = []
    for number, name in enumerate(names, 1):
        if name != prompt_column and (name in ignored or ("*" in ignored and name not in _CONVERTERS)):
            found.append(None)
        elif name == prompt_column:
            found.append(Column(field="message", convert=_text))
        elif name in _CONVERTERS:
            found.append(Column(field=name, convert=_CONVERTERS[name]))
        else:
            raise _unknown(number, name, prompt_column)
    _check_fields([column.field for column in found if column is not None], names, prompt_column)
    return tuple(found)


def _unknown(number: int, name: str, prompt_column: str | None) -> ConfigurationError:
    if not name:
        return ConfigurationError(f"column {number} has no name: name it in the first row")
    near = get_close_matches(name, [*_CONVERTERS, *([prompt_column] if prompt_column else [])], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    remedy = "name the column of the prompts with --prompt-column, and others that are not for us with --ignore-columns"
    if prompt_column is not None and not near:
        remedy = f"leave it out with --ignore-columns {name}, or every such column with --ignore-columns '*'"
    return ConfigurationError(f"column {number}, {name!r}, is no keyword of a chat.{hint} ({remedy})")


def _check_fields(fields: list[str], names: Sequence[str], prompt_column: str | None) -> None:
    if prompt_column is not None and prompt_column not in names:
        near = get_close_matches(prompt_column, names, n=1)
        hint = f": did you mean {near[0]!r}?" if near else f": there are {', '.join(map(repr, names))}"
        raise ConfigurationError(f"there is no column {prompt_column!r}{hint}")
    for field in fields:
        if fields.count(field) > 1:
            raise ConfigurationError(f"two columns give `{field}`: leave one out (--ignore-columns)")
    if not {"message", "messages", "body"} & set(fields):
        raise ConfigurationError(
            "no column has the prompts: name one `message`, or say which it is with --prompt-column"
        )


def row_of(columns: Sequence[Column | None], cells: Sequence[Any]) -> dict[str, Any]:
    """The fields of a row; an empty cell gives none.

    Raises:
        ValueError: a cell does not fit its keyword; it is named.
    """
    row: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        if column is None or cell is None or cell == "":
            continue
        try:
            row[column.field] = column.convert(cell)
        except (ValueError, TypeError, RecursionError) as exc:
            raise ValueError(f"`{column.field}` is {_shown(cell)}: {exc}") from None
    return row


def _shown(cell: Any) -> str:
    told = repr(cell)
    return told if len(told) <= 80 else told[:79] + "…"


def _text(cell: Any) -> str:
    if isinstance(cell, bytes):
        return cell.decode()
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return f"{cell:g}" if isinstance(cell, float) and cell.is_integer() else str(cell)
    raise ValueError(f"it must be a text, not {type(cell).__name__}")


def _whole_number(cell: Any) -> Any:
    if isinstance(cell, float) and cell.is_integer():  # where a column has gaps, many writers make it one of floats
        return int(cell)
    if not isinstance(cell, str):
        return cell
    try:
        return int(cell.strip())
    except ValueError:
        raise ValueError("it must be a whole number") from None


def _number(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        number = float(cell.strip())
    except ValueError:
        raise ValueError("it must be a number") from None
    if not math.isfinite(number):
        raise ValueError("it must be a number")
    return number


def _truth(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    said = cell.strip().lower()
    if said in _TRUE or said in _FALSE:
        return said in _TRUE
    raise ValueError("it must be true or false")


def _json(cell: Any) -> Any:
    if isinstance(cell, str | bytes):
        try:
            return msgspec.json.decode(cell)
        except msgspec.DecodeError as exc:
            raise ValueError(f"it must be JSON: {exc}") from None
    return _plain(cell)


def _names(cell: Any) -> Any:
    """A list as JSON, or its texts between commas."""
    if not isinstance(cell, str) or cell.lstrip().startswith("["):
        return _json(cell)
    return [name.strip() for name in cell.split(",")]


def _text_or_json(cell: Any) -> Any:
    """A text, unless it is written as a JSON list or object."""
    if isinstance(cell, str) and cell.lstrip().startswith(("[", "{")):
        try:
            return msgspec.json.decode(cell)
        except msgspec.DecodeError:
            return cell
    return cell if isinstance(cell, str) else _plain(cell)


def _plain(value: Any) -> Any:
    """A nested value without the gaps that columns have where some rows lack a field; pairs become an object."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) and len(item) == 2 for item in value):  # a map of Parquet
            return {name: _plain(item) for name, item in value}
        return [_plain(item) for item in value]
    return value


def _converter_of(hint: Any) -> Convert:
    """What makes a text the value of a keyword of this type."""
    options = [kind for kind in get_args(hint) if kind is not type(None)] if _is_union(hint) else [hint]
    kinds = {get_origin(kind) or kind for kind in options}
    if str in kinds:
        return _text if kinds == {str} else _text_or_json
    if bool in kinds:
        return _truth
    if float in kinds:
        return _number
    if int in kinds:
        return _whole_number
    return _names if Sequence in kinds and options == [Sequence[str]] else _json


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


_CONVERTERS: dict[str, Convert] = {
    "custom_id": _text, "message": _text, "method": _text, "url": _text, "messages": _json, "body": _json,
    **{
        name: _converter_of(hint)
        for name, hint in get_type_hints(ChatOptions).items()
        if name not in (*_ROW_FIELDS, *_NOT_IN_A_FILE)
    },
}  # fmt: skip

__all__ = ["Column", "columns_of", "row_of"]
