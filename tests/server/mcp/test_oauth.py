"""MCP for holders of an authorization server's token: who is let in, as whom, and what others are told."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import HTTPConnection
from support.doors import serve, stop
from support.people import join

from tintype_server.http import oauth
from tintype_server.http.credentials import GRANTED_SCOPE, api_key_of
from tintype_server.http.oauth import ResourceServer
from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, TintypeError, Unauthorized, Unavailable
from tintype_studio.identity.grants import MAX_KEYS
from tintype_studio.identity.key_rows import act
from tintype_studio.identity.roles import Role
from tintype_studio.studio import Studio

BASE = "https://cv.example/tool"
AUDIENCE = f"{BASE}/mcp"
METADATA = "https://cv.example/.well-known/oauth-protected-resource/tool/mcp"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


NOBODY = object()
"""Signs nothing."""


@dataclass
class Issuer:
    """An authorization server that signs what it is told to, and answers about its keys and opaque tokens."""

    url: str = ""
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    opaque: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    named: str | None = None
    """What its metadata calls it; None for its address."""
    broken: bool = False
    keys_at: str = ""
    """Where its metadata says its keys are; empty for where they are."""
    email: str = ""
    """Of the member that its tokens are for."""

    def jwks(self) -> dict[str, Any]:
        shown = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**shown, "kid": "k1", "use": "sig", "alg": "ES256"}]}

    def token(
        self,
        *,
        kid: str = "k1",
        key: Any = None,
        algorithm: str = "ES256",
        typ: str | None = "JWT",
        **claims: Any,
    ) -> str:
        whole = {**self.claims(), **claims}
        whole = {name: value for name, value in whole.items() if value is not None}
        signer = None if key is NOBODY else key or self.key
        return jwt.encode(whole, signer, algorithm=algorithm, headers={"kid": kid, "typ": typ})

    def claims(self) -> dict[str, Any]:
        return {
            "iss": self.url,
            "sub": "user-1",
            "aud": AUDIENCE,
            "exp": int(time.time()) + 300,
            "scope": "openid tintype:write",
            "email": self.email,
            "email_verified": True,
            "client_id": "desktop",
        }


@pytest.fixture
def issuer(studio: Studio, base: Path) -> Iterator[Issuer]:
    """With a member of its own, an admin: members are pinned to whose tokens they came with first."""
    owner = studio.keys.authenticate(_owner_key(base))
    told = Issuer(email=f"{clock.new_id()}@example.com")
    member = join(studio, owner, Role.ADMIN, told.email)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, status: int, body: Any) -> None:
            encoded = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def do_GET(self) -> None:
            told.asked.append(self.path)
            if told.broken:
                self.answer(500, {})
            elif self.path == "/.well-known/openid-configuration":
                self.answer(
                    200, {"issuer": told.named or told.url, "jwks_uri": told.keys_at or f"{told.url}/keys"}
                )
            elif self.path == "/keys":
                self.answer(200, told.jwks())
            else:
                self.answer(404, {})

        def do_POST(self) -> None:
            told.asked.append(self.path)
            body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            expected = "Basic " + base64.b64encode(b"tintype:hush").decode()
            if self.headers.get("Authorization") != expected:
                self.answer(401, {})
            else:
                self.answer(200, told.opaque.get(body["token"][0], {"active": False}))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield told
    server.shutdown()
    server.server_close()
    studio.organizations.remove_member(owner, member.member_id)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oauth")


@pytest.fixture(scope="module")
def studio(base: Path) -> Iterator[Studio]:
    opened = open_studio(Settings(home=base / "home"))
    yield opened
    opened.close()


def keys_of_tokens(studio: Studio, base: Path) -> set[str]:
    owner = studio.keys.authenticate(_owner_key(base))
    return {key.id for key in studio.keys.list(owner) if key.name.startswith("OAuth: ")}


def _owner_key(base: Path) -> str:
    from tintype_studio.identity.bootstrap import saved_api_key

    key = saved_api_key(base / "home")
    assert key is not None
    return key


def checker(studio: Studio, issuer: Issuer, base: Path, **settings: Any) -> ResourceServer:
    return ResourceServer(
        Settings(home=base / "home", base_url=BASE, oauth_issuer=issuer.url, **settings), studio
    )


@pytest.mark.parametrize(
    ("scope", "role"),
    [
        ("tintype:read", "viewer"),
        ("tintype:write", "member"),
        ("tintype:admin", "admin"),  # the member is no owner
        ("tintype:write tintype:read", "member"),
    ],
)
def test_a_token_acts_as_its_member_within_its_scope(
    studio: Studio, issuer: Issuer, base: Path, scope: str, role: str
) -> None:
    principal = studio.keys.authenticate(checker(studio, issuer, base).key_of(issuer.token(scope=scope)))
    assert principal.role == role
    assert principal.key_name == "OAuth: desktop"
    assert principal.user_id is not None


def test_the_same_person_and_client_have_one_key_in_every_process(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    before = keys_of_tokens(studio, base)
    first = checker(studio, issuer, base).key_of(issuer.token())
    second = checker(studio, issuer, base).key_of(issuer.token(exp=int(time.time()) + 999))
    other = checker(studio, issuer, base).key_of(issuer.token(client_id="phone"))
    assert first == second != other
    assert len(keys_of_tokens(studio, base) - before) == 2


def test_whose_key_was_revoked_stays_out_with_any_client_until_let_in_again(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    key = checker(studio, issuer, base).key_of(issuer.token())
    checker(studio, issuer, base).key_of(issuer.token(client_id="second"))
    owner = studio.keys.authenticate(_owner_key(base))
    prefix = studio.keys.authenticate(key).key_uuid
    studio.keys.revoke(owner, prefix=prefix)
    for change in ({}, {"client_id": "second"}, {"client_id": "third"}, {"scope": "tintype:admin"}):
        with pytest.raises(Forbidden) as caught:
            checker(studio, issuer, base).key_of(issuer.token(**change))
        assert caught.value.code == "oauth_key_revoked"
        assert "tintype keys update" in caught.value.fix
    with pytest.raises(Unauthorized):
        studio.keys.authenticate(key)
    studio.keys.update(owner, prefix, is_active=True)
    assert checker(studio, issuer, base).key_of(issuer.token()) == key
    studio.keys.update(owner, prefix, expires_at=clock.now() + timedelta(milliseconds=20))
    time.sleep(0.05)
    with pytest.raises(Forbidden):
        checker(studio, issuer, base).key_of(issuer.token(client_id="fourth"))


def test_an_address_belongs_to_the_account_that_came_with_it_first(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    judge, before = checker(studio, issuer, base), keys_of_tokens(studio, base)
    judge.key_of(issuer.token())
    with pytest.raises(Forbidden) as caught:
        judge.key_of(issuer.token(sub="mallory", scope="tintype:admin"))
    assert caught.value.code == "other_subject"
    assert judge.key_of(issuer.token(client_id="other"))
    assert len(keys_of_tokens(studio, base) - before) == 2


def test_a_new_key_is_as_narrow_as_the_narrowest_of_the_member(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    owner = studio.keys.authenticate(_owner_key(base))
    mine = studio.keys.list(owner)[-1]
    assert mine.user_email == issuer.email
    studio.keys.update(owner, mine.id, toolsets=["datasets", "models"], rate_limit=10, credit_cap=5)
    studio.keys.create(
        owner, name="two", role="member", user_id=mine.user_id, toolsets=["datasets"], confirm_by="human"
    )
    made = studio.keys.authenticate(checker(studio, issuer, base).key_of(issuer.token()))
    assert (made.toolsets, made.rate_limit, made.confirm_by) == (frozenset({"datasets"}), 10, "human")
    shown = studio.keys.get(owner, prefix=made.key_uuid)
    assert (shown.credit_cap, shown.daily_credit_cap, shown.expires_at) == (0, None, None)
    # Neither another client nor having lost the keys gives more.
    studio.keys.update(owner, made.key_uuid, rate_limit=7)
    second = studio.keys.authenticate(checker(studio, issuer, base).key_of(issuer.token(client_id="b")))
    assert (second.toolsets, second.rate_limit) == (frozenset({"datasets"}), 7)


def test_lost_keys_leave_their_limits_and_expired_ones_open_nothing(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    owner = studio.keys.authenticate(_owner_key(base))
    mine = studio.keys.list(owner)[-1]
    studio.keys.update(owner, mine.id, rate_limit=10, expires_at=clock.now() + timedelta(milliseconds=20))
    time.sleep(0.05)
    with pytest.raises(Forbidden) as caught:
        checker(studio, issuer, base).key_of(issuer.token())
    assert caught.value.code == "keys_expired"
    studio.keys.update(owner, mine.id, expires_at=None)
    studio.keys.revoke(owner, prefix=mine.id)
    made = studio.keys.authenticate(checker(studio, issuer, base).key_of(issuer.token()))
    assert made.rate_limit == 10


def test_a_member_has_few_keys_however_many_clients(studio: Studio, issuer: Issuer, base: Path) -> None:
    judge, before = checker(studio, issuer, base), keys_of_tokens(studio, base)
    keys = [judge.key_of(issuer.token(client_id=f"n{n}")) for n in range(12)]
    assert len(set(keys)) == len(keys_of_tokens(studio, base) - before) == MAX_KEYS
    assert len(set(keys[MAX_KEYS - 1 :])) == 1
    assert studio.keys.authenticate(keys[-1]).key_name == "OAuth: other clients"
    assert checker(studio, issuer, base).key_of(issuer.token(client_id="n0")) == keys[0]


def test_keys_of_tokens_do_not_count_as_the_last_owner_key(issuer: Issuer, tmp_path: Path) -> None:
    studio = open_studio(Settings(home=tmp_path / "home"))
    try:
        owner = studio.keys.authenticate(_owner_key(tmp_path))
        boss = join(studio, owner, Role.OWNER, "boss@example.com")
        studio.keys.revoke(owner, prefix=studio.keys.authenticate(boss.api_key).key_uuid)
        token = issuer.token(email="boss@example.com", scope="tintype:admin")
        by_token = studio.keys.authenticate(checker(studio, issuer, tmp_path).key_of(token))
        assert by_token.role == "owner"
        with pytest.raises(Conflict) as caught:
            studio.keys.revoke(by_token, prefix=owner.key_uuid)
        assert caught.value.code == "last_owner_key"
        assert not studio.keys.revoke(owner, prefix=by_token.key_uuid).is_active
    finally:
        studio.close()


def test_each_call_acts_in_the_lower_of_scope_and_key(studio: Studio, issuer: Issuer, base: Path) -> None:
    owner = studio.keys.authenticate(_owner_key(base))
    judge = checker(studio, issuer, base)
    reader, admin = (judge.key_of(issuer.token(scope=f"tintype:{scope}")) for scope in ("read", "admin"))
    acting = studio.keys.authenticate(admin)
    assert (studio.keys.authenticate(reader).role, acting.role) == ("viewer", "admin")
    assert studio.keys.authenticate(reader).key_uuid == acting.key_uuid
    # What reads the key anew to change something sees the lower role as well.
    with studio.database.write() as connection, pytest.raises(Forbidden):
        act(connection, studio.keys.authenticate(reader), "keys.create")
    studio.keys.update(owner, acting.key_uuid, role="member")
    assert studio.keys.authenticate(admin).role == "member"
    assert studio.keys.authenticate(reader).role == "viewer"
    with pytest.raises(Unauthorized):
        studio.keys.authenticate(admin.replace(":owner", ":king"))


def test_a_member_who_is_promoted_again_acts_so_again(studio: Studio, issuer: Issuer, base: Path) -> None:
    owner = studio.keys.authenticate(_owner_key(base))
    member = studio.organizations.list_members(owner)[-1]
    key = checker(studio, issuer, base).key_of(issuer.token(scope="tintype:admin"))
    seen = []
    for role in ("viewer", "admin", "member"):
        studio.organizations.update_member_role(owner, member.id, role)
        seen.append(studio.keys.authenticate(key).role.value)
    assert seen == ["viewer", "admin", "member"]
    # An admin who has narrowed the key meant the key.
    studio.keys.update(owner, studio.keys.authenticate(key).key_uuid, role="viewer")
    studio.organizations.update_member_role(owner, member.id, "admin")
    assert studio.keys.authenticate(key).role == "viewer"


def test_a_removed_member_stays_out_until_invited_again(studio: Studio, issuer: Issuer, base: Path) -> None:
    owner = studio.keys.authenticate(_owner_key(base))
    joined = join(studio, owner, Role.MEMBER, "gone@example.com")
    key = checker(studio, issuer, base).key_of(issuer.token(email="gone@example.com"))
    studio.organizations.remove_member(owner, joined.member_id)
    with pytest.raises(Exception, match="revoked"):
        studio.keys.authenticate(key)
    with pytest.raises(Exception, match="member"):
        checker(studio, issuer, base).key_of(issuer.token(email="gone@example.com"))
    join(studio, owner, Role.VIEWER, "gone@example.com")
    again = checker(studio, issuer, base).key_of(issuer.token(email="gone@example.com"))
    assert again != key
    assert studio.keys.authenticate(again).role == "viewer"


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
    monkeypatch.setattr(oauth.time, "monotonic", lambda: now[0])
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
        assert post(url, _owner_key(base)).status_code == 200  # keys work as ever
        elsewhere = httpx.post(
            f"{url}/api/v1/developer/_dispatch/list_datasets", headers={"Authorization": f"Bearer {writer}"}
        )
        assert elsewhere.status_code == 401  # tokens are made out to /mcp
    finally:
        stop(process)


def test_without_an_issuer_there_is_no_metadata(tmp_path: Path) -> None:
    process, url = serve(tmp_path / "home")
    try:
        assert httpx.get(f"{url}/.well-known/oauth-protected-resource/mcp").status_code == 404
        assert post(url, "a.b.c").headers["www-authenticate"] == "Bearer"
    finally:
        stop(process)
