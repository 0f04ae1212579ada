"""Hooks of the site: the examples and the benchmarks become pages, and links that leave `docs/` lead to them."""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\((?P<up>(?:\.\./)+)(?P<path>(?:examples|benchmarks)/[\w./-]*)\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Adds a page for each example, a list of them, and the page of figures."""
    pages = {f"examples/{path.stem}.md": _example_page(path) for path in sorted(REPOSITORY.glob("examples/*.py"))}
    pages["examples/observability.md"] = _below(REPOSITORY / "examples/observability/README.md")
    pages["examples/index.md"] = _list_page(sorted(REPOSITORY.glob("examples/*.py")))
    pages["benchmarks.md"] = _below(REPOSITORY / "benchmarks/README.md")
    for path, text in pages.items():
        page = File.generated(config, path, content=text)
        page.inclusion = page.inclusion.NOT_IN_NAV if path != "examples/index.md" else page.inclusion
        files.append(page)
    for chart in sorted(REPOSITORY.glob("benchmarks/results/*.svg")):
        files.append(File.generated(config, f"results/{chart.name}", abs_src_path=str(chart)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Turns a link to an example's file, which is right in the repository, into one to its page."""
    folder = posixpath.dirname(page.file.src_uri)

    def turned(link: re.Match[str]) -> str:
        return f"]({posixpath.relpath(_page_of(link['path']), folder or '.')})"

    return LINK.sub(turned, markdown)


def _page_of(path: str) -> str:
    if path.startswith("benchmarks/"):
        return "benchmarks.md"
    if path.startswith("examples/observability"):
        return "examples/observability.md"
    return path.removesuffix(".py") + ".md" if path.endswith(".py") else "examples/index.md"


def _example_page(path: Path) -> str:
    code = path.read_text(encoding="utf-8")
    return f"# {path.name}\n\n{_first_line(code)}\n\n```python\n{code}```\n"


def _list_page(paths: list[Path]) -> str:
    rows = [f"| [{path.name}]({path.stem}.md) | {_first_line(path.read_text(encoding='utf-8'))} |" for path in paths]
    head = "# Examples\n\nEach is a program that runs as it stands: `python examples/NAME.py`. Without a\n"
    head += "`HELICONE_API_KEY` they talk to a sandbox of their own, so that no key and no network is needed.\n\n"
    last = "| [observability/](observability.md) | Metrics in Prometheus and Grafana: exporter, alerts, dashboard. |"
    return head + "| program | shows |\n|---|---|\n" + "\n".join([*rows, last]) + "\n"


def _first_line(code: str) -> str:
    return (ast.get_docstring(ast.parse(code)) or "").split("\n", 1)[0]


def _below(path: Path) -> str:
    return path.read_text(encoding="utf-8")
