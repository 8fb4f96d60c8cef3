"""Radar cubes in PNG files, and pictures of them and of point clouds."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.errors import InvalidInput, TooLarge
from tintype_studio.multisensor import radar
from tintype_studio.multisensor.birds_eye import birds_eye, range_doppler


def cube(shape: tuple[int, int, int, int] = (2, 4, 6, 8)) -> np.ndarray:
    rng = np.random.default_rng(1)
    real, imaginary = rng.integers(-32_768, 32_768, (2, *shape))
    return (real + 1j * imaginary).astype(np.complex64)


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_a_cube_comes_back_to_the_last_bit():
    given_ = cube()
    data = radar.cube_png(given_)
    assert radar.check(data) == radar.CubeFacts(4 * 8 * 2, 2 * 6, (2, 4, 6, 8))
    assert (radar.cube_of(data) == given_).all()


def test_the_layout_is_that_of_the_format():
    given_ = cube()
    pixels = np.asarray(Image.open(io.BytesIO(radar.cube_png(given_)))).astype(int) - 32_768
    # Sequence 1, antenna 2, range bin 3, Doppler bin 4: second row of the grid, third column.
    row, column = 6 + 3, (2 * 8 + 4) * 2
    assert complex(pixels[row, column], pixels[row, column + 1]) == given_[1, 2, 3, 4]


def test_a_cube_of_another_grid_has_to_be_told():
    data = radar.cube_png(cube((1, 3, 5, 7)))
    assert radar.check(data).shape is None
    assert radar.cube_of(data, sequences=1, antennas=3).shape == (1, 3, 5, 7)
    with pytest.raises(InvalidInput, match="no grid of 2 x 4"):
        radar.cube_of(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no PNG"),
        (b"JFIF", "no PNG"),
        (png(Image.new("L", (64, 12))), "16 bits"),
        (png(Image.new("RGB", (64, 12))), "16 bits"),
        (png(Image.fromarray(np.zeros((4, 7), np.uint16))), "odd"),
        (radar.cube_png(cube())[:-40], "cut off"),
        (radar.cube_png(cube())[:100], "cut off"),
        (radar.cube_png(cube())[:20], "cut off"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_cube_is_refused(data, says):
    with pytest.raises(InvalidInput, match=says) as refused:
        radar.check(data)
    assert refused.value.code == "invalid_radar_cube"
    assert refused.value.fix


def claiming(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG of 16 bits whose header says so, whatever its pixels are."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_headers_that_lie_are_refused():
    with pytest.raises(TooLarge):
        radar.check(claiming(2_000_000_000, 2_000_000_000))
    with pytest.raises(InvalidInput, match="damaged"):
        radar.check(claiming(2048, 400))
    with pytest.raises(InvalidInput, match="damaged"):
        radar.check(claiming(2048, 400, bytes(1000)))


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_damaged_files_are_read_or_refused(at, noise):
    data = bytearray(radar.cube_png(cube((2, 4, 2, 2))))
    at %= len(data)
    data[at : at + len(noise)] = noise
    try:
        assert radar.check(bytes(data)).width >= 2
    except InvalidInput as error:
        assert error.code in {"invalid_radar_cube", "decompression_bomb"}  # noqa: PT017


def test_a_target_stands_out_of_the_noise_near_ranges_at_the_bottom():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 20, (2, 2, 4, 100, 100))
    given_ = noise[0] + 1j * noise[1]
    given_[:, :, 20:24, 70:74] = 4_000
    pixels = np.asarray(range_doppler(given_.astype(np.complex64), size=200)).astype(int)
    assert pixels.shape == (200, 200, 3)
    bright = pixels.sum(axis=2)
    row, column = np.unravel_index(bright.argmax(), bright.shape)
    assert 200 - 48 <= row < 200 - 40
    assert 140 <= column < 148


BOX = ANNOTATIONS.validate_python(
    [{"id": "1", "name": "car", "type": "box3d", "box3d": {"x": 10, "y": 5, "z": 0, "w": 2, "h": 2, "l": 4}}]
)


def colored(pixels: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Columns and rows of the pixels of a colour."""
    rows, columns = np.nonzero((pixels == color).all(axis=2))
    return np.stack([columns, rows])


def test_from_above_forward_is_up_and_left_is_left():
    far = [(20.0, 0.0, 0.0), (-20.0, 0.0, 0.0), (0.0, 20.0, 0.0), (0.0, -20.0, 0.0)]
    image = birds_eye(np.array(far * 50), BOX, size=400, colors={"car": "#ff00ff"})
    columns, rows = colored(np.asarray(image), (255, 0, 255))
    # 42 metres are 400 pixels; the box is 8 to 12 m ahead and 4 to 6 m to the left.
    assert rows.min() >= 200 - 12 / 42 * 400 - 22
    assert rows.max() == pytest.approx(200 - 8 / 42 * 400, abs=3)
    assert columns.min() == pytest.approx(200 - 6 / 42 * 400, abs=3)


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 3)),
        np.full((5, 3), np.nan),
        np.array([[np.inf, 0, 0], [1, 2, 3]]),
        np.full((1, 3), 1e30),
        np.zeros((900_000, 3), dtype=np.float32),
        np.array([[1e-9, 1e-9, 0]]),
    ],
    ids=["none", "nan", "inf", "far", "many", "near"],
)
def test_any_points_make_a_picture(points):
    assert birds_eye(points, size=128).size == (128, 128)
    assert birds_eye(points, BOX, size=64).size == (64, 64)
