"""What every door does to look back, to undo, and to answer what is asked."""

from __future__ import annotations

import json

import pytest
from support.door_world import World
from support.doors import Door, Refused


def use_list_changes(door: Door, world: World) -> None:
    world.label(2)
    value = door.call("list_changes", {"dataset_name": world.dataset}).value
    assert [(c["kind"], c["count"]) for c in value["changes"]] == [
        ("annotations.saved", 1),
        ("images.added", 1),
        ("dataset.created", 1),
    ]


def use_undo_call(door: Door, world: World) -> None:
    world.label(1)
    before = world.make("get_annotations", image_uuid=world.image["id"])["annotations"]
    world.label(3)
    (last, *_) = world.make("list_changes", dataset_name=world.dataset)["changes"]
    value = door.call("undo_call", {"call_id": last["call_id"]}).value
    assert value == {"undone": [last["call_id"]], "counts": {"annotations.saved": 1}}
    assert world.make("get_annotations", image_uuid=world.image["id"])["annotations"] == before


def use_undo_session(door: Door, world: World) -> None:
    """Everything that came after the restore point of a deletion, the deletion with it."""
    world.site.door("toolkit").call("delete_image", {"image_uuid": world.image["id"]}, confirm=True)
    (point, *_) = world.make("list_changes", dataset_name=world.dataset)["restore_points"]
    value = door.call("undo_session", {"restore_point": point["id"]}).value
    assert value == {"undone": [point["call_id"]], "counts": {"images.deleted": 1}}
    assert world.make("get_dataset", name=world.dataset)["image_count"] == 1


def use_list_deleted(door: Door, world: World) -> None:
    world.site.door("toolkit").call("delete_dataset", {"name": world.dataset}, confirm=True)
    value = door.call("list_deleted", {"limit": 1000}).value
    (entry,) = [e for e in value["deleted"] if e["dataset"] == world.dataset]
    assert (entry["kind"], entry["images"]) == ("dataset", 1)
    world.make("undo_call", call_id=entry["call_id"])
    assert world.make("get_dataset", name=world.dataset)["image_count"] == 1


def use_purge_deleted(door: Door, world: World) -> None:
    world.site.door("toolkit").call("delete_dataset", {"name": world.dataset}, confirm=True)
    value = door.call("purge_deleted", {"dataset_name": world.dataset}, confirm=True).value
    assert (value["datasets"], value["images"]) == (1, 1)
    assert world.dataset not in [e["dataset"] for e in world.make("list_deleted")["deleted"]]


def use_preview_call(door: Door, world: World) -> None:
    arguments = {"tool": "delete_dataset", "arguments": json.dumps({"name": world.dataset})}
    value = door.call("preview_call", arguments).value
    assert value["approval"] == {"required": True, "reason": "it deletes"}
    (affected,) = value["affected"]
    assert (affected["kind"], affected["dataset"], affected["images"]) == (
        "dataset.deleted",
        world.dataset,
        1,
    )
    assert world.make("get_dataset", name=world.dataset)["image_count"] == 1


def use_confirm_call(door: Door, world: World) -> None:
    """The question comes over plain HTTP, to a client that cannot ask a person, and is answered here."""
    with pytest.raises(Refused) as refused:
        world.site.door("dispatch").call("delete_dataset", {"name": world.dataset})
    details = refused.value.shape["details"]
    arguments = {name: details[name] for name in ("approval_id", "confirm_token")}
    value = door.call("confirm_call", arguments).value
    assert (value["status"], value["tool"], value["result"]["images_deleted"]) == (
        "done",
        "delete_dataset",
        1,
    )
    with pytest.raises(Refused) as again:
        door.call("confirm_call", arguments)
    assert again.value.shape["code"] in {"confirmation_used", "dataset_not_found"}
