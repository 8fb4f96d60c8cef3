"""What every door does with single images, their uploads, and many images at once."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from support.doors import DispatchDoor, Refused
from support.pictures import jpeg

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.storage.uploads import UploadKind


def _link(door: Any, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """None behind a pipe, where no server could take a file."""
    try:
        made: dict[str, Any] = door.call("create_upload_url", arguments).value
    except Refused as refused:
        if refused.shape["code"] == "no_http_server":
            return None
        raise
    return made


def use_create_upload_url(door: Any, world: Any) -> None:
    arguments = {"dataset_name": world.dataset, "filename": "up.jpg", "folder_path": "/stop"}
    value = _link(door, arguments)
    if value is None:
        assert not isinstance(door, DispatchDoor)
        return
    assert httpx.put(value["upload_url"], content=jpeg(40, 30)).status_code == 200
    image = world.make("register_image", dataset_name=world.dataset, upload_path=value["upload_path"])
    assert (image["filename"], image["folder"], image["width"]) == ("up.jpg", "/", 40)
    with pytest.raises(Refused) as taken:
        door.call("create_upload_url", arguments | {"folder_path": "/"})
    assert taken.value.shape["code"] == "image_exists"


def use_register_image(door: Any, world: Any) -> None:
    studio = open_studio(Settings(home=world.site.home))
    try:
        ticket = studio.uploads.issue(studio.keys.authenticate(world.site.owner), "up.jpg", UploadKind.IMAGE)
    finally:
        studio.close()
    arguments = {"dataset_name": world.dataset, "upload_path": ticket.path, "folder_path": "/stop"}
    with pytest.raises(Refused) as missing:
        door.call("register_image", arguments)
    assert missing.value.shape["code"] == "upload_not_found"
    data = jpeg(40, 30)
    assert httpx.put(f"{world.site.url}/_upload/{ticket.token}", content=data).status_code == 200
    value = door.call("register_image", arguments).value
    assert (value["filename"], value["folder"], value["file_size"]) == ("up.jpg", "/stop", len(data))
    with pytest.raises(Refused) as taken:
        door.call("register_image", arguments)
    assert taken.value.shape["code"] == "image_exists"


def use_get_image(door: Any, world: Any) -> None:
    world.label(2)
    value = door.call("get_image", {"image_uuid": world.image["id"]}).value
    expected = ("scene.png", "complete", 2, 160)
    assert (value["filename"], value["status"], value["annotation_count"], value["width"]) == expected


def use_delete_annotations(door: Any, world: Any) -> None:
    world.label(2)
    value = door.call("delete_annotations", {"image_uuid": world.image["id"]}, confirm=True).value
    assert value == {"image_id": world.image["id"], "deleted_count": 2}
    assert world.make("get_annotations", image_uuid=world.image["id"])["annotations"] == []


def _many(world: Any, **given: Any) -> dict[str, Any]:
    return {"dataset_name": world.dataset, "image_ids": [world.image["id"], "nonsense"], **given}


def _assert_one_of_two(value: dict[str, Any], *folders: str) -> None:
    assert (value["processed"], value["affected_folders"]) == (1, list(folders))
    assert value["failed"] == [{"id": "nonsense", "reason": "no image of this dataset has this id"}]


def use_move_images(door: Any, world: Any) -> None:
    value = door.call("move_images", _many(world, target_folder_path="/night")).value
    _assert_one_of_two(value, "/", "/night")
    assert world.make("get_image", image_uuid=world.image["id"])["folder"] == "/night"


def use_copy_images(door: Any, world: Any) -> None:
    world.label(2)
    arguments = _many(world, target_folder_path="/", copy_annotations=True)
    _assert_one_of_two(door.call("copy_images", arguments).value, "/")
    images = world.make("get_dataset", name=world.dataset, include_images=True)["images"]
    assert [(i["filename"], i["annotation_count"]) for i in images] == [("scene.png", 2), ("scene_1.png", 2)]


def use_delete_images(door: Any, world: Any) -> None:
    _assert_one_of_two(door.call("delete_images", _many(world), confirm=True).value, "/")
    assert world.make("get_dataset", name=world.dataset)["archived_images"] == 1
    value = door.call("delete_images", _many(world, permanent=True), confirm=True).value
    _assert_one_of_two(value, "/")
    assert "archived_images" not in world.make("get_dataset", name=world.dataset)


def use_update_images(door: Any, world: Any) -> None:
    arguments = _many(world, status="review", display_name="The scene")
    _assert_one_of_two(door.call("update_images", arguments).value, "/")
    image = world.make("get_image", image_uuid=world.image["id"])
    assert (image["status"], image["display_name"]) == ("review", "The scene")
