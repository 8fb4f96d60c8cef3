"""Uses of multi-sensor samples."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest
from support.clouds import pcd
from support.doors import DispatchDoor, Refused
from support.pictures import jpeg

SPACE = {"x": 4.0, "y": 1.0, "z": 0.5, "w": 2.0, "h": 1.5, "l": 4.5}


def _car(**given: Any) -> dict[str, Any]:
    return {"id": "c", "name": "car", "type": "box3d", "box3d": SPACE, **given}


def _scan(world: Any, name: str = "scan", **given: Any) -> dict[str, Any]:
    """A sample that has a point cloud and no picture."""
    (world.folder / f"{name}.lidar.pcd").write_bytes(pcd(3))
    file = {"type": "lidar.pcd", "path": f"{world.dataset}/{name}.lidar.pcd"}
    sample = {"files": [file], **given}
    return world.make("add_samples", dataset_name=world.dataset, samples=[sample])["samples"][0]


def _added(door: Any, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """None behind a pipe, where no server could take a file."""
    try:
        made: dict[str, Any] = door.call("add_samples", arguments).value
    except Refused as refused:
        if refused.shape["code"] == "no_http_server":
            return None
        raise
    return made


def use_add_samples(door: Any, world: Any) -> None:
    sample = {
        "uuid": str(uuid4()),
        "image_name": "front.jpg",
        "group": "train",
        "sequence_name": "drive",
        "frame_number": 3,
        "width": 40,
        "height": 30,
        "location": {"lat": 45.5, "lon": -73.6},
        "annotations": [_car(bounding_box={"x": 4, "y": 3, "w": 8, "h": 6}, type="bbox")],
        "files": [{"type": "image", "filename": "front.jpg"}],
    }
    arguments = {"dataset_name": world.dataset, "samples": [sample]}
    value = _added(door, arguments)
    if value is None:
        assert not isinstance(door, DispatchDoor)
        del sample["files"]
        value = door.call("add_samples", arguments).value
    added = value["samples"][0]
    assert (value["created"], added["created"]) == (1, True)
    for link in added.get("links") or ():
        assert httpx.put(link["url"], content=jpeg(40, 30)).status_code == 200
        assert httpx.put(link["url"], content=jpeg(41, 30)).status_code == 422
    again = door.call("add_samples", arguments).value
    assert (again["created"], again["changed"], again["samples"][0]["id"]) == (0, 0, added["id"])
    found = world.make("get_sample", sample_id=added["id"])
    assert (found["sequence"], found["frame_number"], found["group"]) == ("drive", 3, "train")
    assert (found["width"], found["height"], found["location"]) == (40, 30, {"lat": 45.5, "lon": -73.6})


def use_list_samples(door: Any, world: Any) -> None:
    scan = _scan(world, group="val")
    value = door.call("list_samples", {"dataset_name": world.dataset}).value
    assert [each["id"] for each in value["samples"]] == [world.image["id"], scan["id"]]
    first = door.call("list_samples", {"dataset_name": world.dataset, "limit": 1}).value
    assert (first["total"], [each["id"] for each in first["samples"]]) == (2, [world.image["id"]])
    rest = {"dataset_name": world.dataset, "limit": 1, "cursor": first["next_cursor"]}
    assert [each["id"] for each in door.call("list_samples", rest).value["samples"]] == [scan["id"]]
    clouds = {"dataset_name": world.dataset, "types": ["lidar.pcd"], "groups": ["val"], "limit": 0}
    assert door.call("list_samples", clouds).value == {"total": 1, "samples": []}
    with pytest.raises(Refused) as refused:
        door.call("list_samples", {"dataset_name": world.dataset, "types": ["gps"]})
    assert refused.value.shape["code"] == "unknown_file_type"


def use_get_sample(door: Any, world: Any) -> None:
    scan = _scan(world, pose={"roll": 0, "pitch": 1, "yaw": 2}, annotations=[_car()])
    value = door.call("get_sample", {"sample_id": scan["id"]}).value
    assert (value["filename"], value["annotation_count"]) == ("scan", 1)
    assert [(f["type"], f["filename"], f["size"]) for f in value["files"]] == [
        ("lidar.pcd", "scan.lidar.pcd", len(pcd(3)))
    ]
    assert (value["pose"]["yaw"], value["annotations"][0]["box3d"]) == (2, SPACE)
    with pytest.raises(Refused) as refused:
        door.call("get_sample", {"sample_id": "none"})
    assert refused.value.shape["code"] == "sample_not_found"


def use_set_sample_sizes(door: Any, world: Any) -> None:
    box = {"id": "b", "name": "car", "bounding_box": {"x": 0.25, "y": 0.5, "w": 0.5, "h": 0.25}}
    scan = _scan(world, annotations=[box])
    sizes = [
        {"id": scan["id"], "width": 200, "height": 100},
        # What a picture tells stays.
        {"id": world.image["id"], "width": 1, "height": 1},
    ]
    arguments = {"dataset_name": world.dataset, "sizes": sizes}
    assert door.call("set_sample_sizes", arguments).value == {"changed": 1}
    found = world.make("get_sample", sample_id=scan["id"])
    assert (found["width"], found["height"]) == (200, 100)
    assert found["annotations"][0]["bounding_box"] == {"x": 50, "y": 50, "w": 100, "h": 25}


def use_edit_annotations(door: Any, world: Any) -> None:
    world.label(2)
    edit = {"sample_id": world.image["id"], "add": [_car()]}
    value = door.call("edit_annotations", {"dataset_name": world.dataset, "edits": [edit]}).value
    assert value == {"samples": 1, "added": 1, "removed": 0}
    edit = {"sample_id": world.image["id"], "remove": ["box"]}
    arguments = {"dataset_name": world.dataset, "edits": [edit]}
    assert door.call("edit_annotations", arguments, confirm=True).value["removed"] == 2
    left = world.make("get_sample", sample_id=world.image["id"])["annotations"]
    assert [each["name"] for each in left] == ["car"]
