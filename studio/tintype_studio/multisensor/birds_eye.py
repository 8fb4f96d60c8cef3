"""Pictures of what is no picture: point clouds from above, radar cubes as range over Doppler.

From above, x of the sensor (forward) points up and y (left) to the left. Rings tell the distance in metres.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.geometry import Annotation
from tintype_studio.media.palette import Color, class_color, text_color

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw as Pen

_GROUND = (24, 24, 27)
_RING = (63, 63, 70)
_INK = (161, 161, 170)
_SENSOR = (244, 244, 245)
_LETTERS = 11
_MOST = 400_000
"""Points that are drawn; of more, every so many."""
_LEAST_REACH = 5.0
"""Metres from the middle to the border of a picture, at least."""


def birds_eye(
    points: npt.NDArray[np.floating[Any]],
    annotations: Sequence[Annotation] = (),
    *,
    size: int = 512,
    colors: Mapping[str, str] | None = None,
) -> Image:
    """Points ``(n, 3)`` in metres from above, coloured by their height, with the 3-D boxes of annotations.

    The picture is a square of ``size`` pixels that shows all but the farthest hundredth of the points, and
    the sensor. Points that are not finite are left out.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    xyz = np.asarray(points, dtype=np.float64)
    xyz = xyz[np.isfinite(xyz).all(axis=1)]
    xyz = xyz[:: max(1, -(-len(xyz) // _MOST))]
    boxes = [a for a in annotations if a.box3d is not None]
    middle, reach = _window(xyz, boxes)
    canvas = np.full((size, size, 3), _GROUND, dtype=np.uint8)
    image = Image.fromarray(canvas)
    _draw_rings(image, middle, reach)
    canvas = np.array(image)
    _paint(canvas, xyz, middle, reach)
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    for each in boxes:
        _draw_box(image, each, middle, reach, class_color(each.name, colors or {}))
    _draw_sensor(pen, middle, reach, size)
    return image


def range_doppler(cube: npt.NDArray[np.complexfloating], *, size: int = 512) -> Image:
    """A radar cube (sequences, antennas, range bins, Doppler bins): the power that all antennas saw, in
    decibels, near ranges at the bottom, at most ``size`` pixels wide and high.
    """
    import cv2
    import numpy as np
    from PIL import Image

    power = (np.abs(cube.astype(np.complex64)) ** 2).mean(axis=(0, 1))
    level = 10 * np.log10(power + 1.0)
    low, high = (float(v) for v in np.percentile(level, (5, 99.9)))
    shares = np.clip((level - low) / max(high - low, 1e-6), 0, 1)
    tinted = cv2.applyColorMap((shares[::-1] * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    scale = size / max(tinted.shape[:2])
    across, down = (max(1, round(side * scale)) for side in (tinted.shape[1], tinted.shape[0]))
    resized = cv2.resize(
        tinted, (across, down), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    )
    return Image.fromarray(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB))


def _window(xyz: npt.NDArray[np.float64], boxes: Sequence[Annotation]) -> tuple[tuple[float, float], float]:
    """The middle (x, y) of what is shown, and the metres from there to each border."""
    import numpy as np

    corners = [(0.0, 0.0)]
    if len(xyz):
        low, high = np.percentile(xyz[:, :2], (0.5, 99.5), axis=0)
        corners += [(float(low[0]), float(low[1])), (float(high[0]), float(high[1]))]
    for each in boxes:
        if (box := each.box3d) is not None:
            corners += [
                (box.x - box.l / 2, box.y - box.w / 2),
                (box.x + box.l / 2, box.y + box.w / 2),
            ]
    xs, ys = zip(*corners, strict=True)
    reach = max(max(xs) - min(xs), max(ys) - min(ys)) / 2 * 1.05
    return ((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2), max(reach, _LEAST_REACH)


def _place(x: float, y: float, middle: tuple[float, float], reach: float, size: int) -> tuple[float, float]:
    """Column and row of a place in metres."""
    per_metre = size / (2 * reach)
    return (middle[1] + reach - y) * per_metre, (middle[0] + reach - x) * per_metre


def _draw_rings(image: Image, middle: tuple[float, float], reach: float) -> None:
    from PIL import ImageDraw

    from tintype_studio.media.lettering import Lettering

    pen, size = ImageDraw.Draw(image), image.width
    step = 10 ** math.floor(math.log10(reach))
    step *= next(share for share in (1, 0.5, 0.2) if reach / (step * share) >= 2)
    column, row = _place(0, 0, middle, reach, size)
    farthest = math.hypot(abs(middle[0]) + reach, abs(middle[1]) + reach)
    letters = Lettering(_LETTERS)
    for number in range(1, min(40, int(farthest / step) + 1)):
        radius = number * step * size / (2 * reach)
        pen.ellipse((column - radius, row - radius, column + radius, row + radius), outline=_RING)
        text = f"{number * step:g} m"
        left, base = round(column + 3), round(row - radius + letters.ascent + 2)
        if 0 <= left < size - letters.length(text) and letters.ascent < base < size:
            letters.draw(image, left, base, text, _INK)


def _paint(
    canvas: npt.NDArray[np.uint8], xyz: npt.NDArray[np.float64], middle: tuple[float, float], reach: float
) -> None:
    import cv2
    import numpy as np

    size = len(canvas)
    if not len(xyz):
        return
    per_metre = size / (2 * reach)
    columns = np.floor((middle[1] + reach - xyz[:, 1]) * per_metre)
    rows = np.floor((middle[0] + reach - xyz[:, 0]) * per_metre)
    inside = (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
    columns, rows, z = columns[inside].astype(int), rows[inside].astype(int), xyz[inside, 2]
    if not len(z):
        return
    low, high = (float(v) for v in np.percentile(z, (2, 98)))
    shares = np.clip((z - low) / max(high - low, 0.5), 0, 1)
    # The dark ends of the scale would drown in the ground.
    tints = cv2.applyColorMap((40 + shares * 190).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
    order = np.argsort(z, kind="stable")  # what is above hides what is below
    columns, rows, tints = columns[order], rows[order], tints[order]
    dot = 2 if len(z) < 20_000 else 1
    for down in range(dot):
        for across in range(dot):
            canvas[np.minimum(rows + down, size - 1), np.minimum(columns + across, size - 1)] = tints


def _draw_box(
    image: Image, annotation: Annotation, middle: tuple[float, float], reach: float, color: Color
) -> None:
    from PIL import ImageDraw

    from tintype_studio.media.lettering import Lettering, one_line

    box, pen = annotation.box3d, ImageDraw.Draw(image)
    assert box is not None
    left, top = _place(box.x + box.l / 2, box.y + box.w / 2, middle, reach, image.width)
    right, bottom = _place(box.x - box.l / 2, box.y - box.w / 2, middle, reach, image.width)
    pen.rectangle((left, top, max(right, left + 2), max(bottom, top + 2)), outline=color, width=2)
    letters = Lettering(_LETTERS)
    text = one_line(annotation.name)[:30]
    wide, high = math.ceil(letters.length(text)) + 6, letters.ascent + letters.descent + 2
    at = (round(min(max(left, 0), image.width - wide)), round(max(top - high, 0)))
    pen.rectangle((*at, at[0] + wide, at[1] + high), fill=color)
    letters.draw(image, at[0] + 3, at[1] + letters.ascent + 1, text, text_color(color))


def _draw_sensor(pen: Pen, middle: tuple[float, float], reach: float, size: int) -> None:
    column, row = _place(0, 0, middle, reach, size)
    half = max(4, size // 90)
    pen.polygon(
        [(column, row - half * 1.5), (column - half, row + half), (column + half, row + half)], fill=_SENSOR
    )
