"""The geometry under the writers, where exports would not reach its limits."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.formats import shapes
from tintype_studio.formats.shapes import clip_ring, join_rings, measure, nesting, run_lengths


def ring(points):
    xs, ys = zip(*points, strict=True)
    return list(xs), list(ys)


def circle(count, radius=500.0, middle=600.0):
    return ring(
        (middle + radius * math.cos(a), middle + radius * math.sin(a))
        for a in (2 * math.pi * k / count for k in range(count))
    )


def comb(teeth):
    """Teeth of height 1 and length 100, one below the other, on a spine 10 wide."""
    points = [(0.0, 0.0)]
    for k in range(teeth):
        points += [(110.0, 2.0 * k), (110.0, 2.0 * k + 1), (10.0, 2.0 * k + 1), (10.0, 2.0 * k + 2)]
    return ring([*points, (0.0, 2.0 * teeth)])


def test_a_long_outline_is_measured_exactly():
    (found,) = measure([[circle(20_000)]])
    assert found.area == pytest.approx(20_000 / 2 * 500**2 * math.sin(2 * math.pi / 20_000), rel=1e-9)
    assert not found.needs_mask


def test_too_many_pairs_fall_back_to_strips():
    teeth = 2_000
    (exact,) = measure([[comb(20)]])
    assert exact.area == pytest.approx(20 * (100 + 20))
    (found,) = measure([[comb(teeth)]])
    assert found.area == pytest.approx(teeth * (100 + 20), rel=1e-2)
    assert not found.needs_mask


def test_a_crowded_batch_is_halved_and_each_polygon_stays_exact(monkeypatch):
    polygons = [[circle(40, 10 + k)] for k in range(64)]
    alone = [measure([polygon])[0] for polygon in polygons]
    monkeypatch.setattr(shapes, "MAX_PAIRS", 2_000)
    assert measure(polygons) == alone


def test_polygons_in_one_batch_do_not_meet_each_other():
    square = ring([(0, 0), (10, 0), (10, 10), (0, 10)])
    bow = ring([(0, 0), (10, 10), (10, 0), (0, 10)])
    apart = [square, ring([(20, 20), (30, 20), (30, 30), (20, 30)])]
    assert [m.needs_mask for m in measure([apart, apart, apart])] == [False, False, False]
    found = measure([[square], [bow], [square], [square, ring([(2, 2), (4, 2), (4, 4), (2, 4)])], [square]])
    assert [m.area for m in found] == [100, 50, 100, 96, 100]
    assert [m.needs_mask for m in found] == [False, False, False, True, False]


points = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=9).map(
    lambda p: ring([(float(x), float(y)) for x, y in p])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(points, min_size=1, max_size=3))
def test_area_of_any_tangle_agrees_with_a_fine_raster(rings):
    (found,) = measure([rings])
    scale = 16
    fine = [([x * scale for x in xs], [y * scale for y in ys]) for xs, ys in rings]
    counts = run_lengths(fine, 40 * scale, 40 * scale)
    filled = sum(counts[1::2]) / scale**2
    length = sum(math.dist(a, b) for xs, ys in rings for a, b in _sides(xs, ys))
    assert found.area == pytest.approx(filled, abs=1e-6 + length / scale)


def _sides(xs, ys):
    pts = list(zip(xs, ys, strict=True))
    return zip(pts, [*pts[1:], pts[0]], strict=True)


@settings(max_examples=200, deadline=None)
@given(points, st.integers(0, 30), st.integers(1, 30))
def test_clipping_agrees_with_the_raster_of_the_whole(shape, left, width):
    """The raster of the clipped ring is that of the whole ring, inside the image."""
    moved = ([x - left for x in shape[0]], shape[1])
    clipped = clip_ring(moved, width, 25)
    whole = run_lengths([moved], width, 25)
    if len(clipped[0]) < 3:
        assert len(whole) == 1
        return
    assert min(clipped[0]) >= 0
    assert max(clipped[0]) <= width
    assert min(clipped[1]) >= 0
    assert max(clipped[1]) <= 25
    cut = run_lengths([clipped], width, 25)
    difference = np.flatnonzero(_decode(cut) != _decode(whole))
    for pixel in difference:  # only where an edge runs through the very centre
        x, y = divmod(int(pixel), 25)
        assert any(_distance((x + 0.5, y + 0.5), a, b) < 1e-6 for a, b in _sides(*moved))


def _decode(counts):
    return np.repeat(np.arange(len(counts)) % 2, counts)


def _distance(p, a, b):
    dx, dy = b[0] - a[0], b[1] - a[1]
    t = min(1, max(0, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / max(dx * dx + dy * dy, 1e-12)))
    return math.dist(p, (a[0] + t * dx, a[1] + t * dy))


def test_a_ring_inside_is_given_back_itself():
    shape = circle(12, 5, 10)
    assert clip_ring(shape, 20, 20) is shape


def test_run_lengths_in_chunks_are_the_same(monkeypatch):
    rng = random.Random(1)
    rings = [ring([(rng.uniform(-20, 220), rng.uniform(-20, 180)) for _ in range(60)]) for _ in range(3)]
    whole = run_lengths(rings, 200, 160)
    monkeypatch.setattr(shapes, "MAX_PAIRS", 150)
    assert run_lengths(rings, 200, 160) == whole
    assert sum(whole) == 200 * 160
    assert min(whole[1:]) > 0


@pytest.mark.parametrize(
    ("shape", "counts"),
    [
        (circle(4, 1, 50), [30 * 20]),  # nothing inside
        (([0, 30, 30, 0], [0, 0, 20, 20]), [0, 600]),  # everything: the zeros come first
        (([0, 1, 1, 0], [0, 0, 1, 1]), [0, 1, 599]),
        (([29, 30, 30, 29], [19, 19, 20, 20]), [599, 1]),
        (([5, 5, 5], [5, 5, 5]), [600]),
    ],
)
def test_run_lengths_at_the_corners(shape, counts):
    assert run_lengths([shape], 30, 20) == counts


def test_nesting_counts_depth():
    def square(low, high):
        return ring([(low, low), (high, low), (high, high), (low, high)])

    assert nesting([square(0, 100)]) == [0]
    rings = [square(20, 80), square(0, 100), square(30, 40), square(200, 300), square(60, 70), square(62, 64)]
    assert nesting(rings) == [1, 0, 2, 0, 2, 3]


def test_a_hole_that_touches_its_outline_is_still_a_hole():
    outline = ring([(0, 0), (100, 0), (100, 100), (0, 100)])
    assert nesting([outline, ring([(0, 0), (30, 10), (30, 30), (10, 30)])]) == [0, 1]


def test_joining_many_rings_is_linear_and_keeps_every_vertex():
    rings = [circle(10, 1, 5.0 * k) for k in range(10_000)]
    xs, ys = join_rings(rings)
    assert len(xs) < 3 * 10 * 10_000
    assert set(zip(xs, ys, strict=True)) >= {p for xs, ys in rings[::97] for p in zip(xs, ys, strict=True)}
