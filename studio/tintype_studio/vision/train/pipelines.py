"""The six pipelines: what each makes, and how it is trained unless a configuration says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.tasks import Task

MIN_IMAGES = 5


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline of the seed. ``trainer`` is ``module:class`` of its ``Trainer``."""

    name: str
    task: Task
    trainer: str
    image_size: int
    """Pixels; a multiple of 32."""
    batch_size: int
    learning_rate: float
    epochs: int


_TRAINERS = "tintype_studio.vision.train.trainers"

PIPELINES: dict[str, Pipeline] = {
    p.name: p
    for p in (
        Pipeline("yolox", Task.DETECTION, f"{_TRAINERS}.yolox:Yolox", 320, 8, 2e-3, 50),
        Pipeline(
            "rfdetr_detection",
            Task.DETECTION,
            f"{_TRAINERS}.rfdetr_detection:RfDetrDetection",
            256,
            8,
            1e-3,
            50,
        ),
        Pipeline("detectron2", Task.INSTANCES, f"{_TRAINERS}.detectron2:Detectron2", 256, 8, 2e-3, 50),
        Pipeline(
            "rfdetr_segmentation",
            Task.INSTANCES,
            f"{_TRAINERS}.rfdetr_segmentation:RfDetrSegmentation",
            256,
            8,
            1e-3,
            50,
        ),
        Pipeline("sm_pytorch", Task.SEMANTIC, f"{_TRAINERS}.sm_pytorch:SmPytorch", 256, 8, 2e-3, 50),
        Pipeline(
            "classification",
            Task.CLASSIFICATION,
            f"{_TRAINERS}.classification:Classification",
            128,
            16,
            2e-3,
            50,
        ),
    )
}


def pipeline_of(name: str) -> Pipeline:
    """The pipeline of that name, or ``InvalidInput`` with the names."""
    try:
        return PIPELINES[name]
    except KeyError:
        raise InvalidInput(
            f"Pipeline {name[:60]!r} is unknown.",
            code="unknown_pipeline",
            fix=f"Use one of: {', '.join(PIPELINES)}.",
        ) from None
