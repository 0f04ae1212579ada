"""Vertex AI with a service account's key file: google-auth signs, a real token endpoint on loopback answers."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from token_server import TokenServer, bearers

from genops_helicone_async import AuthenticationError, GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import Fault, SandboxGateway

pytest.importorskip("google.auth", reason="google-auth is the extra [vertex]")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

pytestmark = pytest.mark.anyio

EMAIL = "caller@my-project.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """A key as Google would make one; made once, for that takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_file(folder: Path, key: rsa.RSAPrivateKey, token_uri: str, **more: Any) -> str:
    """A service account's key file."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    facts = {
        "type": "service_account",
        "project_id": "my-project",
        "private_key_id": "0123456789abcdef",
        "private_key": pem,
        "client_email": EMAIL,
        "client_id": "1",
        "token_uri": token_uri,
        **more,
    }
    path = folder / "vertex-credentials.json"
    path.write_text(json.dumps(facts))
    return str(path)


def adapter_for(gateway: SandboxGateway, path: str, **more: Any) -> GenOpsHeliconeAsyncAdapter:
    """An adapter whose vertex is the sandbox's."""
    return GenOpsHeliconeAsyncAdapter(
        provider_urls={name: gateway.provider_urls[name] for name in ("vertex", "groq")},
        provider_keys={"vertex": path, "groq": "groq-key"},
        **more,
    )


async def test_a_signed_assertion_is_exchanged_for_one_token(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    """Fifty first calls: one exchange, signed by the account's own key, and its token is the bearer of every call."""
    from google.auth import jwt

    async with SandboxGateway(latency_scale=0) as gateway, TokenServer() as server:
        async with adapter_for(gateway, key_file(tmp_path, key, server.url)) as adapter:
            await asyncio.gather(*(adapter.chat_async("Hi", provider="vertex") for _ in range(50)))
            assert adapter.statistics().tokens["vertex"].fetches == 1
        (form,) = server.asked
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        claims = jwt.decode(form["assertion"], certs=public)  # type: ignore[no-untyped-call]
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        assert (claims["iss"], claims["scope"]) == (EMAIL, "https://www.googleapis.com/auth/cloud-platform")
        assert bearers(gateway) == ["token-1"] * 50


async def test_a_refused_token_is_replaced(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    """Google's token can be revoked, too: the call is sent once more with a fresh one."""
    async with SandboxGateway(latency_scale=0) as gateway, TokenServer() as server:
        gateway.faults.add(Fault(kind="status", provider="vertex", status=401, times=1))
        async with adapter_for(gateway, key_file(tmp_path, key, server.url)) as adapter:
            await adapter.chat_async("Hi", provider="vertex")
        assert bearers(gateway) == ["token-1", "token-2"]


async def test_the_environment_s_file_makes_vertex_a_candidate(
    tmp_path: Path, key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`VERTEX_AI_CREDENTIALS` and a project are all that vertex needs; the path itself is sent nowhere."""
    async with SandboxGateway(latency_scale=0) as gateway, TokenServer() as server:
        path = key_file(tmp_path, key, server.url)
        monkeypatch.setenv("VERTEX_AI_CREDENTIALS", path)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
        urls = {"vertex": gateway.provider_urls["vertex"]}
        async with GenOpsHeliconeAsyncAdapter(provider_urls=urls) as adapter:
            response = await adapter.chat_async("Hi")
        assert (response.provider, bearers(gateway)) == ("vertex", ["token-1"])
        assert path not in "".join(str(dict(seen.headers)) for seen in gateway.requests)


@pytest.mark.parametrize(
    "content, told",
    [
        (None, "there is no such file"),
        ("not json", "its key file is no JSON"),
        ("[]", "the file is no service account's key"),
        ('{"type": "authorized_user"}', "the file is no service account's key"),
        ('{"type": "service_account"}', "its key file has no token_uri with https"),
        ('{"type": "service_account", "token_uri": "http://g.test/token"}', "its key file has no token_uri with https"),
        ('{"type": "service_account", "token_uri": "https://g.test/token"}', "its key file is not complete"),
    ],
)
async def test_a_file_that_is_no_key_leaves_the_other_providers(tmp_path: Path, content: str | None, told: str) -> None:
    """The provider's `AuthenticationError` says what is wrong with the file; the next provider answers."""
    path = tmp_path / "credentials.json"
    if content is not None:
        path.write_text(content)
    async with SandboxGateway(latency_scale=0) as gateway, adapter_for(gateway, str(path)) as adapter:
        response = await adapter.chat_async("Hi", providers=["vertex", "groq"])
        with pytest.raises(AuthenticationError, match=told) as caught:
            await adapter.chat_async("Hi", provider="vertex")
        checked = (await adapter.validate_providers_async())["vertex"]
    assert (checked.status, checked.detail) == ("key_refused", caught.value.message)
    assert (response.provider, caught.value.which, caught.value.provider) == ("groq", "provider", "vertex")
    assert str(path) not in str(caught.value)


async def test_google_s_refusal_is_told(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    """The endpoint and its words, and nothing of the key."""
    from aiohttp import web

    refusal = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    async with SandboxGateway(latency_scale=0) as gateway, TokenServer() as server:
        server.answer = lambda _: web.json_response(refusal, status=400)
        async with adapter_for(gateway, key_file(tmp_path, key, server.url)) as adapter:
            with pytest.raises(AuthenticationError) as caught:
                await adapter.chat_async("Hi", provider="vertex")
    told = f"{server.url}: invalid_grant: Invalid JWT Signature."
    assert caught.value.message == f"no token from the service account of VERTEX_AI_CREDENTIALS: {told}"
    assert (len(server.asked), caught.value.retry_safe) == (1, False)


async def test_closing_while_google_is_asked_lets_the_thread_go(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    """The call ends with an error at once, though the endpoint never answers."""
    async with SandboxGateway(latency_scale=0) as gateway, TokenServer() as server:
        server.hold.clear()
        adapter = adapter_for(gateway, key_file(tmp_path, key, server.url), retry_attempts=0)
        call = asyncio.ensure_future(adapter.chat_async("Hi", provider="vertex"))
        await server.until_asked(1)
        await adapter.aclose()
        with pytest.raises(AuthenticationError, match="closed"):
            await call


def test_without_google_auth_the_remedy_is_named(tmp_path: Path) -> None:
    """The extra is named; the error is the provider's, so that others can answer."""
    program = f"""
import asyncio, sys
sys.modules["google.auth"] = None
from genops_helicone_async import AuthenticationError, GenOpsHeliconeAsyncAdapter
async def main():
    settings = dict(provider_keys={{"vertex": {str(tmp_path / "c.json")!r}}}, retry_attempts=0)
    async with GenOpsHeliconeAsyncAdapter(provider_urls={{"vertex": "http://127.0.0.1:1/v1"}}, **settings) as adapter:
        try:
            await adapter.chat_async("Hi")
        except AuthenticationError as error:
            print(error.which, error)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("provider no token from the service account of VERTEX_AI_CREDENTIALS: install google")
    assert "pip install 'genops-helicone-async[vertex]'" in done.stdout
