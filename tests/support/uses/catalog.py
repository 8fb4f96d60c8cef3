"""Uses of projects, annotation sets, labels and groups."""

from __future__ import annotations

from typing import Any

import pytest
from support.doors import Refused


def use_list_projects(door: Any, world: Any) -> None:
    world.make("create_project", name=f"{world.dataset} project")
    names = [each["name"] for each in door.call("list_projects", {"limit": 1000}).value["projects"]]
    assert {"default", f"{world.dataset} project"} <= set(names)
    value = door.call("list_projects", {"name": "default"}).value
    assert world.dataset in value["projects"][0]["datasets"]


def use_create_project(door: Any, world: Any) -> None:
    name = f"{world.dataset} road"
    value = door.call("create_project", {"name": name, "description": "d"}).value
    assert (value["name"], value["dataset_count"]) == (name, 0)
    world.make("create_dataset", name=f"{world.dataset} inside", project=name)
    (found,) = world.make("list_projects", name=name)["projects"]
    assert (found["id"], found["datasets"]) == (value["id"], [f"{world.dataset} inside"])


def use_list_annotation_sets(door: Any, world: Any) -> None:
    world.label(2)
    world.make("create_annotation_set", dataset_name=world.dataset, name="model")
    found = door.call("list_annotation_sets", {"dataset_name": world.dataset}).value["annotation_sets"]
    counted = [(each["name"], each["image_count"], each["annotation_count"]) for each in found]
    assert counted == [("default", 1, 2), ("model", 0, 0)]


def use_create_annotation_set(door: Any, world: Any) -> None:
    arguments = {"dataset_name": world.dataset, "name": "model", "description": "d"}
    value = door.call("create_annotation_set", arguments).value
    assert (value["name"], value["description"], value["annotation_count"]) == ("model", "d", 0)


def use_delete_annotation_set(door: Any, world: Any) -> None:
    arguments = {"dataset_name": world.dataset, "name": "model"}
    world.make("create_annotation_set", **arguments)
    value = door.call("delete_annotation_set", arguments, confirm=True).value
    assert value == {"deleted": True, "name": "model", "image_count": 0, "annotation_count": 0}
    left = world.make("list_annotation_sets", dataset_name=world.dataset)["annotation_sets"]
    assert [each["name"] for each in left] == ["default"]


def use_list_labels(door: Any, world: Any) -> None:
    world.label(3)
    found = door.call("list_labels", {"dataset_name": world.dataset}).value["labels"]
    assert found == [{"name": "sign", "index": 0, "uses": 3}]


def use_manage_labels(door: Any, world: Any) -> None:
    world.label()
    arguments = {
        "dataset_name": world.dataset,
        "add": [{"name": "car", "index": 7}, {"name": "bus"}],
        "update": [{"name": "sign", "new_name": "road sign", "index": 3}],
    }
    value = door.call("manage_labels", arguments).value
    assert value["changed"] == 3
    assert [(each["name"], each["index"]) for each in value["labels"]] == [
        ("road sign", 3),
        ("car", 7),
        ("bus", 8),
    ]
    (annotation,) = world.make("get_annotations", image_uuid=world.image["id"])["annotations"]
    assert annotation["name"] == "road sign"
    with pytest.raises(Refused) as refused:
        door.call("manage_labels", {"dataset_name": world.dataset, "remove": ["road sign"]})
    assert refused.value.shape["code"] == "class_in_use"


def use_list_groups(door: Any, world: Any) -> None:
    world.make("set_split", dataset_name=world.dataset, group="val")
    value = door.call("list_groups", {"dataset_name": world.dataset}).value
    assert value == {"groups": [{"name": "val", "sample_count": 0}], "ungrouped": 1}


def use_set_split(door: Any, world: Any) -> None:
    arguments = {"dataset_name": world.dataset, "group": "train", "image_ids": [world.image["id"]]}
    value = door.call("set_split", arguments).value
    assert value == {"group": "train", "processed": 1, "changed": 1}
    assert world.make("list_groups", dataset_name=world.dataset)["ungrouped"] == 0
    assert door.call("set_split", {**arguments, "group": None}).value == {"processed": 1, "changed": 1}
    asked = {"dataset_name": world.dataset, "group": "val", "query": "width >= 100 and not group is known"}
    assert door.call("set_split", asked).value == {"group": "val", "processed": 1, "changed": 1}
    with pytest.raises(Refused) as refused:
        door.call("set_split", {**asked, "query": "width >="})
    assert "fix" in refused.value.shape


def use_split_dataset(door: Any, world: Any) -> None:
    arguments = {"dataset_name": world.dataset, "ratios": {"train": 1, "val": 0}, "seed": 3}
    value = door.call("split_dataset", arguments).value
    assert value == {"counts": {"train": 1, "val": 0}, "changed": 1, "units": 1}
