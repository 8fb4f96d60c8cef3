"""What every door does with the export tools."""

from __future__ import annotations

import zipfile
from typing import Any

import pytest
from support.door_world import World
from support.doors import Door, Refused


def use_get_export(door: Any, world: Any) -> None:
    world.export()
    value = door.call("get_export", {"dataset_name": world.dataset, "export_name": "first"}).value
    assert (value["name"], value["status"], value["image_count"]) == ("first", "completed", 1)
    with pytest.raises(Refused) as refused:
        door.call("get_export", {"dataset_name": world.dataset, "export_name": "second"})
    assert refused.value.shape["code"] == "export_not_found"


def use_delete_export(door: Any, world: Any) -> None:
    world.export()
    arguments = {"dataset_name": world.dataset, "export_name": "first"}
    value = door.call("delete_export", arguments, confirm=True).value
    assert value == {"deleted": True, "dataset_name": world.dataset, "name": "first"}
    with pytest.raises(Refused):
        door.call("get_export", arguments)
    assert world.make("list_exports", dataset_name=world.dataset)["exports"] == []


def use_create_export(door: Door, world: World) -> None:
    world.label()
    arguments = {"dataset_name": world.dataset, "name": "yolo 1", "format": "yolo"}
    value = door.call("create_export", arguments).value
    assert (value["status"], value["image_count"], value["annotation_count"]) == ("completed", 1, 1)


def use_list_exports(door: Door, world: World) -> None:
    world.export()
    value = door.call("list_exports", {"limit": 500}).value
    assert (world.dataset, "first") in [(e["dataset_name"], e["name"]) for e in value["exports"]]


def use_download_export(door: Door, world: World) -> None:
    world.export()
    target = world.folder / "out.zip"
    arguments = {"dataset_name": world.dataset, "export_name": "first", "output_path": str(target)}
    value = door.call("download_export", arguments).value
    assert value["file_size"] == target.stat().st_size
    assert "annotations.json" in zipfile.ZipFile(target).namelist()
