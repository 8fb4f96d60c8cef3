"""Predictions of trained models, and their figures, as agents see them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tintype_studio.jobs.job import Job
from tintype_tools.call import Call
from tintype_tools.spec import Result

MAX_ANSWERS = 5000
PAGE = 500

ModelId = Annotated[str, Field(description="UUID of the model.", max_length=80)]
Confidence = Annotated[float, Field(ge=0, le=1, description="Objects below it are left out.")]
Split = Literal["test", "val", "train", "all"]
OfSplit = Annotated[Split, Field(description="As divided for the training; else the images' own splits.")]


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
