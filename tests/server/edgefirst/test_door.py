"""Who comes in, and in what every answer comes: envelopes, tokens, bodies that are none."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.edgefirst_rpc import PASSWORD, Spoken, open_spoken

from tintype_server.edgefirst import app, tokens
from tintype_server.edgefirst.methods import FORMS, GETS, METHODS, Binary, Rpc
from tintype_server.edgefirst.tokens import Tokens
from tintype_studio import clock
from tintype_studio.storage.signing import Signer

BEARERLESS = {"Authorization": ""}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    with open_spoken(tmp_path_factory.mktemp("door") / "home") as opened:
        yield opened


def test_an_envelope(spoken: Spoken) -> None:
    response = spoken.post("version")
    body = response.json()
    assert set(body) == {"jsonrpc", "id", "result"}
    assert body["jsonrpc"] == "2.0"
    assert re.fullmatch(r"\d+", body["id"])
    assert all(isinstance(value, str) for value in body["result"].values())


@pytest.mark.parametrize(
    ("sent", "told"),
    [(0, "0"), ("a", "a"), (None, ""), (2**70, str(2**70)), ([1], ""), (True, ""), (1.5, "1.5")],
)
def test_ids_come_back_as_text(spoken: Spoken, sent: Any, told: str) -> None:
    body = {"id": sent, "jsonrpc": "2.0", "method": "version"}
    answer = spoken.rest.client.post("/edgefirst/api", json=body).json()
    assert answer["id"] == told or (isinstance(sent, int) and answer["id"].startswith("1.18"))


@pytest.mark.parametrize("path", ["/edgefirst/api", "/edgefirst//api", "//edgefirst/api"])
def test_slashes(spoken: Spoken, path: str) -> None:
    answer = spoken.rest.client.post(f"http://testserver{path}", json={"method": "version"})
    assert answer.status_code == (404 if path.startswith("//") else 200)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b"null", -32600),
        (b"{}", -32600),
        (b'{"method": 1}', -32600),
        (b'{"method": "no.such"}', -32601),
        (b'{"method": "\\ud800"}', -32700),
        (b'{"method": "org.get", "params": [1]}', 3),
        (b'{"method": "org.get", "params": "x"}', 3),
    ],
)
def test_bodies_that_are_none(spoken: Spoken, body: bytes, code: int) -> None:
    headers = {"Authorization": f"Bearer {spoken.token('owner')}"}
    response = spoken.rest.client.post("/edgefirst/api", content=body, headers=headers)
    assert response.status_code == 200
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["message"]


def test_too_large_a_body(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MAX_BODY", 1000)
    assert spoken.no("org.get", {"x": "y" * 2000})[0] == 413
    monkeypatch.setattr(app, "MAX_OPEN_BODY", 1000)
    big = {"username": "x" * 2000, "password": "y"}
    assert spoken.no("auth.login", big, headers=BEARERLESS)[0] == 401


def payload(token: str) -> dict[str, Any]:
    """As clients read it: standard base64 without padding."""
    part = token.split(".")[1]
    assert not set(part) & set("+/-_=")
    claims: dict[str, Any] = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), validate=True))
    return claims


@pytest.mark.parametrize("name", ["ann>~?\x7fö№", "a" * 200, "日本語 user", "q?>", "\U0001f600" * 300])
def test_tokens_read_the_same_in_both_alphabets(spoken: Spoken, name: str) -> None:
    key = spoken.rest.keys["viewer"]
    token = spoken.ok("auth.login", {"username": name, "password": key}, headers=BEARERLESS)["token"]
    claims = payload(token)
    assert claims["username"] == name[:254]
    assert spoken.ok("auth.verify_token", bearer=token)
    assert isinstance(claims["exp"], int)
    assert claims["exp"] - clock.now().timestamp() == pytest.approx(4 * 3600, abs=60)
    assert claims["server"] == "tintype.invalid/"
    assert key not in token
    assert key not in json.dumps(claims)


def test_logging_in(spoken: Spoken) -> None:
    token = spoken.token("member")
    assert spoken.ok("auth.verify_token", bearer=token) == {"token": token}
    fresh = spoken.ok("auth.refresh", {"username": "member"}, bearer=token)["token"]
    assert payload(fresh)["username"] == "member"
    for username, password in (("member", "wrong"), ("nobody", PASSWORD), ("member", "")):
        asked = {"username": username, "password": password}
        assert spoken.no("auth.login", asked, headers=BEARERLESS)[0] == 401
    for odd in ({}, {"username": "member"}, {"username": 1, "password": 2}, {"username": None}):
        assert spoken.no("auth.login", odd, headers=BEARERLESS)[0] == 3


def test_an_api_key_is_a_password_and_a_bearer(spoken: Spoken) -> None:
    key = spoken.rest.keys["member"]
    asked = {"username": "anybody", "password": key}
    token = spoken.ok("auth.login", asked, headers=BEARERLESS)["token"]
    assert spoken.ok("org.get", bearer=token) == spoken.ok("org.get", bearer=key)
    assert spoken.no("auth.login", {**asked, "password": "pk_live_no"}, headers=BEARERLESS)[0] == 401
    assert spoken.no("auth.logout", bearer=token)[0] == 3


def altered(token: str) -> Iterator[str]:
    """Tokens that nobody made."""
    head, body, mac = token.split(".")
    claims = payload(token)
    raised = base64.b64encode(json.dumps({**claims, "exp": claims["exp"] + 9}).encode()).decode().rstrip("=")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    guess = hmac.digest(b"secret", f"{head}.{body}".encode(), "sha256")
    yield f"{head}.{raised}.{mac}"
    yield f"{none}.{body}."
    yield f"{none}.{body}.{mac}"
    yield f"{head}.{body}.{mac[:-2]}"
    yield f"{head}.{body}.{base64.urlsafe_b64encode(guess).decode().rstrip('=')}"
    yield ("..",)
    yield "a.b.c"
    yield "é.é.é"
    yield ".".join(["x" * 3000] * 3)


@pytest.mark.parametrize("method", ["org.get", "auth.verify_token", "auth.refresh", "no.such"])
def test_forged_tokens_open_nothing(spoken: Spoken, method: str) -> None:
    for number, forged in enumerate(altered(spoken.token("owner"))):
        text = forged if isinstance(forged, str) else forged[0]
        headers = {"Authorization": f"Bearer {text}".encode()}
        response = spoken.rest.client.post(
            "/edgefirst/api", json={"id": 0, "method": method}, headers=headers
        )
        assert response.status_code == 200
        assert response.json()["error"]["code"] == 401, (number, response.text)


def test_no_token(spoken: Spoken) -> None:
    for headers in (BEARERLESS, {"Authorization": "Bearer "}, {"Authorization": "Basic YTpi"}):
        assert spoken.no("org.get", headers=headers)[0] == 401
        assert spoken.no("auth.refresh", headers=headers)[0] == 401
        assert spoken.ok("version", headers=headers)


def test_a_token_of_another_server_opens_nothing(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = spoken.rest.runtime.studio
    session = studio.logins.open("owner", PASSWORD) if spoken.token("owner") else None
    assert session is not None
    monkeypatch.setattr(studio, "signer", Signer(bytes(32)))
    strange = Tokens(studio).of_login(session)
    monkeypatch.undo()
    assert payload(strange)["username"] == "owner"
    for method in ("org.get", "auth.refresh"):
        assert spoken.no(method, bearer=strange)[0] == 401


def test_expired_tokens_can_be_refreshed_for_a_week(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    token, start = spoken.token("viewer"), clock.now()

    def at(**later: float) -> None:
        monkeypatch.setattr(clock, "now", lambda: start + timedelta(**later))

    at(hours=3.9)
    assert spoken.ok("org.get", bearer=token)
    at(hours=4.1)
    assert spoken.no("org.get", bearer=token)[0] == 401
    fresh = spoken.ok("auth.refresh", {"username": "viewer"}, bearer=token)["token"]
    assert payload(fresh)["exp"] > payload(token)["exp"]
    at(days=7, hours=4.1)
    assert spoken.no("auth.refresh", {"username": "viewer"}, bearer=token)[0] == 401


def test_taken_back_tokens(spoken: Spoken) -> None:
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    login = {"username": "carl", "password": PASSWORD}
    studio.logins.add(owner, role="member", **login)

    def token() -> str:
        return str(spoken.ok("auth.login", login, headers=BEARERLESS)["token"])

    first, second = token(), token()
    assert spoken.ok("auth.logout", bearer=first) == {"logged_out": True}
    for dead in (first, second):
        assert spoken.no("org.get", bearer=dead)[0] == 401
        assert spoken.no("auth.refresh", bearer=dead)[0] == 401
    third = token()
    studio.logins.set_password(owner, "carl", PASSWORD)
    assert spoken.no("org.get", bearer=third)[0] == 401
    fourth = token()
    studio.logins.remove(owner, "carl")
    assert spoken.no("org.get", bearer=fourth)[0] == 401
    assert spoken.no("auth.refresh", bearer=fourth)[0] == 401


def test_a_token_of_a_revoked_key_opens_nothing(spoken: Spoken) -> None:
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    key, info = studio.keys.create(owner, name="short", role="viewer")
    token = Tokens(studio).of_key(key, "x")
    assert spoken.ok("org.get", bearer=token)
    studio.keys.revoke(owner, prefix=info.prefix)
    assert spoken.no("org.get", bearer=token)[0] == 401
    assert spoken.no("auth.refresh", bearer=token)[0] == 401


def test_every_method_but_the_open_ones_needs_a_token(spoken: Spoken) -> None:
    wanting = [name for name in METHODS if name not in app.OPEN]
    assert len(wanting) > 60
    for name in wanting:
        assert spoken.no(name, {}, headers=BEARERLESS)[0] == 401, name
    for name in FORMS:
        response = spoken.rest.client.post(f"/edgefirst/api?method={name}", files={"file": b"x"})
        assert response.json()["error"]["code"] == 401, name
    for name in GETS:
        assert spoken.rest.client.get(f"/edgefirst/{name}").status_code == 401, name


def test_roles_are_403(spoken: Spoken) -> None:
    params = {"project_id": "p-1", "name": "no"}
    code, text = spoken.no("dataset.create", params, bearer="viewer")
    assert code == 403
    assert "member" in text


def test_the_hour_of_a_key_is_told_and_ends(spoken: Spoken) -> None:
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    key, _ = studio.keys.create(owner, name="few", role="viewer", rate_limit=2)
    first = spoken.post("org.get", bearer=key)
    assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("2", "1")
    assert spoken.ok("org.get", bearer=key)
    code, text = spoken.no("org.get", bearer=key)
    assert code == 3
    assert "hour" in text


def test_a_dry_run_of_a_method_changes_nothing(spoken: Spoken) -> None:
    before = spoken.ok("dataset.list", {"project_id": 1})
    told = spoken.ok("dataset.create", {"project_id": "p-1", "name": "dry"}, headers={"X-Dry-Run": "true"})
    assert told["dry_run"] is True
    assert spoken.ok("dataset.list", {"project_id": 1}) == before


def test_defects_are_told_as_such(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_rpc: Rpc, _params: dict[str, Any]) -> Any:
        raise RuntimeError("/secret/path")

    async def untellable(_rpc: Rpc, _params: dict[str, Any]) -> Any:
        return {"n": 2**70}

    for handler in (broken, untellable):
        monkeypatch.setitem(METHODS, "task.broken", handler)
        code, text = spoken.no("task.broken")
        assert code == 10
        assert "secret" not in text


def test_files_as_answers(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(_rpc: Rpc, _params: dict[str, Any]) -> Any:
        return Binary(iter([b"{}", b"{}"]), 4, "application/json")

    monkeypatch.setitem(METHODS, "task.file", handler)
    answer = spoken.post("task.file")
    assert (answer.content, answer.headers["content-length"]) == (b"{}{}", "4")
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("path", ["/edgefirst/", "/edgefirst/nothing", "/edgefirst/api/more"])
def test_addresses_that_are_none(spoken: Spoken, path: str) -> None:
    answer = spoken.rest.client.post(path, json={})
    assert answer.status_code in {404, 405}
    assert answer.json()["error"]["code"] in {"not_found", "method_not_allowed"}


def test_a_method_by_form_and_a_form_by_json(spoken: Spoken) -> None:
    assert spoken.form("no.such", {}, [("file", b"x")])["error"]["code"] == -32601
    for name in FORMS:
        code, text = spoken.no(name, {})
        assert code == 3
        assert "multipart/form-data" in text


def test_tokens_live_longer_than_clients_want_at_least() -> None:
    assert tokens.LIFE_SECONDS > 3600


def test_the_home_folder_keeps_no_part_of_a_form(spoken: Spoken) -> None:
    assert not [path for path in Path(spoken.rest.runtime.studio.home, "tmp").glob("form-*")]
