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
