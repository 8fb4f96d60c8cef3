"""MCP for holders of an authorization server's token: who is let in, as whom, and what others are told."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import HTTPConnection
from support.doors import serve, stop
from support.issuer import AUDIENCE, BASE, NOBODY, Issuer, checker, issuing, keys_of_tokens, owner_key

from tintype_server.http import oauth
from tintype_server.http.credentials import GRANTED_SCOPE, api_key_of
from tintype_server.http.oauth import ResourceServer
from tintype_server.mcp.changes import LOOK_EVERY_SECONDS
from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.errors import InvalidInput, TintypeError, Unauthorized, Unavailable
from tintype_studio.studio import Studio

METADATA = "https://cv.example/.well-known/oauth-protected-resource/tool/mcp"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oauth")


@pytest.fixture(scope="module")
def studio(base: Path) -> Iterator[Studio]:
    opened = open_studio(Settings(home=base / "home"))
    yield opened
    opened.close()


@pytest.fixture
def issuer(studio: Studio, base: Path) -> Iterator[Issuer]:
    with issuing(studio, base) as told:
        yield told


FOREIGN = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"iss": "https://evil.example"}, "invalid_token"),
        ({"iss": None}, "invalid_token"),
        ({"aud": "https://other.example/mcp"}, "invalid_token"),
        ({"aud": ["https://other.example"]}, "invalid_token"),
        ({"aud": None}, "invalid_token"),
        ({"aud": BASE}, "invalid_token"),
        ({"exp": 1_000_000_000}, "invalid_token"),
        ({"exp": None}, "invalid_token"),
        ({"exp": "soon"}, "invalid_token"),
        ({"nbf": 9_999_999_999}, "invalid_token"),
        ({"sub": None}, "invalid_token"),
        ({"sub": ""}, "invalid_token"),
        ({"key": FOREIGN}, "invalid_token"),
        ({"kid": "k2"}, "invalid_token"),
        ({"key": "x" * 64, "algorithm": "HS256"}, "invalid_token"),
        ({"key": NOBODY, "algorithm": "none"}, "invalid_token"),
        ({"scope": "openid"}, "insufficient_scope"),
        ({"scope": None}, "insufficient_scope"),
        ({"scope": "tintype:reading"}, "insufficient_scope"),
        ({"email": "nobody@example.com"}, "not_a_member"),
        ({"email": "not an address"}, "not_a_member"),
        ({"email": None}, "email_not_verified"),
        ({"email": None, "username": "somebody@example.com"}, "email_not_verified"),
        ({"email_verified": None}, "email_not_verified"),
        ({"email_verified": False}, "email_not_verified"),
        ({"email_verified": "true"}, "email_not_verified"),
        ({"typ": "logout+jwt"}, "invalid_token"),
        ({"typ": "secevent+jwt"}, "invalid_token"),
    ],
)
def test_a_token_that_is_not_ours_opens_nothing(
    studio: Studio, issuer: Issuer, base: Path, change: dict[str, Any], code: str
) -> None:
    token, before = issuer.token(**change), keys_of_tokens(studio, base)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        checker(studio, issuer, base).key_of(token)
    assert getattr(caught.value, "code", None) == code
    assert keys_of_tokens(studio, base) == before


@pytest.mark.parametrize("token", ["x", "a.b.c", "." * 40, "é.é.é", "e30.e30.e30", "y" * 20_000])
def test_what_is_no_token_opens_nothing(studio: Studio, issuer: Issuer, base: Path, token: str) -> None:
    with pytest.raises(Exception, match="not valid here"):
        checker(studio, issuer, base).key_of(token)


def test_the_key_of_a_public_key_signs_nothing(studio: Studio, issuer: Issuer, base: Path) -> None:
    """The oldest trick: the server's public key, taken as the password of an HMAC."""
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k1","typ":"JWT"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(issuer.claims()).encode()).rstrip(b"=")
    import hmac

    secret = json.dumps(issuer.jwks()["keys"][0]).encode()
    tag = base64.urlsafe_b64encode(hmac.digest(secret, header + b"." + body, "sha256")).rstrip(b"=")
    with pytest.raises(Exception, match="not valid here"):
        checker(studio, issuer, base).key_of((header + b"." + body + b"." + tag).decode())


def test_opaque_tokens_are_asked_about(studio: Studio, issuer: Issuer, base: Path) -> None:
    judge = checker(
        studio,
        issuer,
        base,
        oauth_introspection_url=f"{issuer.url}/ask",
        oauth_client_id="tintype",
        oauth_client_secret="hush",
    )
    issuer.opaque["good"] = {**issuer.claims(), "active": True, "iss": None}
    del issuer.opaque["good"]["iss"]
    issuer.opaque["elsewhere"] = {**issuer.claims(), "active": True, "aud": "https://other.example"}
    issuer.opaque["truthy"] = {**issuer.claims(), "active": "yes"}
    assert studio.keys.authenticate(judge.key_of("good")).role == "member"
    for bad in ("elsewhere", "truthy", "unknown"):
        with pytest.raises(Exception, match="not valid here"):
            judge.key_of(bad)
    asked = len(issuer.asked)
    judge.key_of("good")
    with pytest.raises(Exception, match="not valid here"):
        judge.key_of("unknown")
    assert len(issuer.asked) == asked  # both answers are remembered for a while


def test_unknown_keys_are_not_looked_for_all_the_time(
    studio: Studio, issuer: Issuer, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = checker(studio, issuer, base)
    for n in range(20):
        with pytest.raises(Exception, match="not valid here"):
            judge.key_of(issuer.token(kid=f"new {n}"))
    assert issuer.asked.count("/keys") == 1
    monkeypatch.setattr(oauth, "JWKS_AGAIN_SECONDS", 0.0)
    issuer.key = FOREIGN  # the server has changed its keys
    with pytest.raises(Exception, match="not valid here"):
        judge.key_of(issuer.token(kid="still unknown"))
    assert issuer.asked.count("/keys") == 2
    assert judge.key_of(issuer.token())


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "JWT", "AT+JWT", None])
def test_access_tokens_name_their_type_or_none(
    studio: Studio, issuer: Issuer, base: Path, typ: str | None
) -> None:
    assert checker(studio, issuer, base).key_of(issuer.token(typ=typ))


def test_known_keys_do_not_wait_for_a_search_of_unknown_ones(
    studio: Studio, issuer: Issuer, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = checker(studio, issuer, base)
    judge.key_of(issuer.token())
    monkeypatch.setattr(oauth, "JWKS_AGAIN_SECONDS", 0.0)
    searching, done, fetch = Event(), Event(), judge._fetch_jwks

    def slowly() -> None:
        searching.set()
        assert done.wait(20)
        fetch()

    monkeypatch.setattr(judge, "_fetch_jwks", slowly)
    told: list[str] = []

    def stranger() -> None:
        try:
            judge.key_of(issuer.token(kid="made up"))
        except Unauthorized as error:
            told.append(error.code)

    waiting = Thread(target=stranger)
    waiting.start()
    assert searching.wait(20)
    try:
        assert judge.key_of(issuer.token(client_id="meanwhile"))
        with pytest.raises(Unavailable):  # nor does a second stranger take a thread
            judge.key_of(issuer.token(kid="made up, too"))
        monkeypatch.setattr(oauth, "JWKS_SECONDS", 0.0)
        assert judge.key_of(issuer.token(client_id="meanwhile", jti="old keys are better than none"))
    finally:
        done.set()
        waiting.join(20)
    assert told == ["invalid_token"]


def test_made_up_tokens_are_not_all_asked_about(
    studio: Studio, issuer: Issuer, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = checker(
        studio,
        issuer,
        base,
        oauth_introspection_url=f"{issuer.url}/ask",
        oauth_client_id="tintype",
        oauth_client_secret="hush",
    )
    issuer.opaque["good"] = {**issuer.claims(), "active": True}
    now = [1000.0]
    monkeypatch.setattr(oauth, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    codes: list[str] = []
    for n in range(50):
        with pytest.raises(TintypeError) as caught:
            judge.key_of(f"random {n}")
        codes.append(caught.value.code)
    most = oauth.MISSES_PER_SECOND
    assert codes == ["invalid_token"] * most + ["too_many_invalid_tokens"] * (50 - most)
    assert issuer.asked.count("/ask") == most
    now[0] += 1.0
    assert judge.key_of("good")


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.2:1/keys", "http://10.0.0.1/keys", "file:///etc/passwd", "ftp://localhost/k", ""],
)
def test_metadata_does_not_send_us_anywhere(studio: Studio, issuer: Issuer, base: Path, address: str) -> None:
    issuer.keys_at = address or "http://[::1"
    with pytest.raises(Unavailable) as caught:
        checker(studio, issuer, base).key_of(issuer.token())
    assert "not https" in caught.value.message


def test_a_stream_ends_when_its_token_expires(studio: Studio, issuer: Issuer, base: Path) -> None:
    token = issuer.token(exp=int(time.time() - oauth.LEEWAY_SECONDS) + 2)
    access = checker(studio, issuer, base).check(token)
    request = HTTPConnection({"type": "http", "headers": [], GRANTED_SCOPE: access})
    assert api_key_of(request) == access.key
    time.sleep(max(0.0, access.expires - time.time()) + 0.01)
    with pytest.raises(Unauthorized):
        api_key_of(request)


def test_a_dead_authorization_server_is_told_and_asked_seldom(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    issuer.broken = True
    judge = checker(studio, issuer, base)
    for n in range(3):
        with pytest.raises(Unavailable) as caught:
            judge.key_of(issuer.token(sub=f"u{n}"))
        assert caught.value.code == "authorization_server_unavailable"
    assert len(issuer.asked) == 2  # its two addresses of metadata, once


def test_metadata_of_another_issuer_does_not_count(studio: Studio, issuer: Issuer, base: Path) -> None:
    issuer.named = "https://evil.example"
    with pytest.raises(Unavailable):
        checker(studio, issuer, base).key_of(issuer.token())


@pytest.mark.parametrize(
    "settings",
    [
        {"oauth_issuer": "http://login.example"},
        {"oauth_issuer": "https://login.example", "base_url": None},
        {"oauth_issuer": "https://login.example", "oauth_jwks_url": "http://login.example/keys"},
    ],
)
def test_settings_that_do_not_go_together_are_told(
    studio: Studio, base: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        ResourceServer(Settings(home=base, **{"base_url": BASE, **settings}), studio)
    assert caught.value.code == "invalid_setting"


def post(url: str, token: str | None, method: str = "tools/list", **params: Any) -> httpx.Response:
    return httpx.post(
        f"{url}/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}},
        headers={
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": method,
            **({"Mcp-Name": params["name"]} if "name" in params else {}),
            **({"Authorization": f"Bearer {token}"} if token else {}),
        },
    )


def stream_until_it_ends(url: str, token: str) -> float:
    """When the server ended a stream of news, in seconds since 1970."""
    method = "subscriptions/listen"
    params = {"notifications": {"toolsListChanged": True}, "_meta": META}
    with httpx.stream(
        "POST",
        f"{url}/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
        headers={
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": method,
            "Authorization": f"Bearer {token}",
        },
        timeout=20,
    ) as response:
        assert response.status_code == 200, response.read()
        assert "acknowledged" in "".join(response.iter_text())
    return time.time()


def test_the_served_endpoint_takes_tokens_and_says_where_to_get_one(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    process, url = serve(base / "home", "--base-url", BASE, env={"TINTYPE_OAUTH_ISSUER": f"{issuer.url}/"})
    try:
        without = post(url, None)
        assert without.status_code == 401
        expected = f'Bearer scope="tintype:read", resource_metadata="{METADATA}"'
        assert without.headers["www-authenticate"] == expected
        wrong = post(url, "a.b.c")
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_token")
        assert wrong.headers["www-authenticate"].startswith('Bearer error="invalid_token", ')
        poor = post(url, issuer.token(scope="openid"))
        assert poor.status_code == 403
        assert poor.headers["www-authenticate"].startswith('Bearer error="insufficient_scope", scope=')
        metadata = httpx.get(f"{url}/.well-known/oauth-protected-resource/tool/mcp").json()
        assert metadata == httpx.get(f"{url}/.well-known/oauth-protected-resource").json()
        assert metadata["resource"] == AUDIENCE
        assert metadata["authorization_servers"] == [issuer.url]
        assert "tintype:read" in metadata["scopes_supported"]

        reader = issuer.token(scope="tintype:read")
        listed = post(url, reader).json()["result"]["tools"]
        assert {tool["_meta"]["dev.tintype/requiredRole"] for tool in listed} == {"viewer"}
        refused = post(url, reader, "tools/call", name="create_dataset", arguments={"name": "d"}).json()
        assert "role_required" in refused["result"]["content"][0]["text"]
        writer = issuer.token()
        made = post(url, writer, "tools/call", name="create_dataset", arguments={"name": "d"}).json()
        assert not made["result"].get("isError"), made
        assert post(url, owner_key(base)).status_code == 200  # keys work as ever
        elsewhere = httpx.post(
            f"{url}/api/v1/developer/_dispatch/list_datasets", headers={"Authorization": f"Bearer {writer}"}
        )
        assert elsewhere.status_code == 401  # tokens are made out to /mcp

        ends = int(time.time()) + 3
        brief = issuer.token(exp=ends - oauth.LEEWAY_SECONDS)
        assert ends - 1 < stream_until_it_ends(url, brief) < ends + LOOK_EVERY_SECONDS + 5
        assert post(url, brief).status_code == 401
    finally:
        stop(process)


def test_without_an_issuer_there_is_no_metadata(tmp_path: Path) -> None:
    process, url = serve(tmp_path / "home")
    try:
        assert httpx.get(f"{url}/.well-known/oauth-protected-resource/mcp").status_code == 404
        assert post(url, "a.b.c").headers["www-authenticate"] == "Bearer"
    finally:
        stop(process)
