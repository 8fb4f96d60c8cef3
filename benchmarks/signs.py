"""Generated pictures of six kinds of road signs: a class has its own look here, as it has in most datasets.

``scenes`` draws objects whose class is their outline and nothing else; this draws flat, printed signs, seen
from a little aside, under any light, sometimes behind a pole, on the same backgrounds and with the same
clutter and camera. A picture is a function of its seed alone.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scenes import Image, _background, _camera, _clutter, tight_box

Colour = tuple[int, int, int]

NAMES = ("stop", "yield", "limit", "keep_right", "priority", "parking")
FACE = 256
SMALLEST, LARGEST = 0.07, 0.26
"""Height of a sign as a share of the picture's shorter side."""
POLE = 0.25
"""Share of the signs with something in front."""


def make_signs(seed: int) -> tuple[Image, NDArray[np.float64], NDArray[np.int64]]:
    """Picture number ``seed``: RGB, boxes (left, top, right, bottom), and indices into ``NAMES``."""
    rng = np.random.default_rng(seed)
    width, height = int(rng.integers(400, 641)), int(rng.integers(360, 641))
    canvas = _background(rng, width, height)
    _clutter(rng, canvas)
    taken = np.zeros((height, width), bool)
    boxes, labels = [], []
    for _ in range(int(rng.integers(1, 5))):
        label = int(rng.integers(len(NAMES)))
        mask = _put(rng, canvas, taken, label)
        if mask is not None:
            x, y, w, h = tight_box(mask)
            boxes.append((x, y, x + w, y + h))
            labels.append(label)
    return _camera(rng, canvas), np.array(boxes, float).reshape(-1, 4), np.array(labels, np.int64)


def _put(
    rng: np.random.Generator, canvas: NDArray[np.float64], taken: NDArray[np.bool_], label: int
) -> NDArray[np.bool_] | None:
    """Draw one sign at a free place; None if it met another."""
    height, width = taken.shape
    face, shape = _face(NAMES[label], rng)
    size = rng.uniform(SMALLEST, LARGEST) * min(width, height)
    square = np.float32([(0, 0), (FACE, 0), (FACE, FACE), (0, FACE)])
    angle = np.deg2rad(rng.normal(0, 6))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    quad = (square / FACE - 0.5) * (rng.uniform(0.75, 1.05), 1) * size @ turn.T
    centre = rng.uniform((size * 0.55,) * 2, (width - size * 0.55, height - size * 0.55))
    quad = quad + rng.normal(0, 0.03 * size, (4, 2)) + centre
    warp = cv2.getPerspectiveTransform(square, np.float32(quad))
    mask = cv2.warpPerspective(shape, warp, (width, height)) > 0
    if mask.sum() < 150 or (mask & taken).sum() > 0.02 * mask.sum():
        return None
    if size < 0.6 * FACE:
        blur = max(1, int(FACE / size) | 1)
        face = cv2.blur(face, (blur, blur))
    seen = cv2.warpPerspective(face, warp, (width, height), flags=cv2.INTER_LINEAR)
    seen = seen * rng.uniform(0.45, 1.05) * (1 + rng.normal(0, 0.06, 3)) + rng.normal(0, 10)
    rows, columns = np.mgrid[0:height, 0:width]
    slope = rng.normal(0, 0.2, 2)
    seen = seen + (slope[0] * (columns - centre[0]) + slope[1] * (rows - centre[1]))[..., None]
    canvas[mask] = seen[mask]
    taken |= mask
    if rng.random() < POLE:
        direction = rng.uniform(0, np.pi)
        reach = np.array([np.cos(direction), np.sin(direction)]) * size
        middle = centre + rng.normal(0, 0.2 * size, 2)
        bar = np.zeros((height, width), np.uint8)
        thickness = int(max(2, rng.uniform(0.05, 0.14) * size))
        ends = [tuple(int(v) for v in middle + sign * reach) for sign in (-1, 1)]
        cv2.line(bar, ends[0], ends[1], 1, thickness)
        canvas[bar > 0] = rng.uniform(20, 200, 3)
    return mask


def _face(name: str, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """A sign seen from the front: colours (FACE, FACE, 3), and where it is."""
    face, shape = np.zeros((FACE, FACE, 3), np.uint8), np.zeros((FACE, FACE), np.uint8)
    middle = (FACE // 2, FACE // 2)
    red, white, blue, black, yellow = (
        (198, 28, 33),
        (239, 239, 236),
        (27, 75, 170),
        (20, 20, 20),
        (245, 190, 20),
    )

    def polygon(sides: int, radius: float, first: float, colour: Colour, *, down: float = 0) -> None:
        angles = np.deg2rad(first + np.arange(sides) * 360 / sides)
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius + middle - (0, down)
        cv2.fillPoly(face, [np.round(points).astype(np.int32)], colour)
        if not shape.any():
            cv2.fillPoly(shape, [np.round(points).astype(np.int32)], 1)

    def disc(radius: int, colour: Colour) -> None:
        cv2.circle(face, middle, radius, colour, -1)
        if not shape.any():
            cv2.circle(shape, middle, radius, 1, -1)

    def write(text: str, at: tuple[int, int], scale: float, colour: Colour, bold: int) -> None:
        cv2.putText(face, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, bold)

    if name == "stop":
        polygon(8, 124, 22.5, white)
        polygon(8, 114, 22.5, red)
        write("STOP", (38, 150), 2.2, white, 11)
    elif name == "yield":
        polygon(3, 140, 90, red, down=20)
        polygon(3, 86, 90, white, down=20)
    elif name == "limit":
        disc(124, red)
        disc(92, white)
        write(str(rng.choice(["30", "50", "70", "80"])), (66, 160), 3.1, black, 16)
    elif name == "keep_right":
        disc(124, white)
        disc(114, blue)
        cv2.arrowedLine(face, (75, 75), (178, 178), white, 26, tipLength=0.45)
    elif name == "priority":
        polygon(4, 126, 0, white)
        polygon(4, 104, 0, black)
        polygon(4, 98, 0, yellow)
    else:
        polygon(4, 153, 45, white)
        polygon(4, 139, 45, blue)
        write("P", (70, 200), 6.2, white, 26)
    return face.astype(float), shape
