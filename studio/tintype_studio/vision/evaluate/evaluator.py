"""Measures predictions against the truth, image after image, whatever the task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.evaluate.evaluation import Evaluation
from tintype_studio.vision.evaluate.truth import Truth
from tintype_studio.vision.infer.prediction import Prediction
from tintype_studio.vision.tasks import Signature, Task

THRESHOLD = 0.001
"""Predict with this score, so that the curves have their tail."""
MAX_DETECTIONS = 100
"""And with so many objects per image."""


class Evaluator(Protocol):
    """Takes images one by one and keeps little of each."""

    def add(self, prediction: Prediction, truth: Truth) -> None:
        """One image; both in pixels of the same picture."""
        ...

    def state(self) -> dict[str, Any]:
        """What is kept of the images added, as JSON, for an evaluator in another process."""
        ...

    def merge(self, state: dict[str, Any]) -> None:
        """Add the images of another evaluator of the same signature."""
        ...

    def result(self) -> Evaluation:
        """The figures of all images added."""
        ...


def evaluator(signature: Signature) -> Evaluator:
    """The evaluator of the model's task."""
    if signature.task is Task.SEMANTIC:
        from tintype_studio.vision.evaluate.semantic import SemanticEvaluator

        return SemanticEvaluator(signature)
    if signature.task is Task.CLASSIFICATION:
        from tintype_studio.vision.evaluate.classification import ClassificationEvaluator

        return ClassificationEvaluator(signature)
    from tintype_studio.vision.evaluate.objects import ObjectsEvaluator

    return ObjectsEvaluator(signature)


def evaluate(signature: Signature, predictions: Iterable[Prediction], truths: Iterable[Truth]) -> Evaluation:
    """The figures of a model's predictions, in the order of ``truths``; both may be generators.

    For comparable figures predict with ``THRESHOLD`` and ``MAX_DETECTIONS``. Raises InvalidInput when there
    is nothing to measure on.
    """
    judge = evaluator(signature)
    images = 0
    for prediction, truth in zip(predictions, truths, strict=True):
        judge.add(prediction, truth)
        images += 1
    if not images:
        raise InvalidInput("There is no image to measure on.", code="no_images")
    return judge.result()
