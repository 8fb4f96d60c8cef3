"""Dry runs of the labelling of named images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BOX = {"id": "1", "name": "sign", "bounding_box": {"x": 1, "y": 2, "w": 3, "h": 4}}


def _ready(world: Any) -> dict[str, Any]:
    """One image that is labelled, which the detector learns from, one that is not, and a name too many."""
    world.runtime.studio.jobs.supervisor.enabled = False  # nobody need do it
    boxes = [
        {**BOX, "id": f"b{n}", "bounding_box": {"x": 50 + n, "y": 40, "w": 50, "h": 50}} for n in range(3)
    ]
    world.live("save_annotations", {"image_uuid": world.image().id, "annotations": boxes})
    world.live("upload_image", {"dataset_name": "signs", "file_path": str(world.folder / "new.jpg")})
    names = ["a.png", "new.jpg", "x.jpg"]
    return {
        "dataset_name": "signs",
        "image_filenames": names,
        "classes": [{"name": "sign"}],
        "wait_seconds": 0,
    }


def _done(_world: Any, told: dict[str, Any], outcome: Any) -> None:
    (affected,) = told["affected"]
    assert affected == {
        "kind": "annotations.saved",
        "count": 1,
        "dataset": "signs",
        "images_skipped": 1,
        "missing": 1,
    }
    assert outcome.value["job"]["credits_held"] == told["price"]["credits"] == 1


READY: dict[str, Callable[[Any], dict[str, Any]]] = {"auto_annotate_images": _ready}
OPERATIONS = {"auto_annotate_images": "auto_annotate_image"}
DONE = {"auto_annotate_images": _done}
REFUSED: list[tuple[str, str, Callable[[Any], dict[str, Any]]]] = [
    ("auto_annotate_images", "dataset_not_found", lambda w: _ready(w) | {"dataset_name": "x"}),
    ("auto_annotate_images", "image_not_found", lambda w: _ready(w) | {"image_filenames": ["x"]}),
    ("auto_annotate_images", "needs_engine", lambda w: _ready(w) | {"classes": [{"name": "unicorn"}]}),
    ("auto_annotate_images", "no_classes", lambda w: _ready(w) | {"classes": []}),
    ("auto_annotate_images", "model_not_found", lambda w: _ready(w) | {"model_id": "x"}),
]
