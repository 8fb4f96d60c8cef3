"""Predictions whose content is known, as tasks that are predicted, without any model."""

from __future__ import annotations

from pathlib import Path

from tintype_studio.identity.keys import Principal
from tintype_studio.predictions.asking import PredictionRequest
from tintype_studio.predictions.shapes import (
    CategoryPrediction,
    Choice,
    MediaPrediction,
    Observation,
    PredictedObject,
    ScoredRange,
    TimeRange,
)
from tintype_studio.predictions.task import PredictionTask, Subject
from tintype_studio.studio import Studio

SECOND = 1_000_000
MODEL = "lights@1.0.0"


def light(number: int = 1) -> PredictedObject:
    """A traffic light from 0 to 3 s that goes from green to red at 2 s, and is missed at 1 s."""
    boxes = [(0.1 + 0.1 * n, 0.2, 0.3 + 0.1 * n, 0.6) for n in range(4)]
    return PredictedObject(
        number,
        [TimeRange(0, 3 * SECOND)],
        [
            Observation(n * SECOND) if n == 1 else Observation(n * SECOND, box, 0.9 - 0.1 * n)
            for n, box in enumerate(boxes)
        ],
        [
            CategoryPrediction(
                "light",
                0.8,
                [
                    Choice("state", "green", [ScoredRange(0, SECOND, 0.85)]),
                    Choice("state", "red", [ScoredRange(2 * SECOND, 3 * SECOND, 0.71)]),
                ],
            ),
            CategoryPrediction("sign", 0.1),
        ],
    )


def car(number: int = 2) -> PredictedObject:
    """A car that is there at 0 s, and again at 3 s."""
    box = (0.5, 0.5, 0.75, 1.0)
    return PredictedObject(
        number,
        [TimeRange(0, 0), TimeRange(3 * SECOND, 3 * SECOND)],
        [Observation(0, box, 0.6), Observation(3 * SECOND, box, 0.4)],
        [CategoryPrediction("car", 0.5)],
    )


def of_video(
    *objects: PredictedObject, seconds: int = 5, size: tuple[int, int] = (320, 96)
) -> MediaPrediction:
    """About a clip of ``support.videos`` at one frame a second; the last frames are empty."""
    return MediaPrediction(
        "video",
        MODEL,
        *size,
        list(objects) or [light(), car()],
        frames_per_second=1,
        frame_timestamps_us=[n * SECOND for n in range(seconds)],
        duration_us=seconds * SECOND,
    )


def of_picture(size: tuple[int, int] = (200, 100)) -> MediaPrediction:
    """A light with a box and a state, and a sign with an outline with a hole."""
    outer = [(0.5, 0.1), (0.9, 0.1), (0.9, 0.9), (0.5, 0.9)]
    hole = [(0.6, 0.3), (0.7, 0.3), (0.7, 0.5)]
    return MediaPrediction(
        "image",
        MODEL,
        *size,
        [
            PredictedObject(
                1,
                [TimeRange(0, 0)],
                [Observation(0, (0.1, 0.2, 0.3, 0.6), 0.9)],
                [CategoryPrediction("light", 0.9, [Choice("state", "red", [ScoredRange(0, 0, 0.7)])])],
            ),
            PredictedObject(
                2,
                [TimeRange(0, 0)],
                [Observation(0, (0.5, 0.1, 0.9, 0.9), 0.5, [outer, hole])],
                [CategoryPrediction("sign", 0.5)],
            ),
        ],
    )


def recorded(
    studio: Studio, owner: Principal, file: Path, prediction: MediaPrediction, *, image: str | None = None
) -> PredictionTask:
    """A predicted task about a file of this machine, or an image of a dataset."""
    subject = Subject(local=str(file)) if image is None else Subject(image=image)
    request = PredictionRequest(
        "lights",
        media=prediction.media,
        subject=subject,
        file_name=file.name,
        frames_per_second=prediction.frames_per_second,
    )
    return studio.predictions.record(owner, request, prediction)
