"""Predictions as boxes and polygons of the original picture, and as drafts."""

import io

import numpy as np
from PIL import Image

from tintype_studio.annotations.review import is_draft
from tintype_studio.vision.infer.prediction import Found, Prediction
from tintype_studio.vision.infer.shapes import FRAME, SPECK_PX, drafts_of, framed, shapes_of
from tintype_studio.vision.tasks import Signature, Task

CLASSES = ("a", "b")


def area(polygon):
    total = 0.0
    for ring in polygon.paths:
        for p, q in zip(ring, [*ring[1:], ring[0]], strict=True):
            total += p.x * q.y - q.x * p.y
    return abs(total) / 2


def test_boxes_are_scaled_to_the_original():
    signature = Signature(Task.DETECTION, "test", CLASSES, 64)
    seen = Prediction(100, 50, [Found(1, 0.91234, (10, 5, 30, 25))])
    (shape,) = shapes_of(signature, seen, across=4, down=4.02)
    assert (shape.name, shape.score, shape.polygon) == ("b", 0.9123, None)
    assert shape.box.model_dump() == {"x": 40, "y": 20.1, "w": 80, "h": 80.4}


def test_masks_become_polygons_where_they_lie():
    signature = Signature(Task.INSTANCES, "test", CLASSES, 64)
    mask = np.zeros((20, 30), bool)
    mask[5:15, 10:25] = True
    seen = Prediction(100, 100, [Found(0, 0.9, (40.5, 30.2, 69.5, 49.9), mask)])
    (shape,) = shapes_of(signature, seen, across=2, down=2)
    (ring,) = shape.polygon.paths
    assert {(p.x, p.y) for p in ring} == {(100, 70), (130, 70), (130, 90), (100, 90)}


def test_an_empty_mask_and_one_in_shreds_give_the_box():
    signature = Signature(Task.INSTANCES, "test", CLASSES, 64)
    shreds = np.zeros((220, 220), bool)
    shreds[::2, ::2] = True  # 12,100 outlines, more than a polygon may have
    for mask in (np.zeros((220, 220), bool), shreds, None):
        (shape,) = shapes_of(signature, Prediction(220, 220, [Found(0, 0.9, (0, 0, 220, 220), mask)]))
        assert area(shape.polygon) == 220 * 220


def test_regions_that_hang_together_are_one_polygon_each_without_specks():
    signature = Signature(Task.SEMANTIC, "test", CLASSES, 64)
    regions = np.zeros((100, 120), np.uint8)
    regions[10:40, 10:40] = 1
    regions[20:30, 20:30] = 0  # a hole
    regions[60:90, 50:110] = 2
    regions[0:3, 100:105] = 2  # 15 pixels
    certainty = np.full((100, 120), 0.9, np.float32)
    certainty[60:] = 0.6
    seen = Prediction(120, 100, regions=regions, certainty=certainty)
    first, second = shapes_of(signature, seen)
    assert (first.name, first.score, len(first.polygon.paths)) == ("a", 0.9, 2)
    assert first.box.model_dump() == {"x": 10, "y": 10, "w": 30, "h": 30}
    assert (second.name, second.score, area(second.polygon)) == ("b", 0.6, 1800)
    assert [s.name for s in shapes_of(signature, seen, threshold=0.7)] == ["a"]
    assert len(shapes_of(signature, seen, most=1)) == 1
    assert SPECK_PX == 16


def test_drafts_carry_class_confidence_and_author():
    signature = Signature(Task.INSTANCES, "test", CLASSES, 64)
    mask = np.ones((10, 10), bool)
    shapes = shapes_of(signature, Prediction(50, 50, [Found(1, 0.75, (0, 0, 10, 10), mask)]))
    (draft,) = drafts_of(shapes, "x" * 200)
    assert is_draft(draft)
    assert (draft.type, draft.name, draft.confidence, draft.created_by) == ("polygon", "b", 0.75, "x" * 128)
    assert draft.bounding_box.w == 10
    boxed = drafts_of(shapes_of(Signature(Task.DETECTION, "t", CLASSES, 64), Prediction(50, 50, [Found(0, 0.5, (1, 2, 3, 4))])), "m")  # fmt: skip  # noqa: E501
    assert boxed[0].type == "bbox"


def test_large_pictures_are_looked_at_in_a_frame():
    out = io.BytesIO()
    Image.new("RGB", (2600, 1300), (9, 9, 9)).save(out, "JPEG")
    pixels, across, down = framed(out.getvalue())
    assert (pixels.shape, pixels.dtype) == ((640, FRAME, 3), np.uint8)
    assert (round(across * FRAME), round(down * 640)) == (2600, 1300)
    small = io.BytesIO()
    Image.new("RGB", (20, 10)).save(small, "PNG")
    assert framed(small.getvalue())[1:] == (1.0, 1.0)
