"""``/organizations`` on the wire: shapes, who may touch whom, and links that are shown once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
import sqlalchemy as sa
from support.people import join
from support.rest import Rest, open_rest

from tintype_server.pictograph.organizations import Invite, Member, NewInvite, Organization
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import organizations

ME, MEMBERS, INVITES = "/organizations/me", "/organizations/members", "/organizations/invites"


@pytest.fixture
def rest(tmp_path) -> Iterator[Rest]:
    with open_rest(tmp_path / "home") as opened:
        yield opened


def member(rest: Rest, role: Role = Role.MEMBER) -> str:
    return f"{MEMBERS}/{join(rest.runtime.studio, rest.owner, role).member_id}"


def test_me_has_every_field_of_the_wire_and_nothing_unlimited(rest: Rest) -> None:
    found = rest.ok("GET", ME, role="viewer")["organization"]
    assert set(found) == set(Organization.model_fields)
    Organization.model_validate(found)
    limits = [found[name] for name in ("max_users", "max_images", "max_storage_bytes")]
    assert limits == [10_000, 1_000_000_000, 1_000_000 << 30]
    assert found["created_at"] == found["updated_at"]
    member(rest)
    after = rest.ok("GET", ME)["organization"]
    assert (after["member_count"], after["pending_invite_count"]) == (1, 0)
    assert datetime.fromisoformat(after["updated_at"]) > datetime.fromisoformat(found["updated_at"])


@pytest.mark.parametrize(
    ("tier", "shown"), [("free", "free"), ("core", "core"), ("pro", "pro"), ("something else", "free")]
)
def test_tiers_are_words_of_the_wire(rest: Rest, tier: str, shown: str) -> None:
    with rest.runtime.studio.database.write() as connection:
        connection.execute(sa.update(organizations).values(tier=tier))
    assert rest.ok("GET", ME)["organization"]["subscription_tier"] == shown


def test_members_are_listed_promoted_and_removed(rest: Rest) -> None:
    path = member(rest)
    (found,) = rest.ok("GET", MEMBERS, role="viewer")["members"]
    Member.model_validate(found)
    assert set(found) == set(Member.model_fields)
    assert rest.ok("PATCH", path, json={"role": "admin"})["member"] | {"role": "member"} == found
    response = rest.send("DELETE", path, role="admin")
    assert response.status_code == 200
    assert rest.ok("GET", MEMBERS)["members"] == []
    assert rest.no("DELETE", path) == (404, "member_not_found")


def test_what_is_refused_and_how(rest: Rest) -> None:
    """Roles first; then owners are for owners, the last one stays, and other organizations see nothing."""
    someone, boss = member(rest), member(rest, Role.OWNER)
    for role in ("viewer", "member"):
        assert rest.no("PATCH", someone, role=role, json={"role": "viewer"}) == (403, "role_required")
        assert rest.no("DELETE", someone, role=role) == (403, "role_required")
        assert rest.no("POST", INVITES, role=role, json={"email": "a@b.co"}) == (403, "role_required")
    assert rest.no("PATCH", boss, role="admin", json={"role": "viewer"})[0] == 403
    assert rest.no("DELETE", boss, role="admin")[0] == 403
    assert rest.no("PATCH", someone, role="admin", json={"role": "owner"})[0] == 403
    assert rest.no("PATCH", boss, json={"role": "admin"}) == (422, "last_owner")
    assert rest.no("DELETE", boss) == (422, "last_owner")
    assert rest.no("PATCH", someone, role="elsewhere", json={"role": "viewer"}) == (404, "member_not_found")
    assert rest.no("DELETE", someone, role="elsewhere") == (404, "member_not_found")
    assert rest.no("PATCH", someone, json={"role": "king"}) == (422, "invalid_arguments")
    assert rest.no("PATCH", someone, json={}) == (422, "invalid_arguments")
    assert rest.ok("GET", MEMBERS, role="elsewhere")["members"] == []
    assert sorted(m["role"] for m in rest.ok("GET", MEMBERS)["members"]) == ["member", "owner"]


def test_a_second_owner_lets_the_first_go(rest: Rest) -> None:
    first, second = member(rest, Role.OWNER), member(rest)
    rest.ok("PATCH", second, json={"role": "owner"})
    assert rest.ok("DELETE", first)["member"]["role"] == "owner"


def test_an_invite_comes_with_its_link_once(rest: Rest) -> None:
    content = {"email": " Ann@Example.com", "role": "viewer"}
    made = rest.ok("POST", INVITES, role="admin", json=content)["invite"]
    NewInvite.model_validate(made)
    assert (made["email"], made["role"], made["status"]) == ("ann@example.com", "viewer", "pending")
    assert made["invite_url"].startswith("http://testserver/invites/invite_")
    (listed,) = rest.ok("GET", INVITES, role="viewer", params={"status": "pending"})["invites"]
    Invite.model_validate(listed)
    assert listed == {name: made[name] for name in Invite.model_fields}
    accepted = rest.client.post(made["invite_url"].removeprefix("http://testserver"))
    assert accepted.status_code == 201
    assert rest.no("DELETE", f"{INVITES}/{made['id']}") == (409, "invite_accepted")
    assert rest.no("POST", INVITES, json={"email": "ann@example.com"}) == (409, "already_member")


def test_invites_are_taken_back_and_asked_for_by_status(rest: Rest) -> None:
    made = rest.ok("POST", INVITES, json={"email": "ann@example.com"})["invite"]
    assert rest.no("POST", INVITES, json={"email": "ann@example.com"}) == (409, "invite_pending")
    assert rest.no("DELETE", f"{INVITES}/{made['id']}", role="elsewhere") == (404, "invite_not_found")
    assert rest.ok("DELETE", f"{INVITES}/{made['id']}")["invite"]["status"] == "revoked"
    found = {s: len(rest.ok("GET", INVITES, params={"status": s})["invites"]) for s in ("pending", "revoked")}
    assert found == {"pending": 0, "revoked": 1}
    assert rest.no("GET", INVITES, params={"status": "lost"}) == (422, "invalid_arguments")
    assert rest.client.post(made["invite_url"].removeprefix("http://testserver")).status_code == 404
    for wrong in ({"email": "ann"}, {"email": "a@b.co", "role": "owner"}, {"email": 3}, {}):
        assert rest.no("POST", INVITES, json=wrong)[0] == 422


def test_an_invite_to_the_role_owner_does_not_break_clients(rest: Rest) -> None:
    rest.runtime.studio.invites.create(rest.owner, email="ann@example.com", role=Role.OWNER)
    (found,) = rest.ok("GET", INVITES)["invites"]
    assert (found["role"], found["granted_role"]) == ("admin", "owner")
    assert rest.no("DELETE", f"{INVITES}/{found['id']}", role="admin")[0] == 403


def test_a_full_tier_asks_for_payment(rest: Rest) -> None:
    with rest.runtime.studio.database.write() as connection:
        connection.execute(sa.update(organizations).values(tier="free"))
    for number in range(3):
        rest.ok("POST", INVITES, json={"email": f"{number}@example.com"})
    assert rest.no("POST", INVITES, json={"email": "one@example.com"}) == (402, "member_limit")
