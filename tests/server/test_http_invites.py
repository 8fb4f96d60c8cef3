"""Invites over HTTP: no key needed, one refusal for every token that does not work, the key once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from support.doors import Site

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.identity.invites import Invite
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import calls
from tintype_studio.studio import Studio


@pytest.fixture(scope="module")
def studio(site: Site) -> Iterator[Studio]:
    studio = open_studio(Settings(home=site.home))
    yield studio
    studio.close()


@pytest.fixture
def owner(site: Site, studio: Studio) -> Principal:
    return studio.keys.authenticate(site.owner)


@pytest.fixture
def invited(studio: Studio, owner: Principal) -> tuple[str, Invite]:
    return studio.invites.create(owner, email=f"{clock.new_id()}@example.com", role=Role.VIEWER)


@pytest.fixture
def http(site: Site) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, headers={"User-Agent": "a browser"}) as client:
        yield client


def test_an_invite_is_looked_at_and_accepted_without_a_key(
    site: Site, studio: Studio, http: httpx.Client, invited: tuple[str, Invite]
) -> None:
    token, invite = invited
    for _ in range(2):
        shown = http.get(f"/invites/{token}")
        assert shown.status_code == 200
        assert shown.json() == {
            "organization": "Local",
            "role": "viewer",
            "email": invite.email,
            "expires_at": invite.expires_at.isoformat(),
        }
    accepted = http.post(f"/invites/{token}", json={"full_name": "Ann"})
    assert accepted.status_code == 201
    for answer in (shown, accepted):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
    body = accepted.json()
    assert (body["role"], body["user_email"], body["organization"]) == ("viewer", invite.email, "Local")
    listed = http.post(
        "/api/v1/developer/_dispatch/list_datasets", json={}, headers={"X-API-Key": body["api_key"]}
    )
    assert listed.status_code == 200
    assert http.post(f"/invites/{token}").status_code == 404
    member = studio.organizations.get_member(studio.keys.authenticate(body["api_key"]), body["member_id"])
    assert member.full_name == "Ann"


@pytest.mark.parametrize("body", [b"", b"  ", b"{}", b'{"full_name": null}'], ids=repr)
def test_a_name_is_not_needed(http: httpx.Client, invited: tuple[str, Invite], body: bytes) -> None:
    assert http.post(f"/invites/{invited[0]}", content=body).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 422, "invalid_json"),
        (b"[]", 422, "invalid_json"),
        (b'{"name": "x"}', 422, "invalid_json"),
        (b'{"full_name": 5}', 422, "invalid_json"),
        (b'{"full_name": ""}', 422, "invalid_name"),
        (b'{"full_name": "a\\nb"}', 422, "invalid_name"),
        (b'{"full_name": "\\ud800"}', 422, "invalid_json"),
        (json.dumps({"full_name": "x" * 121}).encode(), 422, "invalid_name"),
        (b" " * 70_000, 413, "body_too_large"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_bad_body_is_refused_and_the_token_stays_good(
    http: httpx.Client, invited: tuple[str, Invite], body: bytes, status: int, code: str
) -> None:
    refused = http.post(f"/invites/{invited[0]}", content=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
    assert http.post(f"/invites/{invited[0]}").status_code == 201


def test_every_token_that_does_not_work_is_refused_alike(
    studio: Studio, owner: Principal, http: httpx.Client, invited: tuple[str, Invite]
) -> None:
    used, _ = studio.invites.create(owner, email=f"{clock.new_id()}@example.com")
    studio.invites.accept(used)
    revoked, invite = invited
    studio.invites.revoke(owner, invite.id)
    tokens = [used, revoked, "x", "invite_", "x" * 5_000, "%F0%9F%98%80", "%ED%A0%80", "%00"]
    answers = [http.request(method, f"/invites/{t}") for t in tokens for method in ("GET", "POST")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["error"]["code"] == "invite_not_found"


def test_guesses_leave_no_rows_and_acceptances_do(
    studio: Studio, http: httpx.Client, invited: tuple[str, Invite]
) -> None:
    def rows() -> list[Any]:
        with studio.database.read() as connection:
            query = sa.select(calls).where(calls.c.tool == "invites.accept").order_by(calls.c.id)
            return [dict(row) for row in connection.execute(query).mappings()]

    before = len(rows())
    for number in range(5):
        http.post(f"/invites/guess{number}")
    assert len(rows()) == before
    api_key = http.post(f"/invites/{invited[0]}").json()["api_key"]
    row = rows()[-1]
    assert (row["door"], row["agent"], row["outcome"], row["role"]) == ("http", "a browser", "ok", "viewer")
    assert json.loads(row["arguments"]) == {"email": invited[1].email}
    assert api_key not in str(row)


def test_of_many_at_once_one_gets_the_key(http: httpx.Client, invited: tuple[str, Invite]) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: http.post(f"/invites/{invited[0]}"), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [404] * 7


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(http: httpx.Client, invited: tuple[str, Invite], method: str) -> None:
    refused = http.request(method, f"/invites/{invited[0]}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (405, "method_not_allowed")


def test_a_removed_members_key_stops_within_a_second_on_a_running_server(
    studio: Studio, owner: Principal, http: httpx.Client, invited: tuple[str, Invite]
) -> None:
    import time

    body = http.post(f"/invites/{invited[0]}").json()
    headers = {"X-API-Key": body["api_key"]}
    assert http.get("/api/v1/developer/tools.json", headers=headers).status_code == 200
    studio.organizations.remove_member(owner, body["member_id"])
    time.sleep(1)
    assert http.get("/api/v1/developer/tools.json", headers=headers).status_code == 401
