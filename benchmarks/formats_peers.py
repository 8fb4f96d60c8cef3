"""How long Datumaro and supervision take; runs in their own environment, for ``bench_formats.py``.

Prints seconds per image, by peer and format, as JSON. Only the writing is timed,
and under ``…, zipped`` what a ZIP of the files takes on top.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
import warnings
import zipfile
from pathlib import Path

import cv2
import numpy as np

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

SOME = 200
clock = getattr(time, os.environ.get("BENCH_CLOCK", "perf_counter"))
SHRINK = 4
EXPORTERS = {
    "coco": "coco_instances",
    "yolo": "yolo_ultralytics",
    "pascal_voc": "voc_detection",
    "cvat": "cvat",
}


def main() -> None:
    folder, width, height = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    shapes = json.loads((folder / "shapes.json").read_text())
    classes = sorted({name for polygons in shapes for name, _ in polygons})
    seconds = {
        "datumaro": datumaro(folder, shapes, classes, width, height),
        "supervision": supervision(folder, shapes[:SOME], classes, width // SHRINK, height // SHRINK),
    }
    print(json.dumps(seconds))


def datumaro(folder, shapes, classes, width, height):
    from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories, Polygon
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image

    blank = np.zeros((height, width, 3), dtype=np.uint8)
    index = {name: k for k, name in enumerate(classes)}
    seconds = {}
    for name, exporter in EXPORTERS.items():
        items = []
        for number, polygons in enumerate(shapes):
            annotations = []
            for k, (label, ring) in enumerate(polygons):
                flat = [value for point in ring for value in point]
                polygon = Polygon(flat, label=index[label], id=k, group=k + 1)
                if name in {"pascal_voc", "yolo"}:  # of which it writes boxes only
                    annotations.append(Bbox(*polygon.get_bbox(), label=index[label], id=k, group=k + 1))
                else:
                    annotations.append(polygon)
            media = Image.from_numpy(data=blank, size=(height, width))
            subset = ("train", "train", "train", "val")[number % 4]
            items.append(DatasetItem(f"{number:06}", subset=subset, media=media, annotations=annotations))
        dataset = Dataset.from_iterable(
            items, categories={AnnotationType.label: LabelCategories.from_iterable(classes)}
        )
        gc.freeze()
        began = clock()
        dataset.export(str(folder / f"datumaro-{name}"), exporter, save_media=False)
        seconds[name] = (clock() - began) / len(shapes)
        began = clock()
        zipped(folder / f"datumaro-{name}", folder / f"datumaro-{name}.zip")
        seconds[f"{name}, zipped"] = seconds[name] + (clock() - began) / len(shapes)
    return seconds


def zipped(files, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files.rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(files))


def supervision(folder, shapes, classes, width, height):
    import supervision as sv

    index = {name: k for k, name in enumerate(classes)}
    pictures, annotations = [], {}
    (folder / "pictures").mkdir()
    for number, polygons in enumerate(shapes):
        path = str(folder / "pictures" / f"{number:06}.png")
        cv2.imwrite(path, np.zeros((height, width, 3), dtype=np.uint8))
        pictures.append(path)
        masks = np.zeros((len(polygons), height, width), dtype=np.uint8)
        for mask, (_, ring) in zip(masks, polygons, strict=True):
            cv2.fillPoly(mask, [np.round(np.array(ring) / SHRINK).astype(np.int32)], 1)
        masks = masks.astype(bool)
        annotations[path] = sv.Detections(
            xyxy=sv.mask_to_xyxy(masks),
            mask=masks,
            class_id=np.array([index[label] for label, _ in polygons]),
        )
    dataset = sv.DetectionDataset(classes=classes, images=pictures, annotations=annotations)
    writes = {
        "coco": lambda: dataset.as_coco(annotations_path=str(folder / "sv-coco.json")),
        "yolo": lambda: dataset.as_yolo(annotations_directory_path=str(folder / "sv-yolo")),
        "pascal_voc": lambda: dataset.as_pascal_voc(annotations_directory_path=str(folder / "sv-voc")),
    }
    gc.freeze()
    seconds = {}
    for name, write in writes.items():
        began = clock()
        write()
        seconds[name] = (clock() - began) / len(shapes)
    return seconds


if __name__ == "__main__":
    main()
