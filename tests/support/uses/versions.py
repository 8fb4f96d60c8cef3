"""Uses of versions of a dataset."""

from __future__ import annotations

from typing import Any

import pytest
from support.doors import Refused


def use_create_version(door: Any, world: Any) -> None:
    world.label(2)
    value = door.call(
        "create_version", {"dataset_name": world.dataset, "name": "v1", "description": "first"}
    ).value
    assert (value["name"], value["description"], value["current"]) == ("v1", "first", True)
    assert (value["samples"], value["images"], value["annotations"]) == (1, 1, {"bbox": 2})
    with pytest.raises(Refused, match="has a version named 'v1'"):
        door.call("create_version", {"dataset_name": world.dataset, "name": "v1"})


def use_list_versions(door: Any, world: Any) -> None:
    for name in ("v1", "v2"):
        world.make("create_version", dataset_name=world.dataset, name=name)
        world.label(1)
    value = door.call("list_versions", {"dataset_name": world.dataset}).value
    assert [(v["name"], v["current"]) for v in value["versions"]] == [("v1", False), ("v2", True)]
    assert value["serial"] > value["versions"][1]["serial"] > value["versions"][0]["serial"]


def use_compare_versions(door: Any, world: Any) -> None:
    world.make("create_version", dataset_name=world.dataset, name="v1")
    world.label(3)
    value = door.call("compare_versions", {"dataset_name": world.dataset, "old": "v1"}).value
    assert (value["annotations_changed"], value["samples_added"], value["samples_removed"]) == (1, 0, 0)
    assert len(value["annotated"]) == 1


def use_restore_version(door: Any, world: Any) -> None:
    world.label(2)
    before = world.make("get_annotations", image_uuid=world.image["id"])["annotations"]
    world.make("create_version", dataset_name=world.dataset, name="v1")
    world.label(0)
    value = door.call("restore_version", {"dataset_name": world.dataset, "name": "v1"}).value
    assert (value["annotated"], value["deleted"], value["lost"]) == (1, 0, 0)
    assert world.make("get_annotations", image_uuid=world.image["id"])["annotations"] == before


def use_delete_version(door: Any, world: Any) -> None:
    world.make("create_version", dataset_name=world.dataset, name="v1")
    value = door.call("delete_version", {"dataset_name": world.dataset, "name": "v1"}, confirm=True).value
    assert value == {"deleted": "v1"}
    assert world.make("list_versions", dataset_name=world.dataset)["versions"] == []
