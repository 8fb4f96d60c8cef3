"""LabelMe, CSV and V7 Darwin files as other programs make them, and what is wrong with some."""

from __future__ import annotations

import base64

import pytest
from support.pictures import jpeg

# LabelMe


def labelme(*shapes, **more) -> dict:
    return {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": "a.jpg", "imageData": None,
            "imageHeight": 48, "imageWidth": 64, **more}  # fmt: skip


def test_labelme_shapes_of_all_kinds(read):
    def shape(kind, points, **more):
        return {"label": "x", "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}

    document = labelme(
        shape("rectangle", [[11, 22], [1, 2]]),
        shape("polygon", [[1, 1], [9, 1], [9, 9]], flags={"wet": True, "old": False}, description="note"),
        shape("line", [[1, 1], [9, 1]]),
        shape("linestrip", [[1, 1], [9, 1], [9, 9]], group_id=1),
        shape("point", [[3, 4]], group_id=1),
        shape("point", [[3, 4]]),
        shape("circle", [[20, 20], [23, 24]]),
        shape("polygon", [[1, 1], [9, 1], [9, 9]], group_id=5),
        shape("polygon", [[21, 1], [29, 1], [29, 9]], group_id=5),
        shape("hologram", [[1, 1]]),
    )
    found = read({"a.json": document, "a.jpg": b""})
    shapes = found.shapes("a.jpg")
    assert [a.type for a in shapes] == [
        *("bbox", "polygon", "polyline", "polyline", "keypoint", "keypoint"),
        *("polygon", "polygon"),
    ]
    box = shapes[0].bounding_box
    assert (box.x, box.y, box.w, box.h) == (1, 2, 10, 20)
    assert shapes[1].attributes == ["wet", {"description": "note"}]
    assert shapes[3].attributes == [{"group_id": 1}]
    assert shapes[6].bounding_box.w == pytest.approx(10)
    assert len(shapes[7].polygon.paths) == 2
    assert found.converted("a.jpg").counts["others"] == 1


def test_an_image_inside_a_labelme_file(read):
    data = jpeg()
    found = read({"set/a.json": labelme(imageData=base64.b64encode(data).decode())})
    assert found.items["set/a.jpg"].embedded() == data
    assert read({"a.json": labelme(), "a.jpg": data}).items["a.jpg"].embedded is None


def test_labelme_of_old_has_no_shape_type(read):
    found = read(
        {"train/a.json": labelme({"label": "x", "points": [[1, 1], [9, 1], [9, 9]]}), "train/a.jpg": b""}
    )
    assert found.splits == {"a.jpg": ("train/a.jpg", "train")}
    assert found.kinds("a.jpg") == [("polygon", "x")]


@pytest.mark.parametrize(
    "shape",
    [
        {"label": "x", "points": [[1, 1]], "shape_type": "rectangle"},
        {"label": "x", "points": [[1], [2]], "shape_type": "polygon"},
        {"label": "x", "points": None},
        {"label": "x", "points": [["a", 1], [2, 3], [4, 5]]},
        {"label": "x", "points": [["a", 1], [None, 3]], "shape_type": "rectangle"},
        {"label": 3, "points": [[1, 1], [9, 1], [9, 9]]},
        {"label": " ", "points": [[1, 1], [9, 1], [9, 9]]},
        {"label": "x", "points": [[1, 1], [9, 1]], "shape_type": "mask", "mask": "AAAA"},
        {"label": "x", "points": [[1, 1], [9, 1]], "shape_type": "mask", "mask": "%"},
        {"label": "x", "points": [["a", 1], [9, 1]], "shape_type": "circle"},
        {"label": "x", "points": [["a", 1], [9, 1]], "shape_type": "mask", "mask": "%"},
    ],
)
def test_a_wrong_shape_of_labelme_fails_its_image(read, shape):
    found = read({"a.json": labelme(shape), "b.json": {"shapes": 3, "imagePath": "b.jpg"}})
    with pytest.raises(Exception) as refused:  # noqa: PT011
        found.shapes("a.jpg")
    assert refused.value.code in {"invalid_annotation", "invalid_class", "invalid_name"}
    assert found.refused("b.json") == "broken_file"


# CSV


def test_a_plain_table_of_boxes_per_split(read):
    row = "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,64,48,dog,1,2,11,22\n"
    found = read(
        {
            "train/_annotations.csv": row,
            "train/a.jpg": b"",
            "test/_annotations.csv": row.replace("a.jpg", "b.jpg"),
        }
    )
    assert found.splits == {"b.jpg": (None, "test"), "a.jpg": ("train/a.jpg", "train")}
    box = found.shapes("a.jpg")[0].bounding_box
    assert (box.x, box.y, box.w, box.h) == (1, 2, 10, 20)


def test_columns_in_other_words_and_order(read):
    found = read(
        {"x.csv": "\ufeffLabel,image,x_min,y_min,x_max,y_max\r\ndog,d/a.jpg,1,2,11,22\r\n,b.jpg,,,,\r\n"}
    )
    assert found.kinds("d/a.jpg") == [("bbox", "dog")]
    assert found.shapes("b.jpg") == []


@pytest.mark.parametrize("row", ["a.jpg,dog,1,2,3", "a.jpg,dog,1,2,3,4,5"])
def test_a_table_with_a_row_of_another_length_is_broken(refuse, row):
    assert refuse({"x.csv": f"filename,class,xmin,ymin,xmax,ymax\n{row}\n"}) == "broken_file"


@pytest.mark.parametrize(
    "row",
    [
        "a.jpg,dog,x,2,3,4,,",
        "a.jpg,dog,5,2,3,4,,",
        "a.jpg,dog,1,2,3,4,polygon,[[1]]",
        "a.jpg,dog,1,2,3,4,polygon,x",
        "a.jpg,dog,1,2,3,4,keypoint,3",
        "a.jpg,dog,1,2,nan,4,,",
    ],
)
def test_a_wrong_row_fails_its_image(read, row):
    found = read({"x.csv": f"filename,class,xmin,ymin,xmax,ymax,type,points\n{row}\nb.jpg,dog,1,2,3,4,,\n"})
    with pytest.raises(Exception) as refused:  # noqa: PT011
        found.shapes("a.jpg")
    assert refused.value.code == "invalid_annotation"
    assert found.kinds("b.jpg") == [("bbox", "dog")]


# V7 Darwin


def darwin(*annotations, **item) -> dict:
    slot = {
        "type": "image",
        "slot_name": "0",
        "width": 64,
        "height": 48,
        "source_files": [{"file_name": "up.jpg"}],
    }
    return {
        "version": "2.0",
        "schema_ref": "https://example.org/darwin_json/2.0/schema.json",
        "item": {"name": "a.jpg", "path": "/", "slots": [slot], **item},
        "annotations": list(annotations),
    }


def points(*pairs) -> list[dict]:
    return [{"x": x, "y": y} for x, y in pairs]


SQUARE = points((1, 1), (9, 1), (9, 9), (1, 9))


def test_darwin_as_the_seeds_table_says(read):
    box = {"x": 1, "y": 2, "w": 10, "h": 20}
    document = darwin(
        {
            "id": "p",
            "name": "car",
            "polygon": {"paths": [SQUARE, points((3, 3), (5, 3), (5, 5))]},
            "bounding_box": box,
        },
        {"id": "b", "name": "car", "bounding_box": box, "inference": {"confidence": 0.5}},
        {"id": "l", "name": "lane", "line": {"path": points((1, 1), (2, 2))}},
        {
            "id": "k",
            "name": "eye",
            "keypoint": {"x": 3, "y": 4},
            "instance_id": {"value": 7},
            "attributes": ["wet"],
        },
        {"id": "t", "name": "day", "tag": {}},
        {"id": "e", "name": "car", "ellipse": {"center": {"x": 1, "y": 1}}, "bounding_box": box},
        {"id": "m", "name": "car", "mask": {}},
        {"id": "s", "name": "pose", "skeleton": {"nodes": []}},
        {"id": "c", "name": "car", "cuboid": {}},
    )
    found = read({"set/a.json": document, "images/a.jpg": b""})
    assert found.format == "darwin"
    assert found.splits == {"a.jpg": ("images/a.jpg", None)}
    shapes = {a.id: a for a in found.shapes("a.jpg")}
    assert {id: (a.type, a.name) for id, a in shapes.items()} == {
        "p": ("polygon", "car"),
        "b": ("bbox", "car"),
        "l": ("polyline", "lane"),
        "k": ("keypoint", "eye"),
    }
    assert [len(ring) for ring in shapes["p"].polygon.paths] == [4, 3]
    assert shapes["b"].confidence == 0.5
    assert shapes["k"].attributes == ["wet", {"instance_id": 7}]
    assert found.converted("a.jpg").notes == [
        "1 ellipse was left out: there are no ellipses.",
        "1 tag was left out: there are no labels of whole images.",
        "1 mask was left out: V7 keeps its pixels in a raster layer.",
        "1 skeleton was left out: there are no skeletons.",
        "1 annotation was left out: there is no such kind of shape.",
    ]


def metadata(*properties) -> dict:
    return {"version": "1.0", "classes": [{"name": "car", "type": "polygon", "properties": [*properties]}, 7]}


def one_of(name, *values, type="single_select", key="property_values") -> dict:
    return {"name": name, "type": type, key: [{"value": value, "color": "auto"} for value in values]}


@pytest.mark.parametrize("place", [".v7/", "set/.v7/"])
def test_darwin_properties_of_one_option_are_attributes_of_the_class(read, place):
    told = [
        {"frame_index": 0, "name": "colour", "value": "red"},
        {"name": "seats", "value": "four"},
        {"name": "doors", "value": "2"},
        {"name": "doors", "value": "4"},
        {"name": "state", "value": "other"},
        {"name": "extras", "value": "roof"},
    ]
    box = {"x": 1, "y": 2, "w": 10, "h": 20}
    listed = metadata(
        one_of("colour", "red", "blue"),
        one_of("doors", "2", "4", key="options"),
        one_of("state", "new", "old"),
        one_of("extras", "roof", "hook", type="multi_select"),
        one_of("seats", "four"),
        {"name": 3},
    )
    found = read(
        {
            f"{place}metadata.json": listed,
            "set/a.json": darwin({"id": "b", "name": "car", "bounding_box": box, "properties": told}),
        }
    )
    assert found.format == "darwin"
    (car,) = found.reader.classes
    assert (car.name, [(a.name, a.options) for a in car.attributes]) == (
        "car",
        [("colour", ("red", "blue")), ("doors", ("2", "4")), ("state", ("new", "old"))],
    )
    (shape,) = found.shapes("a.jpg")
    assert shape.attributes == [{"colour": "red"}, {"properties": told[1:]}]


@pytest.mark.parametrize("broken", ["{", "[]", '{"classes": 3}', '{"classes": [{"properties": [{}]}]}'])
def test_darwin_metadata_that_is_broken_is_no_reason_to_refuse_annotations(read, broken):
    box = {"id": "b", "name": "car", "bounding_box": {"x": 1, "y": 2, "w": 10, "h": 20}}
    found = read({".v7/metadata.json": broken, "a.json": darwin(box | {"properties": [{"name": "x"}]})})
    assert found.reader.classes == []
    assert found.shapes("a.jpg")[0].attributes == [{"properties": [{"name": "x"}]}]


def test_darwin_folders_and_the_name_of_the_uploaded_file(read):
    found = read({"a.json": darwin(path="/night/left"), "pictures/up.jpg": b""})
    assert found.splits == {"night/left/a.jpg": ("pictures/up.jpg", None)}


@pytest.mark.parametrize("version", ["1.0", "2.1", "3.0", 2, None])
def test_darwin_of_another_version_is_refused_clearly(refuse, version):
    assert refuse({"a.json": {**darwin(), "version": version}}) == "darwin_version"
    old = {"dataset": "d", "image": {"filename": "a.jpg"}, "annotations": []}
    assert refuse({"a.json": old}) == "darwin_version"


def test_one_darwin_file_of_another_version_fails_alone(read):
    found = read({"a.json": darwin(), "b.json": {**darwin(name="b.jpg"), "version": "9"}})
    assert found.shapes("a.jpg") == []
    assert found.refused("b.json") == "darwin_version"


@pytest.mark.parametrize(
    ("annotation", "code"),
    [
        ({"polygon": {"paths": 3}}, "invalid_annotation"),
        ({"polygon": {"paths": [[{"x": 1}]]}}, "invalid_annotation"),
        ({"polygon": {"paths": [points((1, "b"), (2, 2), (3, 3))]}}, "invalid_annotation"),
        ({"bounding_box": [1, 2, 3, 4]}, "invalid_annotation"),
        ({"bounding_box": {"x": 1, "y": 1, "w": -2, "h": 3}}, "invalid_annotation"),
        ({"keypoint": {"x": 1}}, "invalid_annotation"),
        ({"line": {"path": None}}, "invalid_annotation"),
        ({"bounding_box": {"x": 1}, "frames": {}}, "unsupported_item"),
        ({"bounding_box": {"x": 1, "y": 1, "w": 2, "h": 3}, "name": ""}, "invalid_name"),
    ],
)
def test_a_wrong_annotation_of_darwin_fails_its_item(read, annotation, code):
    found = read({"a.json": darwin({"id": "x", "name": "car", **annotation}), "b.json": darwin(name="b.jpg")})
    with pytest.raises(Exception) as refused:  # noqa: PT011
        found.shapes("a.jpg")
    assert refused.value.code == code
    assert found.shapes("b.jpg") == []


@pytest.mark.parametrize("slots", [[{"type": "video"}], [{"type": "image"}, {"type": "image"}], "x"])
def test_darwin_items_that_are_no_single_image(read, slots):
    found = read({"a.json": darwin(slots=slots), "b.json": darwin(name="b.jpg")})
    assert found.refused("a.json") in {"unsupported_item", "invalid_annotation"}
