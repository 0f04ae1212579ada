"""On and off: nothing is imported for it, clients of any age are covered, and afterwards everything is as before."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
from instrumented import ASK, BEARER, billed_as, watching

from genops_helicone_async import ConfigurationError
from genops_helicone_async.instrumentation import HeliconeInstrumentor, init, uninstrument
from genops_helicone_async.testing import SandboxGateway

PATCHED = [
    (library.HTTPTransport, "handle_request") for library in (httpx, httpx2)
] + [(library.AsyncHTTPTransport, "handle_async_request") for library in (httpx, httpx2)] + [
    (requests.Session, "send"), (aiohttp.ClientSession, "_request"),
]  # fmt: skip


def attributes_of_classes() -> list[object]:
    """What the libraries' classes have in the places that are wrapped."""
    return [owner.__dict__[name] for owner, name in PATCHED]


def run(code: str) -> str:
    """What a program of its own prints, with warnings as errors."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_everything_is_put_back(gateway: SandboxGateway) -> None:
    """While it is on every place is wrapped; afterwards each has the very object that it had before."""
    before = attributes_of_classes()
    with watching(gateway) as watched:
        during = attributes_of_classes()
        assert watched.on.is_active
    assert all(now is not then for now, then in zip(during, before, strict=True))
    assert all(now is then for now, then in zip(attributes_of_classes(), before, strict=True))
    assert not watched.on.is_active
    uninstrument()


def test_nothing_is_counted_afterwards(gateway: SandboxGateway) -> None:
    """A client that was made while it was on sends as ever."""
    url = f"{gateway.provider_urls['openai']}/chat/completions"
    with watching(gateway) as watched:
        client = httpx.Client(headers=BEARER)
    with client:
        client.post(url, json=ASK).raise_for_status()
    assert (len(gateway.bill), watched.awus()) == (1, [])


def test_somebody_elses_wrapper_on_top_stays(gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not ours to remove; ours below it passes everything on."""
    url = f"{gateway.provider_urls['openai']}/chat/completions"
    with watching(gateway) as watched:
        ours, calls = requests.Session.send, []

        def theirs(self: Any, request: Any, **options: Any) -> Any:
            calls.append(request.url)
            return ours(self, request, **options)

        monkeypatch.setattr(requests.Session, "send", theirs)
    requests.post(url, json=ASK, headers=BEARER).raise_for_status()
    assert requests.Session.send is theirs
    assert (calls, watched.awus()) == ([url], [])
    monkeypatch.undo()
    requests.Session.send = ours.__wrapped__  # type: ignore[attr-defined,method-assign]


def test_init_again_changes_nothing(gateway: SandboxGateway) -> None:
    """Without arguments, or with the same, it is the same; with others it begins anew with them."""
    settings: dict[str, Any] = {"gateway_url": gateway.url, "team": "a"}
    try:
        first = init(**settings)
        wrapped = attributes_of_classes()
        assert init() is first
        assert init(**settings) is first
        assert all(now is then for now, then in zip(attributes_of_classes(), wrapped, strict=True))
        second = init(gateway_url=gateway.url, team="b")
        assert (first.is_active, second.is_active) == (False, True)
        httpx.post(
            f"{gateway.url}/v1/chat/completions", json=ASK, headers={"Authorization": f"Bearer {gateway.api_key}"}
        )
        assert set(second.governance.get_usage_summary().cost_by_team) == {"b"}
        billed_as(gateway, second.governance.get_usage_summary())
    finally:
        uninstrument()


def test_nothing_is_imported_for_it() -> None:
    """`init()` and `uninstrument()` load no library that the program has not, not even those that we send with.

    Nor does a library that was there before, or that is imported afterwards, bring the others.
    """
    names = ("httpx", "httpx2", "requests", "aiohttp", "openai", "anthropic", "anyio", "opentelemetry.sdk", "msgspec")
    printed = run(
        "import sys, genops\ngenops.init(team='a', project='b')\ngenops.uninstrument()\n"
        f"names = {names}\nprint([name for name in names if name in sys.modules])\n"
        "import requests\ngenops.init()\nimport httpx\nprint([name for name in names if name in sys.modules])"
    )
    assert printed == "['msgspec']\n['httpx', 'requests', 'msgspec']\n"


def test_a_library_imported_later_is_covered(gateway: SandboxGateway) -> None:
    """The program imports and calls it after `init()`; afterwards nothing of ours is left on it."""
    printed = run(
        "from genops import init, uninstrument\n"
        f"on = init(gateway_url={gateway.url!r}, provider_urls={gateway.provider_urls!r})\n"
        "import openai, requests\n"
        f"client = openai.OpenAI(base_url={gateway.provider_urls['openai']!r}, api_key='k')\n"
        "client.chat.completions.create(model='gpt-4o-mini', messages=[{'role': 'user', 'content': 'Hi'}])\n"
        "client.close()\n"
        "print(on.governance.get_usage_summary().request_count, type(requests.Session.send).__name__)\n"
        "uninstrument()\n"
        "print(type(requests.Session.send).__name__)\n"
        "import httpx\n"
        "print(type(httpx.HTTPTransport.handle_request).__name__)\n"
    )
    assert printed == "1 BoundFunctionWrapper\nfunction\nfunction\n"
    assert len(gateway.bill) == 1


def test_unknown_settings_are_refused() -> None:
    """A keyword that `init` does not have is a TypeError, a value that makes no sense a ConfigurationError."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'retry_attempts'"):
        init(retry_attempts=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="`enforce` must be True or False"):
        init(enforce="yes")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="gateway_url"):
        init(gateway_url="ftp://example.org")
    with pytest.raises(ConfigurationError, match="`daily_limit`"):
        init(budget_limits={"daily_limit": -1})
    assert type(requests.Session.__dict__["send"]).__name__ == "function"


def test_the_extra_is_named_where_it_is_missing() -> None:
    """Without wrapt the error says what to install, and nothing has changed."""
    printed = run(
        "import sys\nsys.modules['wrapt'] = None\nimport genops, genops_helicone_async\n"
        "try:\n    genops.init()\nexcept genops_helicone_async.ConfigurationError as exc:\n    print(exc)\n"
    )
    assert "pip install 'genops-helicone-async[instrument]'" in printed


def test_opentelemetrys_agent_switches_it_on(gateway: SandboxGateway) -> None:
    """The entry point names the class that the agent calls, with whatever else it says."""
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    entries = pyproject["project"]["entry-points"]["opentelemetry_instrumentor"]
    module, _, name = entries["genops_helicone"].partition(":")
    assert getattr(importlib.import_module(module), name) is HeliconeInstrumentor
    instrumentor, before = HeliconeInstrumentor(), attributes_of_classes()
    assert instrumentor.instrumentation_dependencies() == ()
    instrumentor.instrument(skip_dep_check=True, raise_exception_on_conflict=True)
    try:
        assert all(now is not then for now, then in zip(attributes_of_classes(), before, strict=True))
    finally:
        instrumentor.uninstrument()
    assert all(now is then for now, then in zip(attributes_of_classes(), before, strict=True))
