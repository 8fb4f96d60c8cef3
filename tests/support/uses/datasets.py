"""What every door does with datasets, and with the images that come and go."""

from __future__ import annotations

import pytest
from support.door_world import BOX, World
from support.doors import Door, Refused
from support.pictures import jpeg


def use_list_datasets(door: Door, world: World) -> None:
    value = door.call("list_datasets", {"limit": 100}).value  # newest first; all would be over the budget
    assert world.dataset in [d["name"] for d in value["datasets"]]
    assert value["count"] == len(value["datasets"])


def use_get_dataset(door: Door, world: World) -> None:
    value = door.call("get_dataset", {"name": world.dataset, "include_images": True}).value
    assert value["image_count"] == 1
    (image,) = value["images"]
    assert (image["id"], image["width"], image["height"]) == (world.image["id"], 160, 120)


def use_create_dataset(door: Door, world: World) -> None:
    value = door.call("create_dataset", {"name": f"{world.dataset} new", "description": "d"}).value
    assert value["image_count"] == 0
    assert world.make("get_dataset", name=f"{world.dataset} new")["id"] == value["id"]


def use_delete_dataset(door: Door, world: World) -> None:
    world.label(2)
    value = door.call("delete_dataset", {"name": world.dataset}, confirm=True).value
    assert value == {
        "deleted": True,
        "name": world.dataset,
        "images_deleted": 1,
        "annotations_deleted": 2,
    }
    with pytest.raises(Refused):
        door.call("get_dataset", {"name": world.dataset})


def use_set_dataset_classes(door: Door, world: World) -> None:
    colour = {"name": "colour", "options": ["red", "blue"]}
    classes = [{"name": "sign", "color": "#ff0000", "attributes": [colour]}, {"name": "car"}]
    value = door.call("set_dataset_classes", {"dataset_name": world.dataset, "classes": classes}).value
    assert value["classes"] == classes
    with pytest.raises(Refused) as refused:
        door.call(
            "save_annotations", {"image_uuid": world.image["id"], "annotations": [{**BOX, "name": "sing"}]}
        )
    assert refused.value.shape["code"] == "unknown_class"
    assert "Did you mean sign?" in refused.value.shape["fix"]
    wrong = {**BOX, "name": "sign", "attributes": [{"colour": "rad"}]}
    with pytest.raises(Refused) as refused:
        door.call("save_annotations", {"image_uuid": world.image["id"], "annotations": [wrong]})
    assert refused.value.shape["code"] == "unknown_option"


def use_upload_image(door: Door, world: World) -> None:
    (world.folder / "more.jpg").write_bytes(jpeg(40, 30))
    arguments = {
        "dataset_name": world.dataset,
        "file_path": str(world.folder / "more.jpg"),
        "folder_path": "/stop",
    }
    value = door.call("upload_image", arguments).value
    assert (value["filename"], value["folder"], value["width"]) == ("more.jpg", "/stop", 40)


def use_upload_dataset_from_folder(door: Door, world: World) -> None:
    (world.folder / "stop").mkdir()
    (world.folder / "stop" / "b.jpg").write_bytes(jpeg(seed=5))
    (world.folder / "broken.jpg").write_bytes(jpeg(seed=6)[:-200])
    arguments = {"dataset_name": world.dataset, "folder": str(world.folder)}
    value = door.call("upload_dataset_from_folder", arguments).value
    assert (value["images_attempted"], value["images_uploaded"], value["images_skipped"]) == (3, 1, 1)
    assert [(f["path"], f["code"]) for f in value["failures"]] == [("broken.jpg", "truncated_image")]


def use_delete_image(door: Door, world: World) -> None:
    value = door.call("delete_image", {"image_uuid": world.image["id"]}, confirm=True).value
    assert value == {"deleted": True, "image_uuid": world.image["id"], "filename": "scene.png"}
    assert world.make("get_dataset", name=world.dataset)["image_count"] == 0
