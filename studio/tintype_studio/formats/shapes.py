"""Plane geometry for the writers: area, nesting, clipping and run lengths of rings filled even-odd.

A ring is ``(xs, ys)``, two equally long sequences of pixels, implicitly closed; a polygon is a sequence of
rings. Polygons are measured many at a time, which is what makes small ones cheap, and every step is bounded
for rings of 100,000 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain, pairwise
from operator import attrgetter, mul, sub
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tintype_studio.annotations.geometry import Point

    Floats: TypeAlias = npt.NDArray[np.floating[Any]]
    Ints: TypeAlias = npt.NDArray[np.int64]

Ring: TypeAlias = tuple[Sequence[float], Sequence[float]]

_X, _Y = attrgetter("x"), attrgetter("y")

MAX_PAIRS = 1_000_000
"""Pairs of edges, and crossings of edges with scan lines, that are worked on at once."""

VOTERS = 32
"""Vertices asked whether they lie inside another ring; one that touches it may give the wrong answer."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The even-odd area in square pixels, and whether separate rings would tell another shape.

    ``needs_mask`` is true if rings are nested, cross or touch: readers that fill each ring on its own and
    unite them would fill the holes.
    """

    area: float
    needs_mask: bool


def ring_of(points: Sequence[Point]) -> Ring:
    """The coordinates of a ring as two lists."""
    return list(map(_X, points)), list(map(_Y, points))


def bounds(rings: Sequence[Ring]) -> tuple[float, float, float, float]:
    """``(left, top, right, bottom)`` of all vertices."""
    if len(rings) == 1:
        ((xs, ys),) = rings
        return min(xs), min(ys), max(xs), max(ys)
    return (
        min(min(xs) for xs, _ in rings),
        min(min(ys) for _, ys in rings),
        max(max(xs) for xs, _ in rings),
        max(max(ys) for _, ys in rings),
    )


def signed_area(ring: Ring) -> float:
    """Shoelace area in square pixels; positive if the ring runs clockwise as seen on the screen."""
    xs, ys = ring
    left = map(mul, xs, [*ys[1:], ys[0]])
    right = map(mul, [*xs[1:], xs[0]], ys)
    return float(sum(map(sub, left, right))) / 2


def measure(polygons: Sequence[Sequence[Ring]]) -> list[Measured]:
    """Area and kind of each polygon, in their order.

    A polygon with more than :data:`MAX_PAIRS` pairs of edges to compare counts as crossing itself, and its
    area, then summed over even strips, is good to about a hundredth.
    """
    import numpy as np

    if not polygons:
        return []
    edges = _Edges.of(polygons)
    meetings = _meetings(edges)
    if meetings is None and len(polygons) > 1:
        half = len(polygons) // 2
        return measure(polygons[:half]) + measure(polygons[half:])
    meeting_polygons, meeting_places = meetings or (np.zeros(1, dtype=np.int64), None)
    often = np.bincount(meeting_polygons, minlength=len(polygons)).tolist()
    shoelace = edges.signed_areas(len(polygons)).tolist()
    measured = []
    for number, rings in enumerate(polygons):
        if len(rings) == 1 and not often[number]:
            measured.append(Measured(abs(shoelace[number]), needs_mask=False))
            continue
        places = None if meeting_places is None else meeting_places[meeting_polygons == number]
        needs_mask = len(rings) > 1 and (often[number] > 0 or any(nesting(rings)))
        measured.append(Measured(_even_odd_area(edges.of_polygon(number), places), needs_mask))
    return measured


def nesting(rings: Sequence[Ring]) -> list[int]:
    """For each ring, how many others it lies in: 0 is an outline, 1 a hole, 2 an island in a hole."""
    if len(rings) == 1:
        return [0]
    import numpy as np

    arrays = [(np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)) for xs, ys in rings]
    boxes = np.array([(x.min(), y.min(), x.max(), y.max()) for x, y in arrays])
    depths = []
    for number, (xs, ys) in enumerate(arrays):
        left, top, right, bottom = boxes[number]
        around = (
            (boxes[:, 0] <= left) & (boxes[:, 1] <= top) & (boxes[:, 2] >= right) & (boxes[:, 3] >= bottom)
        )
        around[number] = False
        voters = np.linspace(0, len(xs) - 1, min(len(xs), VOTERS)).astype(int)
        depth = 0
        for other in np.flatnonzero(around):
            inside = _inside(arrays[other], xs[voters], ys[voters])
            depth += int(inside.mean() > 0.5)
        depths.append(depth)
    return depths


def clip_ring(ring: Ring, width: float, height: float) -> Ring:
    """The part of a ring inside the image (Sutherland-Hodgman); fewer than three points if none is.

    A ring that lies inside is given back itself. Parts that the border separates stay joined by edges along
    the border, which enclose nothing.
    """
    left, top, right, bottom = bounds([ring])
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return ring
    points = list(zip(*ring, strict=True))
    for axis, limit, sign in ((0, 0.0, 1.0), (0, width, -1.0), (1, 0.0, 1.0), (1, height, -1.0)):
        kept: list[Any] = []
        for a, b in zip(points[-1:] + points[:-1], points, strict=True):
            depth_a, depth_b = sign * (a[axis] - limit), sign * (b[axis] - limit)
            if (depth_a < 0 < depth_b) or (depth_b < 0 < depth_a):
                other = 1 - axis
                along = a[other] + (b[other] - a[other]) * (depth_a / (depth_a - depth_b))
                kept.append((limit, along) if axis == 0 else (along, limit))
            if depth_b >= 0:
                kept.append(b)
        points = kept
    return [p[0] for p in points], [p[1] for p in points]


def join_rings(rings: Sequence[Ring]) -> Ring:
    """One ring through all: each is linked to the next, at near vertices, by a line walked there and back.

    The links enclose nothing, so the filled shape stays the same up to one-pixel lines. All parts run the
    same way round.
    """
    if len(rings) == 1:
        return rings[0]
    turned = [list(zip(*ring, strict=True)) for ring in rings]
    turned = [ring if signed_area(old) >= 0 else ring[::-1] for old, ring in zip(rings, turned, strict=True)]
    out: list[tuple[float, float]] = []
    back: list[list[tuple[float, float]]] = []
    entry = None
    for number, ring in enumerate(turned):
        if entry is not None:
            ring = ring[entry:] + ring[:entry]  # noqa: PLW2901
        if number + 1 == len(turned):
            out += [*ring, ring[0]]
            break
        leave, entry = _near_pair(ring, turned[number + 1])
        out += ring[: leave + 1]
        # The first ring is closed by the format itself.
        back.append(ring[leave:] + (ring[:1] if number else []))
    for rest in reversed(back):
        out += rest
    return [p[0] for p in out], [p[1] for p in out]


def run_lengths(rings: Sequence[Ring], width: int, height: int) -> list[int]:
    """COCO's uncompressed RLE of the even-odd fill: column by column, zeros first.

    A pixel is in if its centre is. The lengths sum to ``width * height``; parts outside are cut off.
    """
    import numpy as np

    edges = _Edges.of([rings])
    columns = np.arange(width) + 0.5
    total = width * height
    work = np.cumsum(np.abs(np.searchsorted(columns, edges.x1) - np.searchsorted(columns, edges.x0)))
    crossings = int(work[-1]) if len(work) else 0

    def places(part: _Edges) -> Ints:
        column, y = _crossings(part, columns)
        row: Ints = np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64)
        return column * height + row

    # Filling toggles at each crossing; two at one place cancel out, also the end of one column with the
    # start of the next.
    if crossings <= MAX_PAIRS:
        where, times = np.unique(places(edges), return_counts=True)
        toggles = where[times % 2 == 1]
    else:
        flips = np.zeros(total + 1, dtype=np.uint8)  # wraps around, which keeps it odd or even
        cuts = np.searchsorted(work, np.arange(MAX_PAIRS, crossings, MAX_PAIRS)).tolist()
        for start, stop in pairwise([0, *cuts, len(work)]):
            np.add.at(flips, places(edges[start:stop]), 1)
        toggles = np.flatnonzero(flips & 1)
    ends = np.concatenate([[0], toggles, [total]])
    counts: list[int] = np.diff(ends).tolist()
    if counts[-1] == 0 and len(counts) > 1:
        counts.pop()
    return counts


@dataclass(frozen=True, slots=True)
class _Edges:
    """The edges of many polygons, one entry each, from ``(x0, y0)`` to ``(x1, y1)``.

    Repeated vertices (a ring closed explicitly) are dropped. ``place`` counts within the ring, which has
    ``length`` edges.
    """

    x0: Floats
    y0: Floats
    x1: Floats
    y1: Floats
    ring: Ints
    polygon: Ints
    place: Ints
    length: Ints

    @classmethod
    def of(cls, polygons: Sequence[Sequence[Ring]]) -> _Edges:
        import numpy as np

        rings = [ring for polygon in polygons for ring in polygon]
        owners = np.repeat(np.arange(len(polygons)), [len(polygon) for polygon in polygons])
        counts = np.array([len(xs) for xs, _ in rings], dtype=np.int64)
        x = np.fromiter(chain.from_iterable(xs for xs, _ in rings), dtype=float, count=counts.sum())
        y = np.fromiter(chain.from_iterable(ys for _, ys in rings), dtype=float, count=counts.sum())
        ring, _ = _spread(counts)
        before = np.arange(len(x)) - 1
        before[np.cumsum(counts) - counts] = np.cumsum(counts) - 1
        kept = (x != x[before]) | (y != y[before])
        x, y, ring = x[kept], y[kept], ring[kept]
        counts = np.bincount(ring, minlength=len(rings))
        ring, place = _spread(counts)
        after = np.arange(len(x)) + 1
        ends = np.cumsum(counts)[counts > 0] - 1
        after[ends] = ends + 1 - counts[counts > 0]
        return cls(x, y, x[after], y[after], ring, owners[ring], place, counts[ring])

    def __getitem__(self, part: slice) -> _Edges:
        return _Edges(*(getattr(self, column.name)[part] for column in fields(self)))

    def of_polygon(self, number: int) -> _Edges:
        import numpy as np

        start, stop = np.searchsorted(self.polygon, [number, number + 1])
        return self[start:stop]

    def signed_areas(self, polygons: int) -> Floats:
        """Shoelace area of each polygon, seen from its rings' first vertices, which keeps digits."""
        import numpy as np

        first = np.arange(len(self.x0)) - self.place
        x, y = self.x0[first], self.y0[first]
        turns = (self.x0 - x) * (self.y1 - y) - (self.x1 - x) * (self.y0 - y)
        return np.bincount(self.polygon, weights=turns, minlength=polygons) / 2


def _spread(counts: Ints) -> tuple[Ints, Ints]:
    """For counts ``[2, 0, 3]``: owners ``[0, 0, 2, 2, 2]`` and places ``[0, 1, 0, 1, 2]``."""
    import numpy as np

    owners = np.repeat(np.arange(len(counts)), counts)
    return owners, np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)


def _meetings(edges: _Edges) -> tuple[Ints, Floats] | None:
    """Where edges of one polygon that are not neighbours cross or touch: the polygon, and x.

    None if there are too many pairs to try. Edges that overlap along a line count as meeting at some x;
    their ends are vertices anyway.
    """
    import numpy as np

    if len(edges.x0) == 0:
        return np.empty(0, dtype=np.int64), np.empty(0)
    left, right = np.minimum(edges.x0, edges.x1), np.maximum(edges.x0, edges.x1)
    top, bottom = np.minimum(edges.y0, edges.y1), np.maximum(edges.y0, edges.y1)
    # One sweep from left to right for all polygons: each has its own stretch of a common axis.
    origin, extent = left.min(), max(right.max() - left.min(), 1.0)
    start = edges.polygon * 2 + (left - origin) / extent
    stop = edges.polygon * 2 + (right - origin) / extent
    order = np.argsort(start, kind="stable")
    reach = np.searchsorted(start[order], stop[order], side="right") - np.arange(len(order)) - 1
    if reach.sum() > MAX_PAIRS:
        return None
    first, place = _spread(reach)
    i, j = order[first], order[first + place + 1]
    overlap = (top[i] <= bottom[j]) & (top[j] <= bottom[i])
    i, j = i[overlap], j[overlap]
    gap = np.abs(edges.place[i] - edges.place[j])
    neighbours = (edges.ring[i] == edges.ring[j]) & ((gap <= 1) | (gap == edges.length[i] - 1))
    i, j = i[~neighbours], j[~neighbours]
    from_side, to_side = _side(edges, i, edges.x0[j], edges.y0[j]), _side(edges, i, edges.x1[j], edges.y1[j])
    meets = from_side * to_side <= 0
    meets &= _side(edges, j, edges.x0[i], edges.y0[i]) * _side(edges, j, edges.x1[i], edges.y1[i]) <= 0
    j, from_side, to_side = j[meets], from_side[meets], to_side[meets]
    span = from_side - to_side
    share = np.divide(from_side, span, out=np.zeros_like(span), where=span != 0)
    return edges.polygon[j], edges.x0[j] + share * (edges.x1[j] - edges.x0[j])


def _side(edges: _Edges, i: Ints, x: Floats, y: Floats) -> Floats:
    """On which side of edge ``i`` the point lies: the sign; 0 is on its line."""
    x0, y0 = edges.x0[i], edges.y0[i]
    side: Floats = (edges.x1[i] - x0) * (y - y0) - (edges.y1[i] - y0) * (x - x0)
    return side


def _crossings(edges: _Edges, lines: Floats) -> tuple[Ints, Floats]:
    """Where edges cross the vertical lines ``lines`` (ascending): the line's number, and y."""
    import numpy as np

    x0, y0, x1, y1 = edges.x0, edges.y0, edges.x1, edges.y1
    first = np.searchsorted(lines, np.minimum(x0, x1), side="left")
    last = np.searchsorted(lines, np.maximum(x0, x1), side="left")
    owner, place = _spread(last - first)
    line = first[owner] + place
    slope = (y1[owner] - y0[owner]) / (x1[owner] - x0[owner])
    return line, y0[owner] + (lines[line] - x0[owner]) * slope


def _even_odd_area(edges: _Edges, meetings: Floats | None) -> float:
    """Sum of trapezoids between all neighbouring vertices and meeting points.

    Within such a strip no edges cross, so its area is its width times the filled length of its middle line.
    Where the meeting points are unknown, or strips and edges too many, even strips take their place.
    """
    import numpy as np

    x0, x1 = edges.x0, edges.x1
    if len(x0) == 0:
        return 0.0
    breaks: Floats = np.unique(np.concatenate([x0, x0 if meetings is None else meetings]))
    spans = np.abs(np.searchsorted(breaks, x1) - np.searchsorted(breaks, x0)).sum()
    if meetings is None or spans > MAX_PAIRS:
        breaks = np.linspace(breaks[0], breaks[-1], max(64, MAX_PAIRS // len(x0)) + 1)
    widths: Floats = np.diff(breaks)
    line, y = _crossings(edges, (breaks[1:] + breaks[:-1]) / 2)
    order = np.lexsort((y, line))
    line, y = line[order], y[order]
    return float(((y[1::2] - y[::2]) * widths[line[::2]]).sum())


def _inside(ring: tuple[Floats, Floats], px: Floats, py: Floats) -> npt.NDArray[np.bool_]:
    """Which points lie inside one ring, even-odd."""
    import numpy as np

    x0, y0 = ring
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    px, py = px[:, None], py[:, None]
    spans = (y0 <= py) != (y1 <= py)
    rise = np.where(y1 == y0, 1.0, y1 - y0)
    hits = spans & (x0 + (py - y0) * ((x1 - x0) / rise) > px)
    odd: npt.NDArray[np.bool_] = hits.sum(axis=1) % 2 == 1
    return odd


def _near_pair(a: Sequence[tuple[float, float]], b: Sequence[tuple[float, float]]) -> tuple[int, int]:
    """Indices of two vertices near each other, found by going to and fro in linear time."""

    def nearest(points: Sequence[tuple[float, float]], x: float, y: float) -> int:
        return min(range(len(points)), key=lambda k: (points[k][0] - x) ** 2 + (points[k][1] - y) ** 2)

    i, j = 0, 0
    for _ in range(3):
        j = nearest(b, *a[i])
        i = nearest(a, *b[j])
    return i, j
