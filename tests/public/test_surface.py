"""What users may import: what `__all__` lists, under both names, and nothing before it is asked for."""

import importlib
import importlib.metadata
import importlib.resources
import inspect
import json
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

ROOTS = ("genops", "genops_helicone_async")

# Each of these costs a user tens to hundreds of milliseconds; none may load before a call needs it.
HEAVY = (
    "aiohttp", "aiolimiter", "anyio", "backoff", "genai_prices", "httpx2", "opentelemetry.sdk", "pydantic",
    "redis", "rich", "sqlite3", "toktok_rs",
)  # fmt: skip


def public_modules() -> list[str]:
    """Modules that a user may import: those at the top, and the guide's; what lies deeper is how they are made."""
    names = list(ROOTS)
    for root, deepest in (("genops", 3), ("genops_helicone_async", 2)):
        package = importlib.import_module(root)
        found = [module.name for module in pkgutil.walk_packages(package.__path__, f"{root}.")]
        names += [name for name in found if name.count(".") < deepest]
    return sorted(name for name in names if not any(part.startswith("_") for part in name.split(".")))


def as_ruff_sorts(name: str) -> tuple[int, str]:
    """Sort key of ruff's RUF022: constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


def load(name: str) -> ModuleType:
    """The module, or the failure of its import as this test's failure."""
    return importlib.import_module(name)


@pytest.mark.parametrize("name", public_modules())
def test_all_is_sorted_and_has_no_double(name: str) -> None:
    """Each public module says what it offers, sorted, each name once."""
    listed = list(load(name).__all__)
    assert listed == sorted(set(listed), key=as_ruff_sorts)


@pytest.mark.parametrize("name", public_modules())
def test_all_names_can_be_imported(name: str) -> None:
    """Whatever a public module lists is there."""
    module = load(name)
    missing = [entry for entry in module.__all__ if not hasattr(module, entry)]
    missing = [entry for entry in missing if f"{name}.{entry}" not in public_modules()]
    assert missing == []


@pytest.mark.parametrize("name", public_modules())
def test_all_lists_every_class_a_public_module_defines(name: str) -> None:
    """A class without an underscore is public, so it is listed where it is defined."""
    module = load(name)
    defined = {
        label
        for label, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == name and not label.startswith("_")
    }
    assert sorted(defined - set(module.__all__)) == []


@pytest.mark.parametrize("source", ["errors", "models"])
def test_the_root_offers_every_error_and_every_result(source: str) -> None:
    """Users import errors and results from the package itself."""
    import genops_helicone_async

    module = load(f"genops_helicone_async.{source}")
    classes = {name for name in module.__all__ if inspect.isclass(getattr(module, name))}
    assert sorted(classes - set(genops_helicone_async.__all__)) == []


def test_the_guide_names_are_the_same_objects() -> None:
    """`genops.providers.helicone` offers exactly the package's objects, not copies of them."""
    import genops_helicone_async
    from genops.providers import helicone

    assert helicone.__all__ == genops_helicone_async.__all__
    differing = [
        name
        for name in genops_helicone_async.__all__
        if getattr(helicone, name) is not getattr(genops_helicone_async, name)
    ]
    assert differing == []


@pytest.mark.parametrize("name", ["genops", "genops.providers.helicone", "genops_helicone_async"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    """A misspelt name fails as in any other module, naming the module and the name."""
    with pytest.raises(AttributeError, match=rf"module '{name}' has no attribute 'Adaptor'"):
        _ = load(name).Adaptor


@pytest.mark.parametrize("name", ["genops", "genops.providers.helicone", "genops_helicone_async"])
def test_import_is_lazy(name: str) -> None:
    """Importing the package loads none of the libraries that it works with."""
    program = f"import json, sys, {name}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert sorted(loaded & set(HEAVY)) == []
    assert done.stderr == ""


@pytest.mark.parametrize("name", ROOTS)
def test_version_is_that_of_the_distribution(name: str) -> None:
    """`__version__` is what the installer recorded."""
    assert load(name).__version__ == importlib.metadata.version("genops-helicone-async")


@pytest.mark.parametrize("name", ROOTS)
def test_types_are_shipped(name: str) -> None:
    """Type checkers find the marker beside the code."""
    assert (importlib.resources.files(name) / "py.typed").is_file()


def test_both_adapters_take_the_same_settings() -> None:
    """The keywords of the synchronous constructor are exactly those of the asynchronous one."""
    from genops_helicone_async.blocking import AdapterSettings
    from genops_helicone_async.client import GenOpsHeliconeAsyncAdapter

    parameters = inspect.signature(GenOpsHeliconeAsyncAdapter).parameters.values()
    keywords = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    assert set(AdapterSettings.__annotations__) == keywords


def test_the_verbs_take_what_a_request_has() -> None:
    """The keywords of the verbs are the fields of a request, but for the message itself."""
    from genops_helicone_async.chat_request import ChatOptions, ChatRequest

    assert set(ChatOptions.__annotations__) == set(ChatRequest.__struct_fields__) - {"message"}
