"""One image, asked about by a trained model: a service for calls that wait for the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tintype_studio.vision.tasks import Task

if TYPE_CHECKING:
    from tintype_studio.storage.blobs import Blobs
    from tintype_studio.vision.heads import Choices
    from tintype_studio.vision.infer.shapes import Shape

FLOOR = 0.05
"""Objects below this score are not even spoken of."""


@dataclass(frozen=True, slots=True)
class ImageAnswer:
    """What a model sees in an image; time in seconds."""

    status: Literal["success", "no_detection", "below_threshold"]
    shapes: list[Shape]
    """Objects or regions scored at least the threshold, best first."""
    scores: list[tuple[str, float]]
    """Of a model that classifies whole images: every class, best first."""
    best: float | None
    """The highest score seen, also below the threshold."""
    inference_time: float


def ask(
    blobs: Blobs,
    onnx_sha256: str,
    image: bytes,
    *,
    threshold: float,
    max_detections: int,
    heads_sha256: str | None = None,
    check: Callable[[], None] = lambda: None,
) -> ImageAnswer:
    """Ask a model about an image file, and its attribute heads about the objects that are told.

    Raises InvalidImage for a file that does not open, NotFound (``blob_missing``) when the model's bytes are
    gone, and Unavailable (``engine_failed``) when it breaks.
    """
    from tintype_studio.vision.infer.model import open_model
    from tintype_studio.vision.infer.shapes import chosen_for, framed, ranked, shapes_of

    model = open_model(blobs, onnx_sha256)
    check()
    pixels, across, down = framed(image)
    check()
    started = time.perf_counter()
    least = min(FLOOR, threshold)
    (seen,) = model.predict([pixels], threshold=least, max_detections=max_detections, check=check)
    if model.signature.task is Task.CLASSIFICATION:
        scores = ranked(model.signature, seen)
        enough = scores[0][1] >= threshold
        status: Literal["success", "below_threshold"] = "success" if enough else "below_threshold"
        return ImageAnswer(status, [], scores, scores[0][1], _since(started))
    best = max((found.score for found in seen.objects), default=None)
    # Outlines take longer than finding does: only those that are told are made.
    seen.objects[:] = [found for found in seen.objects if found.score >= threshold]
    choices: list[Choices] = []
    if heads_sha256 is not None:
        from tintype_studio.vision.infer.heads import open_heads

        choices = chosen_for(open_heads(blobs, heads_sha256), model.signature, seen, pixels, check)
    shapes = shapes_of(model.signature, seen, across=across, down=down, most=max_detections, choices=choices)
    if model.signature.task is Task.SEMANTIC:
        best = max((shape.score for shape in shapes), default=None)
        shapes = [shape for shape in shapes if shape.score >= threshold]
    if shapes:
        return ImageAnswer("success", shapes, [], best, _since(started))
    nothing = best is None
    return ImageAnswer("no_detection" if nothing else "below_threshold", [], [], best, _since(started))


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 4)
