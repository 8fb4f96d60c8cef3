"""The guards of the seed refusing on every door."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.door_world import BOX, SQUARE, World, door, door_name, world
from support.doors import Door, Refused, Site

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.roles import Role

__all__ = ["door", "door_name", "world"]


def test_a_low_role_is_refused(site: Site, door_name: str, world: World) -> None:
    viewer = site.door(door_name, key=site.keys["viewer"])
    assert viewer.call("get_dataset", {"name": world.dataset}).value["image_count"] == 1
    with pytest.raises(Refused) as refused:
        viewer.call("create_dataset", {"name": f"{world.dataset} sneaky"})
    shape = refused.value.shape
    assert shape["code"] == "role_required"
    assert shape["details"] == {"required_role": "member", "role": "viewer"}
    assert "member" in shape["fix"]


def test_an_overspend_is_refused_before_any_work(site: Site, door_name: str, world: World) -> None:
    studio = open_studio(Settings(home=site.home))
    owner = studio.keys.authenticate(site.owner)
    key, _ = studio.keys.create(owner, name="thrifty", role=Role.MEMBER, credit_cap=1)
    studio.close()
    door = site.door(door_name, key=key)
    arguments = {"dataset_name": world.dataset, "image_filename": "scene.png", "box": SQUARE, "name": "s"}
    assert door.call("auto_annotate_box", arguments).value["status"] == "success"
    with pytest.raises(Refused) as refused:
        door.call("auto_annotate_box", arguments)
    assert refused.value.shape["code"] == "key_cap_reached"
    assert refused.value.shape["details"] == {
        "required": 1,
        "remaining": 0,
        "top_up": "tintype keys update",
    }
    assert door.call("get_credit_balance", {}).value["credits_remaining"] == 0


def test_a_large_answer_is_cut_to_the_budget(site: Site, door_name: str, world: World) -> None:
    world.label(500)
    reply = site.door(door_name, budget=700).call("get_annotations", {"image_uuid": world.image["id"]})
    assert len(str(reply.value)) < 700 * 4 * 1.2
    assert reply.value["count"] == 500
    assert reply.value["_truncated"]["cuts"][0]["left_out"] == 500 - len(reply.value["annotations"])


def test_a_repeated_key_replays(door: Door, world: World) -> None:
    arguments = {"name": f"{world.dataset} once"}
    first = door.call("create_dataset", arguments, idempotency_key=f"key-{world.dataset}")
    again = door.call("create_dataset", arguments, idempotency_key=f"key-{world.dataset}")
    assert again.value == first.value
    assert (first.replayed, again.replayed) == (False, True)
    with pytest.raises(Refused) as refused:
        door.call("create_dataset", {"name": "other"}, idempotency_key=f"key-{world.dataset}")
    assert refused.value.shape["code"] == "idempotency_conflict"


BAD_CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown tool": ("list_dataset", {}, "unknown_tool"),
    "unknown argument": ("list_datasets", {"limt": 3}, "invalid_arguments"),
    "wrong type": ("list_datasets", {"limit": "many"}, "invalid_arguments"),
    "out of bounds": ("list_datasets", {"limit": 0}, "invalid_arguments"),
    "missing argument": ("get_dataset", {}, "invalid_arguments"),
    "unknown dataset": ("get_dataset", {"name": "nowhere"}, "dataset_not_found"),
    "unknown image": ("get_annotations", {"image_uuid": "nothing"}, "image_not_found"),
    "slash in a name": ("create_dataset", {"name": "a/b"}, "invalid_name"),
    "dots as a name": ("create_dataset", {"name": ".."}, "invalid_name"),
    "missing folder": (
        "upload_dataset_from_folder",
        {"dataset_name": "x", "folder": "nowhere"},
        "folder_not_found",
    ),
    "missing file": ("upload_image", {"dataset_name": "x", "file_path": "no.jpg"}, "file_not_found"),
    "bad cursor": ("read_more", {"cursor": "x"}, "invalid_cursor"),
    "unknown operation": ("estimate_credit_cost", {"operation": "magic"}, "unknown_operation"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls_are_refused_with_code_and_fix(case: str, door: Door, site: Site) -> None:
    tool, arguments, code = BAD_CALLS[case]
    for name in ("folder", "file_path"):
        if name in arguments:
            arguments = {**arguments, name: str(site.folder / arguments[name])}
    with pytest.raises(Refused) as refused:
        door.call(tool, arguments)
    assert refused.value.shape["code"] == code
    assert refused.value.shape["fix"]
    assert str(site.home) not in str(refused.value.shape)


def test_paths_outside_the_roots_are_refused(site: Site, door_name: str, world: World) -> None:
    if door_name == "cli":
        pytest.skip("a person at the command line may name any path")
    with pytest.raises(Refused) as refused:
        site.door(door_name).call(
            "upload_image", {"dataset_name": world.dataset, "file_path": "/etc/hostname"}
        )
    assert refused.value.shape["code"] == "path_not_allowed"


def test_a_download_never_overwrites_another_file(site: Site, world: World) -> None:
    world.export()
    target = world.folder / "precious.txt"
    target.write_text("mine")
    arguments = {"dataset_name": world.dataset, "export_name": "first", "output_path": str(target)}
    viewer = site.door("stdio-2026", key=site.keys["viewer"])
    with pytest.raises(Refused) as refused:
        viewer.call("download_export", arguments)
    assert (refused.value.shape["code"], target.read_text()) == ("file_exists", "mine")
    arguments["output_path"] = str(world.folder / "new.zip")
    assert viewer.call("download_export", arguments).value == viewer.call("download_export", arguments).value
    assert [p.name for p in world.folder.iterdir() if p.name.startswith(".")] == []
    for unwritable in ("/proc/x.zip", "x" * 300 + ".zip"):
        with pytest.raises(Refused) as refused:
            site.door("cli").call("download_export", {**arguments, "output_path": unwritable})
        assert refused.value.shape["code"] in {"write_failed", "invalid_path"}


def test_a_bad_annotation_changes_nothing(door: Door, world: World) -> None:
    world.label(3)
    two_points = {"id": "p", "name": "s", "polygon": {"paths": [[{"x": 1, "y": 1}, {"x": 2, "y": 2}]]}}
    for bad in (two_points, {**BOX, "class": "s"}, {**BOX, "bounding_box": [1, 2, 3, 4]}):
        with pytest.raises(Refused) as refused:
            door.call("save_annotations", {"image_uuid": world.image["id"], "annotations": [BOX, bad]})
        assert refused.value.shape["code"] == "invalid_arguments"
        assert refused.value.shape["details"]["errors"][0]["loc"][:2] == ["annotations", 1]
    assert world.make("get_annotations", image_uuid=world.image["id"])["count"] == 3


def test_an_unknown_and_a_revoked_key_are_refused_alike(site: Site) -> None:
    studio = open_studio(Settings(home=site.home))
    owner = studio.keys.authenticate(site.owner)
    revoked, info = studio.keys.create(owner, name="gone", role=Role.MEMBER)
    door = site.door("dispatch", key=revoked)
    assert door.call("list_datasets", {})
    studio.keys.revoke(owner, prefix=info.id)
    studio.close()
    with pytest.raises(Refused) as unknown:
        site.door("dispatch", key="pk_live_nobody").call("list_datasets", {})
    shapes = [unknown.value.shape]
    for _ in _until(1.0):
        try:
            door.call("list_datasets", {})
        except Refused as refused:
            shapes.append(refused.shape)
            break
    assert shapes[0] == shapes[1]
    assert shapes[0]["code"] == "invalid_key"


def _until(seconds: float) -> Iterator[None]:
    import time

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        yield
