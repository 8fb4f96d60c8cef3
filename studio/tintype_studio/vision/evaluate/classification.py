"""Classification: accuracy, and precision, recall and average precision of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.evaluate.evaluation import Confusion, Evaluation
from tintype_studio.vision.evaluate.truth import Truth
from tintype_studio.vision.infer.prediction import Prediction
from tintype_studio.vision.tasks import Signature

YES = 0.5
"""With several labels per image, the score from which a class counts as predicted."""
TOP = 5


class ClassificationEvaluator:
    """Keeps the scores of each image."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._scores: list[NDArray[np.float32]] = []
        self._true: list[NDArray[np.bool_]] = []

    def add(self, prediction: Prediction, truth: Truth) -> None:
        """One image. Raises InvalidInput unless it has one label, where the model gives one."""
        classes = len(self._signature.classes)
        if prediction.scores is None or prediction.scores.shape != (classes,):
            raise InvalidInput("The prediction must have one score for each class.")
        true = np.zeros(classes, np.bool_)
        true[np.asarray(truth.labels, np.int64)] = True
        if not self._signature.multi_label and true.sum() != 1:
            raise InvalidInput("The model gives one class per image; the image has none or several.")
        self._scores.append(prediction.scores)
        self._true.append(true)

    def state(self) -> dict[str, Any]:
        """See ``Evaluator``."""
        return {"scores": [s.tolist() for s in self._scores], "true": [t.tolist() for t in self._true]}

    def merge(self, state: dict[str, Any]) -> None:
        """See ``Evaluator``."""
        self._scores += [np.asarray(each, np.float32) for each in state["scores"]]
        self._true += [np.asarray(each, np.bool_) for each in state["true"]]

    def result(self) -> Evaluation:
        """The figures of all images added."""
        scores, true = np.stack(self._scores), np.stack(self._true)
        names = self._signature.classes
        if self._signature.multi_label:
            said = scores >= YES
        else:
            said = np.zeros_like(true)
            said[np.arange(len(scores)), scores.argmax(axis=1)] = True
        precisions = [_curve(scores[:, label], true[:, label]) for label in range(len(names))]
        per_class: list[dict[str, Any]] = []
        for label, name in enumerate(names):
            hits = int((said[:, label] & true[:, label]).sum())
            predicted, count = int(said[:, label].sum()), int(true[:, label].sum())
            per_class.append(
                {
                    "name": name,
                    "count": count,
                    "precision": hits / predicted if predicted else None,
                    "recall": hits / count if count else None,
                    "f1": 2 * hits / (predicted + count) if predicted + count else None,
                    "AP": _average_precision(scores[:, label], true[:, label]),
                }
            )
        metrics: dict[str, float | None] = {
            "accuracy": float((said == true).all(axis=1).mean()),
            "f1": _mean([each["f1"] for each in per_class]),
            "precision": _mean([each["precision"] for each in per_class]),
            "recall": _mean([each["recall"] for each in per_class]),
        }
        if self._signature.multi_label:
            metrics["mAP"] = _mean([each["AP"] for each in per_class])
        elif len(names) > TOP:
            metrics["top_5_accuracy"] = _top(scores, true)
        return Evaluation(
            self._signature.task,
            len(true),
            int(true.sum()),
            metrics,
            per_class,
            None if self._signature.multi_label else _confusion(names, true, said),
            {
                "recall": [round(r / 100, 2) for r in range(101)],
                "precision": {
                    name: [round(float(p), 4) for p in curve]
                    for name, curve in zip(names, precisions, strict=True)
                    if curve is not None
                },
            },
        )


def _mean(values: list[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return sum(told) / len(told) if told else None


def _top(scores: NDArray[np.float32], true: NDArray[np.bool_]) -> float:
    """Share of images whose class is among the five with the best scores."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    return float(np.take_along_axis(true, best, axis=1).any(axis=1).mean())


def _confusion(names: tuple[str, ...], true: NDArray[np.bool_], said: NDArray[np.bool_]) -> Confusion:
    matrix = np.zeros((len(names), len(names)), np.int64)
    np.add.at(matrix, (true.argmax(axis=1), said.argmax(axis=1)), 1)
    return Confusion(names, tuple(tuple(row) for row in matrix.tolist()), "images")


def _steps(
    scores: NDArray[np.float32], true: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall at each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(true[order])
    last = np.append(ordered[1:] != ordered[:-1], True)
    return (hits / np.arange(1, len(hits) + 1))[last], (hits / true.sum())[last]


def _average_precision(scores: NDArray[np.float32], true: NDArray[np.bool_]) -> float | None:
    """The sum of precisions, each weighted by the recall that its score adds (without interpolation)."""
    if not true.any():
        return None
    precision, recall = _steps(scores, true)
    return float((precision * np.diff(recall, prepend=0.0)).sum())


def _curve(scores: NDArray[np.float32], true: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """The best precision at a recall of at least 0.00, 0.01 … 1.00."""
    if not true.any():
        return None
    precision, recall = _steps(scores, true)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.arange(101) / 100 - 1e-9)
    return np.asarray(best[np.minimum(places, len(best) - 1)])
