"""CVAT XML, read as CVAT reads it."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

HOLED = ([(1, 1), (40, 1), (40, 40), (1, 40)], [(9, 9), (20, 9), (20, 20), (9, 20)])


def tree(exported):
    return ElementTree.fromstring(exported.zip.read("annotations.xml"))


def points(shape):
    return [tuple(float(n) for n in pair.split(",")) for pair in shape.attrib["points"].split(";")]


def shapes(exported):
    (image,) = tree(exported).iter("image")
    return list(image)


def pixels(mask, width=64, height=48):
    """As CVAT fills a mask: run lengths row by row in its box, first those outside."""
    left, top, across, down = (int(mask.attrib[key]) for key in ("left", "top", "width", "height"))
    counts = [int(n) for n in mask.attrib["rle"].split(",")]
    assert sum(counts) == across * down
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    out = np.zeros((height, width), dtype=bool)
    out[top : top + down, left : left + across] = flat.reshape(down, across)
    return out


def test_the_whole_of_a_small_file(make):
    exported = make.export(
        "cvat",
        make.item(
            make.box(1, 2, 3.5, 4),
            make.line((1, 2), (3, 4.25)),
            make.keypoint(5, 6, name="car"),
            folder="/stop",
        ),
    )
    assert exported.names == ["annotations.xml"]
    assert exported.text("annotations.xml") == (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta>\n<task>\n'
        "<id>1</id>\n<name>signs</name>\n<size>1</size>\n<mode>annotation</mode>\n<overlap>0</overlap>\n"
        "<bugtracker></bugtracker>\n<start_frame>0</start_frame>\n<stop_frame>0</stop_frame>\n"
        "<frame_filter></frame_filter>\n<created>2025-03-04 05:06:08.000000+00:00</created>\n"
        "<updated>2025-03-04 05:06:08.000000+00:00</updated>\n<labels>\n"
        "<label>\n<name>stop</name>\n<type>any</type>\n<attributes>\n</attributes>\n</label>\n"
        "<label>\n<name>car</name>\n<type>any</type>\n<attributes>\n</attributes>\n</label>\n"
        "</labels>\n</task>\n<dumped>2025-03-04 05:06:08.000000+00:00</dumped>\n</meta>\n"
        '<image id="0" name="stop/001.jpg" width="64" height="48">\n'
        '<box label="stop" source="manual" occluded="0" xtl="1.0" ytl="2.0" xbr="4.5" ybr="6.0" '
        'z_order="0"/>\n'
        '<polyline label="stop" source="manual" occluded="0" points="1.0,2.0;3.0,4.25" z_order="0"/>\n'
        '<points label="car" source="manual" occluded="0" points="5.0,6.0" z_order="0"/>\n'
        "</image>\n</annotations>\n"
    )
    assert exported.summary.notes == []


def test_coordinates_are_exact(make):
    rng = np.random.default_rng(2)
    rings = [rng.uniform(-1e6, 1e6, (n, 2)).tolist() for n in (3, 20, 300)]
    exported = make.export("cvat", make.item(*(make.polygon(ring) for ring in rings)))
    for shape, ring in zip(shapes(exported), rings, strict=True):
        assert points(shape) == [tuple(point) for point in ring]


def test_splits_are_subsets_of_a_project(make):
    exported = make.export(
        "cvat",
        make.item(filename="a.jpg"),
        make.item(make.box(1, 1, 2, 2), filename="b.jpg", split="train"),
        make.item(filename="c.jpg", split="test"),
        make.item(filename="d.jpg", folder="/subset"),
    )
    root = tree(exported)
    project = root.find("meta/project")
    assert [task.find("subset").text for task in project.iter("task")] == ["train", "test", "default"]
    assert [task.find("size").text for task in project.iter("task")] == ["1", "1", "2"]
    assert project.find("subsets").text.split() == ["train", "test", "default"]
    found = {image.attrib["name"]: image.attrib["subset"] for image in root.iter("image")}
    assert found == {
        "a.jpg": "default",
        "b.jpg": "train",
        "c.jpg": "test",
        "subset/d.jpg": "default",
    }
    assert sorted(int(image.attrib["id"]) for image in root.iter("image")) == [0, 1, 2, 3]


def test_without_splits_no_image_names_a_subset(make):
    exported = make.export("cvat", make.item(filename="a.jpg"), make.item(filename="b.jpg"))
    assert tree(exported).find("meta/project") is None
    assert all("subset" not in image.attrib for image in tree(exported).iter("image"))


def test_a_polygon_with_a_hole_is_a_mask_of_the_right_pixels(make, even_odd, near_border):
    exported = make.export("cvat", make.item(make.polygon(*HOLED)))
    (mask,) = shapes(exported)
    assert mask.tag == "mask"
    wrong = pixels(mask) != even_odd(HOLED, 64, 48)
    assert not wrong.any()
    (note,) = exported.summary.notes
    assert note.startswith("1 polygon has holes or overlapping rings and went in as masks")


@pytest.mark.parametrize("offset", [(-20, -20.5), (40.3, 20), (-20, 30), (0.25, 0.75)])
def test_a_mask_ends_at_the_border(make, even_odd, near_border, offset):
    rings = [[(x + offset[0], y + offset[1]) for x, y in ring] for ring in HOLED]
    exported = make.export("cvat", make.item(make.polygon(*rings)))
    (mask,) = shapes(exported)
    wrong = pixels(mask) != even_odd(rings, 64, 48)
    assert not (wrong & ~near_border(rings, 64, 48, 0.01)).any()


def test_a_mask_outside_the_image_is_left_out(make):
    rings = [[(x + 100, y) for x, y in ring] for ring in HOLED]
    exported = make.export("cvat", make.item(make.polygon(*rings), make.box(1, 1, 2, 2)))
    assert [shape.tag for shape in shapes(exported)] == ["box"]
    assert (exported.summary.annotations, exported.summary.left_out) == (1, 1)
    assert "1 polygon with holes was left out" in exported.summary.notes[0]


def test_parts_of_a_polygon_share_a_group(make):
    parts = ([(1, 1), (5, 1), (5, 5)], [(20, 20), (30, 20), (30, 30)])
    exported = make.export(
        "cvat", make.item(make.polygon(*parts), make.polygon(*parts), make.box(1, 1, 2, 2))
    )
    found = [(shape.tag, shape.attrib.get("group_id")) for shape in shapes(exported)]
    assert found == [("polygon", "1")] * 2 + [("polygon", "2")] * 2 + [("box", None)]
    assert [points(shape) for shape in shapes(exported)[:2]] == [list(map(tuple, part)) for part in parts]
    assert exported.summary.annotations == 3


def test_attributes_are_declared_where_they_occur(make):
    exported = make.export(
        "cvat",
        make.item(make.box(1, 1, 2, 2, attributes=[{"colour": '<red> & \n "x"'}], confidence=0.5)),
    )
    (shape,) = shapes(exported)
    assert {a.attrib["name"]: a.text for a in shape} == {"colour": '<red> & \n "x"', "confidence": "0.5"}
    declared = {
        label.find("name").text: [a.find("name").text for a in label.iter("attribute")]
        for label in tree(exported).iter("label")
    }
    assert declared == {"stop": ["colour", "confidence"], "car": []}


def test_names_that_xml_cannot_hold(make):
    exported = make.export(
        "cvat",
        make.item(make.box(1, 1, 2, 2, name="a\x01"), filename='<&"\uffff>.jpg', image=lambda: b"raw"),
        classes=("a\x01", "a\x02"),
    )
    (image,) = tree(exported).iter("image")
    assert image.attrib["name"] == '<&"\ufffd>.jpg'
    assert exported.zip.read('images/<&"\ufffd>.jpg') == b"raw"
    assert [label.find("name").text for label in tree(exported).iter("label")] == ["a\ufffd", "a\ufffd 2"]
    assert image[0].attrib["label"] == "a\ufffd"
    assert "2 class names hold a character that XML cannot; it was replaced." in exported.summary.notes
