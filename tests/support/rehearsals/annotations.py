"""Dry runs of labelling, by hand and by engines."""

from __future__ import annotations

from typing import Any

from support.dry_world import BOX, CAR, Ready, Refusals, World, upload

POINT = {"dataset_name": "signs", "image_filename": "a.png", "x": 75, "y": 65, "score_threshold": 0.2}


def for_review(world: World) -> dict[str, Any]:
    draft = {**BOX, "id": "d", "confidence": 0.9, "attributes": [{"review": "draft"}]}
    world.live("save_annotations", {"image_uuid": world.image().id, "annotations": [BOX, draft]})
    return {"dataset_name": "signs"}


def for_text(world: World) -> dict[str, Any]:
    """Three accepted squares are enough to learn from."""
    learned(world)
    return {"dataset_name": "signs", "image_filename": "new.jpg", "text_prompt": "sign"}


def for_dataset(world: World) -> dict[str, Any]:
    world.runtime.studio.jobs.supervisor.enabled = False  # nobody need do it
    learned(world)
    return {"dataset_name": "signs", "classes": [{"name": "sign"}], "wait_seconds": 0}


def learned(world: World) -> None:
    boxes = [
        {**BOX, "id": f"b{n}", "bounding_box": {"x": 50 + n, "y": 40, "w": 50, "h": 50}} for n in range(3)
    ]
    world.live("save_annotations", {"image_uuid": world.image().id, "annotations": boxes})
    upload(world, "signs")


def same_name_twice(world: World) -> dict[str, Any]:
    arguments = {"dataset_name": "signs", "file_path": str(world.folder / "a.png"), "folder_path": "/f"}
    world.live("upload_image", arguments)
    world.live("upload_image", arguments | {"folder_path": "/g"})
    return READY["auto_annotate_box"](world) | {"image_filename": "a.png"}


def declared(world: World) -> dict[str, Any]:
    world.live("set_dataset_classes", {"dataset_name": "signs", "classes": [{"name": "sign"}]})
    return {"image_uuid": world.image().id, "annotations": [CAR]}


CLASSES = [{"name": "sign"}]
READY: Ready = {
    "accept_annotations": for_review,
    "auto_annotate_box": lambda w: {
        "dataset_name": "signs",
        "image_filename": "a.png",
        "box": {"x": 45, "y": 35, "w": 60, "h": 60},
        "name": "square",
    },
    "auto_annotate_dataset": for_dataset,
    "auto_annotate_point": lambda w: POINT,
    "auto_annotate_text": for_text,
    "reject_annotations": for_review,
    "save_annotations": lambda w: {"image_uuid": w.image().id, "annotations": [BOX, CAR]},
}
OPERATIONS = {"auto_annotate_dataset": "auto_annotate_image"}
REFUSED: Refusals = [
    ("accept_annotations", "dataset_not_found", lambda w: {"dataset_name": "x"}),
    ("accept_annotations", "image_not_found", lambda w: {"image_uuid": "x"}),
    (
        "accept_annotations",
        "draft_not_found",
        lambda w: {"image_uuid": w.image().id, "annotation_ids": ["1"]},
    ),
    (
        "auto_annotate_box",
        "dataset_not_found",
        lambda w: READY["auto_annotate_box"](w) | {"dataset_name": "x"},
    ),
    (
        "auto_annotate_box",
        "image_not_found",
        lambda w: READY["auto_annotate_box"](w) | {"image_filename": "x"},
    ),
    ("auto_annotate_box", "ambiguous_filename", same_name_twice),
    ("auto_annotate_dataset", "dataset_not_found", lambda w: for_dataset(w) | {"dataset_name": "x"}),
    ("auto_annotate_dataset", "needs_engine", lambda w: {"dataset_name": "signs", "classes": CLASSES}),
    ("auto_annotate_point", "image_not_found", lambda w: POINT | {"image_filename": "x"}),
    ("auto_annotate_point", "point_outside", lambda w: POINT | {"x": 1000}),
    ("auto_annotate_text", "dataset_not_found", lambda w: for_text(w) | {"dataset_name": "x"}),
    ("auto_annotate_text", "needs_engine", lambda w: for_text(w) | {"text_prompt": "unicorn"}),
    (
        "reject_annotations",
        "draft_not_found",
        lambda w: {"image_uuid": w.image().id, "annotation_ids": ["x"]},
    ),
    ("save_annotations", "image_not_found", lambda w: {"image_uuid": "x", "annotations": []}),
    ("save_annotations", "unknown_class", declared),
]
