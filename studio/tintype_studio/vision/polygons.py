"""From a mask to the polygon that a person can edit: exact outline first, then as few points as allowed.

The outline runs along the edges of pixels, in the coordinates of ``annotations.geometry``: a pixel at
column x covers x to x + 1, so a filled rectangle keeps its whole area. Simplification is Douglas and
Peucker's ("Algorithms for the reduction of the number of points required to represent a digitized line",
1973) on the exact outline, with one addition: rings that come to touch or cross, themselves or one another,
are done again with half the tolerance.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.annotations.geometry import MAX_POINTS, Point, PolygonGeometry
from tintype_studio.errors import InvalidInput

Ring = NDArray[np.int64]
"""(N, 2) x, y of pixel corners; closed, the first vertex is not repeated."""

MAX_RINGS = 10_000
FINEST_TOLERANCE = 0.25
"""Pixels; below this a ring is left exact."""
PAIRS_AT_ONCE = 1_000_000


def mask_to_polygon(
    mask: NDArray[np.bool_], *, offset: tuple[float, float] = (0, 0), tolerance: float
) -> PolygonGeometry | None:
    """The outline of every component of ``mask`` and of every hole in it, or None for an empty mask.

    ``mask`` is (H, W) bool; ``offset`` is added to x and y, for a mask that covers a part of an image.
    Every point of the exact outline is within ``tolerance`` pixels of the polygon; with 0 the polygon is
    exact. Components that touch at a corner only become separate rings. Each ring is simple; outer rings
    come first and run clockwise as seen on a screen, holes follow and run the other way, each kind from
    large to small. Raises InvalidInput for a mask of another shape or type, for a tolerance that is
    negative or not finite, and for an outline of more rings or points than an annotation may have.
    """
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2:
        raise InvalidInput("The mask must be an (H, W) array of bool.")
    if not math.isfinite(tolerance) or tolerance < 0:
        raise InvalidInput(f"The tolerance must be a number of pixels from 0 upwards, not {tolerance:g}.")
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    left, top = int(columns[0]), int(rows[0])
    exact = _exact_rings(mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1])
    if len(exact) > MAX_RINGS:
        raise InvalidInput(
            f"The mask has {len(exact):,} outlines; a polygon holds at most {MAX_RINGS:,}.",
            fix="Smooth the mask or drop its specks first.",
        )
    rings = _simplified(exact, tolerance)
    if max(len(ring) for ring in rings) > MAX_POINTS:
        raise InvalidInput(
            f"An outline has more than {MAX_POINTS:,} points.", fix="Allow a larger tolerance in pixels."
        )
    areas = [_signed_area(ring) for ring in rings]
    order = sorted(range(len(rings)), key=lambda index: (areas[index] < 0, -abs(areas[index])))
    dx, dy = offset[0] + left, offset[1] + top
    return PolygonGeometry(
        paths=[[Point(x=x + dx, y=y + dy) for x, y in rings[index].tolist()] for index in order]
    )


def _exact_rings(mask: NDArray[np.bool_]) -> list[Ring]:
    """Simple rings along the pixel edges of ``mask``; outer ones clockwise on a screen, holes the other way.

    OpenCV's contours run through the centres of border pixels. With every pixel doubled, rounding such a
    centre to the nearest even coordinate gives the pixel edge it lies against, for outlines and holes alike.
    """
    doubled = np.pad(mask, 1).repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8)
    contours, _ = cv2.findContours(doubled, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    rings: list[Ring] = []
    for contour in contours:
        points = (np.asarray(contour, dtype=np.int64).reshape(-1, 2) + 1) // 2 - 1
        rings.extend(_loops(_corners(points)))
    # OpenCV runs along outlines anticlockwise on a screen.
    return [ring[::-1] for ring in rings]


def _corners(points: Ring) -> Ring:
    """Without repeated vertices and without those in the middle of a straight run."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    into, out = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return np.asarray(points[into[:, 0] * out[:, 1] != into[:, 1] * out[:, 0]])


def _loops(points: Ring) -> list[Ring]:
    """Cut a ring at each vertex that it passes more than once (pixels that touch at a corner)."""
    if len(np.unique(points, axis=0)) == len(points):
        return [points]
    loops: list[Ring] = []
    path: list[tuple[int, int]] = []
    position: dict[tuple[int, int], int] = {}
    for x, y in points.tolist():
        if (x, y) in position:
            start = position[(x, y)]
            loops.append(np.array(path[start:], dtype=np.int64))
            for vertex in path[start:]:
                del position[vertex]
            del path[start:]
        position[(x, y)] = len(path)
        path.append((x, y))
    loops.append(np.array(path, dtype=np.int64))
    return loops


def _simplified(exact: list[Ring], tolerance: float) -> list[Ring]:
    """Each ring within ``tolerance`` of its exact one, none touching itself or crossing another."""
    if tolerance < FINEST_TOLERANCE:
        return exact
    allowed = [tolerance] * len(exact)
    rings = [_reduced(ring, tolerance) for ring in exact]
    while True:
        bad = _clashing(rings)
        bad.update(
            index
            for index, ring in enumerate(rings)
            if len(ring) < 3 or _signed_area(ring) * _signed_area(exact[index]) <= 0
        )
        bad = {index for index in bad if allowed[index] > 0}
        if not bad:
            return rings
        for index in bad:
            finer = allowed[index] / 2
            allowed[index] = finer if finer >= FINEST_TOLERANCE else 0.0
            rings[index] = _reduced(exact[index], finer) if allowed[index] else exact[index]


def _reduced(ring: Ring, tolerance: float) -> Ring:
    """Douglas-Peucker on a closed ring, started from two vertices that are far apart."""
    first = int(((ring - ring[0]) ** 2).sum(axis=1).argmax())
    second = int(((ring - ring[first]) ** 2).sum(axis=1).argmax())
    size = len(ring)
    low, high = min(first, second), max(first, second)
    cyclic = np.concatenate([ring, ring])
    kept = {low, high}
    spans = [(low, high), (high, low + size)]
    while spans:
        start, end = spans.pop()
        if end - start < 2:
            continue
        distances = _distances(cyclic[start + 1 : end], cyclic[start], cyclic[end])
        farthest = int(distances.argmax())
        if distances[farthest] > tolerance:
            middle = start + 1 + farthest
            kept.add(middle % size)
            spans += [(start, middle), (middle, end)]
    return ring[sorted(kept)]


def _distances(points: Ring, start: Ring, end: Ring) -> NDArray[np.float64]:
    """From each of the points to the segment from ``start`` to ``end``, in pixels."""
    along = (end - start).astype(np.float64)
    length = float(along @ along)
    relative = (points - start).astype(np.float64)
    share = np.clip(relative @ along / length, 0, 1) if length else np.zeros(len(points))
    return np.asarray(np.hypot(*(relative - share[:, None] * along).T))


def _signed_area(ring: Ring) -> float:
    """Square pixels, positive if the ring runs clockwise on a screen (y down)."""
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def _clashing(rings: list[Ring]) -> set[int]:
    """Indices of rings with an edge that meets another edge elsewhere than at a common vertex."""
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    low, high = np.minimum(start, end), np.maximum(start, end)
    order = np.argsort(low[:, 0], kind="stable")
    owner, start, end, low, high = owner[order], start[order], end[order], low[order], high[order]
    last = np.searchsorted(low[:, 0], high[:, 0], side="right")
    counts = last - np.arange(len(order)) - 1
    bad: set[int] = set()
    begin = 0
    while begin < len(order):
        ends = np.searchsorted(np.cumsum(counts[begin:]), PAIRS_AT_ONCE, side="right")
        stop = begin + max(1, int(ends))
        number = counts[begin:stop]
        one = np.repeat(np.arange(begin, stop), number)
        other = one + 1 + np.arange(len(one)) - np.repeat(np.cumsum(number) - number, number)
        near = (low[one, 1] <= high[other, 1]) & (low[other, 1] <= high[one, 1])
        one, other = one[near], other[near]
        meet = _meet(start[one], end[one], start[other], end[other])
        bad.update(owner[one[meet]].tolist(), owner[other[meet]].tolist())
        begin = stop
    return bad


def _meet(a: Ring, b: Ring, c: Ring, d: Ring) -> NDArray[np.bool_]:
    """Whether segments ab and cd, whose boxes overlap, share more than one common end; row by row."""
    touch = (np.sign(_turn(a, b, c)) * np.sign(_turn(a, b, d)) <= 0) & (
        np.sign(_turn(c, d, a)) * np.sign(_turn(c, d, b)) <= 0
    )
    joined = np.zeros(len(a), np.bool_)
    overlap = np.zeros(len(a), np.bool_)
    for p, q in ((a, b), (b, a)):
        for r, s in ((c, d), (d, c)):
            same = (p == r).all(axis=1)
            forward = ((q - p) * (s - r)).sum(axis=1) > 0
            joined |= same
            overlap |= same & (_turn(p, q, s) == 0) & forward
    return np.asarray(np.where(joined, overlap, touch))


def _turn(a: Ring, b: Ring, c: Ring) -> NDArray[np.int64]:
    """Twice the signed area of the triangles abc; 0 if the points lie on a line."""
    ab, ac = b - a, c - a
    return np.asarray(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
