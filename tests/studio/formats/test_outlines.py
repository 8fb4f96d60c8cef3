"""Outlines measured and written many at a time, beside the slow and the plain way."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.formats.outlines import outlines, shares
from tintype_studio.formats.shapes import measure

number = st.floats(-1000, 1000, allow_nan=False).map(lambda x: round(x, 2))
near = st.floats(-5, 70).map(lambda x: round(x, 3))
grid = st.integers(0, 4).map(float)
rings = st.lists(
    st.lists(st.tuples(number, number), min_size=3, max_size=9)
    | st.lists(st.tuples(grid, grid), min_size=3, max_size=9),
    min_size=1,
    max_size=6,
)


def flattened(points):
    return [value for point in points for value in point]


def star(points, turns=1, seed=1):
    chance = random.Random(seed)
    ring = []
    for k in range(points):
        angle, radius = 2 * math.pi * turns * k / points, chance.uniform(80, 100)
        ring.append((500 + radius * math.cos(angle), 400 + radius * math.sin(angle)))
    return ring


@settings(max_examples=300, deadline=None)
@given(rings)
def test_an_area_that_is_told_is_the_exact_one(many):
    found = outlines([flattened(points) for points in many])
    for points, (area, box) in zip(many, found, strict=True):
        xs, ys = zip(*points, strict=True)
        assert box == [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        if area is not None:
            (exact,) = measure([[(list(xs), list(ys))]])
            assert area == pytest.approx(exact.area, rel=1e-6)
            assert not exact.needs_mask


@pytest.mark.parametrize("points", [3, 4, 20, 500])
@pytest.mark.parametrize("way", [1, -1])
def test_outlines_seen_from_their_middle_are_told_at_once(points, way):
    ring = star(points)[::way]
    ((area, _),) = outlines([flattened(ring)])
    xs, ys = zip(*ring, strict=True)
    assert area == pytest.approx(measure([[(list(xs), list(ys))]])[0].area, rel=1e-9)


@pytest.mark.parametrize(
    "ring",
    [
        star(40, turns=2),  # twice around
        [(0, 0), (10, 10), (10, 0), (0, 10)],  # a bow tie
        [(0, 0), (10, 0), (20, 0)],  # flat
        [(5, 5)] * 4,
        [(0, 0), (10, 0), (10, 10), (0, 10), (0, 0)],  # closed by hand
    ],
)
def test_the_others_are_left_to_the_slow_way(ring):
    ((area, _),) = outlines([flattened(ring)])
    assert area is None


def test_nothing_is_nothing():
    assert outlines([]) == shares([], []) == []


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(near, near), min_size=3, max_size=8),
        min_size=1,
        max_size=5,
    )
)
def test_shares_are_six_decimals_of_those_that_lie_inside(many):
    found = shares([flattened(points) for points in many], [(64, 48)] * len(many))
    for points, text in zip(many, found, strict=True):
        xs, ys = zip(*points, strict=True)
        whole = min(xs) >= 0 and min(ys) >= 0 and max(xs) <= 64 and max(ys) <= 48
        if not whole or max(xs) == min(xs) or max(ys) == min(ys):
            assert text is None or (whole and max(xs) / 64 > min(xs) / 64)
            continue
        if text is None:  # an extent that is lost in rounding
            assert min((max(xs) - min(xs)) / 64, (max(ys) - min(ys)) / 48) < 1e-15
            continue
        assert text[:1] == b" "
        values = text.decode().split()
        assert all(len(value) == 8 for value in values)
        expected = [share for x, y in points for share in (x / 64, y / 48)]
        assert [float(value) for value in values] == pytest.approx(expected, abs=5.1e-7)


def test_the_ends_of_the_range():
    (text,) = shares([[0, 0, 64, 0, 64, 48, 0, 48]], [(64, 48)])
    zero, one = " 0.000000", " 1.000000"
    assert text == (zero + zero + one + zero + one + one + zero + one).encode()
