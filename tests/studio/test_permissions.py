"""The permission table: every action with every role, and the refusal's words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from tintype_studio.errors import Forbidden, InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.permissions import PERMISSIONS, require
from tintype_studio.identity.roles import Role, parse_role, roles_above
from tintype_studio.studio import Studio

TABLE = {
    "viewer": {"organization.read", "members.list", "members.get", "invites.list"},
    "member": set(),
    "admin": {
        "members.update_role",
        "members.remove",
        "invites.create",
        "invites.revoke",
        "keys.list",
        "keys.get",
        "keys.create",
        "keys.update",
        "keys.revoke",
        "approvals.decide",
        "audit.read",
    },
    "owner": {"organization.update", "credits.grant"},
}
"""The seed's matrix, by the lowest role."""

CALLS: dict[str, Any] = {
    "organization.read": lambda s, p: s.organizations.me(p),
    "organization.update": lambda s, p: s.organizations.update(p, name="x"),
    "members.list": lambda s, p: s.organizations.list_members(p),
    "members.get": lambda s, p: s.organizations.get_member(p, "x"),
    "members.update_role": lambda s, p: s.organizations.update_member_role(p, "x", "viewer"),
    "members.remove": lambda s, p: s.organizations.remove_member(p, "x"),
    "invites.list": lambda s, p: s.invites.list(p),
    "invites.create": lambda s, p: s.invites.create(p, email="a@example.com", role="viewer"),
    "invites.revoke": lambda s, p: s.invites.revoke(p, "x"),
    "keys.list": lambda s, p: s.keys.list(p),
    "keys.get": lambda s, p: s.keys.get(p, prefix="x"),
    "keys.create": lambda s, p: s.keys.create(p, name="x", role="viewer"),
    "keys.update": lambda s, p: s.keys.update(p, "x", name="x"),
    "keys.revoke": lambda s, p: s.keys.revoke(p, prefix="x"),
}


@dataclass
class Somebody:
    role: Role


def test_the_table_is_the_seeds() -> None:
    listed = {action: Role(role) for role, actions in TABLE.items() for action in actions}
    assert {action: PERMISSIONS[action] for action in listed} == listed


@pytest.mark.parametrize(("action", "role"), list(product(PERMISSIONS, Role)))
def test_every_action_with_every_role(action: str, role: Role) -> None:
    required = PERMISSIONS[action]
    if role.rank >= required.rank:
        require(Somebody(role), action)
        return
    with pytest.raises(Forbidden) as caught:
        require(Somebody(role), action)
    assert (caught.value.code, caught.value.status) == ("role_required", 403)
    assert caught.value.details == {"required_role": required.value, "role": role.value}
    assert caught.value.message == f"{action} needs the role {required}; this key has {role}."
    assert required.value in caught.value.fix


@pytest.mark.parametrize(("action", "role"), list(product(CALLS, Role)))
def test_every_service_asks_the_table(studio: Studio, owner: Principal, action: str, role: Role) -> None:
    secret, _ = studio.keys.create(owner, name="somebody", role=role)
    somebody = studio.keys.authenticate(secret)
    refused = None
    try:
        CALLS[action](studio, somebody)
    except Forbidden as error:
        refused = error.code
    except Exception as error:
        assert type(error).__name__ == "NotFound", error  # noqa: PT017 - it went past the table
    assert refused == (None if role.covers(PERMISSIONS[action]) else "role_required")


def test_roles_by_name() -> None:
    assert [parse_role(role.value) for role in Role] == list(Role)
    assert roles_above(Role.MEMBER) == [Role.ADMIN, Role.OWNER]
    assert roles_above(Role.OWNER) == []


@pytest.mark.parametrize("name", ["", "Owner", "root", "\ud800", "x" * 10_000], ids=ascii)
def test_an_unknown_role_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_role(name)
    assert caught.value.code == "invalid_role"
    assert "viewer, member, admin, owner" in caught.value.fix
    assert len(caught.value.message) < 100
