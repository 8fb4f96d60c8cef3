"""What a trained model answers, and what its ONNX file takes and gives: one contract for each task.

The network may be any; trainer, evaluation and inference meet here. Importing this module loads nothing
heavy.

Input ``images``: float32 ``[N, 3, S, S]``, RGB, 0 to 255, letterboxed (``letterbox.py``); normalisation is
part of the graph; N is free. Outputs, float32, in this order (A: candidates, C: classes, K: mask prototypes):

* object_detection: ``boxes`` ``[N, A, 4]`` (left, top, right, bottom in pixels of the input) and ``scores``
  ``[N, A, C]`` (0 to 1)
* instance_segmentation: the same, ``coefficients`` ``[N, A, K]`` and ``prototypes`` ``[N, K, h, w]``; the
  logits of a mask are their product over K
* semantic_segmentation: ``logits`` ``[N, C + 1, h, w]``; 0 is the background, class i is i + 1
* classification: ``logits`` ``[N, C]``
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Task(StrEnum):
    """The model types of the seed."""

    DETECTION = "object_detection"
    INSTANCES = "instance_segmentation"
    SEMANTIC = "semantic_segmentation"
    CLASSIFICATION = "classification"


OUTPUTS: dict[Task, tuple[str, ...]] = {
    Task.DETECTION: ("boxes", "scores"),
    Task.INSTANCES: ("boxes", "scores", "coefficients", "prototypes"),
    Task.SEMANTIC: ("logits",),
    Task.CLASSIFICATION: ("logits",),
}

METADATA_KEY = "tintype"
"""Of the ONNX file's metadata: the JSON of ``Signature``."""


@dataclass(frozen=True, slots=True)
class Signature:
    """How to feed a model and to read its answers; travels inside its ONNX file and its checkpoint."""

    task: Task
    pipeline: str
    classes: tuple[str, ...]
    image_size: int
    """S, in pixels."""
    nms_iou: float | None = None
    """Of one class, above which the weaker box goes; None for networks that give each object once."""
    multi_label: bool = False
    """Classification: several classes may hold (sigmoid) instead of one (softmax)."""

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "task": self.task.value, "classes": list(self.classes)}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Signature:
        """What ``as_json`` gave."""
        return cls(**{**found, "task": Task(found["task"]), "classes": tuple(found["classes"])})
