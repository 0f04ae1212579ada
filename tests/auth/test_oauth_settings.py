"""`auth_mode` and `oauth_config`: what is taken, and what is refused with which words."""

from typing import Any

import pytest

from genops_helicone_async import ConfigurationError, GenOpsHeliconeAdapter
from genops_helicone_async.config import GivenSettings, Settings, resolve

GATEWAY = "https://gateway.company.test"
CONFIG = {"token_url": "https://auth.company.test/token", "client_id": "me", "client_secret": "hush hush"}


def settings(environ: dict[str, str] | None = None, **given: Any) -> Settings:
    """Settings of an adapter with OAuth."""
    told = {"gateway_url": GATEWAY, "auth_mode": "oauth2", "oauth_config": CONFIG, **given}
    return resolve(GivenSettings(**told), environ or {}, 1024)


def test_the_guide_s_three_settings_are_enough() -> None:
    """`client_id`, `client_secret` and `token_url`, as the guide has them, and no key at all."""
    oauth = settings().oauth
    assert oauth is not None
    assert (oauth.token_url, oauth.client_id, oauth.parameters) == ("https://auth.company.test/token", "me", {})
    assert oauth.client_secret.reveal() == "hush hush"


def test_the_gateway_may_come_from_the_environment() -> None:
    """`HELICONE_GATEWAY_URL` is a gateway of one's own as well."""
    assert settings({"HELICONE_GATEWAY_URL": GATEWAY}, gateway_url=None).oauth is not None


@pytest.mark.parametrize(
    "config, parameters",
    [
        ({"scope": "a b"}, {"scope": "a b"}),
        ({"scopes": ["a", "b"]}, {"scope": "a b"}),
        ({"scopes": "a"}, {"scope": "a"}),
        ({"scope": ("a",)}, {"scope": "a"}),
        ({"scopes": []}, {}),
        ({"scope": None, "audience": None}, {}),
        ({"audience": "x", "resource": "y", "extra": {"z": "1"}}, {"audience": "x", "resource": "y", "z": "1"}),
    ],
)
def test_what_the_server_may_want_besides(config: dict[str, Any], parameters: dict[str, str]) -> None:
    """Scopes as text or list, audience, resource, and any further field of the form."""
    oauth = settings(oauth_config={**CONFIG, **config}).oauth
    assert oauth is not None
    assert oauth.parameters == parameters


@pytest.mark.parametrize(
    "given, told",
    [
        ({"auth_mode": "saml"}, r"^`auth_mode` is 'saml': use one of api_key, oauth2$"),
        ({"auth_mode": None}, r"^`auth_mode` is None: use one of"),
        ({"auth_mode": "api_key"}, r"^`oauth_config` is given, but `auth_mode` is 'api_key': set auth_mode='oauth2'$"),
        ({"oauth_config": None}, r"needs `oauth_config` with token_url, client_id, client_secret$"),
        ({"oauth_config": {}}, r"^`oauth_config` lacks 'token_url': it needs token_url, client_id, client_secret$"),
        ({"oauth_config": {**CONFIG, "client_secret": None}}, r"^`oauth_config` lacks 'client_secret'"),
        ({"oauth_config": {**CONFIG, "client_id": " "}}, r"^`oauth_config\['client_id'\]` is empty$"),
        ({"oauth_config": {**CONFIG, "client_secret": "hush\n"}}, r"^`oauth_config\['client_secret'\]` holds a line"),
        ({"oauth_config": {**CONFIG, "tokenurl": "x"}}, r"^`oauth_config` has the unknown setting 'tokenurl': known"),
        ({"oauth_config": {**CONFIG, "scope": "a", "scopes": ["b"]}}, r"has both 'scope' and 'scopes'"),
        ({"oauth_config": {**CONFIG, "auth_method": "jwt"}}, r"^`oauth_config\['auth_method'\]` is 'jwt': use one of"),
        ({"oauth_config": {**CONFIG, "extra": {"client_secret": "x"}}}, r"'client_secret', which has a setting of its"),
        ({"oauth_config": {**CONFIG, "token_url": "ftp://x"}}, r"^`oauth_config\['token_url'\]` is 'ftp://x'"),
        ({"oauth_config": {**CONFIG, "token_url": "http://auth.company.test/token"}}, r"is plain http, which would"),
        ({"oauth_config": {**CONFIG, "token_url": "https://u:p@auth.test/"}}, r"must not hold a user"),
        ({"gateway_url": None}, r"is for a gateway of your own, Helicone's cloud takes its own keys only"),
        ({"gateway_url": "http://gateway.company.test"}, r"^`gateway_url` is plain http to gateway\.company\.test"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], told: str) -> None:
    """Each message names the setting and the remedy, and never quotes the secret."""
    with pytest.raises(ConfigurationError, match=told) as caught:
        settings(**given)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "config", [["token_url"], {**CONFIG, "client_secret": b"hush"}, {**CONFIG, "scopes": [1]}, {**CONFIG, "extra": 1}]
)
def test_wrong_types_are_type_errors(config: Any) -> None:
    """Bytes for a secret, numbers for scopes and the like."""
    with pytest.raises(TypeError, match=r"^`oauth_config.*` must be") as caught:
        settings(oauth_config=config)
    assert "hush" not in str(caught.value)


def test_token_urls_on_this_machine_may_be_plain() -> None:
    """Loopback is no network; `allow_insecure_http` opens no other."""
    oauth = settings(oauth_config={**CONFIG, "token_url": "http://127.0.0.1:8080/token"}).oauth
    assert oauth is not None
    with pytest.raises(ConfigurationError, match="would show the client secret to the network"):
        settings(oauth_config={**CONFIG, "token_url": "http://10.0.0.1/token"}, allow_insecure_http=True)


def test_secrets_do_not_show() -> None:
    """Neither in the settings' representation nor in the adapter's."""
    with GenOpsHeliconeAdapter(gateway_url=GATEWAY, auth_mode="oauth2", oauth_config=CONFIG) as adapter:
        shown = f"{adapter!r} {adapter.settings!r} {adapter.settings.oauth!r} {adapter._parts!r}"
    assert "hush" not in shown
    assert settings().secrets() == ("hush hush",)
