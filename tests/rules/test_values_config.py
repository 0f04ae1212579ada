"""Settings: completed from arguments and environment, checked once, and never a key in sight."""

import copy
import json
import pickle
import traceback
from typing import Any

import msgspec
import pytest

from genops_helicone_async._arguments import check_url
from genops_helicone_async._providers import PROVIDERS, canonical, maker_of
from genops_helicone_async._values import HttpRequest
from genops_helicone_async._wire.dialects import endpoint_for
from genops_helicone_async.config import (
    CLOUD_GATEWAY,
    GivenSettings,
    Secret,
    Settings,
    resolve,
)
from genops_helicone_async.errors import ConfigurationError

HELICONE = "sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd"
OPENAI = "sk-proj-openai-0123456789"


def settings(environ: dict[str, str] | None = None, open_file_limit: int = 1024, **given: Any) -> Settings:
    """The settings of these arguments in this environment."""
    return resolve(GivenSettings(**given), environ or {}, open_file_limit)


def keyed(**given: Any) -> Settings:
    """The settings of these arguments and a Helicone key."""
    return settings(helicone_api_key=HELICONE, **given)


def everything() -> Settings:
    """Settings with secrets in every place."""
    environ = {"MISTRAL_API_KEY": "mistral-0123456789", "GOOGLE_CLOUD_PROJECT": "p", "AWS_SECRET_ACCESS_KEY": OPENAI}
    return settings(environ, helicone_api_key=HELICONE, provider_keys={"openai": OPENAI, "groq": "gsk_0123456789"})


SECRETS = (HELICONE, OPENAI, "gsk_0123456789", "mistral-0123456789")


def test_a_key_alone_is_enough() -> None:
    """Everything else has a default."""
    made = keyed()
    assert (
        made.gateway_url, made.gateway_dialect, made.is_cloud, made.candidates, made.timeout_s, made.retry_attempts,
        made.max_response_bytes, made.enable_cost_tracking, dict(made.gateway_fee_rates), made.trust_env,
        dict(made.default_attributes), dict(made.provider_urls), dict(made.environ),
    ) == (
        CLOUD_GATEWAY, "auto", True, ("openai", "anthropic", "groq"), 30.0, 3,
        64 * 1024 * 1024, True, {"PTB": 0.03, "BYOK": 0.0}, False, {}, {}, {},
    )  # fmt: skip


def test_the_environment_fills_what_was_not_given() -> None:
    """Keys, gateway and attribution come from the documented variables."""
    made = settings(
        {
            "HELICONE_API_KEY": HELICONE,
            "HELICONE_GATEWAY_URL": "https://gw.test/",
            "GROQ_API_KEY": "gsk_0123456789",
            "OPENAI_API_KEY": OPENAI,
            "GENOPS_TEAM": "research",
            "GENOPS_PROJECT": "p",
            "GENOPS_ENVIRONMENT": "production",
            "GENOPS_SERVICE_NAME": "my-service",
            "UNRELATED": "x",
        }
    )
    assert (made.helicone_api_key, made.gateway_url, made.gateway_dialect, made.is_cloud) == (
        Secret(HELICONE), "https://gw.test", "helicone", False,
    )  # fmt: skip
    assert dict(made.provider_keys) == {"openai": Secret(OPENAI), "groq": Secret("gsk_0123456789")}
    assert made.candidates == ("openai", "groq")
    assert dict(made.default_attributes) == {
        "team": "research", "project": "p", "environment": "production", "service_name": "my-service",
    }  # fmt: skip


def test_arguments_win_over_the_environment() -> None:
    """What is given is not mixed with what the environment says; attributes are, name by name."""
    made = settings(
        {
            "HELICONE_API_KEY": "sk-helicone-other",
            "HELICONE_GATEWAY_URL": "https://other.test",
            "GROQ_API_KEY": "gsk_0123456789",
            "GENOPS_TEAM": "other",
            "GENOPS_PROJECT": "p",
        },
        helicone_api_key=HELICONE,
        gateway_url="https://gw.test",
        provider_keys={"mistral": "m-0123456789", "OpenAI": OPENAI},
        default_attributes={"team": "mine", "anything": "goes"},
    )
    assert (made.helicone_api_key, made.gateway_url) == (Secret(HELICONE), "https://gw.test")
    assert list(made.provider_keys) == ["mistral", "openai"]
    assert dict(made.default_attributes) == {"team": "mine", "project": "p", "anything": "goes"}


def test_an_empty_mapping_of_keys_is_an_answer() -> None:
    """Whoever gives no keys on purpose gets none from the environment either."""
    assert dict(keyed(environ={"OPENAI_API_KEY": OPENAI}, provider_keys={}).provider_keys) == {}


@pytest.mark.parametrize(
    "provider, variable", [(name, variable) for name, row in PROVIDERS.items() for variable in row.env]
)
def test_every_provider_has_its_usual_variable(provider: str, variable: str) -> None:
    """A key in the environment makes its provider a candidate."""
    made = settings({variable: "k-0123456789"})
    assert (dict(made.provider_keys), made.candidates) == ({provider: Secret("k-0123456789")}, (provider,))


def test_the_first_of_two_variables_counts() -> None:
    """Google's key has two names."""
    made = settings({"GEMINI_API_KEY": "first-0123", "GOOGLE_API_KEY": "second-0123"})
    assert made.provider_keys["gemini"] == Secret("first-0123")


@pytest.mark.parametrize("variable", ["HELICONE_API_KEY", "OPENAI_API_KEY", "HELICONE_GATEWAY_URL", "GENOPS_TEAM"])
def test_an_empty_variable_is_not_set(variable: str) -> None:
    """Shells and compose files leave empty ones behind."""
    assert keyed(environ={variable: ""}) == keyed()


@pytest.mark.parametrize("url", [CLOUD_GATEWAY, CLOUD_GATEWAY + "/", CLOUD_GATEWAY + "/v1", CLOUD_GATEWAY + "/v1/"])
def test_the_cloud_is_known_in_its_spellings(url: str) -> None:
    """With and without the version segment it is Helicone's own gateway."""
    made = keyed(gateway_url=url)
    assert (made.is_cloud, made.gateway_dialect, made.gateway_url) == (True, "auto", url.rstrip("/"))


@pytest.mark.parametrize(
    "given, candidates",
    [
        ({"provider_keys": {"groq": "k-01234567", "openai": "k-01234567"}}, ("groq", "openai")),
        ({"provider_keys": {"groq": "k-01234567"}, "provider_urls": {"my-own": "https://x.test"}}, ("groq", "my-own")),
        ({"provider_urls": {"groq": "https://x.test"}}, ("groq",)),
        ({"gateway_dialect": "openai"}, ("openai",)),
        ({"gateway_dialect": "rust", "gateway_url": "https://x.test"}, ("openai", "anthropic", "groq")),
    ],
)
def test_candidates_are_what_is_configured(given: dict[str, Any], candidates: tuple[str, ...]) -> None:
    """Providers with keys or URLs in the order given, else the documented default set."""
    assert keyed(**given).candidates == candidates


@pytest.mark.parametrize(
    "credentials, gateway_url, candidates",
    [
        ("/a/credentials.json", None, ("openai", "anthropic", "groq")),
        ("/a/credentials.json", "https://x.test", ("vertex",)),
        ("ya29.token", None, ("vertex",)),
    ],
)
def test_a_credentials_file_alone_makes_no_candidate(
    credentials: str, gateway_url: str | None, candidates: tuple[str, ...]
) -> None:
    """`VERTEX_AI_CREDENTIALS` usually names a file, with which Vertex needs a project, too; a gateway needs neither."""
    made = keyed(environ={"VERTEX_AI_CREDENTIALS": credentials}, gateway_url=gateway_url)
    assert made.candidates == candidates


@pytest.mark.parametrize(
    "open_file_limit, given, connections",
    [(1024, None, 960), (64, None, 16), (65_536, None, 10_000), (256, None, 192), (64, 5000, 5000), (1024, 1, 1)],
)
def test_the_pool_fits_the_limit_of_open_files(open_file_limit: int, given: int | None, connections: int) -> None:
    """Without a number the pool takes what the process may open, ten thousand at most."""
    made = settings(open_file_limit=open_file_limit, helicone_api_key=HELICONE, max_connections=given)
    assert made.max_connections == connections


@pytest.mark.parametrize(
    "key",
    ["", " ", f"{HELICONE}\n", f"\t{HELICONE}", "two words", "schlüssel", "a\x00b", "a\x7fb", "\u200b" + HELICONE],
)
@pytest.mark.parametrize("where", ["helicone_api_key", "provider_keys"])
def test_a_key_unfit_for_a_header_is_refused_unseen(where: str, key: str) -> None:
    """The message names the argument and the remedy, never the key."""
    given: dict[str, Any] = {where: key} if where == "helicone_api_key" else {where: {"openai": key}}
    with pytest.raises(
        ConfigurationError, match=rf"^`{where}.*` (is empty: give the key|holds a line break)"
    ) as caught:
        settings(**{"helicone_api_key": HELICONE, **given})
    shown = "".join(traceback.format_exception(caught.value))
    assert HELICONE not in shown
    assert not key.strip() or key not in shown


@pytest.mark.parametrize("variable", ["HELICONE_API_KEY", "OPENAI_API_KEY"])
def test_a_broken_key_in_the_environment_is_named_by_its_variable(variable: str) -> None:
    """A key read from a file often ends with a line break."""
    with pytest.raises(ConfigurationError, match=rf"^`{variable}` holds a line break"):
        settings({variable: "sk-0123456789\n"})


@pytest.mark.parametrize(
    "given, problem",
    [
        ({"helicone_api_key": 5}, "`helicone_api_key` must be text, not int"),
        ({"provider_keys": {"openai": None}}, r"`provider_keys\['openai'\]` must be text, not NoneType"),
        ({"provider_keys": ["openai"]}, "`provider_keys` must be a mapping, not list"),
        ({"provider_urls": "https://x"}, "`provider_urls` must be a mapping, not str"),
        ({"provider_urls": {"openai": 5}}, r"`provider_urls\['openai'\]` must be a URL as text, not int"),
        ({"gateway_url": 5}, "`gateway_url` must be a URL as text, not int"),
        ({"default_attributes": ["x"]}, "`default_attributes` must be a mapping, not list"),
        ({"default_attributes": {"team": 5}}, r"`default_attributes\['team'\]` must be a string, not int"),
        ({"timeout_seconds": "30"}, "`timeout_seconds` must be a number, not str"),
        ({"timeout_seconds": True}, "`timeout_seconds` must be a number, not bool"),
        ({"timeout_seconds": None}, "`timeout_seconds` must be a number, not NoneType"),
        ({"retry_attempts": 1.5}, "`retry_attempts` must be an integer, not float"),
        ({"retry_attempts": True}, "`retry_attempts` must be an integer, not bool"),
        ({"max_connections": "9"}, "`max_connections` must be an integer, not str"),
        ({"gateway_fee_rates": [0.1]}, "`gateway_fee_rates` must be a mapping, not list"),
        ({"prices": [1]}, "`prices` must be a mapping, not list"),
        ({"state_url": 5}, "`state_url` must be a URL as text, not int"),
        ({"enable_cost_tracking": "no"}, "`enable_cost_tracking` must be True or False, not str"),
        ({"trust_env": "no"}, "`trust_env` must be True or False, not str"),
        ({"allow_insecure_http": "no"}, "`allow_insecure_http` must be True or False, not str"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_a_type_error(given: dict[str, Any], problem: str) -> None:
    """The message names the argument and what was given."""
    with pytest.raises(TypeError, match=f"^{problem}"):
        settings(**{"helicone_api_key": HELICONE, **given})


@pytest.mark.parametrize(
    "given, problem",
    [
        ({"timeout_seconds": 0}, "`timeout_seconds` is 0"),
        ({"timeout_seconds": -1}, "`timeout_seconds` is -1"),
        ({"timeout_seconds": float("nan")}, "`timeout_seconds` is nan"),
        ({"timeout_seconds": float("inf")}, "`timeout_seconds` is inf"),
        ({"timeout_seconds": 10**400}, "`timeout_seconds` is 1000"),
        ({"retry_attempts": -1}, "`retry_attempts` is -1: it must be 0 or more"),
        ({"max_connections": 0}, "`max_connections` is 0: it must be 1 or more"),
        ({"max_response_bytes": 0}, "`max_response_bytes` is 0: it must be 1 or more"),
        ({"gateway_dialect": "soap"}, "`gateway_dialect` is 'soap': use one of auto, helicone, proxy, rust, openai"),
        ({"cost_currency": "EUR"}, "`cost_currency` is 'EUR'"),
        ({"gateway_fee_rates": {"PTB": 1}}, r"`gateway_fee_rates\['PTB'\]` is 1: give a share"),
        ({"gateway_fee_rates": {"PTB": -0.1}}, r"`gateway_fee_rates\['PTB'\]` is -0.1"),
        ({"gateway_fee_rates": {"PTB": float("nan")}}, r"`gateway_fee_rates\['PTB'\]` is nan"),
        ({"gateway_fee_rates": {"PTB": True}}, r"`gateway_fee_rates\['PTB'\]` is True"),
        ({"gateway_fee_rates": {"": 0.1}}, "`gateway_fee_rates` has the key ''"),
        ({"provider_keys": {"": "k"}}, "`provider_keys` has the key ''"),
        ({"provider_keys": {"nobody": "k-01234567"}}, "`provider_keys` names the unknown provider 'nobody': known are"),
        ({"provider_keys": {"google": "k-1", "gemini": "k-2"}}, "`provider_keys` has two keys for 'gemini'"),
        ({"default_attributes": {"team": ""}}, r"`default_attributes\['team'\]` is empty"),
        ({"default_attributes": {"team": "a\r\nX: y"}}, r"`default_attributes\['team'\]` holds a control character"),
        ({"default_attributes": {"team": "\ud800"}}, r"`default_attributes\['team'\]` holds an unpaired surrogate"),
        ({"default_attributes": {" ": "x"}}, "`default_attributes` has the key ' '"),
        (
            {"gateway_dialect": "proxy", "gateway_url": "https://x.test"},
            "`gateway_dialect` 'proxy' goes to each provider's",
        ),
        ({"gateway_dialect": "rust"}, "`gateway_dialect` 'rust' is spoken by a gateway of your own"),
    ],
)
def test_a_setting_out_of_range_is_a_configuration_error(given: dict[str, Any], problem: str) -> None:
    """The message names the argument, the value and the remedy; it is a `ValueError` as well."""
    with pytest.raises(ConfigurationError, match=f"^{problem}") as caught:
        settings(**{"helicone_api_key": HELICONE, **given})
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("variable", ["GENOPS_TEAM", "GENOPS_PROJECT", "GENOPS_ENVIRONMENT", "GENOPS_SERVICE_NAME"])
def test_attribution_from_the_environment_is_checked_too(variable: str) -> None:
    """The variable is named."""
    with pytest.raises(ConfigurationError, match=f"^`{variable}` holds a control character"):
        keyed(environ={variable: "a\nb"})


@pytest.mark.parametrize(
    "url",
    [
        "", "gateway", "//x.test", "ftp://x.test", "file:///etc/passwd", "https://", "https:///path", "http://:80",
        "https://x.test:0", "https://x.test:99999", "https://x.test:port", "https://[::1", "https://x.test?a=b",
        "https://x.test/#f", "https://x.test?", "https://x.test#", "https://user:pw@x.test", "https://@x.test",
        "ftp://user:pw@x.test", "https://x.te st", "https://x.test\n", " https://x.test", "https://x\r\ny.test",
        "https://x.test/v1/chat/completions", "https://x.test/v1/messages/", "javascript:alert(1)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["gateway_url", "provider_urls"])
def test_what_is_no_base_url_is_refused(where: str, url: str) -> None:
    """Only scheme, host, port and path may be there; a password in it is not repeated."""
    with pytest.raises(ConfigurationError, match=rf"^`{where}") as caught:
        keyed(**{where: url if where == "gateway_url" else {"openai": url}})
    assert "pw" not in str(caught.value)


def test_a_gateway_url_in_the_environment_is_checked_too() -> None:
    """A variable may be wrong as well."""
    with pytest.raises(ConfigurationError, match=r"^`gateway_url` is 'gateway': give an http"):
        keyed(environ={"HELICONE_GATEWAY_URL": "gateway"})


@pytest.mark.parametrize(
    "url, taken",
    [
        ("https://x.test", "https://x.test"),
        ("https://x.test///", "https://x.test"),
        ("https://x.test:8443/a/v1/", "https://x.test:8443/a/v1"),
        ("http://localhost:8787", "http://localhost:8787"),
        ("http://gw.localhost", "http://gw.localhost"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_a_base_url_loses_its_trailing_slashes(url: str, taken: str) -> None:
    """Plain http is fine on loopback, whatever its spelling."""
    assert keyed(gateway_url=url).gateway_url == taken


@pytest.mark.parametrize(
    "host",
    ["gw.internal", "10.0.0.1", "0.0.0.0", "128.0.0.1", "localhost.evil.test", "127.0.0.1.evil.test", "[fe80::1]"],
)
def test_plain_http_is_refused_where_a_key_would_travel(host: str) -> None:
    """The network could read it; the message names the setting, the host and both remedies."""
    with pytest.raises(
        ConfigurationError, match=r"^`gateway_url` is plain http to .*: use https, or set allow_insecure"
    ):
        keyed(gateway_url=f"http://{host}")
    with pytest.raises(ConfigurationError, match=r"^`provider_urls\['groq'\]` is plain http"):
        settings(provider_urls={"groq": f"http://{host}"}, provider_keys={"groq": "gsk_0123456789"})
    assert keyed(gateway_url=f"http://{host}", allow_insecure_http=True).gateway_url == f"http://{host}"


@pytest.mark.parametrize(
    "given",
    [
        {"gateway_url": "http://gw.internal", "gateway_dialect": "rust", "provider_keys": {"openai": OPENAI}},
        {"gateway_url": "http://gw.internal", "gateway_dialect": "openai"},
        {"provider_urls": {"ollama": "http://llm.internal/v1"}, "provider_keys": {"openai": OPENAI}},
    ],
)
def test_plain_http_is_fine_where_no_key_travels(given: dict[str, Any]) -> None:
    """A provider's key goes to no other place, so that place may be plain."""
    assert settings(**given).helicone_api_key is None


@pytest.mark.parametrize(
    "given",
    [
        {"provider_keys": {"openai": OPENAI}},
        {"provider_urls": {"ollama": "http://localhost:1/v1"}},
        {"gateway_dialect": "openai", "gateway_url": "http://localhost:1"},
        {"gateway_dialect": "rust", "gateway_url": "http://localhost:1"},
        {"helicone_api_key": HELICONE},
    ],
)
def test_any_way_to_authenticate_will_do(given: dict[str, Any]) -> None:
    """Helicone's key, a provider's key, a URL of one's own, or a gateway that asks for nothing."""
    assert settings(**given).timeout_s == 30.0


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"provider_keys": {}},
        {"gateway_dialect": "helicone", "provider_keys": {"openai": OPENAI}},
        {"gateway_url": "https://gw.test", "provider_keys": {"openai": OPENAI}},
        {"gateway_dialect": "proxy"},
    ],
)
def test_nothing_to_authenticate_with_is_refused(given: dict[str, Any]) -> None:
    """The message names argument, variable, and the way to try it without any key."""
    with pytest.raises(
        ConfigurationError, match=r"^no key to authenticate with: pass helicone_api_key=… or set HELICONE"
    ):
        settings(**given)


def test_settings_never_show_a_key() -> None:
    """Not by repr, str, format or a log call, and the environment they keep holds places only."""
    made = everything()
    shown = f"{made} {made!r} {made.provider_keys} {made.helicone_api_key} {made.environ}"
    assert [secret for secret in SECRETS if secret in shown] == []
    assert dict(made.environ) == {"GOOGLE_CLOUD_PROJECT": "p"}


def test_given_settings_never_show_a_key() -> None:
    """Before they are checked the keys are plain text, and a URL may hold a password: nothing is shown."""
    given = GivenSettings(
        helicone_api_key=HELICONE, provider_keys={"openai": OPENAI}, gateway_url="https://u:pw@x.test"
    )
    assert {repr(given), str(given), f"{given}"} == {"GivenSettings(<not shown: the keys are still plain text>)"}


def test_a_secret_is_shown_only_on_request() -> None:
    """`reveal` gives the text, everything else a placeholder."""
    secret = Secret(OPENAI)
    assert (repr(secret), str(secret), f"{secret}", f"{[secret]}", secret.reveal()) == (
        "<secret>", "<secret>", "<secret>", "[<secret>]", OPENAI,
    )  # fmt: skip


@pytest.mark.parametrize("dump", [pickle.dumps, copy.deepcopy, json.dumps, msgspec.json.encode, msgspec.to_builtins])
@pytest.mark.parametrize("value", [Secret(OPENAI), [Secret(OPENAI)], everything()], ids=["secret", "list", "settings"])
def test_a_secret_leaves_in_no_other_form(value: object, dump: Any) -> None:
    """Pickles, copies and JSON would carry it out of sight: each is refused, without a word of it."""
    with pytest.raises(TypeError) as caught:
        dump(value)
    assert OPENAI not in str(caught.value)


def test_secrets_compare_by_their_text() -> None:
    """Equal keys are equal, and no text equals a secret."""
    assert Secret("a") == Secret("a")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"
    assert Secret("a") != Secret("b")


def test_all_secrets_are_known_for_scrubbing() -> None:
    """Messages that quote what we sent can be cleaned of every one."""
    assert everything().secrets() == (OPENAI, "gsk_0123456789", HELICONE)


def test_a_traceback_with_locals_shows_no_key() -> None:
    """Where frames are dumped with their variables, settings, endpoints and requests show none."""

    def fail() -> None:
        made = everything()
        endpoint = endpoint_for(made, "openai", "m")
        request = HttpRequest(method="POST", url=endpoint.chat_url, headers=dict(endpoint.headers), body=b"abc")
        raise RuntimeError(f"{made} {endpoint} {request}")

    with pytest.raises(RuntimeError) as caught:
        fail()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert [secret for secret in SECRETS if secret in shown] == []
    assert "request = HttpRequest(POST https://oai.helicone.ai/v1/chat/completions, 3 bytes, sent=False)" in shown


def test_a_request_shows_no_key_and_no_query() -> None:
    """Headers, body and query of a request stay out of its repr."""
    request = HttpRequest(
        method="GET", url="https://x.test/a?key=hidden", headers={"Authorization": OPENAI}, body=b"told"
    )
    assert repr(request) == "HttpRequest(GET https://x.test/a, 4 bytes, sent=False)"


def test_settings_cannot_be_changed() -> None:
    """They are checked once: a new adapter takes new settings."""
    with pytest.raises(AttributeError):
        keyed().timeout_s = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    "name, provider",
    [
        ("openai", "openai"), ("OpenAI", "openai"), ("GOOGLE", "gemini"), ("google-ai-studio", "gemini"),
        ("vertex_ai", "vertex"), ("VertexAI", "vertex"), ("x", "xai"), ("my-own", "my-own"), ("My-Own", "My-Own"),
    ],
)  # fmt: skip
def test_a_provider_is_known_by_its_other_names(name: str, provider: str) -> None:
    """Case and aliases do not matter for known providers; others keep their spelling."""
    assert canonical(name) == provider


@pytest.mark.parametrize(
    "model, maker",
    [
        ("gpt-4o-mini", "openai"), ("o3-mini", "openai"), ("claude-4.5-haiku", "anthropic"),
        ("gemini-2.5-flash", "gemini"), ("grok-3", "xai"), ("deepseek-chat", "deepseek"), ("sonar-pro", "perplexity"),
        ("mistral-small-latest", "mistral"), ("llama-3.3-70b", None), ("", None),
    ],
)  # fmt: skip
def test_a_models_maker_is_read_off_its_name(model: str, maker: str | None) -> None:
    """Names that many serve tell nothing."""
    assert maker_of(model) == maker


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_row_of_the_directory_is_sound(name: str) -> None:
    """A canonical name, a default model, and a base URL that can be checked like any other, or a gateway's name."""
    row = PROVIDERS[name]
    assert (canonical(row.name), row.name.lower(), bool(row.default_model)) == (name, name, True)
    assert row.gateway_name is not None if row.base_url is None else check_url("base_url", row.base_url) == row.base_url


@pytest.mark.parametrize(("told", "by_session"), [({}, False), ({"GENOPS_TRANSPORT": "Session"}, True)])
def test_the_environment_may_send_all_through_the_session(told: dict[str, str], by_session: bool) -> None:
    """A way back to aiohttp's session, without a change of code."""
    assert settings({"HELICONE_API_KEY": HELICONE, **told}).by_session is by_session
