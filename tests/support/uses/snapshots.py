"""What every door does with snapshots: a recording is frozen, looked at, downloaded, restored, deleted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from support.doors import Refused
from support.recordings import drive

RECORDING = drive(count=4)


def _frozen(world: Any, name: str = "drive") -> dict[str, Any]:
    """A snapshot of a recording, made through the toolkit; named after the world."""
    (world.folder / "drive.mcap").write_bytes(RECORDING)
    path = str(world.folder / "drive.mcap")
    return world.make("create_snapshot", name=f"{world.dataset} {name}", paths=[path], wait_seconds=60)


def use_create_snapshot(door: Any, world: Any) -> None:
    world.label()
    arguments = {"name": f"{world.dataset} frozen", "dataset_name": world.dataset, "wait_seconds": 60}
    value = door.call("create_snapshot", arguments).value
    assert (value["status"], value["type"], value["samples"]) == ("available", "edgefirst", 1)
    assert {file["path"].rpartition(".")[2] for file in value["files"]} == {"arrow", "zip"}
    with pytest.raises(Refused) as refused:
        door.call("create_snapshot", {"name": "x", "dataset_name": world.dataset, "paths": ["x"]})
    assert refused.value.shape["code"] == "invalid_selection"


def use_complete_snapshot(door: Any, world: Any) -> None:
    upload = {"path": "drive.mcap", "size": len(RECORDING)}
    begun = world.site.door("dispatch").call(
        "create_snapshot", {"name": f"{world.dataset} up", "uploads": [upload]}
    )
    snapshot, (file,) = begun.value["id"], begun.value["uploads"]
    with pytest.raises(Refused) as refused:
        door.call("complete_snapshot", {"snapshot": snapshot})
    assert refused.value.shape["code"] == "part_missing"
    (link,) = file["part_links"]
    answer = httpx.put(link, content=RECORDING)
    assert answer.status_code == 200
    etag = answer.headers["etag"]
    value = door.call(
        "complete_snapshot", {"snapshot": snapshot, "path": "drive.mcap", "etags": [etag]}
    ).value
    assert (value["status"], value["files"][0]["complete"]) == ("pending", True)
    value = door.call("complete_snapshot", {"snapshot": snapshot}).value
    assert (value["status"], value["type"], value["size"]) == ("available", "mcap", len(RECORDING))
    assert {topic["topic"]: topic["messages"] for topic in value["topics"]}["/camera/jpeg"] == 4


def use_list_snapshots(door: Any, world: Any) -> None:
    made = _frozen(world)
    found = door.call("list_snapshots", {"limit": 500}).value["snapshots"]
    assert made["id"] in [each["id"] for each in found]
    (one,) = door.call("list_snapshots", {"snapshot": made["wire_id"]}).value["snapshots"]
    assert (one["name"], one["status"]) == (f"{world.dataset} drive", "available")
    assert {"topic": "/imu", "meaning": "attitude"}.items() <= one["topics"][2].items()
    with pytest.raises(Refused) as refused:
        door.call("list_snapshots", {"snapshot": "none"})
    assert refused.value.shape["code"] == "snapshot_not_found"


def use_restore_snapshot(door: Any, world: Any) -> None:
    made, name = _frozen(world), f"{world.dataset} restored"
    arguments = {"snapshot": made["id"], "dataset_name": name, "topics": ["/camera/jpeg"], "wait_seconds": 60}
    value = door.call("restore_snapshot", arguments).value
    assert (value["job"]["status"], value["samples"], value["dataset_name"]) == ("completed", 4, name)
    images = world.make("get_dataset", name=name, include_images=True)["images"]
    assert [image["folder"] for image in images] == ["/drive"] * 4
    with pytest.raises(Refused) as refused:
        door.call("restore_snapshot", arguments | {"dataset_name": f"{name} 2", "depth": True})
    assert refused.value.shape["code"] == "needs_depth_engine"


def use_download_snapshot(door: Any, world: Any) -> None:
    made = _frozen(world)
    (world.folder / "out").mkdir(exist_ok=True)
    arguments = {"snapshot": made["id"], "output_folder": str(world.folder / "out")}
    (file,) = door.call("download_snapshot", arguments).value["files"]
    assert (file["name"], file["size"]) == ("drive.mcap", len(RECORDING))
    assert (world.folder / "out" / "drive.mcap").read_bytes() == RECORDING
    linked = world.site.door("dispatch").call("download_snapshot", {"snapshot": made["id"]}).value
    assert httpx.get(linked["files"][0]["download_url"]).content == RECORDING


def use_delete_snapshot(door: Any, world: Any) -> None:
    made = _frozen(world)
    value = door.call("delete_snapshot", {"snapshot": made["id"]}, confirm=True).value
    assert value == {"deleted": True, "id": made["id"], "name": f"{world.dataset} drive"}
    found = world.make("list_snapshots", limit=500)["snapshots"]
    assert made["id"] not in [each["id"] for each in found]
