"""CVAT and Pascal VOC files as other programs make them, and what is wrong with some."""

from __future__ import annotations

import pytest

# CVAT


def cvat(images: str, labels: str = "<label><name>car</name><color>#FF8800</color></label>") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>{images}</annotations>"
    )


def test_cvat_shapes_of_all_kinds(read):
    image = (
        '<image id="0" name="stop/a.jpg" subset="Validation" width="64" height="48">'
        '<box label="car" occluded="1" xtl="1" ytl="2" xbr="11" ybr="22">'
        '<attribute name="id">7</attribute></box>'
        '<box label="car" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90"/>'
        '<polygon label="car" points="1,1;9.5,1;9,9"/>'
        '<polyline label="car" points=" 1,1; 9,1 "/>'
        '<points label="car" points="1,2;3,4"/>'
        '<mask label="car" rle="1, 2, 1" left="5" top="6" width="2" height="2"/>'
        '<ellipse label="car" cx="20" cy="20" rx="10" ry="5"/>'
        '<polygon label="car" group_id="3" points="1,1;5,1;5,5"/>'
        '<polygon label="car" group_id="3" points="11,1;15,1;15,5"/>'
        '<polygon label="car" group_id="4" points="1,1;5,1;5,5"/>'
        '<box label="car" group_id="4" xtl="1" ytl="2" xbr="11" ybr="22"/>'
        '<tag label="car"/><cuboid label="car" xtl1="1"/>'
        '<skeleton label="car"><points label="1" points="1,1"/></skeleton>'
        "</image>"
    )
    found = read({"annotations.xml": cvat(image), "images/stop/a.jpg": b""})
    assert found.splits == {"stop/a.jpg": ("images/stop/a.jpg", "val")}
    assert [(c.name, c.color) for c in found.reader.classes] == [("car", "#ff8800")]
    shapes = found.shapes("stop/a.jpg")
    assert [a.type for a in shapes] == [
        *("bbox", "polygon", "polygon", "polyline", "keypoint", "keypoint"),
        *("polygon", "polygon", "polygon", "polygon", "bbox"),
    ]
    assert shapes[0].attributes == [{"id": "7"}, "occluded"]
    turned = shapes[1].bounding_box
    assert (turned.x, turned.y, turned.w, turned.h) == pytest.approx((15, 5, 10, 20))
    assert [len(ring) for ring in shapes[6].polygon.paths] == [4, 4]  # two pixels that meet at a corner
    oval = shapes[7].bounding_box
    assert (oval.x, oval.y, oval.w, oval.h) == pytest.approx((10, 15, 20, 10))
    assert len(shapes[8].polygon.paths) == 2
    assert shapes[9].attributes == shapes[10].attributes == [{"group_id": "4"}]
    assert dict(found.converted("stop/a.jpg").counts) == {
        **{"rotated": 1, "landmarks": 2, "masks": 1, "ovals": 1},
        **{"tags": 1, "others": 1, "skeletons": 1},
    }


def test_cvat_in_a_file_per_subset_as_datumaro_writes_it(read):
    image = '<image id="0" name="{}.jpg" width="64" height="48"><box label="car" group_id="1" {}/></image>'
    corners = 'xtl="1" ytl="2" xbr="11" ybr="22"'
    files = {f"{name}.xml": cvat(image.format(name, corners)) for name in ("train", "val")}
    found = read(files | {"images/train.jpg": b""})
    assert found.splits == {"train.jpg": ("images/train.jpg", "train"), "val.jpg": (None, "val")}
    assert found.shapes("train.jpg")[0].attributes == []
    assert [c.name for c in found.reader.classes] == ["car"]


def test_cvat_of_a_video_has_no_images(read, refuse):
    track = '<track id="0" label="car"><box frame="0" xtl="1" ytl="1" xbr="2" ybr="2"/></track>'
    found = read({"annotations.xml": cvat(track)})
    assert found.items == {}
    assert found.reader.counts["tracks"] == 1


@pytest.mark.parametrize(
    "shape",
    [
        '<box label="car" xtl="1" ytl="1" xbr="x" ybr="2"/>',
        '<box label="car" xtl="1" ytl="1" ybr="2"/>',
        '<box label="car" xtl="9" ytl="1" xbr="2" ybr="2"/>',
        '<polygon label="car" points="1,1;2"/>',
        '<polygon label="car" points="1,nan;2,2;3,3"/>',
        '<polygon label="car" points="{},[],1,2,3,4"/>',
        '<mask label="car" rle="1,1" left="0" top="0" width="2" height="2"/>',
        '<mask label="car" rle="x" left="0" top="0" width="2" height="2"/>',
        '<mask label="car" rle="1" left="0" top="0" width="100000" height="100000"/>',
        '<box xtl="1" ytl="1" xbr="3" ybr="2"/>',
    ],
)
def test_a_wrong_shape_of_cvat_fails_its_image(read, shape):
    images = "".join(
        f'<image id="{n}" name="{n}.jpg" width="64" height="48">{s}</image>'
        for n, s in enumerate(("", shape))
    )
    found = read({"annotations.xml": cvat(images)})
    assert found.shapes("0.jpg") == []
    with pytest.raises(Exception) as refused:  # noqa: PT011
        found.shapes("1.jpg")
    assert refused.value.code in {"invalid_annotation", "invalid_class"}


# Pascal VOC


def voc(filename: str, objects: str = "") -> str:
    return (
        f"<annotation>\n\t<folder>x</folder>\n\t<filename>{filename}</filename>\n"
        f"\t<size><width>64</width><height>48</height><depth>3</depth></size>\n{objects}\n</annotation>"
    )


OBJECT = (
    "<object><name>dog</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax>"
    "<ymax>20</ymax></bndbox><part><name>head</name></part></object>"
)


def test_pascal_voc_as_it_is_published(read):
    files = {
        "VOCdevkit/VOC2012/Annotations/a.xml": voc("a.jpg", OBJECT),
        "VOCdevkit/VOC2012/Annotations/b.xml": voc("b.jpg"),
        "VOCdevkit/VOC2012/JPEGImages/a.jpg": b"",
        "VOCdevkit/VOC2012/JPEGImages/b.jpg": b"",
        "VOCdevkit/VOC2012/ImageSets/Main/train.txt": "a\n",
        "VOCdevkit/VOC2012/ImageSets/Main/val.txt": "b\n",
        "VOCdevkit/VOC2012/ImageSets/Main/dog_train.txt": "a  1\n",
    }
    found = read(files)
    assert found.format == "pascal_voc"
    folder = "VOCdevkit/VOC2012/JPEGImages"
    assert found.splits == {"a.jpg": (f"{folder}/a.jpg", "train"), "b.jpg": (f"{folder}/b.jpg", "val")}
    (dog,) = found.shapes("a.jpg")
    box = dog.bounding_box
    assert (dog.name, dog.attributes, box.x, box.y, box.w, box.h) == ("dog", ["difficult"], 0, 1, 10, 19)


def test_pascal_voc_of_roboflow_and_files_that_were_renamed(read):
    files = {
        "train/a.xml": voc("old name.jpg", OBJECT),
        "train/a.jpg": b"",
        "valid/b.xml": voc("b.jpg"),
        "valid/b.jpg": b"",
    }
    assert read(files).splits == {"a.jpg": ("train/a.jpg", "train"), "b.jpg": ("valid/b.jpg", "val")}


def test_vertices_of_a_voc_polygon_in_any_order(read):
    polygon = "<polygon><y1>1</y1> <x1>1</x1><x2>11</x2><y2>1</y2>\n<x3>11</x3><y3>11</y3></polygon>"
    found = read({"a.xml": voc("a.jpg", f"<object><name>x</name>{polygon}</object>")})
    (shape,) = found.shapes("a.jpg")
    assert [(p.x, p.y) for p in shape.polygon.paths[0]] == [(0, 0), (10, 0), (10, 10)]


@pytest.mark.parametrize(
    "inner",
    [
        "",
        "<bndbox><xmin>1</xmin></bndbox>",
        "<bndbox><xmin>x</xmin><ymin>1</ymin><xmax>2</xmax><ymax>3</ymax></bndbox>",
        "<polygon><x1>1</x1><y1>1</y1><x2>1</x2></polygon>",
        "<polygon><x1>1</x1><y1>1</y1><x9>1</x9><y9>3</y9></polygon>",
        "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>inf</xmax><ymax>3</ymax></bndbox>",
    ],
)
def test_a_wrong_object_of_voc_fails_its_image(read, inner):
    found = read(
        {
            "a.xml": voc("a.jpg", f"<object><name>x</name>{inner}</object>"),
            "b.xml": "<annotation>",
            "c.xml": voc("c.jpg"),
        }
    )
    with pytest.raises(Exception) as refused:  # noqa: PT011
        found.shapes("a.jpg")
    assert refused.value.code == "invalid_annotation"
    assert found.refused("b.xml") == "broken_file"
    assert found.shapes("c.jpg") == []
