"""Polygons of one ring, many at a time: boxes, text, and the area of those that do not cross themselves.

To find out whether a ring crosses itself, all pairs of its edges have to be tried. But most outlines of
objects are seen whole from their middle: walking along such a ring, one turns around the middle in one
direction, once. That takes a tenth of the time to find out, and settles the area.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float64]
    Ints: TypeAlias = npt.NDArray[np.int64]

MARGIN = 1e-9
"""Of the square of a ring's extent; a turn smaller than that may be rounding."""

_SHARE = len(" 0.123456")


def outlines(rings: Sequence[list[float]]) -> list[tuple[float | None, list[float]]]:
    """For each flat ring its area in square pixels (None: it may cross itself) and ``[left, top, w, h]``."""
    import numpy as np

    if not rings:
        return []
    lengths = np.fromiter(map(len, rings), dtype=np.int64, count=len(rings)) // 2
    both = np.fromiter(chain.from_iterable(rings), dtype=float, count=2 * int(lengths.sum()))
    told, areas, boxes = measured(both.reshape(-1, 2), lengths)
    return [
        (area if known else None, box)
        for known, area, box in zip(told.tolist(), areas.tolist(), boxes.tolist(), strict=True)
    ]


def measured(points: Floats, lengths: Ints) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
    """Of rings one after the other (``points`` is ``(n, 2)``, ``lengths`` are theirs, none of them 0):

    whether the area is known (else the ring may cross itself), the areas in square pixels, and boxes
    ``(rings, 4)``: left, top, width, height.
    """
    import numpy as np

    x, y = points.T.copy()
    starts = np.cumsum(lengths) - lengths
    left, right = np.minimum.reduceat(x, starts), np.maximum.reduceat(x, starts)
    top, bottom = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    x -= (np.add.reduceat(x, starts) / lengths)[owner]
    y -= (np.add.reduceat(y, starts) / lengths)[owner]
    after = np.arange(1, len(x) + 1)
    after[starts + lengths - 1] = starts
    next_y = y[after]
    turn = x * next_y - x[after] * y
    least = MARGIN * np.maximum(right - left, bottom - top) ** 2
    one_way = (np.minimum.reduceat(turn, starts) > least) | (np.maximum.reduceat(turn, starts) < -least)
    # Turning one way throughout, one passes the horizontal once in each round.
    rounds = np.add.reduceat(((y < 0) & (next_y >= 0)).astype(np.int64), starts)
    areas = np.abs(np.add.reduceat(turn, starts)) / 2
    return one_way & (rounds == 1), areas, np.stack([left, top, right - left, bottom - top], axis=1)


def shares(rings: Sequence[list[float]], sizes: Sequence[tuple[int, int]]) -> list[bytes | None]:
    """Each flat ring as ``b" 0.500000 0.250000 …"``, divided by the size (width, height) of its image.

    None for one that leaves the image, or has no extent.
    """
    import numpy as np

    if not rings:
        return []
    lengths = np.fromiter(map(len, rings), dtype=np.int64, count=len(rings)) // 2
    points = np.fromiter(chain.from_iterable(rings), dtype=float, count=2 * int(lengths.sum()))
    return shared(points.reshape(-1, 2), lengths, np.array(sizes, dtype=float))


def shared(points: Floats, lengths: Ints, sizes: Floats) -> list[bytes | None]:
    """The same of rings one after the other; ``sizes`` are ``(rings, 2)``. ``points`` are changed."""
    import numpy as np

    points /= np.repeat(sizes, lengths, axis=0)
    starts = np.cumsum(lengths) - lengths
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    fits: list[bool] = np.all((low >= 0) & (high <= 1) & (low < high), axis=1).tolist()
    whole = six_decimals(np.clip(points, 0, 1)).tobytes()
    ends = (np.cumsum(lengths) * (2 * _SHARE)).tolist()
    return [whole[a:b] if ok else None for ok, a, b in zip(fits, [0, *ends], ends, strict=False)]


def six_decimals(values: Floats, *, exact: bool = False) -> npt.NDArray[np.uint8]:
    """Numbers from 0 to 1, ``(rows, columns)``, as text: ``(rows, columns * 9)`` characters `` 0.123456``.

    Python writes six decimals in three times as long. What lies half-way between two is rounded as its
    product with a million is, or as Python does if ``exact``.
    """
    import numpy as np

    scaled = values * 1_000_000
    left = np.rint(scaled).astype(np.int32)
    if exact:
        for place in np.flatnonzero(np.abs(scaled - np.floor(scaled) - 0.5) < 1e-6).tolist():
            left.flat[place] = int(f"{values.flat[place]:.6f}".replace(".", ""))
    text = np.empty((*left.shape, _SHARE), dtype=np.uint8)
    text[..., 0], text[..., 2] = ord(" "), ord(".")
    for place in range(_SHARE - 1, 2, -1):
        tens = left // 10
        text[..., place] = left - 10 * tens + ord("0")
        left = tens
    text[..., 1] = left + ord("0")
    return text.reshape(len(values), values.shape[1] * _SHARE)
