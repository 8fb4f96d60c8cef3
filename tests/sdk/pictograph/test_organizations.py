"""Organizations, asked by the published SDK: every method, and the errors that it documents."""

from __future__ import annotations

import pytest
from support.people import join
from support.sdk import Sdk

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.identity.roles import Role


def member(sdk: Sdk, role: Role = Role.MEMBER) -> str:
    """A new member's id."""
    studio = open_studio(Settings(home=sdk.server.home))
    try:
        return join(studio, studio.keys.authenticate(sdk.server.keys["owner"]), role).member_id
    finally:
        studio.close()


def test_me_is_the_keys_organization(sdk: Sdk) -> None:
    found = sdk.as_("viewer").run("return client.organizations.me()")
    assert (found["name"], found["slug"], found["subscription_tier"]) == ("Local", "local", "enterprise")
    assert (found["max_users"], found["max_images"]) == (10_000, 1_000_000_000)
    assert found["credits_monthly_allowance"] == 1000
    other = sdk.as_("elsewhere").run("return client.organizations.me()")
    assert (other["name"], other["subscription_tier"], other["credits_remaining"]) == ("Other", "free", 0)


def test_members_are_listed_changed_and_removed(sdk: Sdk) -> None:
    name = member(sdk)
    members = sdk.as_("viewer").run("return client.organizations.list_members()")
    (found,) = [m for m in members if m["id"] == name]
    assert (found["role"], found["full_name"]) == ("member", None)
    assert found["email"].endswith("@example.com")
    changed = sdk.run("return client.organizations.update_member_role(member, role='admin')", member=name)
    assert (changed["id"], changed["role"]) == (name, "admin")
    assert sdk.run("return client.organizations.remove_member(member)", member=name) is None
    assert name not in [m["id"] for m in sdk.run("return client.organizations.list_members()")]
    shape = sdk.fails("client.organizations.remove_member(member)", member=name)
    assert (shape["type"], shape["status_code"]) == ("NotFoundError", 404)


def test_who_may_not_gets_the_documented_errors(sdk: Sdk) -> None:
    name, promote = member(sdk), "client.organizations.update_member_role(member, role=role)"
    for as_, role, error in (
        ("member", "viewer", "ForbiddenError"),
        ("admin", "owner", "ForbiddenError"),
        ("elsewhere", "viewer", "NotFoundError"),
        ("owner", "king", "ValidationError"),
    ):
        assert sdk.as_(as_).fails(promote, member=name, role=role)["type"] == error
    boss = member(sdk, Role.OWNER)
    assert sdk.as_("admin").fails("client.organizations.remove_member(m)", m=boss)["type"] == "ForbiddenError"
    for attempt in (
        "client.organizations.remove_member(m)",
        "client.organizations.update_member_role(m, role='admin')",
    ):
        shape = sdk.fails(attempt, m=boss)
        assert (shape["type"], shape["status_code"]) == ("ValidationError", 422)
        assert "last owner" in shape["message"]
    # Not to stay the only owner for the tests after this one.
    sdk.run("client.organizations.update_member_role(m, role='owner')", m=name)
    sdk.run("client.organizations.remove_member(m)", m=boss)


def test_invites_are_made_listed_and_taken_back(sdk: Sdk) -> None:
    email = f"{clock.new_id()}@example.com"
    made = sdk.as_("admin").run("return client.organizations.invite(email, role='viewer')", email=email)
    assert (made["email"], made["role"], made["status"]) == (email, "viewer", "pending")
    pending = sdk.as_("viewer").run("return client.organizations.list_invites(status='pending')")
    assert made in pending
    again = sdk.fails("client.organizations.invite(email)", email=email)
    assert (again["type"], again["status_code"]) == ("ConflictError", 409)
    assert sdk.run("return client.organizations.revoke_invite(i)", i=made["id"]) is None
    revoked = sdk.run("return client.organizations.list_invites(status='revoked')")
    assert made | {"status": "revoked"} in revoked
    assert made["id"] in [i["id"] for i in sdk.run("return client.organizations.list_invites()")]
    shape = sdk.as_("elsewhere").fails("client.organizations.revoke_invite(i)", i=made["id"])
    assert shape["type"] == "NotFoundError"


@pytest.mark.parametrize(("role", "email"), [("member", "no address"), ("king", "a@example.com")])
def test_a_bad_invite_is_a_validation_error(sdk: Sdk, role: str, email: str) -> None:
    shape = sdk.fails("client.organizations.invite(email, role=role)", email=email, role=role)
    assert (shape["type"], shape["status_code"]) == ("ValidationError", 422)


def test_a_full_tier_asks_for_payment(sdk: Sdk) -> None:
    """A free organization has three places."""
    invite = "return client.organizations.invite(email)"
    other = sdk.as_("elsewhere")
    for number in range(3):
        other.run(invite, email=f"{number}@example.com")
    shape = other.fails(invite, email="one.more@example.com")
    assert (shape["type"], shape["status_code"]) == ("PaymentRequiredError", 402)
    assert "3 members" in shape["message"]
