"""The request for a token byte by byte, and what is read out of answers."""

import base64
from typing import Any

import msgspec
import pytest

from genops_helicone_async import AuthenticationError
from genops_helicone_async._oauth_settings import OAuth
from genops_helicone_async._secret import Secret
from genops_helicone_async._values import HttpReply
from genops_helicone_async._wire.dialects import endpoint_for
from genops_helicone_async._wire.oauth import read_grant, refuses_the_way, token_request
from genops_helicone_async.config import GivenSettings, resolve

URL = "https://auth.test/token"
OAUTH = OAuth(token_url=URL, client_id="a:b", client_secret=Secret("p+w/ö ="), parameters={"scope": "x y"})


def reply(status: int = 200, **document: Any) -> HttpReply:
    """A server's answer."""
    return HttpReply(status=status, headers={}, body=msgspec.json.encode(document))


def test_the_client_in_the_header_is_form_encoded_first() -> None:
    """RFC 6749, 2.3.1: a colon in the id, or any sign in the secret, cannot be taken for the separator."""
    request = token_request(OAUTH, "basic")
    kind, _, pair = request.headers["Authorization"].partition(" ")
    assert (kind, base64.b64decode(pair)) == ("Basic", b"a%3Ab:p%2Bw%2F%C3%B6+%3D")
    assert (request.method, request.url) == ("POST", URL)
    assert request.body == b"grant_type=client_credentials&scope=x+y"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_the_client_in_the_form() -> None:
    """No header besides; the two are never mixed."""
    request = token_request(OAUTH, "post")
    assert "Authorization" not in request.headers
    assert request.body == (b"grant_type=client_credentials&scope=x+y&client_id=a%3Ab&client_secret=p%2Bw%2F%C3%B6+%3D")


@pytest.mark.parametrize(
    "expires_in, lifetime_s",
    [(60, 60.0), ("60", 60.0), (60.5, 60.5), (True, None), ("soon", None), (None, None), ([60], None), ("nan", None)],
)
def test_the_lifetime_is_a_number_or_unknown(expires_in: object, lifetime_s: float | None) -> None:
    """Text that is a number counts; anything else is as if nothing had been said."""
    assert read_grant(reply(access_token="t", expires_in=expires_in), OAUTH).lifetime_s == lifetime_s


@pytest.mark.parametrize(
    "answer, refuses",
    [
        (reply(401), True),
        (reply(400, error="invalid_client"), True),
        (reply(400, error="invalid_scope"), False),
        (reply(403), False),
        (reply(200, access_token="t"), False),
    ],
)
def test_when_the_other_way_to_name_the_client_is_worth_a_try(answer: HttpReply, refuses: bool) -> None:
    """Only where the server does not know the client."""
    assert refuses_the_way(answer) is refuses


def test_a_huge_or_deep_answer_is_no_token() -> None:
    """Neither a download nor a pile of brackets is read."""
    for body in (b'{"access_token": "' + b"x" * 300_000 + b'"}', b"[" * 100_000, b"\xff\xfe"):
        with pytest.raises(AuthenticationError, match=r"^no token from https://auth\.test/token: its answer has no"):
            read_grant(HttpReply(status=200, headers={}, body=body), OAUTH)


def test_the_key_is_in_no_header_beside_the_token() -> None:
    """An endpoint that takes the token carries no `Authorization` of its own."""
    config = {"token_url": URL, "client_id": "a", "client_secret": "b"}
    for dialect in ("helicone", "rust", "openai"):
        given = GivenSettings(
            helicone_api_key="sk-helicone-x", gateway_url="https://gw.test", gateway_dialect=dialect,
            auth_mode="oauth2", oauth_config=config,
        )  # fmt: skip
        endpoint = endpoint_for(resolve(given, {}, 1024), "openai", "gpt-4o-mini")
        assert (dict(endpoint.headers), endpoint.credential) == ({}, "oauth2")
