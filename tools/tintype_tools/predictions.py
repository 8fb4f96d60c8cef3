"""Predictions of trained models, and their figures, as agents see them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tintype_studio.annotations.geometry import BoundingBox, PolygonGeometry
from tintype_studio.jobs.job import Job
from tintype_studio.vision.infer.shapes import Shape
from tintype_tools.call import Call
from tintype_tools.spec import Result

MAX_ANSWERS = 5000
PAGE = 500

ModelId = Annotated[str, Field(description="UUID of the model.", max_length=80)]
Confidence = Annotated[float, Field(ge=0, le=1, description="Objects below it are left out.")]
Split = Literal["test", "val", "train", "all"]
OfSplit = Annotated[Split, Field(description="As divided for the training; else the images' own splits.")]


class PredictionShape(Result):
    """An object or region. Boxes in pixels, and as left, top, right, bottom from 0 to 1."""

    object_id: int
    name: str
    confidence: float
    bounding_box: BoundingBox
    normalized_box: list[float]
    polygon: PolygonGeometry | None = None

    @classmethod
    def of(cls, number: int, shape: Shape, width: int, height: int) -> PredictionShape:
        """From the platform's shape, in an image of that size."""
        box = shape.box
        corners = (box.x / width, box.y / height, (box.x + box.w) / width, (box.y + box.h) / height)
        return cls(
            object_id=number,
            name=shape.name,
            confidence=shape.score,
            bounding_box=box,
            normalized_box=[round(min(1.0, max(0.0, value)), 5) for value in corners],
            polygon=shape.polygon,
        )


class ScoreShape(Result):
    """A class of a whole image."""

    name: str
    confidence: float


class ImageClasses(Result):
    """The best classes of a whole image."""

    image_uuid: str
    classes: list[ScoreShape]


def answers_of(job: Job, call: Call, *, best: int | None = None) -> list[ImageClasses]:
    """What a model that classifies whole images has answered in a job, so many classes of each image; none
    of another kind of model.
    """
    found: list[ImageClasses] = []
    after: str | None = None
    while len(found) < MAX_ANSWERS and (
        page := call.studio.jobs.items(job, outcome="done", limit=PAGE, after=after)
    ):
        for item in page:
            scores: dict[str, float] = item.detail.get("scores") or {}
            classes = [ScoreShape(name=name, confidence=score) for name, score in scores.items()]
            if classes:
                found.append(ImageClasses(image_uuid=item.key, classes=classes[:best]))
        if not found:  # another kind of model: no item of it has scores
            break
        after = page[-1].key
    return found


def rounded(value: Any) -> Any:
    """Figures with four digits after the point, wherever they stand."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return value
