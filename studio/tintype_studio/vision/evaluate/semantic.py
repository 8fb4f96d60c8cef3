"""Semantic segmentation: intersection over union of each class, from one matrix of pixel counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.evaluate.evaluation import BACKGROUND, Confusion, Evaluation
from tintype_studio.vision.evaluate.objects import outline
from tintype_studio.vision.evaluate.truth import Truth
from tintype_studio.vision.infer.prediction import Prediction
from tintype_studio.vision.tasks import Signature


class SemanticEvaluator:
    """Keeps ``(C + 1)²`` counts, however many images there are."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._sides = len(signature.classes) + 1
        self._pixels = np.zeros((self._sides, self._sides), np.int64)
        self._images = self._objects = 0

    def add(self, prediction: Prediction, truth: Truth) -> None:
        """One image."""
        if prediction.regions is None or prediction.regions.shape != (truth.height, truth.width):
            raise InvalidInput("The prediction must have a region map of the truth's size.")
        pairs = true_regions(truth).astype(np.int64) * self._sides + prediction.regions
        self._pixels += np.bincount(pairs.ravel(), minlength=self._sides**2).reshape(self._pixels.shape)
        self._images += 1
        self._objects += len(truth.labels)

    def state(self) -> dict[str, Any]:
        """See ``Evaluator``."""
        return {"pixels": self._pixels.tolist(), "images": self._images, "objects": self._objects}

    def merge(self, state: dict[str, Any]) -> None:
        """See ``Evaluator``."""
        self._pixels += np.asarray(state["pixels"], np.int64)
        self._images += state["images"]
        self._objects += state["objects"]

    def result(self) -> Evaluation:
        """The figures of all images added."""
        pixels = self._pixels
        right, true, predicted = np.diag(pixels), pixels.sum(axis=1), pixels.sum(axis=0)
        union = true + predicted - right
        names = (BACKGROUND, *self._signature.classes)
        entries = [
            {
                "name": name,
                "count": int(true[index]),
                "IoU": _share(right[index], union[index]),
                "precision": _share(right[index], predicted[index]),
                "recall": _share(right[index], true[index]),
            }
            for index, name in enumerate(names)
        ]
        # A class that is neither there nor predicted says nothing.
        told = [right[i] / union[i] for i in range(1, self._sides) if union[i]]
        order = [*range(1, self._sides), 0]
        return Evaluation(
            self._signature.task,
            self._images,
            self._objects,
            {
                "mIoU": float(np.mean(told)) if told else None,
                "pixel_accuracy": _share(right.sum(), pixels.sum()),
                "background_IoU": _share(right[0], union[0]),
            },
            entries[1:],
            Confusion(
                (*self._signature.classes, BACKGROUND),
                tuple(tuple(row) for row in pixels[np.ix_(order, order)].tolist()),
                "pixels",
            ),
        )


def true_regions(truth: Truth) -> NDArray[np.unsignedinteger]:
    """``[height, width]``: 0 for the background, class i is i + 1; later objects cover earlier ones."""
    highest = np.asarray(truth.labels).max(initial=0) + 1
    columns = np.zeros(truth.width * truth.height, np.min_scalar_type(highest))
    for index, label in enumerate(np.asarray(truth.labels).tolist()):
        ends = np.cumsum(outline(truth, index)).tolist()
        for start, end in zip(ends[::2], ends[1::2], strict=False):
            columns[start:end] = label + 1
    return columns.reshape(truth.width, truth.height).T


def _share(part: np.integer, whole: np.integer) -> float | None:
    return float(part / whole) if whole else None
