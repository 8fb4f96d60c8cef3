"""Pictograph JSON: nothing is lost."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.annotations.geometry import (
    ANNOTATIONS,
    AnnotationList,
    BBoxAnnotation,
    BoundingBox,
    KeypointAnnotation,
    Point,
    PolygonAnnotation,
    PolygonGeometry,
    PolylineAnnotation,
    PolylineGeometry,
)
from tintype_studio.formats.base import ExportClass, ExportItem
from tintype_studio.formats.pictograph import PictographWriter

coordinate = st.floats(-1e6, 1e6, allow_nan=False)
extent = st.floats(1e-300, 2e6, allow_nan=False, exclude_min=True)
points = st.builds(Point, x=coordinate, y=coordinate)
boxes = st.builds(BoundingBox, x=coordinate, y=coordinate, w=extent, h=extent)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
label = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda s: s.strip())
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
common = {
    "id": label,
    "name": st.sampled_from(["stop", "交通标志"]),
    "confidence": st.floats(0, 1),
    "created_by": st.none() | text,
    "attributes": st.lists(plain, max_size=3),
}
rings = st.lists(st.lists(points, min_size=3, max_size=6), min_size=1, max_size=3)
annotations = st.one_of(
    st.builds(BBoxAnnotation, **common, bounding_box=boxes),
    st.builds(
        PolygonAnnotation,
        **common,
        polygon=st.builds(PolygonGeometry, paths=rings),
        bounding_box=st.none() | boxes,
    ),
    st.builds(
        PolylineAnnotation,
        **common,
        polyline=st.builds(PolylineGeometry, path=st.lists(points, min_size=2, max_size=6)),
        bounding_box=st.none() | boxes,
    ),
    st.builds(KeypointAnnotation, **common, keypoint=points),
)
documents = st.lists(annotations, max_size=5, unique_by=lambda a: a.id)


@settings(max_examples=150, deadline=None)
@given(documents)
def test_what_is_written_reads_back_equal(document):
    out = io.BytesIO()
    classes = [ExportClass("stop"), ExportClass("交通标志")]
    with zipfile.ZipFile(out, "w") as archive:
        writer = PictographWriter(archive, dataset_name="d", classes=classes, created_at=datetime(2025, 1, 1))
        with writer:
            writer.add(ExportItem("i", "a.jpg", "/", 10, 10, "complete", None, document))
            summary = writer.finish()
    raw = zipfile.ZipFile(out).read("annotations/a.jpg.json")
    assert ANNOTATIONS.validate_json(raw) == document
    assert AnnotationList(annotations=json.loads(raw)).annotations == document
    assert summary.annotations == len(document)
    assert summary.notes == []


def test_the_array_is_plain_and_leaves_out_keys_without_a_value(make):
    exported = make.export("pictograph", make.item(make.polygon([(10, 20), (110, 20), (110, 80.5)])))
    assert exported.json("annotations/001.jpg.json") == [
        {
            "id": "a1",
            "name": "stop",
            "confidence": 1.0,
            "attributes": [],
            "type": "polygon",
            "polygon": {"paths": [[{"x": 10, "y": 20}, {"x": 110, "y": 20}, {"x": 110, "y": 80.5}]]},
        }
    ]


def test_a_null_inside_an_attribute_stays(make):
    exported = make.export("pictograph", make.item(make.box(1, 2, 3, 4, attributes=[{"lane": None}])))
    assert exported.json("annotations/001.jpg.json")[0]["attributes"] == [{"lane": None}]


def test_attributes_at_the_limits_survive(make):
    odd = [2**63 - 1, "\u2028", 1e300]
    exported = make.export("pictograph", make.item(make.box(1, 2, 3, 4, attributes=odd)))
    (annotation,) = exported.json("annotations/001.jpg.json")
    assert annotation["attributes"] == odd
    assert BBoxAnnotation.model_validate(annotation).bounding_box.h == 4


def test_dataset_json_lists_the_images_in_order(make):
    exported = make.export(
        "pictograph",
        make.item(filename="b.jpg", folder="/stop", split="val", image=lambda: b"raw"),
        make.item(make.box(1, 2, 3, 4), filename="a.jpg", status="new"),
    )
    dataset = exported.json("dataset.json")
    assert dataset["name"] == "signs"
    assert dataset["created_at"] == "2025-03-04T05:06:08+00:00"
    assert dataset["classes"] == [
        {"name": "stop", "color": None, "type": None},
        {"name": "car", "color": None, "type": None},
    ]
    assert dataset["images"] == [
        {
            "id": "id-/stop-b.jpg",
            "filename": "b.jpg",
            "folder": "/stop",
            "width": 64,
            "height": 48,
            "status": "complete",
            "split": "val",
            "annotations": "annotations/stop/b.jpg.json",
            "image": "images/stop/b.jpg",
        },
        {
            "id": "id-/-a.jpg",
            "filename": "a.jpg",
            "folder": "/",
            "width": 64,
            "height": 48,
            "status": "new",
            "split": None,
            "annotations": "annotations/a.jpg.json",
            "image": None,
        },
    ]
    assert exported.zip.read("images/stop/b.jpg") == b"raw"
    assert exported.json("annotations/stop/b.jpg.json") == []


def test_colour_and_type_of_a_class_are_kept():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        PictographWriter(
            archive,
            dataset_name="d",
            classes=[ExportClass("lane", "#ff8800", "polyline")],
            created_at=datetime(2025, 1, 1),
        ).finish()
    listed = json.loads(zipfile.ZipFile(out).read("dataset.json"))["classes"]
    assert listed == [{"name": "lane", "color": "#ff8800", "type": "polyline"}]


def test_same_stem_with_two_extensions_stays_apart(make):
    exported = make.export("pictograph", make.item(filename="a.jpg"), make.item(filename="a.png"))
    assert {"annotations/a.jpg.json", "annotations/a.png.json"} <= set(exported.names)
