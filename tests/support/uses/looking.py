"""What every door does to find images, to look at one, and to read on where an answer was cut."""

from __future__ import annotations

import io

from PIL import Image
from support.door_world import World
from support.doors import Door, Site


def use_search_by_tag(door: Door, world: World) -> None:
    world.label()
    arguments = {"dataset_name": world.dataset, "objects": ["sign"], "attributes": ["landscape"]}
    (image,) = door.call("search_by_tag", arguments).value["images"]
    assert (image["id"], image["image_auto_tags"]["objects"]) == (world.image["id"], ["sign"])


def _double(world: World) -> str:
    """A second, smaller copy of the picture; its id."""
    picture = Image.open(world.folder / "scene.png").convert("RGB")
    picture.resize((120, 90)).save(world.folder / "twin.jpg", quality=80)
    arguments = {"dataset_name": world.dataset, "file_path": str(world.folder / "twin.jpg")}
    return str(world.make("upload_image", **arguments)["id"])


def use_search_by_similarity(door: Door, world: World) -> None:
    twin = _double(world)
    reply = door.call("search_by_similarity", {"image_id": world.image["id"], "contact_sheet": True})
    first = reply.value["images"][0]
    assert first["id"] == twin
    assert 0.8 < first["similarity"] <= 1
    assert len(reply.pictures) == 1


def use_find_duplicates(door: Door, world: World) -> None:
    twin = _double(world)
    (group,) = door.call("find_duplicates", {"dataset_name": world.dataset}).value["groups"]
    assert (group["keep"]["id"], [d["id"] for d in group["duplicates"]]) == (world.image["id"], [twin])


def use_preview_image(door: Door, world: World) -> None:
    world.label()
    reply = door.call("preview_image", {"image_uuid": world.image["id"], "max_side": 64})
    (picture,) = reply.pictures
    assert Image.open(io.BytesIO(picture)).size == (64, 48)
    assert reply.value["scale"] == 2.5
    assert reply.value["annotation_count"] == 1


def use_read_more(door: Door, world: World) -> None:
    world.label(200)
    small = world.site.door(door_name_of(world.site, door), budget=1000)
    value = small.call("get_annotations", {"image_uuid": world.image["id"]}).value
    ids = [a["id"] for a in value["annotations"]]
    (cut,) = value["_truncated"]["cuts"]
    assert (cut["path"], cut["shown"], cut["total"]) == ("annotations", len(ids), 200)
    while cut:
        more = small.call("read_more", {"cursor": cut["cursor"]}).value
        ids += [a["id"] for a in more["items"]]
        cut = next(iter(more.get("_truncated", {}).get("cuts", [])), None)
    assert ids == [f"a{n}" for n in range(200)]


def door_name_of(site: Site, door: Door) -> str:
    return next(name for (name, _, _), opened in site.opened.items() if opened is door)
