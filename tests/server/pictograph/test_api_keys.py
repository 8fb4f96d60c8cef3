"""``/api/v1/api-keys/`` on the wire: shapes, limits of who makes keys, and a secret that nothing keeps."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from support.rest import Rest, open_rest

from tintype_server.pictograph.api_keys import ApiKey, CreatedApiKey
from tintype_studio import clock
from tintype_studio.storage.tables import idempotency_records

KEYS = "/api/v1/api-keys/"


@pytest.fixture
def rest(tmp_path) -> Iterator[Rest]:
    with open_rest(tmp_path / "home") as opened:
        yield opened


def create(rest: Rest, **given: Any) -> dict[str, Any]:
    headers = given.pop("headers", {})
    role = given.pop("as_", "owner")
    return rest.ok("POST", KEYS, role=role, headers=headers, json=body(rest, **given))


def body(rest: Rest, **given: Any) -> dict[str, Any]:
    return {"organization_id": rest.owner.organization_uuid, "name": "ci", "role": "member"} | given


def test_a_key_is_made_shown_changed_and_revoked(rest: Rest) -> None:
    made = create(rest, as_="admin", expires_at="2031-01-01T00:00:00")
    CreatedApiKey.model_validate(made)
    assert set(made) == set(CreatedApiKey.model_fields)
    assert made["expires_at"].startswith("2031-01-01T00:00:00")
    assert rest.send("GET", "/organizations/me", key=made["api_key"]).status_code == 200
    found = rest.ok("GET", KEYS + made["key_id"], role="admin")["api_key"]
    ApiKey.model_validate(found)
    assert set(found) == set(ApiKey.model_fields)
    assert found["key_prefix"] == made["api_key"][:12]
    listed = rest.ok("GET", KEYS, params={"organization_id": rest.owner.organization_uuid})["api_keys"]
    assert found | {"last_used_at": None} in [key | {"last_used_at": None} for key in listed]
    change = {"name": "renamed", "rate_limit": 7, "role": "viewer", "expires_at": None}
    changed = rest.ok("PATCH", KEYS + made["key_id"], json=change)["api_key"]
    assert {name: changed[name] for name in change} == change
    assert (
        rest.ok("PATCH", KEYS + made["key_id"], json={"rate_limit": None})["api_key"]["rate_limit"] == 100_000
    )
    assert rest.send("DELETE", KEYS + made["key_id"]).status_code == 200
    assert rest.no("GET", "/organizations/me", key=made["api_key"]) == (401, "invalid_key")
    assert rest.ok("GET", KEYS + made["key_id"])["api_key"]["is_active"] is False


def test_a_revoked_key_stops_within_a_second(rest: Rest) -> None:
    """Also where another process revokes it, and also switched off instead of deleted."""
    made = create(rest)
    assert rest.send("GET", "/organizations/me", key=made["api_key"]).status_code == 200
    with rest.runtime.studio.database.write() as connection:
        connection.execute(
            sa.text("UPDATE api_keys SET is_active = false WHERE uuid = :id"), {"id": made["id"]}
        )
    time.sleep(1)
    assert rest.no("GET", "/organizations/me", key=made["api_key"]) == (401, "invalid_key")
    rest.ok("PATCH", KEYS + made["key_id"], json={"is_active": True})
    assert rest.send("GET", "/organizations/me", key=made["api_key"]).status_code == 200
    rest.ok("PATCH", KEYS + made["key_id"], json={"is_active": False})
    assert rest.no("GET", "/organizations/me", key=made["api_key"]) == (401, "invalid_key")


def test_nobody_reaches_above_or_beside(rest: Rest) -> None:
    owners = create(rest, role="owner")
    for role in ("viewer", "member"):
        assert rest.no("GET", KEYS, role=role) == (403, "role_required")
        assert rest.no("POST", KEYS, role=role, json=body(rest)) == (403, "role_required")
        assert rest.no("PATCH", KEYS + owners["id"], role=role, json={"name": "x"}) == (403, "role_required")
        assert rest.no("DELETE", KEYS + owners["id"], role=role) == (403, "role_required")
    assert rest.no("POST", KEYS, role="admin", json=body(rest, role="owner"))[0] == 403
    assert rest.no("PATCH", KEYS + owners["id"], role="admin", json={"name": "x"})[0] == 403
    assert rest.no("DELETE", KEYS + owners["id"], role="admin")[0] == 403
    mine = create(rest)
    assert rest.no("PATCH", KEYS + mine["id"], role="admin", json={"role": "owner"})[0] == 403
    for method, change in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        refused = rest.no(method, KEYS + mine["id"], role="elsewhere", json=change)
        assert refused == (404, "key_not_found")
    theirs = {"organization_id": rest.owner.organization_uuid}
    assert rest.no("GET", KEYS, role="elsewhere", params=theirs) == (404, "organization_not_found")
    assert rest.no("POST", KEYS, role="elsewhere", json=body(rest)) == (404, "organization_not_found")
    assert len(rest.ok("GET", KEYS, role="elsewhere")["api_keys"]) == 1


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"role": "king"}, "invalid_arguments"),
        ({"name": ""}, "invalid_arguments"),
        ({"name": "n" * 101}, "invalid_arguments"),
        ({"expires_at": "soon"}, "invalid_arguments"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "invalid_expiry"),
        ({"rate_limit": 0}, "invalid_arguments"),
        ({"rate_limit": 10**30}, "invalid_arguments"),
        ({"rate_limit": 100_001}, "invalid_limit"),
        ({"credits": 1}, "invalid_arguments"),
        ({"organization_id": None}, "invalid_arguments"),
    ],
)
def test_bad_input_makes_nothing(rest: Rest, wrong: dict[str, Any], code: str) -> None:
    before = rest.ok("GET", KEYS)["api_keys"]
    assert rest.no("POST", KEYS, json=body(rest, **wrong)) == (422, code)
    assert rest.no("PATCH", KEYS + before[0]["id"], json={}) == (422, "nothing_to_change")
    assert len(rest.ok("GET", KEYS)["api_keys"]) == len(before)


def test_the_last_owner_key_stays(rest: Rest) -> None:
    keys = rest.ok("GET", KEYS)["api_keys"]
    (first, second) = [key["id"] for key in keys if key["role"] == "owner"]
    assert rest.send("DELETE", KEYS + first).status_code == 200
    for method, change in (("DELETE", None), ("PATCH", {"is_active": False}), ("PATCH", {"role": "admin"})):
        assert rest.no(method, KEYS + second, json=change) == (409, "last_owner_key")


def everything_kept(rest: Rest) -> bytes:
    """The database as it is on disk with its log, and every other file of the workspace but the owner's
    own credentials.
    """
    home = rest.runtime.settings.home
    return b"\n".join(
        p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file() and p.name != "config.toml"
    )


@pytest.mark.parametrize(
    ("path", "content", "secret_of"),
    [
        (KEYS, {"name": "ci", "organization_id": None}, lambda made: made["api_key"]),
        (
            "/organizations/invites",
            {"email": "ann@example.com"},
            lambda made: made["invite"]["invite_url"].rpartition("/")[2],
        ),
    ],
    ids=["key", "invite"],
)
def test_the_secret_is_nowhere_kept_and_a_retry_gets_it_again(
    rest: Rest, caplog: pytest.LogCaptureFixture, path: str, content: dict[str, Any], secret_of: Any
) -> None:
    if "organization_id" in content:
        content = content | {"organization_id": rest.owner.organization_uuid}
    caplog.set_level(logging.DEBUG)
    headers = {"Idempotency-Key": "a" * 32}
    first = rest.send("POST", path, headers=headers, json=content)
    again = rest.send("POST", path, headers=headers, json=content)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert rest.no("POST", path, headers=headers, json=content | {"role": "viewer"})[0] == 409
    rest.runtime.studio.audit.flush()
    secret = secret_of(first.json())
    kept = everything_kept(rest)
    assert b"create_api_key" in kept or b"create_invite" in kept
    assert secret.encode() not in kept
    assert secret[12:].encode() not in kept
    assert secret[12:] not in caplog.text


def test_after_a_day_the_sealed_answer_is_gone(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    headers = {"Idempotency-Key": "k"}
    made = create(rest, headers=headers)
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(hours=25))
    rest.runtime.studio.idempotency.sweep()
    with rest.runtime.studio.database.read() as connection:
        assert connection.execute(sa.select(idempotency_records)).all() == []
    assert create(rest, headers=headers)["api_key"] != made["api_key"]


def test_another_workspaces_secret_opens_no_stored_answer(rest: Rest) -> None:
    """What lies in the database is sealed: without ``secret.key`` it is noise."""
    create(rest, headers={"Idempotency-Key": "k"})
    rest.runtime.studio.database.close()
    file = rest.runtime.settings.home / "tintype.db"
    with sqlite3.connect(file) as connection:
        ((stored,),) = connection.execute("SELECT result FROM idempotency_records")
    assert b"key_prefix" not in stored
    assert b"key_prefix" in rest.runtime.studio.signer.unseal(stored)
