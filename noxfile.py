"""The project's checks, one session each; `nox -l` lists them, and `nox` alone runs the tests."""

import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

REPOSITORY = Path(__file__).parent.resolve()
SUPPORTED_PYTHONS = ["3.11", "3.12", "3.13", "3.14"]

# What the tests may see besides the installed wheel. `src/` is left out on purpose.
BESIDE_THE_TESTS = [
    "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md",
    "benchmarks", "changelog.d", "docs", "examples", "mkdocs.yml", "pyproject.toml", "tests",
]  # fmt: skip

WHERE_FROM = """
import genops, genops_helicone_async, pathlib, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib")).resolve()
for package in (genops, genops_helicone_async):
    home = pathlib.Path(package.__file__).resolve()
    assert home.is_relative_to(site), f"{package.__name__} comes from {home}, not from the wheel in {site}"
print(f"testing the wheel in {site}")
"""


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting and the layers of ARCHITECTURE.md."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", "--diff", ".")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Types of the package, and of the public interface as a user's own code meets it."""
    session.install("-e", ".[lint,cli,tokens]")
    session.run("mypy")
    session.run("mypy", "tests/typing/api.py")
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    """Every test, on the built wheel; arguments after `--` go to pytest."""
    extras = "cli,tokens,test,uvloop" if "--uvloop" in session.posargs else "cli,tokens,test"
    wheel = _build_wheel(session)
    session.install(f"genops-helicone-async[{extras}] @ {wheel.as_uri()}")
    _run_tests(session)


@nox.session(python=SUPPORTED_PYTHONS)
def tests_all(session: nox.Session) -> None:
    """Every test on every supported Python that this machine has; the others are skipped."""
    tests(session)


@nox.session
def tests_min(session: nox.Session) -> None:
    """Every test on the lowest versions that pyproject.toml promises to work with."""
    if session.venv_backend != "uv":
        session.skip("only uv can resolve to the lowest versions: pip install 'nox[uv]'")
    wheel = _build_wheel(session)
    floors = ["--resolution=lowest-direct", "-r", "pyproject.toml", "--extra=cli", "--extra=tokens"]
    session.install(*floors)
    session.install(f"genops-helicone-async[test] @ {wheel.as_uri()}")
    session.run("uv", "pip", "freeze")
    _run_tests(session)


@nox.session
def docs(session: nox.Session) -> None:
    """The site in `site/`, warnings as errors; the reference is read from src/, and the blocks are run by `tests`."""
    extra = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    session.install(*extra["docs"])
    session.run("mkdocs", "build", "--strict", "--clean", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """What README and benchmarks/ tell, measured anew in a quarter of an hour; `-- --only overhead` for one of them."""
    session.install(".[tokens,uvloop]")
    session.run("python", "benchmarks/suite.py", *session.posargs)


@nox.session
def guard(session: nox.Session) -> None:
    """The hot path against its budget, machine instructions included where valgrind is installed."""
    session.install(".[tokens]")
    session.run("python", "benchmarks/hot_path.py", "--instructions", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """The main job, without any key: a real batch through the sandbox gateway."""
    session.install(".[cli]")
    session.run("python", "-m", "genops_helicone_async", "demo", *session.posargs)


def _build_wheel(session: nox.Session) -> Path:
    folder = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    if session.venv_backend == "uv":
        session.run_install("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(REPOSITORY))
    else:
        session.run_install("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(REPOSITORY))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _run_tests(session: nox.Session, *paths: str) -> None:
    arguments = session.posargs or ["-n", "2"]
    environment: dict[str, str | None] = {"PYTHONPATH": None}
    shared = REPOSITORY.parent / "shared"
    if "GENOPS_SHARED_DIR" not in os.environ and (shared / "fixtures").is_dir():
        environment["GENOPS_SHARED_DIR"] = str(shared)
    with _copy_without_sources() as folder, session.chdir(folder):
        session.run("python", "-c", WHERE_FROM, env=environment)
        session.run("python", "-m", "pytest", *arguments, *paths, env=environment)


@contextmanager
def _copy_without_sources() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="genops-tests-") as name:
        folder = Path(name)
        for entry in BESIDE_THE_TESTS:
            source = REPOSITORY / entry
            if source.is_dir():
                shutil.copytree(source, folder / entry, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy2(source, folder / entry)
        yield folder
