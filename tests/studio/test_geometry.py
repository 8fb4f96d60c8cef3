"""Geometry models: what is refused, what is filled in, what is computed."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tintype_studio.annotations.geometry import (
    ANNOTATIONS,
    MAX_COORDINATE,
    AnnotationList,
    BoundingBox,
    Point,
    enclosing_box,
    points_of,
    ring_area,
    with_box,
)

BOX = {"x": 1, "y": 2, "w": 3, "h": 4}
TRIANGLE = [{"x": 0, "y": 0}, {"x": 4, "y": 0}, {"x": 0, "y": 3}]


def box(**changes: Any) -> dict[str, Any]:
    return {"id": "1", "name": "car", "type": "bbox", "bounding_box": BOX, **changes}


def polygon(*rings: Any, **changes: Any) -> dict[str, Any]:
    return {"id": "1", "name": "car", "type": "polygon", "polygon": {"paths": list(rings)}, **changes}


def polyline(points: Any, **changes: Any) -> dict[str, Any]:
    return {"id": "1", "name": "car", "type": "polyline", "polyline": {"path": points}, **changes}


def keypoint(**changes: Any) -> dict[str, Any]:
    return {"id": "1", "name": "car", "type": "keypoint", "keypoint": {"x": 1, "y": 2}, **changes}


def parse(*raw: Any) -> list[Any]:
    return list(AnnotationList.model_validate({"annotations": list(raw)}).annotations)


REFUSED = {
    "x is NaN": box(bounding_box={**BOX, "x": math.nan}),
    "x is infinite": box(bounding_box={**BOX, "x": math.inf}),
    "width is NaN": box(bounding_box={**BOX, "w": math.nan}),
    "width is infinite": box(bounding_box={**BOX, "w": math.inf}),
    "width is zero": box(bounding_box={**BOX, "w": 0}),
    "height is zero": box(bounding_box={**BOX, "h": 0.0}),
    "height is negative": box(bounding_box={**BOX, "h": -1}),
    "x is beyond any picture": box(bounding_box={**BOX, "x": MAX_COORDINATE * 2}),
    "box without a height": box(bounding_box={"x": 1, "y": 2, "w": 3}),
    "box with a further key": box(bounding_box={**BOX, "angle": 30}),
    "box without a box": {"id": "1", "name": "car", "type": "bbox"},
    "polygon with two points": polygon(TRIANGLE[:2]),
    "polygon without points": polygon([]),
    "polygon without rings": polygon(),
    "hole with two points": polygon(TRIANGLE, TRIANGLE[:2]),
    "polygon with a NaN point": polygon([*TRIANGLE, {"x": math.nan, "y": 0}]),
    "polygon point with z": polygon([*TRIANGLE[:2], {"x": 1, "y": 1, "z": 1}]),
    "polygon point as a pair": polygon([[0, 0], [1, 0], [0, 1]]),
    "polygon with an empty box": polygon(TRIANGLE, bounding_box={**BOX, "w": 0}),
    "polyline with one point": polyline(TRIANGLE[:1]),
    "polyline with an infinite point": polyline([TRIANGLE[0], {"x": -math.inf, "y": 0}]),
    "keypoint with a box": keypoint(bounding_box=BOX),
    "keypoint that is NaN": keypoint(keypoint={"x": 1, "y": math.nan}),
    "keypoint as text": keypoint(keypoint="1,2"),
    "box with a polygon": box(polygon={"paths": [TRIANGLE]}),
    "unknown key": box(colour="red"),
    "unknown type": box(type="circle"),
    "type that contradicts the geometry": box(type="polygon"),
    "no geometry": {"id": "1", "name": "car"},
    "blank name": box(name="  "),
    "name too long": box(name="x" * 121),
    "name with a lone surrogate": box(name="a\ud800"),
    "blank id": box(id=" "),
    "id as a number": box(id=7),
    "id with a lone surrogate": box(id="\udfff"),
    "confidence above one": box(confidence=1.01),
    "confidence below zero": box(confidence=-0.01),
    "confidence is NaN": box(confidence=math.nan),
    "attribute is NaN": box(attributes=[math.nan]),
    "attribute is infinite deep inside": box(attributes=[{"a": [1, {"b": math.inf}]}]),
    "attribute integer over 64 bits": box(attributes=[2**70]),
    "attribute with a lone surrogate": box(attributes=["\ud800"]),
    "attribute that is no JSON": box(attributes=[{1, 2}]),
    "attributes nested too deep": box(attributes=json.loads("[" * 400 + "]" * 400)),
    "attributes as an object": box(attributes={"a": 1}),
    "annotation as text": "car",
    "annotation as null": None,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_annotation_is_refused(raw: Any) -> None:
    with pytest.raises(ValidationError):
        parse(raw)


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_one_wrong_annotation_refuses_the_list(raw: Any) -> None:
    with pytest.raises(ValidationError):
        parse(box(id="good"), raw)


def test_ids_must_be_unique() -> None:
    with pytest.raises(ValidationError, match="'1' occurs twice"):
        parse(box(), keypoint())


def test_ids_that_differ_only_in_blanks_are_the_same() -> None:
    with pytest.raises(ValidationError, match="occurs twice"):
        parse(box(id="1"), box(id=" 1 "))


@pytest.mark.parametrize(
    "raw", [box(), polygon(TRIANGLE), polyline(TRIANGLE), keypoint()], ids=lambda r: r["type"]
)
def test_a_missing_type_is_told_from_the_geometry(raw: dict[str, Any]) -> None:
    without = {key: value for key, value in raw.items() if key != "type"}
    assert parse(without) == parse(raw)


def test_a_polygon_with_a_box_is_a_polygon() -> None:
    raw = {"id": "1", "name": "car", "polygon": {"paths": [TRIANGLE]}, "bounding_box": BOX}
    assert parse(raw)[0].type == "polygon"


def test_an_enclosing_box_is_filled_in() -> None:
    hole_outside = [{"x": 5, "y": -2}, {"x": 6, "y": 0}, {"x": 5, "y": 1}]
    [annotation] = parse(polygon(TRIANGLE, hole_outside))
    assert with_box(annotation).bounding_box == BoundingBox(x=0, y=-2, w=6, h=5)


def test_a_box_that_was_sent_is_kept() -> None:
    [annotation] = parse(polygon(TRIANGLE, bounding_box=BOX))
    assert with_box(annotation).bounding_box == BoundingBox(**BOX)


def test_a_flat_line_gets_no_box_without_area() -> None:
    [annotation] = parse(polyline([{"x": 0, "y": 5}, {"x": 9, "y": 5}]))
    assert with_box(annotation) == annotation


def test_the_vertices_of_each_kind() -> None:
    [of_box] = parse(box())
    assert [(p.x, p.y) for p in points_of(of_box)] == [(1, 2), (4, 2), (4, 6), (1, 6)]
    [of_polygon] = parse(polygon(TRIANGLE, TRIANGLE))
    assert len(list(points_of(of_polygon))) == 6
    [of_keypoint] = parse(keypoint())
    assert [(p.x, p.y) for p in points_of(of_keypoint)] == [(1, 2)]


def test_the_area_of_a_triangle_in_both_directions() -> None:
    ring = [Point(**p) for p in TRIANGLE]
    assert ring_area(ring) == ring_area(ring[::-1]) == 6


# Sixteenths of a pixel: differences and sums of them are exact.
coordinates = st.integers(int(-16 * MAX_COORDINATE), int(16 * MAX_COORDINATE)).map(lambda n: n / 16)
points = st.fixed_dictionaries({"x": coordinates, "y": coordinates})


@given(st.lists(points, min_size=3, max_size=8))
def test_the_enclosing_box_holds_every_vertex(ring: list[dict[str, float]]) -> None:
    [annotation] = parse(polygon(ring))
    x, y, w, h = enclosing_box(annotation)
    assert min(w, h) >= 0
    for point in points_of(annotation):
        assert x <= point.x <= x + w
        assert y <= point.y <= y + h


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(points, min_size=3, max_size=5), st.lists(json_values, max_size=3))
def test_a_document_survives_json_unchanged(ring: list[dict[str, float]], attributes: list[Any]) -> None:
    document = [with_box(a) for a in parse(polygon(ring, attributes=attributes), keypoint(id="2"))]
    assert ANNOTATIONS.validate_json(ANNOTATIONS.dump_json(document, exclude_none=True)) == document
