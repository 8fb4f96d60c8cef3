"""What a vision engine must offer, without saying how: shapes of the questions and of the answers.

An engine is any object that fits the protocol; the embedded ones need no weights, larger ones are extras.
Importing this module loads neither numpy nor OpenCV.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tintype_studio.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIFFERENT = 0.7
"""IoU below which two answers to one prompt mean different things."""


@dataclass(frozen=True, slots=True)
class Point:
    """A position in pixels of the image; the top left pixel covers 0 to 1 both ways, fractions allowed."""

    x: float
    y: float

    @property
    def pixel(self) -> tuple[int, int]:
        """Column and row of the pixel it lies in."""
        return math.floor(self.x), math.floor(self.y)

    def require_inside(self, width: int, height: int) -> None:
        """Raise InvalidInput unless the point lies in an image of ``width`` x ``height`` pixels."""
        if not (0 <= self.x < width and 0 <= self.y < height):
            raise InvalidInput(
                f"The point ({self.x:g}, {self.y:g}) lies outside the image, which is {width} x {height} px.",
                code="point_outside",
                fix=f"Give points in pixels of the image: x from 0 to {width - 1}, y from 0 to {height - 1}.",
            )


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle in pixels of the image: top left corner, width and height; fractions allowed."""

    x: float
    y: float
    w: float
    h: float

    def require_area(self) -> None:
        """Raise InvalidInput if a number is not finite or if the box is empty."""
        if not all(math.isfinite(value) for value in (self.x, self.y, self.w, self.h)):
            raise InvalidInput("The box must be four finite numbers.")
        if self.w <= 0 or self.h <= 0:
            raise InvalidInput(f"The box is empty: its width is {self.w:g} and its height {self.h:g} px.")

    def clipped(self, width: int, height: int) -> Box:
        """The part of the box inside an image of ``width`` x ``height`` pixels.

        Raises InvalidInput if a number is not finite, if the box is empty or if it lies wholly outside.
        """
        self.require_area()
        left, top = max(self.x, 0.0), max(self.y, 0.0)
        right, bottom = min(self.x + self.w, float(width)), min(self.y + self.h, float(height))
        if right <= left or bottom <= top:
            raise InvalidInput(
                f"The box lies outside the image, which is {width} x {height} px.",
                fix="Give the box in pixels of the image, with x and y at its top left corner.",
            )
        return Box(left, top, right - left, bottom - top)


def require_points(positives: Sequence[Point], negatives: Sequence[Point], width: int, height: int) -> None:
    """Raise InvalidInput for points that no engine can answer in an image of that size in pixels."""
    if not positives:
        raise InvalidInput("There is no positive point.", fix="Give at least one point on the object.")
    for point in (*positives, *negatives):
        point.require_inside(width, height)
    both = {point.pixel for point in positives} & {point.pixel for point in negatives}
    if both:
        x, y = min(both)
        raise InvalidInput(
            f"The point ({x}, {y}) is positive and negative at once.",
            fix="Leave it out of one of the two lists.",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The pixels of one object.

    ``mask`` is (h, w) bool and covers only a part of the image: its top left pixel is pixel ``offset``
    (x, y) of the image. ``score`` is the engine's estimate, in 0..1, of the intersection over union with
    what a careful person would have drawn.
    """

    mask: NDArray[np.bool_]
    offset: tuple[int, int]
    score: float

    def iou(self, other: Segment) -> float:
        """Intersection over union with another segment of the same image."""
        import numpy as np

        (x, y), (u, v) = self.offset, other.offset
        left, top = max(x, u), max(y, v)
        right = min(x + self.mask.shape[1], u + other.mask.shape[1])
        bottom = min(y + self.mask.shape[0], v + other.mask.shape[0])
        common = 0
        if left < right and top < bottom:
            mine = self.mask[top - y : bottom - y, left - x : right - x]
            theirs = other.mask[top - v : bottom - v, left - u : right - u]
            common = int(np.count_nonzero(mine & theirs))
        union = int(np.count_nonzero(self.mask)) + int(np.count_nonzero(other.mask)) - common
        return common / union if union else 0.0

    def on_canvas(self, width: int, height: int) -> NDArray[np.bool_]:
        """The mask as (height, width) bool, for the whole image that it was made from."""
        import numpy as np

        canvas = np.zeros((height, width), dtype=np.bool_)
        x, y = self.offset
        rows, columns = self.mask.shape
        canvas[y : y + rows, x : x + columns] = self.mask
        return canvas


@runtime_checkable
class PromptSegmenter(Protocol):
    """Cuts out the object that a prompt points at. Implementations may be called from many threads."""

    @property
    def name(self) -> str:
        """A short stable name, stored with what the engine made."""
        ...

    def segment_box(
        self, image: NDArray[np.uint8], box: Box, negative_boxes: Sequence[Box] = ()
    ) -> Segment | None:
        """The object that fills ``box``, or None if no object can be told from its surroundings.

        ``image`` is (H, W, 3) uint8 RGB. A box that is partly outside is clipped. Nothing inside
        ``negative_boxes`` belongs to the object; those outside the image are ignored. The same arguments
        give the same answer. Raises InvalidImage for an image of another shape or type, and InvalidInput
        for an empty box (of either kind) or a ``box`` wholly outside the image.
        """
        ...

    def segment_points(
        self, image: NDArray[np.uint8], positives: Sequence[Point], negatives: Sequence[Point] = ()
    ) -> list[Segment]:
        """What the points may mean, best first, or nothing if no object can be told from its surroundings.

        ``image`` is as for ``segment_box``. Every segment holds the pixels of all ``positives``, which are
        on one object, and none of ``negatives``. The further segments are alternatives at other scales (the
        wheel, the car), clearly different from the first; each has its own score. Raises InvalidImage as
        ``segment_box`` does, and InvalidInput if there is no positive point, if a point is outside the
        image, or if a pixel is asked for both ways.
        """
        ...
