"""Pascal VOC, read as its development kit reads it, and its users' polygons."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest


def objects(exported, path="Annotations/001.xml"):
    return list(ElementTree.fromstring(exported.zip.read(path)).iter("object"))


def corners(element):
    return [float(element.find(f"bndbox/{key}").text) for key in ("xmin", "ymin", "xmax", "ymax")]


def rings(element):
    """One list of vertices per ``polygon``, counted from 1."""
    out = []
    for polygon in element.findall("polygon"):
        values = [float(child.text) for child in polygon]
        names = [child.tag for child in polygon]
        assert names == [f"{axis}{n}" for n in range(1, len(names) // 2 + 1) for axis in "xy"]
        out.append(list(zip(values[::2], values[1::2], strict=True)))
    return out


def test_the_whole_of_a_small_file(make):
    exported = make.export("pascal_voc", make.item(make.box(1, 2, 3.5, 4), folder="/stop"))
    assert exported.names == ["Annotations/stop/001.xml", "ImageSets/Main/trainval.txt", "labelmap.txt"]
    assert exported.text("Annotations/stop/001.xml") == (
        "<annotation>\n<folder>JPEGImages</folder>\n<filename>stop/001.jpg</filename>\n"
        "<source><database>signs</database></source>\n"
        "<size><width>64</width><height>48</height><depth>3</depth></size>\n<segmented>0</segmented>\n"
        "<object>\n<name>stop</name>\n<pose>Unspecified</pose>\n<truncated>0</truncated>\n"
        "<difficult>0</difficult>\n"
        "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>4.5</xmax><ymax>6</ymax></bndbox>\n</object>\n"
        "</annotation>\n"
    )
    assert exported.text("labelmap.txt") == "# label:color_rgb:parts:actions\nstop:::\ncar:::\n"
    assert exported.summary.notes == []


def test_a_box_begins_at_one_and_ends_at_its_last_pixel(make):
    """The devkit counts pixels from 1: a box of the pixels 0 to 9 is 1 to 10."""
    exported = make.export("pascal_voc", make.item(make.box(0, 0, 10, 10), make.box(0, 0, 64, 48)))
    assert [corners(element) for element in objects(exported)] == [[1, 1, 10, 10], [1, 1, 64, 48]]


def test_coordinates_are_exact(make):
    rng = np.random.default_rng(2)
    shapes = [rng.uniform(-1e5, 1e5, (n, 2)) for n in (3, 20, 600)]
    exported = make.export("pascal_voc", make.item(*(make.polygon(s) for s in shapes)))
    for element, shape in zip(objects(exported), shapes, strict=True):
        (ring,) = rings(element)
        assert np.array(ring) - 1 == pytest.approx(shape, abs=1e-9)
        low, high = shape.min(axis=0), shape.max(axis=0)
        assert corners(element) == pytest.approx([*(low + 1), *high], abs=1e-9)


def test_whole_numbers_have_no_point(make):
    square = [(0, 0), (100, 0), (100.05, 10), (0.5, 10.0)]
    exported = make.export("pascal_voc", make.item(make.polygon(square)))
    assert (
        "<x1>1</x1><y1>1</y1><x2>101</x2><y2>1</y2><x3>101.05</x3><y3>11</y3><x4>1.5</x4>"
        in exported.text("Annotations/001.xml")
    )


def test_every_ring_is_a_polygon(make):
    outer, hole = [(1, 1), (40, 1), (40, 40)], [(9, 3), (20, 3), (20, 8)]
    exported = make.export("pascal_voc", make.item(make.polygon(outer, hole)))
    (element,) = objects(exported)
    assert rings(element) == [[(x + 1, y + 1) for x, y in ring] for ring in (outer, hole)]
    assert ElementTree.fromstring(exported.zip.read("Annotations/001.xml")).find("segmented").text == "1"
    assert any("several rings" in note for note in exported.summary.notes)


def test_what_it_cannot_hold_is_left_out_and_told(make):
    exported = make.export("pascal_voc", make.item(make.line((1, 2), (3, 4)), make.keypoint(1, 2)))
    assert objects(exported) == []
    assert (exported.summary.annotations, exported.summary.left_out) == (0, 2)
    assert exported.summary.notes == [
        "1 polyline was left out: Pascal VOC holds boxes and polygons.",
        "1 keypoint was left out: Pascal VOC holds boxes and polygons.",
    ]


def test_a_box_beyond_the_border_is_truncated(make):
    exported = make.export("pascal_voc", make.item(make.box(-1, 0, 5, 5), make.box(60, 40, 4, 8)))
    assert [element.find("truncated").text for element in objects(exported)] == ["1", "0"]


def test_sets_name_the_images_of_each_split(make):
    exported = make.export(
        "pascal_voc",
        make.item(filename="a.jpg", split="train"),
        make.item(filename="b.jpg", folder="/stop", split="val"),
        make.item(filename="c.jpg", split="test"),
        make.item(filename="d.jpg"),
    )
    found = {n: exported.text(n).splitlines() for n in exported.names if n.startswith("ImageSets")}
    assert found == {
        "ImageSets/Main/train.txt": ["a"],
        "ImageSets/Main/val.txt": ["stop/b"],
        "ImageSets/Main/trainval.txt": ["a", "stop/b", "d"],
        "ImageSets/Main/test.txt": ["c"],
    }


def test_a_second_image_of_a_stem_is_renamed_with_its_file(make):
    exported = make.export(
        "pascal_voc",
        make.item(make.box(1, 1, 2, 2), filename="a.jpg", image=lambda: b"first"),
        make.item(filename="a.png", image=lambda: b"second"),
    )
    assert exported.zip.read("JPEGImages/a_2.png") == b"second"
    document = ElementTree.fromstring(exported.zip.read("Annotations/a_2.xml"))
    assert document.find("filename").text == "a_2.png"
    assert exported.summary.notes == [
        "1 image was renamed so that each has its own label file (first: JPEGImages/a.png is "
        "JPEGImages/a_2.png)."
    ]


def test_attributes_stand_as_cvat_and_datumaro_write_them(make):
    exported = make.export("pascal_voc", make.item(make.box(1, 1, 2, 2, attributes=[{"side": "<left>"}])))
    (element,) = objects(exported)
    (pair,) = element.iter("attribute")
    assert (pair.find("name").text, pair.find("value").text) == ("side", "<left>")


def test_a_class_that_the_label_map_cannot_name(make):
    exported = make.export("pascal_voc", make.item(make.box(1, 1, 2, 2, name="a:b")), classes=("a:b", "car"))
    assert "a:b" not in exported.text("labelmap.txt")
    assert objects(exported)[0].find("name").text == "a:b"
    assert "1 class is not in labelmap.txt, which has no way to write the name." in exported.summary.notes
