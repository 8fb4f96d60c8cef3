"""Where annotations lie in their picture: one that shares nothing with it marks nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tintype_studio.annotations.geometry import Annotation, enclosing_box, has_place


@dataclass(frozen=True, slots=True)
class Outside:
    """An annotation that lies wholly outside its picture. ``bounds``: x, y, width and height in pixels."""

    index: int
    """Its place in the list."""
    annotation: Annotation
    bounds: tuple[float, float, float, float]


def lies_beyond(left: float, top: float, right: float, bottom: float, width: float, height: float) -> bool:
    """Whether bounds share nothing with a picture of ``width`` x ``height``; all in pixels.

    Bounds with an area must share some; a point or an upright line may lie on the border.
    """
    if right > left and bottom > top:
        return right <= 0 or bottom <= 0 or left >= width or top >= height
    return right < 0 or bottom < 0 or left > width or top > height


def outside(annotations: Sequence[Annotation], width: int, height: int) -> list[Outside]:
    """Those that lie wholly outside a picture (upright pixels), not those that its border cuts off."""
    found: list[Outside] = []
    for index, annotation in enumerate(annotations):
        if not has_place(annotation):
            continue
        x, y, w, h = enclosing_box(annotation)
        if lies_beyond(x, y, x + w, y + h, width, height):
            found.append(Outside(index, annotation, (x, y, w, h)))
    return found
