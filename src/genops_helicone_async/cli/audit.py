"""`audit verify`: whether an audit log is as it was written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .failures import FAILED, WRONG_USAGE, CommandError, reason
from .options import add_json_option

if TYPE_CHECKING:
    from .._edges.audit import Verdict


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "audit",
        help="verify an audit log",
        description="Works on the audit log that `audit_logging` writes.",
    )
    actions = parser.add_subparsers(metavar="ACTION", title="actions", required=True)
    verify = actions.add_parser(
        "verify",
        help="whether it is as it was written",
        description="Reads every line of an audit log, its older parts (PATH.000001, …) and its seal (PATH.seal). "
        "Changed, removed, added and reordered lines are found, also at its end. What cannot be found is "
        "that the log and its seal were both replaced: compare the last hash with a copy of the seal kept elsewhere. "
        "Exit status: 0 all is right, 1 it is not, 2 there is no such log.",
    )
    verify.add_argument("path", metavar="PATH", type=Path, help="the log's file")
    verify.add_argument("--partial", action="store_true", help="older parts are elsewhere: begin with what is here")
    add_json_option(verify, "what was found")
    verify.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Verifies; 0 where all is right."""
    from .._edges.audit import verify

    try:
        verdict = verify(arguments.path, partial=arguments.partial)
    except OSError as exc:
        raise CommandError(reason(exc), WRONG_USAGE) from None
    if arguments.json:
        import msgspec

        print(msgspec.json.encode({"ok": verdict.ok, **msgspec.structs.asdict(verdict)}).decode())
    else:
        print(_told(verdict))
    return 0 if verdict.ok else FAILED


def _told(verdict: Verdict) -> str:
    parts = f" in {verdict.parts} files" if verdict.parts > 1 else ""
    if verdict.ok:
        text = f"OK: {verdict.lines:,} lines{parts}, up to {verdict.last_seq:,} {verdict.last_hash}"
        if verdict.unsealed:
            text += (
                f"\nThe last {verdict.unsealed:,} are of a batch that was begun and not finished: the process that "
                "wrote it was killed."
            )
        return text
    where = f"{verdict.file}{f', line {verdict.line:,}' if verdict.line else ''}"
    return f"NOT OK: {where}: {verdict.problem} ({verdict.lines:,} lines before it are right)"


__all__ = ["add_to", "run"]
