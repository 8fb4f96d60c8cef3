"""The figures of an evaluation, as plain data that fit into JSON. Importing this loads nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tintype_studio.vision.tasks import Task

BACKGROUND = "background"
"""Last row and column of a confusion matrix: not found, and found where nothing is."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often a class (row) was taken for one (column)."""

    labels: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]
    """Objects, images or pixels: ``matrix[truth][predicted]``."""
    unit: str
    """``objects``, ``images`` or ``pixels``."""
    score: float | None = None
    """Predictions scored below it were left out."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out; a figure that cannot be told (no such object, nothing predicted) is None."""

    task: Task
    images: int
    objects: int
    """Of the truth; for classification its labels."""
    metrics: dict[str, float | None]
    """By task, each 0 to 1:

    * detection: ``mAP`` (COCO: mean over IoU 0.50 to 0.95 and classes), ``mAP_50``, ``mAP_75``;
      ``precision``, ``recall``, ``f1`` over all objects at ``score_threshold``, where f1 is best (IoU 0.5);
    * instances: the same for masks, and ``box_mAP``, ``box_mAP_50``;
    * semantic: ``mIoU`` (mean over classes, without the background), ``pixel_accuracy`` (with it);
    * classification: ``accuracy``, ``f1`` (mean over classes), ``top_5_accuracy`` from six classes; with
      several labels ``mAP`` and ``f1`` at 0.5, and ``accuracy`` counts images whose labels are all right.
    """
    per_class: list[dict[str, Any]]
    """``name``, ``count`` (of the truth) and the class's figures, in the order of the classes."""
    confusion: Confusion | None
    """None for several labels per image, where one class is not taken for another."""
    curves: dict[str, Any] = field(default_factory=dict)
    """``recall`` (0 to 1 in hundredths), and ``precision`` by class at each of them (IoU 0.5)."""
    attributes: list[dict[str, Any]] = field(default_factory=list)
    """Of each attribute head: ``name`` (the class), ``attribute``, ``count`` (objects whose true option is
    known), ``accuracy`` (on their true boxes), ``found`` and ``accuracy_found`` (of those that were found, on
    the boxes found; None where that was not looked at), and ``options`` with ``name``, ``count``, ``recall``
    and ``precision``.
    """

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "task": self.task.value}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Evaluation:
        """What ``as_json`` gave, also after it went through JSON."""
        confusion = found["confusion"]
        if confusion is not None:
            confusion = Confusion(
                tuple(confusion["labels"]),
                tuple(tuple(row) for row in confusion["matrix"]),
                confusion["unit"],
                confusion["score"],
            )
        return cls(**{**found, "task": Task(found["task"]), "confusion": confusion})
