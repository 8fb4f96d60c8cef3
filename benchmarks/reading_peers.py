"""How long Datumaro and supervision take to read; runs in their own environment, for ``bench_reading.py``.

Prints seconds per image, by peer and format, as JSON, and why a peer could not read a format.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

clock = getattr(time, os.environ.get("BENCH_CLOCK", "perf_counter"))
IMPORTERS = {
    "coco": "coco_instances",
    "yolo": "yolo_ultralytics",
    "pascal_voc": "voc_detection",
    "pascal_voc_boxes": "voc_detection",
    "cvat": "cvat",
}


def main() -> None:
    whole, some, polygons = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    seconds: dict[str, dict[str, float]] = {"datumaro": {}, "supervision": {}}
    for name, importer in IMPORTERS.items():
        try:
            seconds["datumaro"][name] = datumaro(whole / name, importer, polygons)
        except Exception as error:
            print(f"datumaro {name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
    for name in ("coco", "yolo", "pascal_voc"):
        try:
            seconds["supervision"][name] = supervision(some / name, name)
        except Exception as error:
            print(f"supervision {name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
    print(json.dumps(seconds))


def datumaro(folder, importer, polygons):
    from datumaro.components.dataset import Dataset

    Dataset.from_iterable([])  # what it imports when it is first used
    began = clock()
    dataset = Dataset.import_from(str(folder), importer)
    images, shapes = 0, 0
    for item in dataset:
        images += 1
        for annotation in item.annotations:
            shapes += hasattr(annotation, "points") and len(annotation.points) > 0
    took = clock() - began
    if shapes < polygons:
        raise ValueError(f"it has found {shapes} of {polygons} shapes")
    return took / images


def supervision(folder, name):
    import supervision as sv

    read = sv.DetectionDataset
    began = clock()
    images = 0
    for split in ("train", "val"):
        if name == "coco":
            annotations = folder / "annotations" / f"instances_{split}.json"
            found = read.from_coco(str(folder / "images"), str(annotations))
        elif name == "yolo":
            found = read.from_yolo(
                str(folder / "images" / split), str(folder / "labels" / split), str(folder / "data.yaml")
            )
        elif split == "train":
            found = read.from_pascal_voc(str(folder / "JPEGImages"), str(folder / "Annotations"))
        else:
            continue
        images += len(found.annotations)
    return (clock() - began) / images


if __name__ == "__main__":
    main()
