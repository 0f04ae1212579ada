"""The command line, `genops-helicone` or `python -m genops_helicone_async`: picks the command, ends with its status.

Exit status: 0 success, 1 the work failed, 2 wrong usage, 130 interrupted by Ctrl-C. An expected failure is one line
on standard error. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from .failures import FAILED, INTERRUPTED, WRONG_USAGE, drop_broken_output, failure_of, report
from .program import program


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line instead of a usage text and a line."""

    def error(self, message: str) -> NoReturn:
        report(f"{message} (all options: {self.prog} --help)")
        raise SystemExit(WRONG_USAGE)


def _parser() -> argparse.ArgumentParser:
    from . import audit, budgets, bulk, chat, compare, demo, ledger_report, migrate, prices, sandbox, validate

    parser = _Parser(
        prog=program(),
        description="Governed LLM calls through Helicone: failover, exact costs, many at once.",
        epilog="Keys come from the environment: HELICONE_API_KEY, OPENAI_API_KEY, … `demo` needs none. "
        "Exit status: 0 success, 1 the work failed, 2 wrong usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"genops-helicone-async {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", parser_class=_Parser)
    for command in (demo, chat, bulk, compare, migrate, prices, budgets, ledger_report, audit, sandbox, validate):
        command.add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and gives its exit status; `argv` is the command line without the program's name."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a character is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        parser = _parser()
        arguments = parser.parse_args(argv)
        if "run" not in arguments:
            parser.print_help(sys.stderr)
            return WRONG_USAGE
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else FAILED
    except KeyboardInterrupt:
        report("interrupted", kind="stopped")
        return INTERRUPTED
    except BrokenPipeError:
        drop_broken_output()
        return FAILED
    except Exception as exc:
        known = failure_of(exc)
        if known is not None:
            report(known.message)
            return known.status
        raise
    return status


__all__ = ["main"]
