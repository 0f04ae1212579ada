"""The pages of docs/: every block runs as it stands, every link leads somewhere, and nothing public is left out."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import genops_helicone_async
from genops_helicone_async import report, testing
from genops_helicone_async.testing import SandboxGateway

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUNNABLE = [page for page in PAGES if re.search(r"^```(python|bash)$", page.read_text(encoding="utf-8"), re.MULTILINE)]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name(page: Path) -> str:
    """The page's path below docs/."""
    return page.relative_to(DOCS).as_posix()


def without_blocks(page: Path) -> str:
    """A page's prose."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """What runs pages, in an environment that points to a gateway."""
    with SandboxGateway.in_thread(latency_scale=0) as gateway:
        environment = {
            **os.environ,
            "HELICONE_GATEWAY_URL": gateway.url,
            "HELICONE_API_KEY": gateway.api_key,
            "HELICONE_API_URL": gateway.api_url,
            "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        }
        command = [sys.executable, "-W", "error", str(Path(__file__).with_name("page_runner.py"))]
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            yield process
            assert process.stdin is not None
            process.stdin.close()


@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_every_block_of_a_page_runs(runner: subprocess.Popen[str], tmp_path: Path, page: Path) -> None:
    """In order, in a process of its own with warnings as errors, and nothing is said on standard error."""
    printed, complaints, folder = tmp_path / "printed", tmp_path / "complaints", tmp_path / "folder"
    folder.mkdir()
    asked = {"page": str(page), "folder": str(folder), "printed": str(printed), "complaints": str(complaints)}
    assert runner.stdin is not None and runner.stdout is not None  # noqa: PT018
    runner.stdin.write(json.dumps(asked) + "\n")
    runner.stdin.flush()
    status = int(runner.stdout.readline())
    assert (status, complaints.read_text(encoding="utf-8")) == (0, ""), complaints.read_text(encoding="utf-8")
    assert int(printed.read_text(encoding="utf-8").splitlines()[-1]) > 0


@pytest.mark.parametrize("page", [*PAGES, REPOSITORY / "README.md"], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Links to files lead to files of the repository, those to headings to headings."""
    for link in LINK.findall(without_blocks(page)):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if heading and target.suffix == ".md":
            titles = re.findall(r"^#+ (.+)$", without_blocks(target), re.MULTILINE)
            assert heading in [re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles], link


def test_every_example_is_linked_from_a_page() -> None:
    """Whoever reads about a feature finds its program."""
    linked = {Path(link).name for page in PAGES for link in LINK.findall(without_blocks(page)) if "examples/" in link}
    programs = {path.name for path in (REPOSITORY / "examples").glob("*.py")} - {"gateway_to_talk_to.py"}
    assert programs - linked == set()


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("", set(genops_helicone_async.__all__)),
        ("testing.", set(testing.__all__)),
        ("report.", set(report.__all__) - {"MOST_NAMES", "checked_zone"}),
    ],
    ids=["package", "testing", "report"],
)
def test_every_public_name_is_in_the_reference(module: str, names: set[str]) -> None:
    """The reference has a directive for each, and for none that does not exist."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    directives = re.findall(rf"^::: genops_helicone_async\.{re.escape(module)}(\w+)$", text, re.MULTILINE)
    assert len(directives) == len(set(directives))
    assert set(directives) == names


def test_every_page_is_in_the_navigation() -> None:
    """The site's table of contents names each page once."""
    site = REPOSITORY / "mkdocs.yml"
    if not site.exists():
        pytest.skip("mkdocs.yml is not here")
    named = re.findall(r": ([\w/-]+\.md)$", site.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted([*map(name, PAGES), "examples/index.md"])
