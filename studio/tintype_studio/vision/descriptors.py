"""The embedded descriptor: layout, edges and colours of a whole picture, without weights.

It finds pictures that look alike (the same place, the same object on the same ground, the same colours),
not pictures that mean the same. Chosen by measurement: on crops of half the area of 29 photographs under
other light and compression, mAP is 0.73 beside 0.58 for HOG alone and 0.54 for the colour layout alone; on
generated scenes 0.83 beside 0.53 and 0.65.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "tintype-layout"
VERSION = "1"

_SIDE = 64
_CELLS = 4
_ORIENTATIONS = 9
_COLOURS = (4, 6, 6)
"""Bins of lightness, green to red, blue to yellow."""
_COLOUR_RANGE = ((0.0, 100.0), (-60.0, 60.0), (-60.0, 60.0))
_LAYOUT_WEIGHT = 0.6

DIMENSIONS = _CELLS * _CELLS * _ORIENTATIONS + _COLOURS[0] * _COLOURS[1] * _COLOURS[2] + _CELLS * _CELLS * 3


class LayoutEmbedder:
    """Three parts in one vector: oriented gradients in 4 x 4 cells (Dalal and Triggs' HOG, centred so that
    unrelated pictures are near 0), a Lab histogram (square root, after Hellinger), and 4 x 4 mean colours.
    """

    name = f"{NAME}@{VERSION}"
    dimensions = DIMENSIONS
    side = 480

    def embed(self, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See ``Embedder``."""
        import numpy as np

        if not pictures:
            return np.zeros((0, DIMENSIONS), np.float32)
        return np.stack([_describe(picture) for picture in pictures])


def _describe(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2
    import numpy as np

    small = np.asarray(cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    lab = np.asarray(cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    layout = np.array(cv2.resize(lab, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA), np.float32)
    # Light changes more than colour does from one picture of a thing to the next.
    layout[..., 0] = (layout[..., 0] - 50) * 0.7
    parts = [
        _unit(_gradients(small)),
        _unit(_histogram(lab)),
        _LAYOUT_WEIGHT * _unit(layout.ravel()),
    ]
    return _unit(np.concatenate(parts)).astype(np.float32)


def _gradients(small: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
    import cv2
    import numpy as np

    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)).astype(np.float32) / 255
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=1)
    strength = np.hypot(across, down)
    angle = (np.arctan2(down, across) % np.pi) / np.pi * _ORIENTATIONS
    lower = np.floor(angle).astype(np.int64)
    share = angle - lower
    rows, columns = np.mgrid[:_SIDE, :_SIDE] // (_SIDE // _CELLS)
    cell = (rows * _CELLS + columns) * _ORIENTATIONS
    count = _CELLS * _CELLS * _ORIENTATIONS
    sums = np.bincount(
        (cell + lower % _ORIENTATIONS).ravel(), weights=(strength * (1 - share)).ravel(), minlength=count
    ) + np.bincount(
        (cell + (lower + 1) % _ORIENTATIONS).ravel(), weights=(strength * share).ravel(), minlength=count
    )
    # Under noise alone a plain picture has no direction; its root would make one of nothing.
    roots: NDArray[np.floating[Any]] = np.sqrt(sums)
    centred: NDArray[np.floating[Any]] = roots - roots.mean()
    return centred


def _histogram(lab: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    import numpy as np

    index = np.zeros(lab.shape[:2], np.int64)
    for channel, (bins, (low, high)) in enumerate(zip(_COLOURS, _COLOUR_RANGE, strict=True)):
        place = ((lab[..., channel] - low) / (high - low) * bins).astype(np.int64)
        index = index * bins + np.clip(place, 0, bins - 1)
    roots: NDArray[np.floating[Any]] = np.sqrt(np.bincount(index.ravel(), minlength=int(np.prod(_COLOURS))))
    return roots


def _unit(vector: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    import numpy as np

    unit: NDArray[np.floating[Any]] = vector / (float(np.linalg.norm(vector)) + 1e-9)
    return unit
