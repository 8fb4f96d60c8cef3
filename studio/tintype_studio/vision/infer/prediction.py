"""What a model found in one image. Importing this module loads nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the image."""


@dataclass(frozen=True, slots=True)
class Found:
    """One object."""

    label: int
    """Index of its class in the signature."""
    score: float
    """0 to 1."""
    box: Corners
    """Within the image; never empty."""
    mask: NDArray[np.bool_] | None = None
    """Of the pixels of ``region``, (H, W); None where the model gives boxes only. May be empty of True."""

    @property
    def region(self) -> tuple[int, int, int, int]:
        """The box rounded outwards to whole pixels."""
        left, top, right, bottom = self.box
        return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


@dataclass(frozen=True, slots=True)
class Prediction:
    """An image's answer; which of the three parts is set follows from the task."""

    width: int
    height: int
    """Pixels of the image that coordinates belong to."""
    objects: list[Found] = field(default_factory=list)
    """Detection and instance segmentation: best first."""
    scores: NDArray[np.float32] | None = None
    """Classification: ``[C]``, after softmax (they sum to 1) or sigmoid (each 0 to 1)."""
    regions: NDArray[np.unsignedinteger] | None = None
    """Semantic segmentation: ``[height, width]``; 0 is the background, class i is i + 1. One byte each, as
    long as that is enough for the classes.
    """
    certainty: NDArray[np.float32] | None = None
    """Semantic segmentation: ``[height, width]``, how likely the class of each pixel is, 0 to 1."""
