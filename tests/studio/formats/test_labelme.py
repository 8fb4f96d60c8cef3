"""LabelMe JSON, read as LabelMe reads it."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

HOLED = ([(1, 1), (40, 1), (40, 40), (1, 40)], [(9, 9), (20, 9), (20, 20), (9, 20)])
KEYS = {"label", "points", "group_id", "description", "shape_type", "flags", "mask"}


def shapes(exported, path="images/001.json"):
    """With the checks that LabelMe's own reader makes."""
    document = exported.json(path)
    assert document.keys() == {
        "version",
        "flags",
        "shapes",
        "imagePath",
        "imageData",
        "imageHeight",
        "imageWidth",
    }
    assert document["imageData"] is None
    for shape in document["shapes"]:
        assert shape.keys() >= KEYS
        assert shape["points"]
        assert all(len(point) == 2 for point in shape["points"])
        assert all(isinstance(value, bool) for value in shape["flags"].values())
        assert (shape["mask"] is not None) == (shape["shape_type"] == "mask")
    return document["shapes"]


def test_every_kind_of_shape(make):
    exported = make.export(
        "labelme",
        make.item(
            make.box(1, 2, 3.5, 4),
            make.polygon([(1, 1), (4, 1), (4, 4.25)], name="car"),
            make.line((1, 2), (3, 4)),
            make.keypoint(5, 6),
        ),
    )
    assert [(s["label"], s["shape_type"], s["points"]) for s in shapes(exported)] == [
        ("stop", "rectangle", [[1, 2], [4.5, 6]]),
        ("car", "polygon", [[1, 1], [4, 1], [4, 4.25]]),
        ("stop", "linestrip", [[1, 2], [3, 4]]),
        ("stop", "point", [[5, 6]]),
    ]
    assert {s["group_id"] for s in shapes(exported)} == {None}
    assert exported.summary.notes == []


def test_the_file_lies_beside_its_image(make):
    exported = make.export(
        "labelme", make.item(folder="/stop/left", filename='a "b".png', image=lambda: b"raw")
    )
    assert exported.names == ['images/stop/left/a "b".json', 'images/stop/left/a "b".png', "labels.txt"]
    document = exported.json('images/stop/left/a "b".json')
    assert (document["imagePath"], document["imageWidth"], document["imageHeight"]) == ('a "b".png', 64, 48)
    assert exported.text("labels.txt") == "stop\ncar\n"


def test_a_polygon_with_a_hole_is_a_mask_of_the_right_pixels(make, even_odd):
    exported = make.export("labelme", make.item(make.polygon(*HOLED)))
    (shape,) = shapes(exported)
    (left, top), (right, bottom) = shape["points"]
    mask = np.array(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))).astype(bool)
    assert mask.shape == (bottom - top + 1, right - left + 1)
    out = np.zeros((48, 64), dtype=bool)
    out[top : bottom + 1, left : right + 1] = mask
    assert (out == even_odd(HOLED, 64, 48)).all()
    assert exported.summary.notes[0].startswith("1 polygon has holes or overlapping rings")


def test_parts_share_a_group_of_their_own(make):
    parts = ([(1, 1), (5, 1), (5, 5)], [(20, 20), (30, 20), (30, 30)])
    found = shapes(make.export("labelme", make.item(make.polygon(*parts), make.polygon(*parts))))
    assert [s["points"] for s in found[:2]] == [[[x, y] for x, y in part] for part in parts]
    groups = [s["group_id"] for s in found]
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_words_are_flags_and_the_rest_is_kept(make):
    def extra(attributes, **more):
        (shape,) = shapes(
            make.export("labelme", make.item(make.box(1, 1, 2, 2, attributes=attributes, **more)))
        )
        return shape["flags"], shape.get("attributes"), shape.get("score")

    assert extra(["worn", "wet"]) == ({"worn": True, "wet": True}, None, None)
    assert extra(["worn", {"n": 3}, "wet"], confidence=0.25) == ({"worn": True}, [{"n": 3}, "wet"], 0.25)
    assert extra(["worn", "worn"]) == ({"worn": True}, ["worn"], None)
    assert extra([]) == ({}, None, None)


def test_stems_and_splits(make):
    exported = make.export(
        "labelme", make.item(filename="a.jpg", split="val"), make.item(filename="a.png", image=lambda: b"x")
    )
    assert exported.json("images/a_2.json")["imagePath"] == "a_2.png"
    assert "images/a_2.png" in exported.names
    assert exported.summary.notes == [
        "1 image lost the split (train, val, test): LabelMe has none.",
        "1 image was renamed so that each has its own label file (first: images/a.png is images/a_2.png).",
    ]
