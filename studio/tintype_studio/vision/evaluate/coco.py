"""COCO's average precision by pycocotools, without its files and without its words on the console."""

from __future__ import annotations

import contextlib
import io
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Rle = dict[str, Any]
"""A mask as pycocotools holds it."""

MOST_PER_CLASS = 100
"""Predictions of one class in one image that count, best first; COCO's number."""
_ANY_AREA = [0.0, 1e10]

_MASKS = ("true_masks", "masks")

# The library prints; what catches that belongs to the whole process.
_console = threading.Lock()


@dataclass(frozen=True, slots=True)
class Seen:
    """One image: what is true and what was predicted (best first). Boxes are left, top, right, bottom."""

    width: int
    height: int
    true_boxes: NDArray[np.float64]
    true_labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    true_masks: Sequence[Rle] = ()
    masks: Sequence[Rle] = ()

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in found.items()
            if name not in _MASKS
        } | {name: [[rle["size"], rle["counts"].decode()] for rle in found[name]] for name in _MASKS}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Seen:
        """What ``as_json`` gave, also after it went through JSON."""
        return cls(
            found["width"],
            found["height"],
            np.asarray(found["true_boxes"], np.float64).reshape(-1, 4),
            np.asarray(found["true_labels"], np.int64),
            np.asarray(found["boxes"], np.float64).reshape(-1, 4),
            np.asarray(found["labels"], np.int64),
            np.asarray(found["scores"], np.float64),
            *([{"size": size, "counts": counts.encode()} for size, counts in found[n]] for n in _MASKS),
        )


@dataclass(frozen=True, slots=True)
class CocoFigures:
    """T: IoU thresholds 0.50 to 0.95 by 0.05, R: recalls 0 to 1 by 0.01, K: classes; -1 without objects."""

    precision: NDArray[np.float64]
    """``[T, R, K]``."""
    scores: NDArray[np.float64]
    """Of the predictions, ``[D]``; with ``labels`` and ``right`` (IoU 0.5) those that the figures count."""
    labels: NDArray[np.int64]
    right: NDArray[np.bool_]


def coco_figures(seen: Sequence[Seen], classes: int, kind: Literal["bbox", "segm"]) -> CocoFigures:
    """Figures of all images for boxes, or for masks."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with _console, contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(
            _indexed(COCO(), seen, classes, kind, predicted=False),
            _indexed(COCO(), seen, classes, kind, predicted=True),
            kind,
        )
        judge.params.areaRng = [_ANY_AREA]
        judge.params.areaRngLbl = ["all"]
        judge.params.maxDets = [MOST_PER_CLASS]
        judge.evaluate()
        judge.accumulate()
    parts = [each for each in judge.evalImgs if each is not None and each["dtScores"]]
    return CocoFigures(
        np.asarray(judge.eval["precision"], np.float64)[:, :, :, 0, 0],
        np.concatenate([np.zeros(0), *(each["dtScores"] for each in parts)]),
        np.asarray([each["category_id"] for each in parts for _ in each["dtScores"]], np.int64),
        np.concatenate([np.zeros(0, np.bool_), *(each["dtMatches"][0] > 0 for each in parts)]),
    )


def _indexed(coco: Any, seen: Sequence[Seen], classes: int, kind: str, *, predicted: bool) -> Any:
    """A COCO object with the indices that it else makes of a file."""
    annotations: dict[int, dict[str, Any]] = {}
    of_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    images: dict[int, dict[str, Any]] = {}
    for number, image in enumerate(seen):
        images[number] = {"id": number, "width": image.width, "height": image.height}
        boxes = image.boxes if predicted else image.true_boxes
        labels = image.labels if predicted else image.true_labels
        masks = image.masks if predicted else image.true_masks
        for index in range(len(boxes)):
            left, top, right, bottom = boxes[index].tolist()
            one = {
                # 0 means "not matched" to pycocotools.
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": int(labels[index]),
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
            }
            if predicted:
                one["score"] = float(image.scores[index])
            if kind == "segm":
                one["segmentation"] = masks[index]
            annotations[one["id"]] = one
            of_image[number].append(one)
    coco.cats = {label: {"id": label} for label in range(classes)}
    coco.dataset = {
        "images": list(images.values()),
        "categories": list(coco.cats.values()),
        "annotations": list(annotations.values()),
    }
    coco.anns, coco.imgs, coco.imgToAnns = annotations, images, of_image
    return coco
