"""Members, invites and API keys through a door."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from support.doors import Door, Refused
from support.people import join

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.identity.invites import Acceptance


def _member(world: Any) -> Acceptance:
    studio = open_studio(Settings(home=world.site.home))
    try:
        return join(studio, studio.keys.authenticate(world.site.owner))
    finally:
        studio.close()


def _key(world: Any, **arguments: Any) -> dict[str, Any]:
    made: dict[str, Any] = world.make("create_api_key", name=world.dataset, **arguments)
    return made


def use_get_organization(door: Door, world: Any) -> None:
    value = door.call("get_organization", {}).value
    assert (value["name"], value["subscription_tier"], value["max_users"]) == ("Local", "enterprise", 10_000)
    assert value["credits_monthly_allowance"] == 1000
    assert value["credits_remaining"] >= 0


def use_list_members(door: Door, world: Any) -> None:
    made = _member(world)
    members = {m["id"]: m for m in door.call("list_members", {}).value["members"]}
    assert (members[made.member_id]["user_id"], members[made.member_id]["role"]) == (made.user_id, "member")


def use_update_member_role(door: Door, world: Any) -> None:
    made = _member(world)
    value = door.call("update_member_role", {"member_id": made.member_id, "role": "viewer"}).value
    assert (value["member"]["id"], value["member"]["role"]) == (made.member_id, "viewer")
    assert world.make("get_api_key", key_id=made.key.id)["api_key"]["role"] == "viewer"


def use_remove_member(door: Door, world: Any) -> None:
    made = _member(world)
    value = door.call("remove_member", {"member_id": made.member_id}, confirm=True).value
    assert (value["removed"], value["member"]["id"]) == (True, made.member_id)
    assert made.member_id not in [m["id"] for m in world.make("list_members")["members"]]
    assert not world.make("get_api_key", key_id=made.key.id)["api_key"]["is_active"]


def use_list_invites(door: Door, world: Any) -> None:
    email = f"{clock.new_id()}@example.com"
    made = world.make("create_invite", email=email)["invite"]
    pending = door.call("list_invites", {"status": "pending"}).value["invites"]
    assert [i["email"] for i in pending if i["id"] == made["id"]] == [email]
    revoked = door.call("list_invites", {"status": "revoked"}).value["invites"]
    assert made["id"] not in [i["id"] for i in revoked]
    world.site.door("toolkit").call("revoke_invite", {"invite_id": made["id"]}, confirm=True)


def use_create_invite(door: Door, world: Any) -> None:
    email = f"{clock.new_id()}@Example.com"
    value = door.call("create_invite", {"email": email, "role": "viewer", "expires_in_days": 2}).value
    assert (value["invite"]["email"], value["invite"]["role"]) == (email.lower(), "viewer")
    assert value["token"].startswith("invite_")
    assert value.get("invite_url", value["token"]).endswith(value["token"])
    studio = open_studio(Settings(home=world.site.home))
    try:
        assert studio.invites.accept(value["token"]).key.role == "viewer"
    finally:
        studio.close()


def use_revoke_invite(door: Door, world: Any) -> None:
    made = world.make("create_invite", email=f"{clock.new_id()}@example.com")["invite"]
    value = door.call("revoke_invite", {"invite_id": made["id"]}, confirm=True).value
    assert (value["invite"]["id"], value["invite"]["status"]) == (made["id"], "revoked")


def use_list_api_keys(door: Door, world: Any) -> None:
    made = _key(world, role="viewer")
    keys = {k["id"]: k for k in world.make("list_api_keys")["api_keys"]}
    assert keys[made["key_id"]]["role"] == "viewer"
    assert made["key_id"] in [k["id"] for k in _all_keys(door)]


def _all_keys(door: Door) -> list[dict[str, Any]]:
    """Many tests share the organization, whose keys may be more than one answer holds."""
    value = door.call("list_api_keys", {}).value
    keys: list[dict[str, Any]] = value["api_keys"]
    for cut in value.get("_truncated", {}).get("cuts", []):
        cursor = cut["cursor"]
        while cursor is not None:
            page = door.call("read_more", {"cursor": cursor}).value
            keys += page["items"]
            cursor = page.get("next_cursor")
    return keys


def use_create_api_key(door: Door, world: Any) -> None:
    until = (clock.now() + timedelta(days=1)).isoformat()
    arguments = {
        "name": f"{world.dataset} ✓",
        "role": "viewer",
        "expires_at": until,
        "toolsets": ["datasets"],
    }
    made = door.call("create_api_key", arguments).value
    assert (made["name"], made["role"]) == (arguments["name"], "viewer")
    assert made["api_key"].startswith(made["key_prefix"])
    with_it = world.site.door("dispatch", key=made["api_key"])
    assert world.dataset in str(with_it.call("list_datasets", {"limit": 100}).value)
    with pytest.raises(Refused) as refused:
        with_it.call("get_credit_balance", {})
    assert refused.value.shape["code"] == "toolset_required"


def use_get_api_key(door: Door, world: Any) -> None:
    made = _key(world, credit_cap=5)
    for name in (made["key_id"], made["key_prefix"]):
        value = door.call("get_api_key", {"key_id": name}).value["api_key"]
        assert (value["id"], value["credit_cap"], value["is_active"]) == (made["key_id"], 5, True)
        assert "api_key" not in value


def use_update_api_key(door: Door, world: Any) -> None:
    made = _key(world, rate_limit=50)
    change = {"key_id": made["key_id"], "name": "renamed", "role": "viewer", "is_active": False}
    value = door.call("update_api_key", change | {"lift": ["rate_limit"]}).value["api_key"]
    assert (value["name"], value["role"], value["is_active"]) == ("renamed", "viewer", False)
    assert value["rate_limit"] == 100_000


def use_delete_api_key(door: Door, world: Any) -> None:
    made = _key(world)
    value = door.call("delete_api_key", {"key_id": made["key_id"]}, confirm=True).value
    assert (value["deleted"], value["api_key"]["is_active"]) == (True, False)
