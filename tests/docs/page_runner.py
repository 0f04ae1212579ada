"""Runs the blocks of documentation pages in order, each page in a forked process of its own that has imported already.

Python blocks share their names and one event loop; top-level `await` works, as in a notebook. In `bash` blocks the
lines that call our own command line are run. A `text` block right after one of them is what it prints, where `…` stands
for anything on the line. The blocks talk to the gateway that the environment names.

Lines of JSON come on standard input, `{"page": …, "folder": …, "printed": …, "complaints": …}`: the page, the folder to
run it in, and the files for standard output and error. The exit status of each is answered in a line.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
ENDLESS = ("sandbox", "demo")
"""Commands that end by Ctrl-C, or take their time; other tests run them."""


def run_page(page: Path) -> int:
    """Runs every block; gives how many there were. The first that fails or prints something else ends it."""
    text, names, printed, ran = page.read_text(encoding="utf-8"), {"__name__": "__page__"}, "", 0
    with asyncio.Runner() as runner:
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 1
            if block["language"] == "text":
                check(block["code"], printed, f"{page.name}:{line}")
                continue
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                if block["language"] == "python":
                    run_python(block["code"], f"{page.name}", line, names, runner)
                elif block["language"] == "bash":
                    run_shell(block["code"], f"{page.name}:{line}")
            printed = out.getvalue()
            ran += block["language"] in ("python", "bash")
    return ran


def run_python(code: str, name: str, line: int, names: dict[str, Any], runner: asyncio.Runner) -> None:
    """Executes a block whose lines keep their numbers, so that a traceback points into the page."""
    compiled = compile("\n" * line + code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if compiled.co_flags & inspect.CO_COROUTINE:
        runner.run(eval(compiled, names))
    else:
        exec(compiled, names)


def run_shell(code: str, where: str) -> None:
    """Runs our own commands that end; their exit status must be 0."""
    from genops_helicone_async.cli import main

    for command in code.replace("\\\n", " ").splitlines():
        words = shlex.split(command, comments=True)
        if not words or words[0] != "genops-helicone" or words[1] in ENDLESS:
            continue
        with contextlib.redirect_stderr(io.StringIO()) as told:
            status = main(words[1:])
        assert status == 0, f"{where}: {command!r} ended with {status}: {told.getvalue()}"


def check(expected: str, printed: str, where: str) -> None:
    """Whether a block printed what the page says."""
    pattern = ".*".join(map(re.escape, expected.split("…")))
    assert re.fullmatch(pattern, printed), f"{where} says\n{expected}\nbut this was printed:\n{printed}"


def serve() -> None:
    """Forks a process for each page asked for; the forked one leaves through the interpreter's own end."""
    from genops_helicone_async import blocking, cli, instrumentation, testing  # noqa: F401  imported once, for all
    from genops_helicone_async._edges.price_book import PriceBook
    from genops_helicone_async.testing import gateway  # noqa: F401

    PriceBook(None).resolve_now("openai", "gpt-4o-mini")  # reads the price list

    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            os.chdir(asked["folder"])
            for number, place in ((0, os.devnull), (1, asked["printed"]), (2, asked["complaints"])):
                os.dup2(os.open(place, os.O_RDWR | os.O_CREAT), number)
            print(run_page(Path(asked["page"])))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
