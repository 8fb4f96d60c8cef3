"""Masks to polygons: exact on pixel edges, simplified within the stated tolerance, rings always simple."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.annotations.geometry import PolygonGeometry
from tintype_studio.errors import InvalidInput
from tintype_studio.vision.polygons import mask_to_polygon


def rings_of(polygon):
    return [[(p.x, p.y) for p in ring] for ring in polygon.paths]


def edges_of(ring):
    return list(zip(ring, [*ring[1:], ring[0]], strict=True))


def area(ring):
    """Shoelace; positive for clockwise on a screen."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in edges_of(ring)) / 2


def rasterised(polygon, shape):
    """Even-odd fill, sampled at pixel centres."""
    inside = np.zeros(shape, bool)
    centres = np.arange(shape[1]) + 0.5
    for ring in rings_of(polygon):
        for (x0, y0), (x1, y1) in edges_of(ring):
            for row in range(shape[0]):
                y = row + 0.5
                if (y0 <= y) != (y1 <= y):
                    inside[row] ^= centres > x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    return inside


def distance_to(rings, point):
    best = math.inf
    for ring in rings:
        for (x0, y0), (x1, y1) in edges_of(ring):
            dx, dy = x1 - x0, y1 - y0
            share = ((point[0] - x0) * dx + (point[1] - y0) * dy) / (dx * dx + dy * dy)
            share = min(max(share, 0), 1)
            best = min(best, math.hypot(point[0] - x0 - share * dx, point[1] - y0 - share * dy))
    return best


def is_simple(ring):
    """No vertex twice, no edge meeting another but at the joint of neighbours; checked pair by pair."""

    def turn(a, b, c):
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    def between(a, b, p):
        return min(a[0], b[0]) <= p[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= p[1] <= max(a[1], b[1])

    def meet(a, b, c, d):
        t = turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)
        if t[0] * t[1] < 0 and t[2] * t[3] < 0:
            return True
        return (
            (t[0] == 0 and between(a, b, c))
            or (t[1] == 0 and between(a, b, d))
            or (t[2] == 0 and between(c, d, a))
            or (t[3] == 0 and between(c, d, b))
        )

    if len(set(ring)) != len(ring) or len(ring) < 3:
        return False
    edges = edges_of(ring)
    for i, (a, b) in enumerate(edges):
        for j in range(i + 1, len(edges)):
            c, d = edges[j]
            if j == i + 1 or (i == 0 and j == len(edges) - 1):
                joint, one, other = (b, a, d) if b == c else (a, b, c)
                towards = (one[0] - joint[0]) * (other[0] - joint[0]) + (one[1] - joint[1]) * (
                    other[1] - joint[1]
                )
                if turn(joint, one, other) == 0 and towards > 0:
                    return False
            elif meet(a, b, c, d):
                return False
    return True


@st.composite
def noise_masks(draw):
    """Pixels on and off at random, with every kind of corner contact."""
    shape = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.random(shape) < draw(st.floats(0.1, 0.95))


@st.composite
def blob_masks(draw):
    """Smooth shapes with bays, islands and holes, some cut off by the border."""
    shape = draw(st.integers(12, 60)), draw(st.integers(12, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    field = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), draw(st.floats(1.0, 6.0)))
    return field > np.quantile(field, draw(st.floats(0.2, 0.9)))


def test_rectangle_keeps_its_whole_area():
    mask = np.zeros((10, 12), bool)
    mask[2:6, 3:9] = True
    (ring,) = rings_of(mask_to_polygon(mask, tolerance=1.0))
    assert set(ring) == {(3, 2), (9, 2), (9, 6), (3, 6)}
    assert area(ring) == 24


def test_hole_is_an_inner_ring_and_fills_even_odd():
    mask = np.zeros((12, 12), bool)
    mask[1:11, 1:11] = True
    mask[4:7, 5:9] = False
    polygon = mask_to_polygon(mask, tolerance=1.0)
    outer, hole = rings_of(polygon)
    assert set(outer) == {(1, 1), (11, 1), (11, 11), (1, 11)}
    assert set(hole) == {(5, 4), (9, 4), (9, 7), (5, 7)}
    assert area(outer) == 100
    assert area(hole) == -12
    assert np.array_equal(rasterised(polygon, mask.shape), mask)


def test_two_components_are_two_outer_rings_large_first():
    mask = np.zeros((10, 20), bool)
    mask[1:4, 1:4] = True
    mask[2:9, 8:19] = True
    rings = rings_of(mask_to_polygon(mask, tolerance=0.5))
    assert [area(ring) for ring in rings] == [77, 9]


def test_pixels_that_touch_at_a_corner_become_separate_rings():
    polygon = mask_to_polygon(np.eye(3, dtype=bool), tolerance=1.0)
    rings = rings_of(polygon)
    assert len(rings) == 3
    assert all(is_simple(ring) and area(ring) == 1 for ring in rings)


def test_island_in_a_hole():
    mask = np.ones((15, 15), bool)
    mask[3:12, 3:12] = False
    mask[6:9, 6:9] = True
    polygon = mask_to_polygon(mask, tolerance=1.0)
    assert [area(ring) for ring in rings_of(polygon)] == [225, 9, -81]
    assert np.array_equal(rasterised(polygon, mask.shape), mask)


def test_offset_moves_every_vertex():
    mask = np.zeros((8, 8), bool)
    mask[2:5, 1:7] = True
    here = rings_of(mask_to_polygon(mask, tolerance=0))
    there = rings_of(mask_to_polygon(mask, offset=(100, 30), tolerance=0))
    assert there == [[(x + 100, y + 30) for x, y in ring] for ring in here]


def test_single_pixel_survives_any_tolerance():
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = True
    (ring,) = rings_of(mask_to_polygon(mask, tolerance=50.0))
    assert set(ring) == {(3, 2), (4, 2), (4, 3), (3, 3)}


def test_disc_needs_few_points():
    rows, columns = np.mgrid[0:200, 0:200]
    mask = (rows - 100) ** 2 + (columns - 100) ** 2 < 80**2
    polygon = mask_to_polygon(mask, tolerance=1.5)
    (ring,) = rings_of(polygon)
    assert len(ring) < 50
    drawn = rasterised(polygon, mask.shape)
    assert (drawn & mask).sum() / (drawn | mask).sum() > 0.98


def test_empty_mask_has_no_polygon():
    assert mask_to_polygon(np.zeros((4, 4), bool), tolerance=1.0) is None
    assert mask_to_polygon(np.zeros((0, 4), bool), tolerance=1.0) is None


@pytest.mark.parametrize("tolerance", [-0.1, math.nan, math.inf])
def test_bad_tolerance_is_refused(tolerance):
    with pytest.raises(InvalidInput, match="tolerance"):
        mask_to_polygon(np.ones((4, 4), bool), tolerance=tolerance)


@pytest.mark.parametrize("mask", [np.ones((4, 4), np.uint8), np.ones((4, 4, 1), bool), [[True]]])
def test_mask_of_another_kind_is_refused(mask):
    with pytest.raises(InvalidInput, match="mask"):
        mask_to_polygon(mask, tolerance=1.0)


def test_too_many_outlines_are_refused():
    mask = np.zeros((250, 250), bool)
    mask[::2, ::2] = True
    with pytest.raises(InvalidInput, match="15,625 outlines"):
        mask_to_polygon(mask, tolerance=1.0)


@settings(max_examples=150, deadline=None)
@given(noise_masks())
def test_without_tolerance_the_polygon_is_exact(mask):
    polygon = mask_to_polygon(mask, tolerance=0)
    if not mask.any():
        assert polygon is None
        return
    assert np.array_equal(rasterised(polygon, mask.shape), mask)
    assert sum(area(ring) for ring in rings_of(polygon)) == mask.sum()
    assert all(is_simple(ring) for ring in rings_of(polygon))


@settings(max_examples=60, deadline=None)
@given(st.one_of(noise_masks(), blob_masks()), st.sampled_from([0.5, 1.0, 1.5, 3.0, 8.0]))
def test_simplified_rings_are_simple_and_within_tolerance(mask, tolerance):
    polygon = mask_to_polygon(mask, tolerance=tolerance)
    if polygon is None:
        assert not mask.any()
        return
    PolygonGeometry.model_validate(polygon.model_dump())
    rings = rings_of(polygon)
    exact = rings_of(mask_to_polygon(mask, tolerance=0))
    assert len(rings) == len(exact)
    assert sum(map(len, rings)) <= sum(map(len, exact))
    assert all(is_simple(ring) for ring in rings)
    assert [area(ring) > 0 for ring in rings].count(True) == [area(ring) > 0 for ring in exact].count(True)
    vertices = [vertex for ring in exact for vertex in ring]
    for vertex in vertices[:: max(1, len(vertices) // 60)]:
        assert distance_to(rings, vertex) <= tolerance + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.one_of(noise_masks(), blob_masks()), st.sampled_from([0.5, 1.5, 4.0]))
def test_simplified_edges_stay_within_tolerance_of_the_contour(mask, tolerance):
    """The other way round: no edge of the polygon cuts across, away from the mask's own outline."""
    if not mask.any():
        return
    exact = rings_of(mask_to_polygon(mask, tolerance=0))
    edges = [e for ring in rings_of(mask_to_polygon(mask, tolerance=tolerance)) for e in edges_of(ring)]
    for (x0, y0), (x1, y1) in edges[:: max(1, len(edges) // 25)]:
        for share in (0.25, 0.5, 0.75):
            on_edge = (x0 + share * (x1 - x0), y0 + share * (y1 - y0))
            assert distance_to(exact, on_edge) <= tolerance + 1e-9


@settings(max_examples=60, deadline=None)
@given(blob_masks(), st.sampled_from([0.5, 1.0, 2.0]))
def test_pixels_away_from_the_outline_keep_their_side(mask, tolerance):
    polygon = mask_to_polygon(mask, tolerance=tolerance)
    drawn = rasterised(polygon, mask.shape)
    padded = np.pad(mask, 8, mode="constant")
    depth = np.where(
        padded,
        cv2.distanceTransform(padded.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
        cv2.distanceTransform((~padded).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
    )[8:-8, 8:-8]
    far = depth > tolerance + 1.5
    assert np.array_equal(drawn[far], mask[far])
    exact = rings_of(mask_to_polygon(mask, tolerance=0))
    outline = sum(math.dist(*edge) for ring in exact for edge in edges_of(ring))
    assert (drawn != mask).sum() <= outline * tolerance / 2
