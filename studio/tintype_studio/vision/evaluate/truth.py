"""What is true of an image that predictions are measured on. Importing this module loads nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Truth:
    """Coordinates are pixels of the same picture as those of the prediction: the original or the square."""

    width: int
    height: int
    boxes: NDArray[np.floating]
    """``[M, 4]``: left, top, right, bottom. Not looked at where only labels or polygons count."""
    labels: NDArray[np.integer]
    """``[M]``: index of each object's class; for classification the image's class, or its classes."""
    polygons: Sequence[Sequence[NDArray[np.floating]]] = field(default=())
    """For each object its rings ``[P, 2]``, filled even-odd; an object without rings is its box. Where they
    overlap, semantic segmentation takes the later one.
    """
    options: Sequence[Mapping[str, str]] = field(default=())
    """For each object its options by attribute, where attributes are measured."""
