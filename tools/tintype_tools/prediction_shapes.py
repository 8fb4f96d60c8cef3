"""Predictions about pictures and videos as agents see them: objects, where, when, what, with which options.

One shape serves both media. Boxes are left, top, right, bottom as shares of width and height, 0 to 1; times
are microseconds from the beginning of the video, ranges inclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.annotations.geometry import BoundingBox, Point, PolygonGeometry
from tintype_studio.predictions.drafts import pixel_box
from tintype_studio.predictions.moments import evenly, is_about_the_whole
from tintype_studio.predictions.shapes import (
    CategoryPrediction,
    Choice,
    MediaPrediction,
    Observation,
    PredictedObject,
    name_id,
)
from tintype_studio.predictions.task import PredictionTask
from tintype_tools.spec import Result

SAMPLED = 5
"""Observations of one object that ``sampled`` tells."""
MAX_TIMELINE = 200
"""Of longer timelines only ``all`` tells every frame."""
DIGITS = 4
MICROSECONDS = 1_000_000

TaskId = Annotated[str, Field(description="prediction_task_uuid of the prediction.", max_length=80)]
Detail = Annotated[
    Literal["none", "sampled", "all"],
    Field(description=f"Boxes of a video's object: none, up to {SAMPLED} spread over it, or every frame's."),
]


class TimestampRange(Result):
    """When an object was on screen, in microseconds, both ends inclusive."""

    timestamp_start_us_inclusive: int
    timestamp_end_us_inclusive: int


class ScoredTimestampRange(TimestampRange):
    """When an option held; ``score`` is the mean of its scores in the frames of the range."""

    score: float


class BboxObservation(Result):
    """A box: left, top, right, bottom from 0 to 1."""

    normalized_bbox: list[float]
    bbox_score: float


class VideoBboxObservation(Result):
    """An object in one frame of a video. Without an observation it was there, and the model missed it."""

    timestamp_microseconds: int
    observation: BboxObservation | None = None


class AttributePrediction(Result):
    """A chosen option: of a picture with a score, of a video with ranges. If it changes, another entry of
    the same attribute follows.
    """

    attribute_id: int
    attribute_name: str
    option_id: int
    option_name: str
    score: float | None = None
    timestamp_ranges: list[ScoredTimestampRange] | None = None


class CategoryShape(Result):
    """What an object is."""

    category_id: int
    name: str
    score: float
    attributes: list[AttributePrediction]


class DetectedObject(Result):
    """An object. Of a picture: its box, the same in pixels, and the outline, where the model gives one. Of a
    video: when it was there, its boxes (all, some or none of ``observation_count``), and in how many frames
    it was missed (``gap_count``).
    """

    object_id: int
    bbox_observation: BboxObservation | None = None
    bounding_box: BoundingBox | None = None
    polygon: PolygonGeometry | None = None
    timestamp_ranges: list[TimestampRange] | None = None
    bbox_observations: list[VideoBboxObservation] | None = None
    observation_count: int | None = None
    gap_count: int | None = None
    categories: list[CategoryShape]


class PredictionStatus(Result):
    """Where a task stands: awaiting_upload, queued, processing, predicted, or failed_ and why. At
    ``expires_at`` task, file and result are forgotten.
    """

    prediction_task_uuid: str
    status: str
    media: str
    original_file_name: str | None = None
    model: str | None = None
    frames_per_second: int | None = None
    done: int | None = None
    total: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    job_id: str | None = None
    created_at: datetime
    finished_at: datetime | None = None
    expires_at: datetime

    @classmethod
    def of(cls, task: PredictionTask) -> PredictionStatus:
        """From the platform's task."""
        done, total = task.progress
        return cls(
            prediction_task_uuid=task.id,
            status=task.word,
            media=task.media,
            original_file_name=task.file_name,
            model=task.facts.get("predicted_by") or task.model,
            frames_per_second=task.frames_per_second,
            done=done if task.job_id else None,
            total=total,
            error_code=task.error_code,
            error_message=task.error_message,
            job_id=task.job_id,
            created_at=task.created_at,
            finished_at=task.finished_at,
            expires_at=task.expires_at,
        )


class Answer(Result):
    """What was predicted. Sizes in pixels, upright. ``frame_timestamps_microseconds`` are all looked-at
    frames of a video, also those without objects; a long list comes only with observations=all.
    """

    width: int
    height: int
    duration_seconds: float | None = None
    frame_count: int | None = None
    frame_timestamps_microseconds: list[int] | None = None
    object_count: int
    objects: list[DetectedObject]


def answer_of(
    prediction: MediaPrediction,
    *,
    observations: Literal["none", "sampled", "all"] = "sampled",
    object_id: int | None = None,
    span: tuple[int, int] | None = None,
) -> Answer:
    """The prediction, whole or only one object, whole or only a span of time in microseconds.

    Of a span, objects that were there in it are told, with their observations in it.
    """
    times = prediction.frame_timestamps_us
    found: Sequence[PredictedObject] = prediction.objects
    if object_id is not None:
        found = [each for each in found if each.object_id == object_id]
    if span is not None and prediction.media == "video":
        start, end = span
        times = [time for time in times if start <= time <= end]
        found = [each for each in found if any(r.start_us <= end and r.end_us >= start for r in each.ranges)]
    if prediction.media == "image":
        return Answer(
            width=prediction.width,
            height=prediction.height,
            object_count=len(found),
            objects=[_of_picture(each, prediction) for each in found],
        )
    told = observations == "all" or len(times) <= MAX_TIMELINE
    return Answer(
        width=prediction.width,
        height=prediction.height,
        duration_seconds=None
        if prediction.duration_us is None
        else round(prediction.duration_us / MICROSECONDS, 3),
        frame_count=len(times),
        frame_timestamps_microseconds=list(times) if told else None,
        object_count=len(found),
        objects=[_of_video(each, observations, span) for each in found],
    )


def _of_picture(found: PredictedObject, prediction: MediaPrediction) -> DetectedObject:
    (seen,) = found.observations
    box = _box(seen)
    width, height = prediction.width, prediction.height
    polygon = None
    if seen.rings:
        paths = [[Point(x=round(x * width, 2), y=round(y * height, 2)) for x, y in r] for r in seen.rings]
        polygon = PolygonGeometry(paths=paths)
    return DetectedObject(
        object_id=found.object_id,
        bbox_observation=box,
        bounding_box=None
        if seen.box is None or is_about_the_whole(found)
        else pixel_box(seen.box, width, height),
        polygon=polygon,
        categories=[_category(each, video=False) for each in found.categories],
    )


def _of_video(
    found: PredictedObject, observations: Literal["none", "sampled", "all"], span: tuple[int, int] | None
) -> DetectedObject:
    seen = found.observations
    if span is not None:
        seen = [each for each in seen if span[0] <= each.timestamp_us <= span[1]]
    count, gaps = len(seen), sum(each.box is None for each in seen)
    if observations == "sampled" and count > SAMPLED:
        boxed = {each.timestamp_us: each for each in seen if each.box is not None}
        seen = [boxed[time] for time in evenly(sorted(boxed), SAMPLED)]
    return DetectedObject(
        object_id=found.object_id,
        timestamp_ranges=[
            TimestampRange(timestamp_start_us_inclusive=r.start_us, timestamp_end_us_inclusive=r.end_us)
            for r in found.ranges
        ],
        bbox_observations=None
        if observations == "none"
        else [
            VideoBboxObservation(timestamp_microseconds=each.timestamp_us, observation=_box(each))
            for each in seen
        ],
        observation_count=count,
        gap_count=gaps,
        categories=[_category(each, video=True) for each in found.categories],
    )


def _box(seen: Observation) -> BboxObservation | None:
    if seen.box is None:
        return None
    corners = [round(min(1.0, max(0.0, value)), DIGITS) for value in seen.box]
    return BboxObservation(normalized_bbox=corners, bbox_score=round(seen.score or 0.0, DIGITS))


def _category(found: CategoryPrediction, *, video: bool) -> CategoryShape:
    return CategoryShape(
        category_id=name_id(found.name),
        name=found.name,
        score=round(found.score, DIGITS),
        attributes=[_attribute(found.name, each, video=video) for each in found.attributes],
    )


def _attribute(category: str, choice: Choice, *, video: bool) -> AttributePrediction:
    spans = [
        ScoredTimestampRange(
            timestamp_start_us_inclusive=r.start_us,
            timestamp_end_us_inclusive=r.end_us,
            score=round(r.score, DIGITS),
        )
        for r in choice.ranges
    ]
    return AttributePrediction(
        attribute_id=name_id(category, choice.attribute),
        attribute_name=choice.attribute,
        option_id=name_id(category, choice.attribute, choice.option),
        option_name=choice.option,
        score=spans[0].score if spans and not video else None,
        timestamp_ranges=spans if video else None,
    )
