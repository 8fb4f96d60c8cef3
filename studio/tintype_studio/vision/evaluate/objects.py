"""Detection and instance segmentation: COCO's average precision, precision and recall, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tintype_studio.formats.shapes import run_lengths
from tintype_studio.vision.evaluate.coco import MOST_PER_CLASS, CocoFigures, Rle, Seen, coco_figures
from tintype_studio.vision.evaluate.evaluation import BACKGROUND, Confusion, Evaluation
from tintype_studio.vision.evaluate.truth import Truth
from tintype_studio.vision.infer.prediction import Prediction
from tintype_studio.vision.tasks import Signature, Task

SAME = 0.5
"""IoU from which a prediction and an object mean the same, for all but the mean average precision."""
DEFAULT_SCORE = 0.5
"""For the confusion matrix when no score is best."""


class ObjectsEvaluator:
    """Takes image after image, and keeps boxes, scores and run lengths of masks only."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._masks = signature.task is Task.INSTANCES
        self._seen: list[Seen] = []

    def add(self, prediction: Prediction, truth: Truth) -> None:
        """One image."""
        found = _most_per_class(prediction)
        self._seen.append(
            Seen(
                truth.width,
                truth.height,
                np.asarray(truth.boxes, np.float64).reshape(-1, 4),
                np.asarray(truth.labels, np.int64),
                np.asarray([each.box for each in found], np.float64).reshape(-1, 4),
                np.asarray([each.label for each in found], np.int64),
                np.asarray([each.score for each in found], np.float64),
                _true_masks(truth) if self._masks else (),
                [_encoded(each.region, each.mask, truth) for each in found] if self._masks else (),
            )
        )

    def state(self) -> dict[str, Any]:
        """See ``Evaluator``."""
        return {"seen": [each.as_json() for each in self._seen]}

    def merge(self, state: dict[str, Any]) -> None:
        """See ``Evaluator``."""
        self._seen += [Seen.from_json(each) for each in state["seen"]]

    def result(self) -> Evaluation:
        """The figures of all images added."""
        classes = self._signature.classes
        boxes = coco_figures(self._seen, len(classes), "bbox")
        judged = coco_figures(self._seen, len(classes), "segm") if self._masks else boxes
        counts = np.bincount(
            np.concatenate([np.zeros(0, np.int64), *(each.true_labels for each in self._seen)]),
            minlength=len(classes),
        )
        score = best_score(judged, int(counts.sum()))
        metrics = _averages(judged)
        metrics.update(_rates(judged, None, int(counts.sum()), score))
        metrics["score_threshold"] = score
        if self._masks:
            metrics.update({f"box_{name}": value for name, value in _averages(boxes).items()})
        per_class = []
        for label, name in enumerate(classes):
            one: dict[str, Any] = {"name": name, "count": int(counts[label])}
            one.update({key[1:]: value for key, value in _averages(judged, label).items()})
            one.update(_rates(judged, label, int(counts[label]), score))
            if self._masks:
                one["box_AP"] = _averages(boxes, label)["mAP"]
            per_class.append(one)
        return Evaluation(
            self._signature.task,
            len(self._seen),
            int(counts.sum()),
            metrics,
            per_class,
            _confusion(self._seen, classes, DEFAULT_SCORE if score is None else score, masks=self._masks),
            {
                "recall": [round(r / 100, 2) for r in range(101)],
                "precision": {
                    name: [round(float(p), 4) for p in judged.precision[0, :, label]]
                    for label, name in enumerate(classes)
                    if counts[label]
                },
            },
        )


def best_score(figures: CocoFigures, objects: int) -> float | None:
    """The score from which precision and recall over all objects have the best harmonic mean (f1).

    Halfway between the last prediction that it takes and the first that it leaves out: on few images the last
    one alone would be a high bar for new ones.
    """
    if not objects or not figures.right.any():
        return None
    order = np.argsort(-figures.scores, kind="stable")
    scores, hits = figures.scores[order], np.cumsum(figures.right[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + objects)
    # A threshold takes all predictions of one score or none.
    last = np.append(scores[1:] != scores[:-1], True)
    taken = int(np.where(last, f1, -1).argmax())
    lower = float(scores[taken + 1]) if taken + 1 < len(scores) else 0.0
    return (float(scores[taken]) + lower) / 2


def _averages(figures: CocoFigures, label: int | None = None) -> dict[str, float | None]:
    """Average precision, over all classes that have objects or of one."""
    precision = figures.precision if label is None else figures.precision[:, :, label : label + 1]
    parts = {"mAP": precision, "mAP_50": precision[:1], "mAP_75": precision[5:6]}
    return {
        # The library adds a trifle to every denominator.
        name: round(float(part[part > -1].mean()), 6) if (part > -1).any() else None
        for name, part in parts.items()
    }


def _rates(
    figures: CocoFigures, label: int | None, objects: int, score: float | None
) -> dict[str, float | None]:
    """Precision, recall and f1 of the predictions scored at least ``score``."""
    chosen = figures.scores >= (2 if score is None else score)
    if label is not None:
        chosen &= figures.labels == label
    hits, predicted = int(figures.right[chosen].sum()), int(chosen.sum())
    return {
        "precision": hits / predicted if predicted else None,
        "recall": hits / objects if objects else None,
        "f1": 2 * hits / (predicted + objects) if objects else None,
    }


def _confusion(seen: Sequence[Seen], classes: Sequence[str], score: float, *, masks: bool) -> Confusion:
    """Which class was taken for which: predictions and objects paired by overlap, whatever their class."""
    matrix = np.zeros((len(classes) + 1, len(classes) + 1), np.int64)
    for image in seen:
        chosen = np.flatnonzero(image.scores >= score)
        labels = image.labels[chosen]
        true_free, free = np.ones(len(image.true_labels), np.bool_), np.ones(len(chosen), np.bool_)
        if len(chosen) and len(image.true_labels):
            shared = _overlaps(image, chosen, masks=masks)
            same = labels[:, None] == image.true_labels[None]
            one, other = np.nonzero(shared >= SAME)
            # Of two that overlap alike, the one of the right class.
            order = np.lexsort((~same[one, other], -shared[one, other]))
            for i, j in zip(one[order].tolist(), other[order].tolist(), strict=True):
                if free[i] and true_free[j]:
                    free[i] = true_free[j] = False
                    matrix[image.true_labels[j], labels[i]] += 1
        np.add.at(matrix[-1], labels[free], 1)
        np.add.at(matrix[:, -1], image.true_labels[true_free], 1)
    return Confusion((*classes, BACKGROUND), tuple(tuple(row) for row in matrix.tolist()), "objects", score)


def _overlaps(image: Seen, chosen: NDArray[np.intp], *, masks: bool) -> NDArray[np.float64]:
    """Intersection over union of predictions (rows) with objects."""
    from pycocotools import mask as coco_mask

    crowd = [0] * len(image.true_labels)
    if masks:
        return np.asarray(coco_mask.iou([image.masks[i] for i in chosen], list(image.true_masks), crowd))
    return np.asarray(coco_mask.iou(_xywh(image.boxes[chosen]), _xywh(image.true_boxes), crowd))


def _xywh(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _most_per_class(prediction: Prediction) -> list[Any]:
    """The predictions that count, best first."""
    taken: dict[int, int] = {}
    kept = []
    for each in sorted(prediction.objects, key=lambda found: -found.score):
        taken[each.label] = taken.get(each.label, 0) + 1
        if taken[each.label] <= MOST_PER_CLASS:
            kept.append(each)
    return kept


def _true_masks(truth: Truth) -> list[Rle]:
    return [object_mask(truth, index) for index in range(len(truth.labels))]


def object_mask(truth: Truth, index: int) -> Rle:
    """The pixels of an object, as ``outline`` has them."""
    from pycocotools import mask as coco_mask

    raw = {"counts": outline(truth, index), "size": [truth.height, truth.width]}
    encoded: Rle = coco_mask.frPyObjects(raw, truth.height, truth.width)
    return encoded


def outline(truth: Truth, index: int) -> list[int]:
    """Run lengths, column by column, of the pixels whose centre lies in the object's polygon; in its box
    where it has none.
    """
    rings = [ring for ring in truth.polygons[index] if len(ring) > 2] if truth.polygons else []
    if rings:
        drawn = [(ring[:, 0].tolist(), ring[:, 1].tolist()) for ring in rings]
    else:
        left, top, right, bottom = (float(value) for value in truth.boxes[index])
        drawn = [([left, right, right, left], [top, top, bottom, bottom])]
    return run_lengths(drawn, truth.width, truth.height)


def _encoded(region: tuple[int, int, int, int], mask: NDArray[np.bool_] | None, truth: Truth) -> Rle:
    """A predicted mask as run lengths of the whole image; the box where there is none."""
    from pycocotools import mask as coco_mask

    left, top, right, bottom = region
    canvas = np.zeros((truth.height, truth.width), np.uint8, order="F")
    canvas[top:bottom, left:right] = 1 if mask is None else mask
    encoded: Rle = coco_mask.encode(canvas)
    return encoded
