"""What every door does with the annotations of an image, by hand and by engines."""

from __future__ import annotations

import pytest
from support.door_world import BOX, SQUARE, World
from support.doors import Door, Refused


def use_get_annotations(door: Door, world: World) -> None:
    world.label()
    value = door.call("get_annotations", {"image_uuid": world.image["id"]}).value
    assert (value["count"], value["width"], value["height"]) == (1, 160, 120)
    assert value["annotations"][0]["bounding_box"] == BOX["bounding_box"]


def use_save_annotations(door: Door, world: World) -> None:
    ring = [{"x": 1, "y": 1}, {"x": 9, "y": 1}, {"x": 9, "y": 9}]
    polygon = {"id": "p", "name": "sign", "polygon": {"paths": [ring]}}
    arguments = {"image_uuid": world.image["id"], "annotations": [BOX, polygon]}
    value = door.call("save_annotations", arguments).value
    assert value == {
        "image_id": world.image["id"],
        "previous_count": 0,
        "new_count": 2,
        "status": "complete",
        "classes_added": ["sign"],
    }
    saved = world.make("get_annotations", image_uuid=world.image["id"])["annotations"]
    assert saved[1]["bounding_box"] == {"x": 1, "y": 1, "w": 8, "h": 8}


def use_auto_annotate_box(door: Door, world: World) -> None:
    before = world.make("get_credit_balance")["credits_remaining"]
    arguments = {
        "dataset_name": world.dataset,
        "image_filename": "scene.png",
        "box": SQUARE,
        "name": "square",
    }
    value = door.call("auto_annotate_box", arguments).value
    (annotation,) = value["annotations"]
    box = annotation["bounding_box"]
    assert value["status"] == "success"
    assert abs(box["x"] - 50) <= 2
    assert abs(box["w"] - 50) <= 4
    assert world.make("get_credit_balance")["credits_remaining"] == before - 1


def use_auto_annotate_point(door: Door, world: World) -> None:
    arguments = {
        "dataset_name": world.dataset,
        "image_filename": "scene.png",
        "x": 75,
        "y": 65,
        "score_threshold": 0.2,
    }
    (annotation,) = door.call("auto_annotate_point", arguments).value["annotations"]
    assert abs(annotation["bounding_box"]["x"] - 50) <= 3


def use_auto_annotate_text(door: Door, world: World) -> None:
    """Nothing can find a class of which there is no example; the refusal says what would."""
    arguments = {"dataset_name": world.dataset, "image_filename": "scene.png", "text_prompt": "square"}
    with pytest.raises(Refused) as refused:
        door.call("auto_annotate_text", arguments)
    assert refused.value.shape["code"] == "needs_engine"
    # At a terminal the command is named that does it.
    assert any(name in refused.value.shape["fix"] for name in ("save_annotations", "annotations save"))


def use_auto_annotate_dataset(door: Door, world: World) -> None:
    """A job whose only image is labelled already passes it over, and costs nothing."""
    world.label(3)
    before = world.make("get_credit_balance")["credits_remaining"]
    arguments = {"dataset_name": world.dataset, "classes": [{"name": "sign", "output_type": "bbox"}]}
    value = door.call("auto_annotate_dataset", arguments).value
    assert (value["job"]["status"], value["images_skipped"], value["images_processed"]) == ("completed", 1, 0)
    assert world.make("get_credit_balance")["credits_remaining"] == before


def _draft(world: World) -> None:
    """Two annotations of an engine that nobody has looked at, and one of a person."""
    drafts = [
        {**BOX, "id": f"d{n}", "confidence": c, "created_by": "test", "attributes": [{"review": "draft"}]}
        for n, c in enumerate((0.4, 0.9))
    ]
    world.make("save_annotations", image_uuid=world.image["id"], annotations=[BOX, *drafts])


def use_accept_annotations(door: Door, world: World) -> None:
    _draft(world)
    arguments = {"dataset_name": world.dataset, "min_confidence": 0.5}
    value = door.call("accept_annotations", arguments).value
    assert value == {"images": 1, "annotations": 1, "by_class": {"sign": 1}, "left": 1}


def use_reject_annotations(door: Door, world: World) -> None:
    _draft(world)
    arguments = {"image_uuid": world.image["id"], "annotation_ids": ["d0"]}
    value = door.call("reject_annotations", arguments).value
    assert (value["annotations"], value["left"]) == (1, 1)
    left = world.make("get_annotations", image_uuid=world.image["id"])["annotations"]
    assert [a["id"] for a in left] == ["a1", "d1"]
