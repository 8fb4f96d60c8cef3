"""What a model says about a picture or a video: objects with places, categories and attributes over time.

Times are microseconds from the beginning of the video, ranges are inclusive at both ends; in a picture every
time is 0. Boxes are (left, top, right, bottom) as shares of width and height of the upright picture, 0 to 1.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson

Media = Literal["image", "video"]
Corners = tuple[float, float, float, float]

_ID_BITS = 52
"""Of the ids of names: what every JSON reader keeps exactly."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A span of time."""

    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class ScoredRange:
    """A span in which an option held; ``score`` is the mean over its frames, 0 to 1."""

    start_us: int
    end_us: int
    score: float


@dataclass(frozen=True, slots=True)
class Observation:
    """Where an object was in one frame. Without a box: it was there, and the model did not see it."""

    timestamp_us: int
    box: Corners | None = None
    score: float | None = None
    rings: list[list[tuple[float, float]]] | None = None
    """The outline, as shares of width and height; of pictures only, and of models that give masks."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An option of an attribute, and when it held. Another option of the same attribute is another choice."""

    attribute: str
    option: str
    ranges: list[ScoredRange]


@dataclass(frozen=True, slots=True)
class CategoryPrediction:
    """What an object is. ``score`` is the mean over the frames in which it was seen."""

    name: str
    score: float
    attributes: list[Choice] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PredictedObject:
    """One object. Categories are best first; observations in the order of time, one for each looked-at frame
    of its ranges.
    """

    object_id: int
    """From 1, in the order of appearance (in a picture: best first)."""
    ranges: list[TimeRange]
    observations: list[Observation]
    categories: list[CategoryPrediction]


@dataclass(frozen=True, slots=True)
class MediaPrediction:
    """The whole answer about one picture or video."""

    media: Media
    model: str
    """``name@version``, or the engine."""
    width: int
    height: int
    """Pixels of the upright picture."""
    objects: list[PredictedObject]
    frames_per_second: int | None = None
    """Of a video: as it was asked for."""
    frame_timestamps_us: list[int] = field(default_factory=list)
    """Of a video: every frame that was looked at, sorted."""
    duration_us: int | None = None
    """Of a video."""

    def as_json(self) -> bytes:
        """As it is stored."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> MediaPrediction:
        """What ``as_json`` gave."""
        found = orjson.loads(data)
        return cls(**{**found, "objects": [_object(each) for each in found["objects"]]})


def _object(found: dict[str, Any]) -> PredictedObject:
    return PredictedObject(
        found["object_id"],
        [TimeRange(**each) for each in found["ranges"]],
        [_observation(each) for each in found["observations"]],
        [_category(each) for each in found["categories"]],
    )


def _observation(found: dict[str, Any]) -> Observation:
    box, rings = found["box"], found["rings"]
    return Observation(
        found["timestamp_us"],
        None if box is None else (box[0], box[1], box[2], box[3]),
        found["score"],
        None if rings is None else [[(x, y) for x, y in ring] for ring in rings],
    )


def _category(found: dict[str, Any]) -> CategoryPrediction:
    choices = [
        Choice(each["attribute"], each["option"], [ScoredRange(**span) for span in each["ranges"]])
        for each in found["attributes"]
    ]
    return CategoryPrediction(found["name"], found["score"], choices)


def name_id(*names: str) -> int:
    """The id of a category (its name), an attribute (category, attribute) or an option (category, attribute,
    option): the same in every answer of every model, positive, and exact in JSON.
    """
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - _ID_BITS) or 1
