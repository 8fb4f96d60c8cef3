"""The square picture that a network sees: where the picture lies in it, and what fills the rest."""

import numpy as np
import pytest

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.letterbox import FILL, letterbox, scale_of


def test_a_wide_picture_lies_at_the_top_left_and_the_rest_is_grey():
    image = np.full((50, 100, 3), 7, np.uint8)
    square, scale = letterbox(image, 64)
    assert (square.shape, square.dtype, scale) == ((64, 64, 3), np.uint8, 0.64)
    assert (square[:32] == 7).all()
    assert (square[32:] == FILL).all()


def test_small_pictures_are_enlarged_and_fitting_ones_stay_as_they_are():
    small = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
    square, scale = letterbox(small, 32)
    assert scale == 8
    assert (square[:, 16:] == FILL).all()
    fitting = np.random.default_rng(0).integers(0, 255, (32, 20, 3), dtype=np.uint8)
    assert np.array_equal(letterbox(fitting, 32)[0][:, :20], fitting)


def test_positions_scale_on_both_axes():
    image = np.zeros((300, 200, 3), np.uint8)
    image[150:200, 50:100] = 255
    square, scale = letterbox(image, 96)
    assert scale == scale_of(200, 300, 96)
    rows, columns = np.nonzero(square[:96, :64, 0] > 127)
    assert abs(columns.min() - 50 * scale) <= 0.5
    assert abs(rows.max() + 1 - 200 * scale) <= 0.5


def test_a_picture_one_pixel_high_keeps_a_row():
    square, _ = letterbox(np.full((1, 1000, 3), 9, np.uint8), 32)
    assert (square[0] == 9).all()
    assert (square[1:] == FILL).all()


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (0, 10, 3)])
def test_other_arrays_are_refused(shape):
    with pytest.raises(InvalidInput):
        letterbox(np.zeros(shape, np.uint8), 32)
    with pytest.raises(InvalidInput):
        letterbox(np.zeros((4, 4, 3), np.float32), 32)
