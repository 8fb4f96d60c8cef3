"""One picture, asked about: what is in it, as a prediction.

A model that classifies whole pictures gives one object, the picture, whose categories are its classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tintype_studio.predictions.models import PredictionModel
from tintype_studio.predictions.shapes import (
    CategoryPrediction,
    Choice,
    Corners,
    MediaPrediction,
    Observation,
    PredictedObject,
    ScoredRange,
    TimeRange,
)

if TYPE_CHECKING:
    from tintype_studio.storage.blobs import Blobs
    from tintype_studio.vision.detect.protocol import Detection
    from tintype_studio.vision.infer.answer import ImageAnswer
    from tintype_studio.vision.infer.shapes import Shape

MAX_OBJECTS = 300
MAX_CATEGORIES = 20
FLOOR = 0.05
"""Objects below this score are not even spoken of."""
WHOLE: Corners = (0.0, 0.0, 1.0, 1.0)
NOW = [TimeRange(0, 0)]


@dataclass(frozen=True, slots=True)
class Eye:
    """A model, trained here or an engine with weights, as plain data: so that another process can open it."""

    label: str
    """What answers carry: ``<name>@<version>``, or the engine."""
    onnx_sha256: str | None = None
    heads_sha256: str | None = None
    """Of the network that chooses attributes."""
    weights: str | None = None
    """Folder or hub id of an open-vocabulary detector."""
    objects: tuple[str, ...] = ()
    """What that one is to find."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model says about a picture."""

    prediction: MediaPrediction
    best: float | None
    """The highest score seen, also below the threshold."""
    seconds: float
    """That the model took."""


def eye_of(found: PredictionModel, objects: Sequence[str], weights: str | None) -> Eye:
    """What opens a model. ``weights`` is the open-vocabulary detector that the operator has configured."""
    if found.model is None:
        return Eye(found.label, weights=weights, objects=tuple(objects))
    return Eye(found.label, found.model.onnx_sha256, found.model.heads_sha256)


def look(
    blobs: Blobs,
    eye: Eye,
    image: bytes,
    *,
    threshold: float,
    most: int = MAX_OBJECTS,
    check: Callable[[], None] = lambda: None,
) -> Seen:
    """What is in an image file: up to ``most`` objects scored the threshold or more, best first.

    Raises InvalidImage and its kin for a file that does not open, and Unavailable when the model's files are
    gone (``model_file_missing``, ``weights_missing`` …) or it breaks (``engine_failed``).
    """
    from tintype_studio.media.inspect import open_header
    from tintype_studio.vision.infer.answer import ask

    _, info = open_header(image)
    width, height = info.width, info.height
    if eye.onnx_sha256 is None:
        started = time.perf_counter()
        found = _by_words(blobs, eye, image, min(FLOOR, threshold), check)
        best = max((each.score for each in found), default=None)
        kept = [each for each in found if each.score >= threshold][:most]
        objects = [_detected(number, each, width, height) for number, each in enumerate(kept, 1)]
        seconds = round(time.perf_counter() - started, 4)
    else:
        answer = ask(
            blobs,
            eye.onnx_sha256,
            image,
            threshold=threshold,
            max_detections=most,
            heads_sha256=eye.heads_sha256,
            check=check,
        )
        objects, best, seconds = objects_of(answer, width, height), answer.best, answer.inference_time
    return Seen(MediaPrediction("image", eye.label, width, height, objects), best, seconds)


def look_at_file(blob_url: str, eye: Eye, path: str, threshold: float) -> bytes:
    """``look`` at a file, as ``MediaPrediction.as_json``. Runs in a child; models stay open between calls."""
    from tintype_studio.storage.blobs import Blobs

    seen = look(Blobs(blob_url), eye, Path(path).read_bytes(), threshold=threshold)
    return seen.prediction.as_json()


def objects_of(answer: ImageAnswer, width: int, height: int) -> list[PredictedObject]:
    """The objects of an answer about a picture of that size in pixels."""
    if answer.scores:
        if answer.status != "success":
            return []
        categories = [CategoryPrediction(name, score) for name, score in answer.scores[:MAX_CATEGORIES]]
        return [PredictedObject(1, NOW, [Observation(0, WHOLE, answer.scores[0][1])], categories)]
    return [_shaped(number, shape, width, height) for number, shape in enumerate(answer.shapes, 1)]


def _shaped(number: int, shape: Shape, width: int, height: int) -> PredictedObject:
    box = shape.box
    corners = _shares((box.x, box.y, box.x + box.w, box.y + box.h), width, height)
    rings = None
    if shape.polygon is not None:
        rings = [
            [(_share(point.x, width), _share(point.y, height)) for point in ring]
            for ring in shape.polygon.paths
        ]
    choices = [
        Choice(attribute, option, [ScoredRange(0, 0, score)])
        for attribute, (option, score, _) in (shape.choices or {}).items()
    ]
    category = CategoryPrediction(shape.name, shape.score, choices)
    return PredictedObject(number, NOW, [Observation(0, corners, shape.score, rings)], [category])


def _detected(number: int, found: Detection, width: int, height: int) -> PredictedObject:
    box = found.box
    corners = _shares((box.x, box.y, box.x + box.w, box.y + box.h), width, height)
    return PredictedObject(
        number, NOW, [Observation(0, corners, found.score)], [CategoryPrediction(found.name, found.score)]
    )


def _by_words(
    blobs: Blobs, eye: Eye, image: bytes, threshold: float, check: Callable[[], None]
) -> list[Detection]:
    import numpy as np

    from tintype_studio.media.decode import decode_upright
    from tintype_studio.vision.detect.chain import DetectorSettings, EngineSpec, open_engine

    engine = open_engine(EngineSpec("open_vocabulary", DetectorSettings(eye.weights)), blobs, check)
    pixels = np.asarray(decode_upright(image), np.uint8)
    check()
    return engine.detect(pixels, eye.objects, threshold=threshold, max_detections=MAX_OBJECTS)


def _shares(corners: Corners, width: int, height: int) -> Corners:
    left, top, right, bottom = corners
    return _share(left, width), _share(top, height), _share(right, width), _share(bottom, height)


def _share(value: float, whole: int) -> float:
    return min(1.0, max(0.0, value / whole))
