"""Predictions of trained models, and their figures, as agents see them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tintype_studio.annotations.geometry import BoundingBox, PolygonGeometry
from tintype_studio.vision.infer.shapes import Shape
from tintype_tools.spec import Result

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


def rounded(value: Any) -> Any:
    """Figures with four digits after the point, wherever they stand."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return value
