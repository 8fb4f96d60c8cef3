"""Polygons of one ring, many at a time: boxes, text, and the area of those that do not cross themselves.

To find out whether a ring crosses itself, all pairs of its edges have to be tried. But most outlines of
objects are seen whole from their middle: walking along such a ring, one turns around the middle in one
direction, once. That takes a tenth of the time to find out, and settles the area.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Point

MARGIN = 1e-9
"""Of the square of a ring's extent; a turn smaller than that may be rounding."""

_XY = attrgetter("x", "y")
_SHARE = len(" 0.123456")


def flat(points: Sequence[Point]) -> list[float]:
    """``[x, y, x, y, …]``."""
    return list(chain.from_iterable(map(_XY, points)))


def pairs_json(points: Sequence[Point]) -> bytes:
    """``[[x,y],[x,y],…]``: JSON writes numbers in a fraction of ``repr``'s time."""
    return orjson.dumps(list(map(_XY, points)))


def outlines(rings: Sequence[list[float]]) -> list[tuple[float | None, list[float]]]:
    """For each flat ring its area in square pixels (None: it may cross itself) and ``[left, top, w, h]``."""
    import numpy as np

    if not rings:
        return []
    lengths = np.fromiter(map(len, rings), dtype=np.int64, count=len(rings)) // 2
    both = np.fromiter(chain.from_iterable(rings), dtype=float, count=2 * int(lengths.sum()))
    x, y = both[::2].copy(), both[1::2].copy()
    starts = np.cumsum(lengths) - lengths
    left, right = np.minimum.reduceat(x, starts), np.maximum.reduceat(x, starts)
    top, bottom = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    owner = np.repeat(np.arange(len(rings)), lengths)
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
    told = (one_way & (rounds == 1)).tolist()
    areas = (np.abs(np.add.reduceat(turn, starts)) / 2).tolist()
    boxes = np.stack([left, top, right - left, bottom - top], axis=1).tolist()
    return [(area if known else None, box) for known, area, box in zip(told, areas, boxes, strict=True)]


def shares(rings: Sequence[list[float]], sizes: Sequence[tuple[int, int]]) -> list[bytes | None]:
    """Each flat ring as ``b" 0.500000 0.250000 …"``, divided by the size (width, height) of its image.

    None for one that leaves the image, or has no extent. Python writes six decimals in three times as long.
    """
    import numpy as np

    if not rings:
        return []
    counts = np.fromiter(map(len, rings), dtype=np.int64, count=len(rings)) // 2
    total = int(counts.sum())
    points = np.fromiter(chain.from_iterable(rings), dtype=float, count=2 * total).reshape(total, 2)
    points /= np.repeat(np.array(sizes, dtype=float), counts, axis=0)
    starts = np.cumsum(counts) - counts
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    fits: list[bool] = np.all((low >= 0) & (high <= 1) & (low < high), axis=1).tolist()
    left = np.rint(np.clip(points, 0, 1).ravel() * 1_000_000).astype(np.int32)
    text = np.empty((2 * total, _SHARE), dtype=np.uint8)
    text[:, 0], text[:, 2] = ord(" "), ord(".")
    for place in range(_SHARE - 1, 2, -1):
        tens = left // 10
        text[:, place] = left - 10 * tens + ord("0")
        left = tens
    text[:, 1] = left + ord("0")
    whole = text.tobytes()
    ends = (np.cumsum(counts) * (2 * _SHARE)).tolist()
    return [whole[a:b] if ok else None for ok, a, b in zip(fits, [0, *ends], ends, strict=False)]
