"""Every tool, with every role, through every door: a role that is too low is refused, one that covers is not.

The arguments are wrong on purpose. Roles are looked at before arguments, so whoever is let in gets to hear
about them, and nothing runs.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from support.doors import DOORS, Door, Refused, Site

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.roles import Role
from tintype_tools.snapshot import load_snapshot

TOOLS: dict[str, Role] = {tool["name"]: Role(tool["required_role"]) for tool in load_snapshot()["tools"]}
CORE = {tool["name"] for tool in load_snapshot()["tools"] if tool["core"]}
WRONG = {"no_such_argument": 1}
LISTING = [name for name in DOORS if name.startswith(("stdio", "http", "sse"))]


def refusal(door: Door, tool: str, arguments: dict[str, Any], **options: Any) -> dict[str, Any]:
    with pytest.raises(Refused) as refused:
        door.call(tool, arguments, **options)
    return refused.value.shape


def too_low(role: Role, tool: str) -> dict[str, Any]:
    """What the refusal of a role must say."""
    return {
        "code": "role_required",
        "retryable": False,
        "details": {"required_role": TOOLS[tool].value, "role": role.value},
    }


def seen(shape: dict[str, Any]) -> dict[str, Any]:
    return {name: shape.get(name) for name in ("code", "retryable", "details")}


def test_the_tools_need_different_roles() -> None:
    """Without that, the matrix would not tell a guard from none."""
    assert {Role.VIEWER, Role.MEMBER, Role.ADMIN} <= set(TOOLS.values())


@pytest.mark.parametrize("role", Role, ids=str)
@pytest.mark.parametrize("door_name", DOORS)
def test_a_role_opens_exactly_its_tools(site: Site, door_name: str, role: Role) -> None:
    door = site.door(door_name, key=site.keys[role.value])
    answers = {tool: refusal(door, tool, WRONG) for tool in TOOLS}
    refused = {tool: seen(shape) for tool, shape in answers.items() if not role.covers(TOOLS[tool])}
    assert refused == {tool: too_low(role, tool) for tool in refused}
    assert all(TOOLS[tool].value in answers[tool]["fix"] for tool in refused)
    let_in = {tool: shape["code"] for tool, shape in answers.items() if tool not in refused}
    assert let_in == dict.fromkeys(let_in, "invalid_arguments")
    assert len(let_in) == sum(role.covers(needed) for needed in TOOLS.values()) > 0


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER], ids=str)
@pytest.mark.parametrize("door_name", DOORS)
def test_neither_a_dry_run_nor_a_key_nor_a_yes_lifts_a_role(site: Site, door_name: str, role: Role) -> None:
    door = site.door(door_name, key=site.keys[role.value])
    for options in ({"dry_run": True}, {"idempotency_key": "k"}, {"confirm": True}):
        shape = refusal(door, "delete_dataset", {"name": "nowhere"}, **options)
        assert seen(shape) == too_low(role, "delete_dataset")


@pytest.mark.parametrize("door_name", DOORS)
def test_a_call_inside_a_call_has_its_callers_role(site: Site, door_name: str) -> None:
    member = site.door(door_name, key=site.keys["member"])
    inner = {"tool": "delete_dataset", "arguments": json.dumps({"name": "nowhere"})}
    assert seen(refusal(member, "preview_call", inner)) == too_low(Role.MEMBER, "delete_dataset")
    admin = site.door(door_name, key=site.keys["admin"])
    assert refusal(admin, "preview_call", inner)["code"] == "dataset_not_found"


@pytest.mark.parametrize("role", Role, ids=str)
@pytest.mark.parametrize("door_name", LISTING)
def test_a_door_lists_what_the_role_may_call(site: Site, door_name: str, role: Role) -> None:
    door: Any = site.door(door_name, key=site.keys[role.value])
    listed = site.portal.call(door.client.list_tools)
    assert {tool.name for tool in listed.tools} == {
        t for t, needed in TOOLS.items() if role.covers(needed) and t in CORE
    }


@pytest.mark.parametrize("door_name", ["stdio-2026", "http-2025", "dispatch", "toolkit"])
def test_a_role_that_was_taken_away_opens_nothing_more(site: Site, door_name: str) -> None:
    """The door stays open, and so does the key."""
    studio = open_studio(Settings(home=site.home))
    owner = studio.keys.authenticate(site.owner)
    secret, info = studio.keys.create(owner, name="falling", role=Role.ADMIN)
    door = site.door(door_name, key=secret)
    assert refusal(door, "delete_dataset", WRONG)["code"] == "invalid_arguments"
    studio.keys.update(owner, info.id, role=Role.VIEWER)
    studio.close()
    end = time.monotonic() + 20
    while (shape := refusal(door, "delete_dataset", WRONG))["code"] == "invalid_arguments":
        assert time.monotonic() < end, "the old role still opens"
        time.sleep(0.05)
    assert seen(shape) == too_low(Role.VIEWER, "delete_dataset")
    assert refusal(door, "get_dataset", WRONG)["code"] == "invalid_arguments"
