"""How often attribute heads choose the true option: on the true boxes of objects, and on those that were
found of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tintype_studio.vision.evaluate.truth import Truth
from tintype_studio.vision.heads import Choices, HeadsSignature
from tintype_studio.vision.infer.prediction import Corners, Prediction

if TYPE_CHECKING:
    from tintype_studio.vision.infer.heads import Heads

LEAST_SCORE, LEAST_OVERLAP = 0.05, 0.5
"""Of a box that counts as found: its score, and its intersection over union with the true one."""

FEW = 20
"""Attributes that have a metric of their own; the figures of more stand in the evaluation alone."""

Matrix = NDArray[np.int64]

_SEPARATOR = "\0"


class AttributesEvaluator:
    """Takes objects one by one and keeps counts. ``with_found``: whether it is told of boxes found, too."""

    def __init__(self, signature: HeadsSignature, *, with_found: bool = True) -> None:
        self._signature, self._with_found = signature, with_found
        # A row for each true option and one for those that the head does not know; a column for each choice.
        self._matrices: dict[tuple[str, str], Matrix] = {}
        self._found: dict[tuple[str, str], Matrix] = {}
        for head in signature.heads:
            count = len(head.options)
            self._matrices[head.name, head.attribute] = np.zeros((count + 1, count), np.int64)
            self._found[head.name, head.attribute] = np.zeros(2, np.int64)

    def add(self, name: str, truth: Mapping[str, str], chosen: Choices, found: Choices | None = None) -> None:
        """An object of class ``name``, its true options by attribute, and what was chosen: for its true box,
        and for the box that was found of it, if one was.
        """
        for head in self._signature.of_class(name):
            true = truth.get(head.attribute)
            if true is None or head.attribute not in chosen:
                continue
            row = head.options.index(true) if true in head.options else len(head.options)
            column = head.options.index(chosen[head.attribute][0])
            self._matrices[name, head.attribute][row, column] += 1
            if found and head.attribute in found:
                self._found[name, head.attribute] += (found[head.attribute][0] == true, 1)

    def state(self) -> dict[str, Any]:
        """What is kept, as JSON, for an evaluator in another process."""
        return {
            _SEPARATOR.join(key): {"matrix": matrix.tolist(), "found": self._found[key].tolist()}
            for key, matrix in self._matrices.items()
            if matrix.any()
        }

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add the objects of another evaluator of the same signature."""
        for joined, kept in state.items():
            name, attribute = joined.split(_SEPARATOR)
            self._matrices[name, attribute] += np.array(kept["matrix"], np.int64)
            self._found[name, attribute] += np.array(kept["found"], np.int64)

    def result(self) -> list[dict[str, Any]]:
        """The figures of each attribute, as ``Evaluation.attributes`` has them."""
        return [self._figures(head.name, head.attribute, head.options) for head in self._signature.heads]

    def _figures(self, name: str, attribute: str, options: tuple[str, ...]) -> dict[str, Any]:
        matrix = self._matrices[name, attribute]
        right, found = self._found[name, attribute].tolist()
        return {
            "name": name,
            "attribute": attribute,
            "count": int(matrix.sum()),
            "accuracy": _share(np.trace(matrix[:-1]), matrix.sum()),
            "found": found if self._with_found else None,
            "accuracy_found": _share(right, found),
            "options": [
                {
                    "name": option,
                    "count": int(matrix[k].sum()),
                    "recall": _share(matrix[k, k], matrix[k].sum()),
                    "precision": _share(matrix[k, k], matrix[:, k].sum()),
                }
                for k, option in enumerate(options)
            ],
        }


def judge_attributes(
    heads: Heads, classes: Sequence[str], pixels: NDArray[np.uint8], truth: Truth, seen: Prediction
) -> AttributesEvaluator:
    """What heads choose for the objects of one picture: on their true boxes, and on the best box of the same
    class that covers each at least by half.
    """
    judge = AttributesEvaluator(heads.signature)
    known = [index for index, options in enumerate(truth.options) if options]
    names = [classes[int(truth.labels[index])] for index in known]
    matched = _matched(truth, known, seen)
    on_true = heads.choose(pixels, truth.boxes[known], names)
    on_found = iter(
        heads.choose(
            pixels,
            [box for box in matched if box is not None],
            [name for name, box in zip(names, matched, strict=True) if box is not None],
        )
    )
    for index, name, chosen, box in zip(known, names, on_true, matched, strict=True):
        judge.add(name, truth.options[index], chosen, None if box is None else next(on_found))
    return judge


def _matched(truth: Truth, known: Sequence[int], seen: Prediction) -> list[Corners | None]:
    """The box that was found of each of these objects; each box is of one object alone."""
    boxes: list[Corners | None] = [None] * len(known)
    for found in seen.objects:
        if found.score < LEAST_SCORE:
            break
        left, top, right, bottom = found.box
        best, place = LEAST_OVERLAP, None
        for number, index in enumerate(known):
            if boxes[number] is not None or int(truth.labels[index]) != found.label:
                continue
            x0, y0, x1, y1 = (float(value) for value in truth.boxes[index])
            shared = max(0.0, min(right, x1) - max(left, x0)) * max(0.0, min(bottom, y1) - max(top, y0))
            union = (right - left) * (bottom - top) + (x1 - x0) * (y1 - y0) - shared
            if shared / union >= best:
                best, place = shared / union, number
        if place is not None:
            boxes[place] = found.box
    return boxes


def accuracy_metrics(figures: list[dict[str, Any]]) -> dict[str, float]:
    """``attribute_accuracy`` of all attributes of all objects; and where there are few, that of each as
    ``attribute_accuracy.<class>.<attribute>``. Without those that no object has.
    """
    measured = [each for each in figures if each["count"]]
    if not measured:
        return {}
    count = sum(each["count"] for each in measured)
    mean = sum(each["accuracy"] * each["count"] for each in measured) / count
    return {
        "attribute_accuracy": mean,
        **{
            f"attribute_accuracy.{each['name']}.{each['attribute']}": each["accuracy"]
            for each in measured
            if len(measured) <= FEW
        },
    }


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
