"""Contact sheets: every picture in its place, whatever its shape, and a line below each."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tintype_studio.media.contact_sheet import Tile, contact_sheet

PAPER = np.array([24, 24, 27])


def flat(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return out.getvalue()


def drawn(tiles: list[Tile], **options: int) -> np.ndarray:
    data, width, height = contact_sheet(tiles, **options)
    sheet = Image.open(io.BytesIO(data))
    assert (sheet.format, sheet.size) == ("JPEG", (width, height))
    return np.asarray(sheet).astype(int)


def test_pictures_stand_in_reading_order_with_their_shapes_kept() -> None:
    colours = [(220, 40, 40), (40, 220, 40), (40, 40, 220), (220, 220, 40)]
    sizes = [(100, 50), (50, 100), (300, 300), (10, 10)]
    tiles = [Tile(flat(*size, colour), "") for size, colour in zip(sizes, colours, strict=True)]
    sheet = drawn(tiles, side=100, columns=2)
    where = [np.argwhere(np.abs(sheet - colour).sum(axis=2) < 60) for colour in colours]
    spans = [tuple(places.max(axis=0) - places.min(axis=0) + 1)[::-1] for places in where]
    for span, expected in zip(spans, [(100, 50), (50, 100), (100, 100), (10, 10)], strict=True):
        assert np.abs(np.subtract(span, expected)).max() <= 2
    tops, lefts = ([places.min(axis=0)[axis] for places in where] for axis in (0, 1))
    assert lefts[0] < lefts[1]
    assert max(tops[:2]) < min(tops[2:])


def test_captions_are_drawn_and_stay_in_their_column() -> None:
    blank = drawn([Tile(None, ""), Tile(None, "")], side=80, columns=2)
    written = drawn([Tile(None, "a very long name that does not fit here.jpg"), Tile(None, "")], side=80)
    changed = np.argwhere(np.abs(blank - written).sum(axis=2) > 120)
    assert len(changed) > 50
    assert changed[:, 1].max() < 8 + 80 + 4


def test_a_picture_that_is_not_there_leaves_a_frame() -> None:
    sheet = drawn([Tile(None, "")], side=80)
    assert (np.abs(sheet[8, 20:70] - 65).max(axis=1) < 20).all()
    assert (np.abs(sheet[40, 40] - PAPER) < 8).all()


@pytest.mark.parametrize("count", [1, 5, 6, 7, 48])
def test_the_sheet_is_as_large_as_it_must_be(count: int) -> None:
    sheet = drawn([Tile(flat(20, 20, (255, 255, 255)), str(n)) for n in range(count)], side=60, columns=6)
    columns, rows = min(count, 6), -(-count // 6)
    assert sheet.shape[1] == 8 + columns * 68
    row = drawn([Tile(None, "")], side=60).shape[0] - 8
    assert sheet.shape[0] == 8 + rows * row


def test_no_tiles_are_no_sheet() -> None:
    with pytest.raises(ValueError, match="no tiles"):
        contact_sheet([])
