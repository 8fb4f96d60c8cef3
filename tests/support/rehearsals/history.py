"""Dry runs of undoing, of emptying the bin and of answering what was asked."""

from __future__ import annotations

from typing import Any

from support.dry_world import Ready, Refusals, World, upload

from tintype_studio.identity.roles import Role


def for_confirm_call(world: World) -> dict[str, Any]:
    details = world.asks("delete_dataset", {"name": "signs"})
    return {name: details[name] for name in ("approval_id", "confirm_token")}


def for_purge(world: World) -> dict[str, Any]:
    upload(world, "signs")
    world.live("delete_image", {"image_uuid": world.image("new.jpg").id})
    world.live("create_dataset", {"name": "old"})
    world.live("delete_dataset", {"name": "old"})
    return {}


def for_undo_call(world: World) -> dict[str, Any]:
    world.live("delete_dataset", {"name": "signs"})
    return {"call_id": world.last_call()}


def for_undo_session(world: World) -> dict[str, Any]:
    upload(world, "signs", session="other")
    world.live("create_dataset", {"name": "n"}, session="other")
    return {"session": "other"}


def purged(world: World) -> dict[str, Any]:
    world.live("delete_image", {"image_uuid": world.image().id})
    call_id = world.last_call()
    world.live("purge_deleted", {})
    return {"call_id": call_id}


def undone(world: World) -> dict[str, Any]:
    arguments = for_undo_call(world)
    world.live("undo_call", arguments)
    return arguments


def built_upon(world: World) -> dict[str, Any]:
    (made, *_) = [c for c in world.runtime.studio.changes.page(world.owner) if c.kind == "dataset.created"]
    return {"call_id": made.call_id}


def approval(world: World, **changes: Any) -> dict[str, Any]:
    return for_confirm_call(world) | changes


def used(world: World) -> dict[str, Any]:
    arguments = for_confirm_call(world)
    world.live("confirm_call", arguments)
    world.live("create_dataset", {"name": "signs"})
    return arguments


def denied(world: World) -> dict[str, Any]:
    arguments = for_confirm_call(world)
    world.runtime.studio.approvals.decide(world.owner, arguments["approval_id"], approve=False)
    return arguments


def of_another_key(world: World) -> dict[str, Any]:
    details = world.asks("delete_dataset", {"name": "signs"}, api_key=world.keys[Role.ADMIN])
    return {name: details[name] for name in ("approval_id", "confirm_token")}


def about_something_gone(world: World) -> dict[str, Any]:
    arguments = for_confirm_call(world)
    world.runtime.studio.datasets.delete(world.owner, "signs")
    return arguments


READY: Ready = {
    "confirm_call": for_confirm_call,
    "purge_deleted": for_purge,
    "undo_call": for_undo_call,
    "undo_session": for_undo_session,
}
NOT_UNDOABLE = {"purge_deleted"}
OWN = {"confirm_call", "undo_call", "undo_session"}
REFUSED: Refusals = [
    ("confirm_call", "approval_not_found", lambda w: {"approval_id": "x"}),
    ("confirm_call", "approval_not_found", of_another_key),
    ("confirm_call", "invalid_confirmation", lambda w: approval(w, confirm_token="cft_x")),
    ("confirm_call", "confirmation_used", used),
    ("confirm_call", "approval_denied", denied),
    ("confirm_call", "dataset_not_found", about_something_gone),
    ("purge_deleted", "not_in_bin", lambda w: {"items": ["ds-1"]}),
    ("purge_deleted", "invalid_input", lambda w: {"items": ["ds-1"], "dataset_name": "signs"}),
    ("undo_call", "nothing_to_undo", lambda w: {"call_id": "x"}),
    ("undo_call", "already_undone", undone),
    ("undo_call", "later_changes", built_upon),
    ("undo_call", "purged", purged),
    ("undo_session", "nothing_to_undo", lambda w: {"session": "x"}),
    ("undo_session", "restore_point_not_found", lambda w: {"restore_point": "x"}),
]
