"""The import of annotated datasets."""

from __future__ import annotations

import json
from typing import Any

from support.pictures import jpeg


def use_import_dataset(door: Any, world: Any) -> None:
    """A COCO folder of two images, one of which refers to a category that is not there."""
    folder = world.folder / "coco"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.jpg").write_bytes(jpeg(seed=number))
    box = {"bbox": [1, 2, 10, 20]}
    document = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 48} for n in range(2)],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [
            {**box, "id": 1, "image_id": 0, "category_id": 1},
            {**box, "id": 2, "image_id": 1, "category_id": 5},
        ],
    }
    (folder / "instances.json").write_text(json.dumps(document))
    arguments = {"dataset_name": f"{world.dataset} in", "path": str(folder), "wait_seconds": 60}
    value = door.call("import_dataset", arguments).value
    assert value["job"]["status"] == "completed"
    assert (value["images_added"], value["annotations_added"], value["images_failed"]) == (1, 1, 1)
    assert [(f["path"], f["code"]) for f in value["failures"]] == [("1.jpg", "invalid_annotation")]
    dataset = world.make("get_dataset", name=f"{world.dataset} in", include_images=True)
    assert [image["filename"] for image in dataset["images"]] == ["0.jpg"]
    assert [cls["name"] for cls in dataset["classes"]] == ["car"]
