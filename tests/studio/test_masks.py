"""Masks in every form: run lengths as pycocotools has them, arrays, PNG pictures, outlines."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco_mask
from pydantic import ValidationError

from tintype_studio.annotations import masks
from tintype_studio.annotations.geometry import ANNOTATIONS, Mask, enclosing_box, points_of, with_box
from tintype_studio.errors import InvalidInput
from tintype_studio.media.draw import draw_annotations

pixels = st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(lambda size: arrays(np.bool_, size))
quick = settings(max_examples=200, deadline=None)


@quick
@given(pixels)
def test_arrays_come_back_and_the_text_is_that_of_pycocotools(array):
    mask = masks.mask_of_array(array)
    if not array.any():
        assert mask is None
        return
    told = coco_mask.encode(np.asfortranarray(array.astype(np.uint8)))
    assert (mask.counts, mask.size) == (told["counts"].decode(), told["size"])
    assert (masks.array_of(mask) == array).all()
    assert masks.area_of(mask) == array.sum()
    ys, xs = np.nonzero(array)
    box = masks.box_of(mask)
    assert (box.x, box.y, box.x + box.w, box.y + box.h) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    window, left = masks.window_of(mask)
    assert (window == array[:, left : left + window.shape[1]]).all()
    assert window.sum() == array.sum()


@quick
@given(pixels.filter(np.any))
def test_masks_come_back_from_pictures_outlines_and_plain_runs(array):
    mask = masks.mask_of_array(array)
    height, width = array.shape
    assert masks.mask_of_png(masks.png_of(mask)) == mask
    assert masks.mask_of_rings(masks.outline_of(mask), width, height) == mask
    runs = masks.runs_of(mask.counts, height, width).tolist()
    assert masks.mask_of_counts(runs, height, width) == mask
    assert masks.mask_of_counts(mask.counts, height, width) == mask


@quick
@given(st.lists(st.integers(0, masks.MAX_PIXELS), min_size=1, max_size=30))
def test_any_runs_come_back_from_their_text(runs):
    array = np.array(runs, dtype=np.int64)
    assert masks._of_text(masks.text_of(array)).tolist() == runs


@quick
@given(st.text(alphabet=[chr(code) for code in range(48, 112)], min_size=1, max_size=30))
def test_any_text_is_a_mask_of_the_picture_or_refused(text):
    refused = None
    try:
        found = masks.mask_of_counts(text, 6, 7)
    except InvalidInput as error:
        refused = error
    assert refused is not None or found is None or masks.array_of(found).shape == (6, 7)
    assert refused is None or refused.code == "invalid_mask"


@pytest.mark.parametrize(
    "counts",
    [
        "",
        "0",
        "o",
        "oooooooooooo0",
        "\x00",
        "é",
        [],
        [41],
        [43],
        [-1, 43],
        [21.0, 21.0],
        ["42"],
        [[42]],
        [2**80],
    ],
)
def test_runs_that_do_not_add_up_or_are_none_are_refused(counts):
    with pytest.raises(InvalidInput) as refused:
        masks.runs_of(counts, 6, 7)
    assert refused.value.code == "invalid_mask"


def test_a_mask_of_a_picture_that_is_too_large_is_refused_at_once():
    for height, width in ((100_000, 100_000), (0, 5), (-1, -5)):
        with pytest.raises(InvalidInput, match="too large"):
            masks.runs_of("0", height, width)
    with pytest.raises(ValidationError, match="too large"):
        Mask(size=[100_000, 100_000], counts="0")


def test_pixels_that_turn_too_often_are_refused_and_cost_little():
    array = np.zeros((3_000, 3_000), dtype=bool)
    array[::2] = True
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="more than 4,000,000"):
        masks.mask_of_array(array)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * array.size


def grey(array: np.ndarray, mode: str | None = None) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(out, "PNG")
    return out.getvalue()


def test_what_is_at_least_half_is_marked_whatever_the_depth():
    eight = np.array([[0, 127, 128, 255]], dtype=np.uint8)
    sixteen = np.array([[0, 32_767, 32_768, 65_535]], dtype=np.uint16)
    for data in (grey(eight), grey(sixteen)):
        assert masks.array_of(masks.mask_of_png(data)).tolist() == [[False, False, True, True]]
    assert masks.array_of(masks.mask_of_png(grey(np.array([[0, 1]], np.uint8)))).tolist() == [[False, True]]
    assert masks.mask_of_png(grey(np.zeros((3, 3), np.uint8))) is None


def with_offset(data: bytes, left: int, top: int) -> bytes:
    body = b"oFFs" + struct.pack(">iiB", left, top, 0)
    return data[:33] + struct.pack(">I", 9) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


def test_a_tile_is_put_where_its_offset_says():
    tile = grey(np.full((2, 3), 255, np.uint8))
    found = masks.array_of(masks.mask_of_png(with_offset(tile, 4, 5), (10, 10)))
    assert found[5:7, 4:7].all()
    assert found.sum() == 6
    assert masks.array_of(masks.mask_of_png(tile, (10, 10)))[:2, :3].all()
    for left, top in ((8, 0), (0, 9), (-1, 0), (2**31 - 1, 0)):
        with pytest.raises(InvalidInput) as refused:
            masks.mask_of_png(with_offset(tile, left, top), (10, 10))
        assert refused.value.code == "invalid_mask"


def test_pictures_that_are_no_masks_are_refused():
    whole = masks.png_of(masks.mask_of_array(np.ones((40, 40), dtype=np.bool_)))
    claims = bytearray(whole)
    claims[16:24] = struct.pack(">II", 2_000_000_000, 2_000_000_000)
    color = grey(np.zeros((3, 3, 3), np.uint8))
    for data in (b"", b"GIF89a", whole[:40], bytes(claims), color, grey(np.eye(3, dtype=np.uint8), "P")):
        with pytest.raises(InvalidInput) as refused:
            masks.mask_of_png(data)
        assert refused.value.code == "invalid_mask"


def annotation(array: np.ndarray, **members: Any) -> Any:
    mask = masks.mask_of_array(array).model_dump()
    return ANNOTATIONS.validate_python([{"id": "1", "name": "car", "type": "mask", "mask": mask, **members}])[
        0
    ]


def block() -> np.ndarray:
    array = np.zeros((40, 60), dtype=bool)
    array[10:30, 20:50] = True
    array[15:25, 30:40] = False
    return array


def test_a_mask_has_a_box_with_and_without_being_told():
    made = annotation(block())
    assert enclosing_box(made) == (20, 10, 30, 20)
    assert len(list(points_of(made))) == 4
    assert with_box(made).bounding_box.model_dump() == {"x": 20, "y": 10, "w": 30, "h": 20}


def test_models_refuse_masks_that_mark_nothing_or_lie():
    for counts in ("T2", "0", "T2T2"):
        with pytest.raises(ValidationError):
            Mask(size=[10, 10], counts=counts)


def test_a_mask_as_outline_or_as_box_where_no_polygon_holds_it():
    outline = masks.as_outline(annotation(block(), object_id="7", confidence=0.5))
    assert (outline.type, outline.object_id, outline.confidence) == ("polygon", "7", 0.5)
    assert len(outline.polygon.paths) == 2
    assert outline.mask is None
    assert ANNOTATIONS.validate_python([outline.model_dump()]) == [outline]
    ragged = annotation(np.indices((300, 300)).sum(axis=0) % 2 == 0)
    assert masks.as_outline(ragged).type == "bbox"
    assert masks.outlined_document(ragged.model_dump(mode="json"))["type"] == "bbox"


def test_drawn_masks_cover_their_pixels_and_what_has_no_place_is_left_out():
    others = ANNOTATIONS.validate_python(
        [
            {"id": "2", "name": "rain", "type": "tag"},
            {"id": "3", "name": "car", "type": "box3d", "box3d": dict.fromkeys("xyzwhl", 1.0)},
        ]
    )
    ground = Image.new("RGB", (60, 40), (200, 200, 200))
    told: dict[str, Any] = {"colors": {"car": "#ff0000"}, "scale": 1.0, "labels": False}
    drawn = np.asarray(draw_annotations(ground, [annotation(block()), *others], **told)).astype(int)
    changed = (drawn != 200).any(axis=2)
    assert changed[12:28, 22:28].all()
    assert not changed[18:22, 33:37].any()  # the hole
    assert not changed[:7].any()
    assert (np.asarray(draw_annotations(ground, others, **told)) == 200).all()


def test_a_mask_of_another_picture_is_not_saved(studio, owner, dataset, picture):
    image = studio.ingest.add_image(owner, dataset, data=picture(size=(60, 40)), filename="a.jpg")
    studio.documents.save(owner, image.id, [annotation(block())])
    with pytest.raises(InvalidInput, match=r"the picture has \[40, 60\]") as refused:
        studio.documents.save(owner, image.id, [annotation(block()[:20])])
    assert refused.value.code == "invalid_mask"
    _, kept = studio.documents.get(owner, image.id)
    assert kept == [with_box(annotation(block()))]
