"""How an adapter proves who it is: with Helicone's key, or with OAuth 2.0 client credentials, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from ._arguments import check_url, is_seen_by_the_network
from ._secret import Secret
from .errors import ConfigurationError

ClientAuth = Literal["auto", "client_secret_basic", "client_secret_post"]
AUTH_MODES = ("api_key", "oauth2")
CLIENT_AUTH: tuple[ClientAuth, ...] = ("auto", "client_secret_basic", "client_secret_post")
_NEEDED = ("token_url", "client_id", "client_secret")
_FIELDS = (*_NEEDED, "scope", "scopes", "audience", "resource", "auth_method", "extra")


class OAuth(msgspec.Struct, frozen=True, kw_only=True):
    """Client credentials and where they are exchanged for a token.

    `parameters` go into the form of every token request: `scope`, `audience` and what else the server wants.
    `auth_method` says how the client names itself: in the `Authorization` header (basic), in the form (post), or
    `auto`: basic, and post where the server refuses that.
    """

    token_url: str
    client_id: str
    client_secret: Secret
    parameters: Mapping[str, str] = {}
    auth_method: ClientAuth = "auto"

    @property
    def account(self) -> tuple[str, ...]:
        """Who asks, as the gateway will see it: tokens change every hour, this does not. Holds no secret."""
        fields = (part for pair in sorted(self.parameters.items()) for part in pair)
        return (self.token_url, self.client_id, *fields)

    def __repr__(self) -> str:
        return f"OAuth({self.token_url}, client_id={self.client_id!r}, client_secret=<secret>)"


def oauth_of(auth_mode: object, config: Mapping[str, Any] | None, *, is_cloud: bool) -> OAuth | None:
    """The client credentials; None where Helicone's key authenticates. `is_cloud`: the gateway is Helicone's own.

    Raises:
        ConfigurationError: a setting is missing, unknown or wrong; it is named, and no secret is quoted.
        TypeError: a setting has the wrong type.
    """
    if auth_mode not in AUTH_MODES:
        raise ConfigurationError(f"`auth_mode` is {auth_mode!r}: use one of {', '.join(AUTH_MODES)}")
    if auth_mode == "api_key":
        if config is not None:
            raise ConfigurationError("`oauth_config` is given, but `auth_mode` is 'api_key': set auth_mode='oauth2'")
        return None
    if config is None:
        raise ConfigurationError("`auth_mode` 'oauth2' needs `oauth_config` with token_url, client_id, client_secret")
    if not isinstance(config, Mapping):
        raise TypeError(f"`oauth_config` must be a mapping, not {type(config).__name__}")
    if unknown := [str(name) for name in config if name not in _FIELDS]:
        raise ConfigurationError(
            f"`oauth_config` has the unknown setting {unknown[0]!r}: known are {', '.join(_FIELDS)}"
        )
    if is_cloud:  # a company's token is shown to nobody else
        raise ConfigurationError(
            "`auth_mode` 'oauth2' is for a gateway of your own, Helicone's cloud takes its own keys only: "
            "set gateway_url=… (or HELICONE_GATEWAY_URL)"
        )
    for name in _NEEDED:
        if config.get(name) is None:
            raise ConfigurationError(f"`oauth_config` lacks {name!r}: it needs {', '.join(_NEEDED)}")
        _text(f"oauth_config[{name!r}]", config[name])
    method = config.get("auth_method", "auto")
    if method not in CLIENT_AUTH:
        raise ConfigurationError(f"`oauth_config['auth_method']` is {method!r}: use one of {', '.join(CLIENT_AUTH)}")
    return OAuth(
        token_url=_token_url(config["token_url"]),
        client_id=config["client_id"],
        client_secret=Secret(config["client_secret"]),
        parameters=_parameters(config),
        auth_method=method,
    )


def _token_url(url: str) -> str:
    check_url("oauth_config['token_url']", url)
    if is_seen_by_the_network(url):
        raise ConfigurationError(
            "`oauth_config['token_url']` is plain http, which would show the client secret to the network: use https"
        )
    return url


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """The optional fields of a token request, by their names on the wire."""
    extra = config.get("extra")
    if extra is not None and not isinstance(extra, Mapping):
        raise TypeError(f"`oauth_config['extra']` must be a mapping of form fields, not {type(extra).__name__}")
    found = {str(name): _text(f"oauth_config['extra'][{name!r}]", value) for name, value in (extra or {}).items()}
    if reserved := {"grant_type", "client_id", "client_secret"} & found.keys():
        raise ConfigurationError(f"`oauth_config['extra']` holds {min(reserved)!r}, which has a setting of its own")
    for name in ("audience", "resource"):
        if config.get(name) is not None:
            found[name] = _text(f"oauth_config[{name!r}]", config[name])
    given = [name for name in ("scope", "scopes") if config.get(name) is not None]
    if len(given) == 2:
        raise ConfigurationError("`oauth_config` has both 'scope' and 'scopes': give one of them")
    for name in given:
        value = config[name]
        parts = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
        if parts:
            found["scope"] = " ".join(_text(f"oauth_config[{name!r}]", part) for part in parts)
    return found


def _text(label: str, value: object) -> str:
    """The text, fit for a form and a header; the message never quotes it."""
    if not isinstance(value, str):
        raise TypeError(f"`{label}` must be text, not {type(value).__name__}")
    if not value.strip():
        raise ConfigurationError(f"`{label}` is empty")
    if not value.isprintable():
        raise ConfigurationError(
            f"`{label}` holds a line break or a control character: strip it (a secret read from a file often ends with "
            "a line break)"
        )
    return value


__all__ = ["AUTH_MODES", "CLIENT_AUTH", "ClientAuth", "OAuth", "oauth_of"]
