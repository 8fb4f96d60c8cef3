"""The one way in which a picture is made to fit a network's square input; training and inference share it.

The longest side becomes the square's, the picture lies at the top left, the rest is grey. So a position in
the picture times ``scale`` is a position in the square, on both axes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.errors import InvalidInput

FILL = 114
"""Grey of the rest, 0 to 255."""


def scale_of(width: int, height: int, size: int) -> float:
    """Pixels of the square for each pixel of a ``width`` x ``height`` picture."""
    return size / max(width, height)


def letterbox(image: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], float]:
    """An image (H, W, 3) uint8 as a square (size, size, 3), and the pixels of the square for each of its own.

    Raises InvalidInput for an array of another kind, or an empty one.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InvalidInput("The image must be a (height, width, 3) array of uint8.")
    height, width = image.shape[:2]
    scale = scale_of(width, height, size)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    square = np.full((size, size, 3), FILL, np.uint8)
    if inner == (width, height):
        square[:height, :width] = image
    else:
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        square[: inner[1], : inner[0]] = cv2.resize(image, inner, interpolation=how)
    return square, scale
