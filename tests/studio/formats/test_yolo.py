"""YOLO labels, read as Ultralytics reads them."""

from __future__ import annotations

import numpy as np
import pytest

SQUARE = [(10, 10), (50, 10), (50, 40), (10, 40)]


def rows(exported, path):
    return [
        (int(line.split()[0]), [float(v) for v in line.split()[1:]])
        for line in exported.text(path).splitlines()
    ]


def ring(values, width=64, height=48):
    return [(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)]


def test_boxes_alone_make_detection_labels(make):
    rng = np.random.default_rng(2)
    boxes = [(rng.uniform(0, 3000), rng.uniform(0, 1500), *rng.uniform(1, 900, 2)) for _ in range(200)]
    names = [("stop", "car")[n % 2] for n in range(200)]
    annotations = [make.box(*box, name=name) for box, name in zip(boxes, names, strict=True)]
    exported = make.export("yolo", make.item(*annotations, width=4000, height=3000))
    assert "task: detect" in exported.text("data.yaml")
    read = rows(exported, "labels/train/001.txt")
    assert len(read) == 200
    for (index, (cx, cy, w, h)), box, name in zip(read, boxes, names, strict=True):
        assert index == ("stop", "car").index(name)
        back = ((cx - w / 2) * 4000, (cy - h / 2) * 3000, w * 4000, h * 3000)
        assert back == pytest.approx(box, abs=1e-3 * 4)


def test_lines_have_six_decimals(make):
    exported = make.export("yolo", make.item(make.box(16, 12, 32, 24)))
    assert exported.text("labels/train/001.txt") == "0 0.500000 0.500000 0.500000 0.500000\n"


def test_beside_a_polygon_boxes_become_polygons_even_in_earlier_images(make):
    exported = make.export(
        "yolo",
        make.item(make.box(16, 12, 32, 24), filename="a.jpg"),
        make.item(make.polygon(SQUARE, name="car"), make.box(0, 0, 64, 48), filename="b.jpg"),
    )
    assert "task: segment" in exported.text("data.yaml")
    ((index, values),) = rows(exported, "labels/train/a.txt")
    assert index == 0
    assert ring(values) == [(16, 12), (48, 12), (48, 36), (16, 36)]
    (first, polygon), (second, box) = rows(exported, "labels/train/b.txt")
    assert (first, second) == (1, 0)
    assert np.array(ring(polygon)) == pytest.approx(np.array(SQUARE), abs=1e-4)
    assert box == [0, 0, 1, 0, 1, 1, 0, 1]
    assert any("2 boxes were written as polygons" in note for note in exported.summary.notes)


def test_polygon_numbers_come_back(make):
    rng = np.random.default_rng(4)
    shapes = [rng.uniform((0, 0), (1920, 1080), (n, 2)) for n in (3, 7, 24, 500)]
    exported = make.export("yolo", make.item(*(make.polygon(s) for s in shapes), width=1920, height=1080))
    for (_, values), shape in zip(rows(exported, "labels/train/001.txt"), shapes, strict=True):
        assert np.array(ring(values, 1920, 1080)) == pytest.approx(shape, abs=1e-3 * 1.92)


def test_no_line_has_so_few_values_that_it_reads_as_a_box(make):
    exported = make.export("yolo", make.item(make.polygon([(1, 1), (9, 1), (5, 9)])))
    assert len(exported.text("labels/train/001.txt").split()) == 7  # Ultralytics: more than 6 is a segment


def test_boxes_and_polygons_are_cut_at_the_border(make):
    exported = make.export(
        "yolo",
        make.item(make.box(-16, -12, 32, 24), make.box(32, 24, 500, 500), make.box(70, 0, 5, 5)),
    )
    assert rows(exported, "labels/train/001.txt") == [
        (0, [0.125, 0.125, 0.25, 0.25]),
        (0, [0.75, 0.75, 0.5, 0.5]),
    ]
    assert exported.summary.left_out == 1
    assert exported.summary.notes[:2] == [
        "1 annotation was left out: no area inside the image.",
        "2 shapes were cut off at the border of the image.",
    ]


def test_a_polygon_is_clipped_not_squashed(make, even_odd, near_border):
    diamond = [(0, -30), (60, 24), (0, 78), (-60, 24)]
    exported = make.export("yolo", make.item(make.polygon(diamond)))
    ((_, values),) = rows(exported, "labels/train/001.txt")
    assert min(values) >= 0
    assert max(values) <= 1
    wrong = even_odd([ring(values)], 64, 48) != even_odd([diamond], 64, 48)
    assert not (wrong & ~near_border([diamond], 64, 48, 0.01)).any()
    assert "1 shape was cut off at the border of the image." in exported.summary.notes


def test_polygons_with_no_area_inside_are_left_out(make):
    exported = make.export(
        "yolo",
        make.item(
            make.polygon([(100, 100), (120, 100), (110, 120)]),
            make.polygon([(-20, 5), (0, 5), (0, 25)]),  # touches the border only
            make.polygon([(5, 5), (5, 9), (5, 12)]),
        ),
    )
    assert exported.text("labels/train/001.txt") == ""
    assert exported.summary.annotations == 0
    assert exported.summary.left_out == 3


def test_holes_are_filled_and_said(make, even_odd):
    hole, island = [(20, 18), (40, 18), (40, 30), (20, 30)], [(25, 20), (30, 20), (30, 25), (25, 25)]
    exported = make.export("yolo", make.item(make.polygon(hole, SQUARE, island)))
    ((_, values),) = rows(exported, "labels/train/001.txt")
    assert (even_odd([ring(values)], 64, 48) == even_odd([SQUARE], 64, 48)).all()
    assert "1 hole was filled: a YOLO polygon has no holes." in exported.summary.notes


def test_parts_are_joined_without_changing_the_filled_area(make, even_odd, near_border):
    rng = np.random.default_rng(8)
    parts = []
    for k in range(5):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        part = [(30 + 50 * k + 18 * np.cos(a), 40 + 8 * (k % 3) + 18 * np.sin(a)) for a in angles]
        parts.append(part[:: -1 if k % 2 else 1])
    exported = make.export("yolo", make.item(make.polygon(*parts), width=280, height=100))
    ((_, values),) = rows(exported, "labels/train/001.txt")
    joined = ring(values, 280, 100)
    wrong = even_odd([joined], 280, 100) != even_odd(parts, 280, 100)
    assert not (wrong & ~near_border(parts, 280, 100, 0.01)).any()
    assert all(min(np.hypot(x - p, y - q) for p, q in joined) < 1e-3 for part in parts for x, y in part)
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(joined, [*joined[1:], joined[0]], strict=True)) / 2
    assert abs(area) == pytest.approx(even_odd(parts, 280, 100).sum(), rel=0.03)  # all run the same way
    assert any("1 polygon of several parts" in note for note in exported.summary.notes)


def test_a_real_rasteriser_fills_the_joined_parts(make):
    import cv2

    parts = [[(5, 5), (25, 5), (25, 25), (5, 25)], [(35, 20), (60, 20), (60, 45), (35, 45)]]
    exported = make.export("yolo", make.item(make.polygon(*parts)))
    ((_, values),) = rows(exported, "labels/train/001.txt")
    mask, expected = np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint8)
    cv2.fillPoly(mask, [np.array(ring(values)).round().astype(np.int32)], 1)
    for part in parts:
        cv2.fillPoly(expected, [np.array(part, np.int32)], 1)
    extra = (mask != expected).sum()
    assert (mask >= expected).all()
    assert 0 < extra <= 12  # the link is one line of pixels


def test_keypoints_and_polylines_are_left_out_and_said(make):
    exported = make.export(
        "yolo", make.item(make.keypoint(1, 2), make.line((1, 2), (3, 4)), make.line((1, 2), (3, 4)))
    )
    assert exported.text("labels/train/001.txt") == ""
    assert exported.summary.left_out == 3
    assert exported.summary.notes[:2] == [
        "2 polylines were left out: YOLO labels hold boxes and polygons.",
        "1 keypoint was left out: YOLO labels hold boxes and polygons.",
    ]


def test_lost_confidence_and_attributes_are_said(make):
    exported = make.export(
        "yolo", make.item(make.box(1, 2, 3, 4, confidence=0.4), make.box(1, 2, 3, 4, attributes=["wet"]))
    )
    assert any("2 annotations lost the confidence" in note for note in exported.summary.notes)


def test_layout_with_splits(make):
    exported = make.export(
        "yolo",
        make.item(make.box(1, 2, 3, 4), filename="a.jpg", folder="/stop", split="val", image=lambda: b"A"),
        make.item(filename="b.jpg", split="test", image=lambda: b"B"),
        make.item(filename="c.jpg", image=lambda: b"C"),
    )
    assert exported.names == [
        "images/val/stop/a.jpg",
        "images/test/b.jpg",
        "images/train/c.jpg",
        "labels/val/stop/a.txt",
        "labels/test/b.txt",
        "labels/train/c.txt",
        "data.yaml",
    ]
    assert exported.text("labels/test/b.txt") == ""
    assert exported.summary.notes == ["1 image has no split and went to train."]


def yaml_of(exported):
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(exported.text("data.yaml"))


@pytest.mark.parametrize(
    ("splits", "folders"),
    [
        ((None,), {"train": "images/train", "val": "images/train"}),
        (("train", "val"), {"train": "images/train", "val": "images/val"}),
        (("train", "test"), {"train": "images/train", "val": "images/train", "test": "images/test"}),
        (("test",), {"train": "images/test", "val": "images/test", "test": "images/test"}),
        (("val",), {"train": "images/val", "val": "images/val"}),
    ],
)
def test_data_yaml_always_has_train_and_val(make, splits, folders):
    items = [
        make.item(filename=f"{n}.jpg", split=split, image=lambda: b"x") for n, split in enumerate(splits)
    ]
    exported = make.export("yolo", *items)
    read = yaml_of(exported)
    assert read == {"path": "", "names": {0: "stop", 1: "car"}, **folders}
    for folder in folders.values():
        assert any(path.startswith(f"{folder}/") for path in exported.names)
    assert any("split val" in note for note in exported.summary.notes) == ("val" not in splits)


def test_odd_class_names_survive_yaml(make):
    names = (
        "交通标志 🚦",
        'a "quoted": # name',
        "back\\slash\ttab",
        "line\u2028sep\x85",
        "yes",
        "- x",
        "{b}",
    )
    exported = make.export("yolo", make.item(image=lambda: b"x"), classes=names, name="x\ny: z")
    assert yaml_of(exported)["names"] == dict(enumerate(names))
    assert "x\ny" not in exported.text("data.yaml")


def test_the_same_stem_twice_is_renamed_and_said(make):
    exported = make.export(
        "yolo",
        make.item(make.box(0, 0, 64, 48), filename="a.jpg", image=lambda: b"1"),
        make.item(filename="a.png", image=lambda: b"2"),
        make.item(filename="a_2.jpg", image=lambda: b"3"),
        make.item(filename="a.webp", image=lambda: b"4"),
        make.item(filename="a.png", split="val", image=lambda: b"5"),
        make.item(filename="a", folder="/d", image=lambda: b"6"),
    )
    images = {path: exported.zip.read(path) for path in exported.names if path.startswith("images/")}
    assert images == {
        "images/train/a.jpg": b"1",
        "images/train/a_2.png": b"2",
        "images/train/a_2_2.jpg": b"3",
        "images/train/a_3.webp": b"4",
        "images/val/a.png": b"5",
        "images/train/d/a": b"6",
    }
    labels = {path for path in exported.names if path.startswith("labels/")}
    assert labels == {f"labels/{p[7:].rsplit('.', 1)[0]}.txt" for p in images}
    assert exported.text("labels/train/a.txt") != ""
    assert exported.text("labels/train/a_2.txt") == ""
    assert any("3 images were renamed" in n and "a.png is train/a_2.png" in n for n in exported.summary.notes)


def test_labels_are_found_the_way_ultralytics_looks_for_them(make):
    """It replaces the last ``/images/`` of the path, so no folder below may have that name."""
    places = [
        ("a.b.jpg", "/images"),
        ("x.jpg", "/images_"),
        ("x.png", "/images"),
        ("y.jpg", "/deep/images/v1.2"),
    ]
    exported = make.export(
        "yolo", *(make.item(filename=name, folder=folder, image=lambda: b"x") for name, folder in places)
    )
    for path in exported.names:
        if path.startswith("images/"):
            label = "/labels/".join(f"/root/{path}".rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"
            assert label.removeprefix("/root/") in exported.names
    assert len(exported.names) == 2 * len(places) + 1
    assert any("3 images were renamed" in note for note in exported.summary.notes)


def test_exports_without_images_say_where_they_belong(make):
    exported = make.export("yolo", make.item(split="train"), make.item(split="val"))
    assert exported.summary.notes == [
        "Images are not included: put each where its label is, under images/ in place of labels/."
    ]
