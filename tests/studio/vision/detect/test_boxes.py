"""Arithmetic on boxes, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tintype_studio.vision.detect.boxes import deltas, moved, nesting, overlaps, suppress, within


def array(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, float)


def test_overlap_and_nesting():
    big, small, apart = (0, 0, 10, 10), (2, 2, 7, 7), (20, 0, 30, 10)
    assert overlaps(array(big), array(big, small, apart)).tolist() == [[1.0, 0.25, 0.0]]
    assert nesting(array(small), array(big, small, apart)).tolist() == [[1.0, 1.0, 0.0]]
    assert overlaps(array((5, 5, 5, 5)), array((5, 5, 5, 5))).tolist() == [[0.0]]


def test_suppression_keeps_the_best_of_each_object():
    boxes = array((0, 0, 10, 10), (1, 0, 11, 10), (20, 0, 30, 10), (2, 2, 7, 7))
    scores = np.array([0.8, 0.9, 0.1, 0.5])
    assert suppress(boxes, scores, 0.5, 10) == [1, 3, 2]
    assert suppress(boxes, scores, 0.5, 10, nested=0.8) == [1, 2]
    assert suppress(boxes, scores, 0.5, 1) == [1]
    assert suppress(np.empty((0, 4)), np.empty(0), 0.5, 10) == []


def test_a_window_moved_by_its_deltas_is_the_target():
    windows, targets = array((0, 0, 10, 10), (5, 5, 25, 15)), array((1, -1, 12, 9), (4, 6, 22, 18))
    assert moved(windows, deltas(windows, targets)) == pytest.approx(targets, abs=1e-5)


def test_a_correction_is_bounded():
    far = moved(array((0, 0, 10, 10)), deltas(array((0, 0, 10, 10)), array((900, 0, 1000, 10))))
    assert far[0, 0] < 20


def test_the_part_inside():
    assert within(array((-5, 3, 200, 50)), 100, 40).tolist() == [[0, 3, 100, 40]]
