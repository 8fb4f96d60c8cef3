"""Dry runs of what changes members, invites and API keys, which is no change of data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.people import join

from tintype_studio.identity.roles import Role

EMAIL = "ann@example.com"


def _member(world: Any) -> dict[str, Any]:
    return {"member_id": join(world.runtime.studio, world.owner, email=EMAIL).member_id}


def _invite(world: Any) -> dict[str, Any]:
    _, made = world.runtime.studio.invites.create(world.owner, email=EMAIL)
    return {"invite_id": made.id}


def _key(world: Any) -> dict[str, Any]:
    _, made = world.runtime.studio.keys.create(world.owner, name="k", role=Role.VIEWER)
    return {"key_id": made.id}


READY: dict[str, Callable[[Any], dict[str, Any]]] = {
    "update_member_role": lambda w: _member(w) | {"role": "viewer"},
    "remove_member": _member,
    "create_invite": lambda w: {"email": EMAIL},
    "revoke_invite": _invite,
    "create_api_key": lambda w: {"name": "k", "role": "viewer"},
    "update_api_key": lambda w: _key(w) | {"name": "renamed"},
    "delete_api_key": _key,
}

_TOLD = {
    "update_member_role": ("member.role_updated", EMAIL),
    "remove_member": ("member.removed", EMAIL),
    "create_invite": ("invite.created", EMAIL),
    "revoke_invite": ("invite.revoked", EMAIL),
    "create_api_key": ("api_key.created", "k"),
    "update_api_key": ("api_key.updated", "renamed"),
    "delete_api_key": ("api_key.revoked", "k"),
}


def _done(tool: str) -> Callable[[Any, dict[str, Any], Any], None]:
    """The deed is told, it is said to be for good, and the change history knows nothing of it."""

    def check(world: Any, told: dict[str, Any], outcome: Any) -> None:
        kind, name = _TOLD[tool]
        assert told["affected"] == [{"kind": kind, "count": 1, "name": name}]
        assert told["undoable"] is False
        assert world.runtime.studio.changes.of_call(world.owner, outcome.call_id) == []
        assert world.code(world.live, "undo_call", {"call_id": outcome.call_id}) == "nothing_to_undo"

    return check


DONE = {tool: _done(tool) for tool in READY}
NOT_UNDOABLE = set(READY)


def _last_owner(world: Any) -> dict[str, Any]:
    return {"member_id": join(world.runtime.studio, world.owner, Role.OWNER).member_id}


def _invited(world: Any) -> dict[str, Any]:
    _invite(world)
    return {"email": EMAIL}


def _accepted(world: Any) -> dict[str, Any]:
    _member(world)
    (invite,) = world.runtime.studio.invites.list(world.owner)
    return {"invite_id": invite.id}


def _owner_key(world: Any) -> dict[str, Any]:
    """The last one: all others are switched off."""
    keys = world.runtime.studio.keys
    for info in keys.list(world.owner):
        if info.role is Role.OWNER and info.id != world.owner.key_uuid:
            world.keys[Role.OWNER] = world.runtime.local_api_key()
            keys.revoke(world.owner, prefix=info.id)
    return {"key_id": world.owner.key_uuid}


REFUSED: list[tuple[str, str, Callable[[Any], dict[str, Any]]]] = [
    ("update_member_role", "member_not_found", lambda w: {"member_id": "x", "role": "viewer"}),
    ("update_member_role", "last_owner", lambda w: _last_owner(w) | {"role": "admin"}),
    ("remove_member", "member_not_found", lambda w: {"member_id": "x"}),
    ("remove_member", "last_owner", _last_owner),
    ("create_invite", "invalid_email", lambda w: {"email": "ann"}),
    ("create_invite", "invite_pending", _invited),
    ("create_invite", "already_member", lambda w: _member(w) and {"email": EMAIL}),
    ("revoke_invite", "invite_not_found", lambda w: {"invite_id": "x"}),
    ("revoke_invite", "invite_accepted", _accepted),
    ("create_api_key", "invalid_expiry", lambda w: {"name": "k", "expires_at": "2001-01-01T00:00:00Z"}),
    ("create_api_key", "invalid_name", lambda w: {"name": " "}),
    ("create_api_key", "invalid_limit", lambda w: {"name": "k", "rate_limit": 100_001}),
    ("update_api_key", "key_not_found", lambda w: {"key_id": "x", "name": "n"}),
    ("update_api_key", "nothing_to_change", _key),
    ("update_api_key", "last_owner_key", lambda w: _owner_key(w) | {"role": "admin"}),
    ("delete_api_key", "key_not_found", lambda w: {"key_id": "x"}),
    ("delete_api_key", "last_owner_key", _owner_key),
]
