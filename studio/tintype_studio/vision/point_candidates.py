"""Candidate masks for clicks: what could be meant, at every scale from a few pixels to the whole picture.

A click names an object but not its size. Windows of growing size around the clicks, each reduced to about
``SIDE`` squared pixels, are searched twice: regions whose colour stays within a distance of the clicked
colours (CIELAB, several distances), and one graph cut between the clicked middle and the window's rim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.vision.graph_cut import (
    LIKELY_INSIDE,
    LIKELY_OUTSIDE,
    SURE_INSIDE,
    SURE_OUTSIDE,
    Image,
    Mask,
    cleaned,
    cut,
)
from tintype_studio.vision.mask_score import ColourModel
from tintype_studio.vision.protocols import Point

Window = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the image; the last two are outside."""
Spot = tuple[int, int]
"""Column and row in a reduced window."""

SIDE = 80
SMALLEST_HALF = 12.0
"""Pixels from the clicks to the rim of the smallest window."""
GROWTH = 1.8
SPREAD = 1.3
"""The smallest window reaches beyond the outermost clicks by this factor."""
MAX_SAMPLES = 4
"""Pixels of the image that are averaged, at most, along each side of a reduced pixel."""
DISTANCES = (5.0, 8.0, 12.0, 17.0, 24.0, 33.0, 45.0)
"""Colour distances, in Lab units as OpenCV scales them for 8 bits."""
REACH, CORE, DOT = 0.85, 0.35, 0.2
"""Shares of the window's half side: where a cut may end, what it starts from, what each click adds."""
FOREIGN = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A window around the clicks, reduced. ``rgb`` is (h, w, 3); the spots are inside it."""

    rgb: Image
    window: Window
    positives: tuple[Spot, ...]
    negatives: tuple[Spot, ...]
    colours: ColourModel

    @property
    def scale(self) -> float:
        """Reduced pixels per pixel of the image."""
        return float(self.rgb.shape[1] / (self.window[2] - self.window[0]))


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A mask (h, w) on a view; ``kind`` is how it was found."""

    mask: Mask
    view: int
    kind: str


def views_of(image: Image, positives: Sequence[Point], negatives: Sequence[Point]) -> list[View]:
    """Windows around the clicks, from small to the whole image."""
    height, width = image.shape[:2]
    xs, ys = [p.x for p in positives], [p.y for p in positives]
    middle = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    spread = max(max(xs) - min(xs), max(ys) - min(ys)) / 2
    half = max(SMALLEST_HALF, spread * SPREAD + 4)
    views = []
    while True:
        window = (
            max(0, math.floor(middle[0] - half)),
            max(0, math.floor(middle[1] - half)),
            min(width, math.floor(middle[0] + half) + 1),
            min(height, math.floor(middle[1] + half) + 1),
        )
        views.append(view_at(image, window, positives, negatives, SIDE))
        if window == (0, 0, width, height):
            return views
        half *= GROWTH


def view_at(
    image: Image, window: Window, positives: Sequence[Point], negatives: Sequence[Point], side: int
) -> View:
    """One window reduced to at most ``side`` squared pixels; never enlarged."""
    left, top, right, bottom = window
    crop = image[top:bottom, left:right]
    rows, columns = crop.shape[:2]
    scale = min(1.0, side / math.sqrt(rows * columns))
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    # A sixteenth of the pixels averages as well as all of them, and an 8k picture has very many.
    stride = max(1, int(1 / scale / MAX_SAMPLES))
    small = cv2.resize(crop[::stride, ::stride], size, interpolation=cv2.INTER_AREA) if scale < 1 else crop
    rgb = np.ascontiguousarray(small, dtype=np.uint8)

    def spot(point: Point) -> Spot:
        x = int((point.x - left) * size[0] / columns)
        y = int((point.y - top) * size[1] / rows)
        return min(max(x, 0), size[0] - 1), min(max(y, 0), size[1] - 1)

    inside = [p for p in negatives if left <= p.x < right and top <= p.y < bottom]
    return View(rgb, window, tuple(map(spot, positives)), tuple(map(spot, inside)), ColourModel(rgb))


def candidates_of(views: Sequence[View]) -> list[Candidate]:
    """Every candidate of every view; each holds the positive spots and none of the negative ones."""
    found = []
    for index, view in enumerate(views):
        for kind, mask in (*_floods(view), *_cuts(view)):
            kept = obeying(mask, view)
            if kept.any():
                found.append(Candidate(kept, index, kind))
    return found


def obeying(mask: Mask, view: View) -> Mask:
    """The components of ``mask`` at the positive spots; spots on the wrong side are moved, with a rim."""
    asked = mask.copy()
    for x, y in view.positives:
        asked[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
    for x, y in view.negatives:
        asked[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = False
    for x, y in view.positives:
        asked[y, x] = True
    _, labels = cv2.connectedComponents(asked.astype(np.uint8), connectivity=4)
    wanted = np.unique([labels[y, x] for x, y in view.positives])
    return np.asarray(np.isin(labels, wanted[wanted > 0]))


def _floods(view: View) -> Iterator[tuple[str, Mask]]:
    smooth = cv2.GaussianBlur(view.rgb, (0, 0), 1.0)
    lab = np.asarray(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB), dtype=np.float32)
    near = _distance(lab, view.positives)
    open_to = near <= _distance(lab, view.negatives) if view.negatives else np.True_
    kernel = np.ones((3, 3), np.uint8)
    size = -1
    for distance in DISTANCES:
        bits = ((near < distance) & open_to).astype(np.uint8)
        mask = obeying(bits.astype(np.bool_), view)
        if int(mask.sum()) == size:
            continue
        size = int(mask.sum())
        closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
        yield "flood", cleaned(closed.astype(np.bool_))


def _distance(lab: NDArray[np.float32], spots: Sequence[Spot]) -> NDArray[np.float32]:
    """Per pixel, how far its colour is from the nearest of the colours at the spots; (h, w)."""
    distances = []
    for x, y in spots:
        around = lab[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].reshape(-1, 3)
        distances.append(np.linalg.norm(lab - np.median(around, axis=0), axis=-1))
    return np.asarray(np.min(distances, axis=0), dtype=np.float32)


def _cuts(view: View) -> Iterator[tuple[str, Mask]]:
    rows, columns = view.rgb.shape[:2]
    down, across = np.mgrid[0:rows, 0:columns]
    xs, ys = zip(*view.positives, strict=True)
    # Half the longer side, though the image's border may cut the window short.
    half = max(rows, columns) / 2
    away = np.hypot(across - (min(xs) + max(xs)) / 2, down - (min(ys) + max(ys)) / 2) / half
    allowed = away < REACH
    core = away < CORE
    for x, y in view.positives:
        core |= np.hypot(across - x, down - y) < DOT * half
    if allowed.all() or not core.any():
        return
    outside = view.colours.foreignness(core, ~allowed) > FOREIGN
    labels = np.full(allowed.shape, SURE_OUTSIDE, np.uint8)
    labels[allowed] = LIKELY_INSIDE
    labels[allowed & outside] = LIKELY_OUTSIDE
    for spots, value in ((view.positives, SURE_INSIDE), (view.negatives, SURE_OUTSIDE)):
        for x, y in spots:
            labels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = value
    found = cut(view.rgb, labels, 2, int(cv2.GC_INIT_WITH_MASK))
    if found is not None:
        yield "cut", cleaned(found[0])
