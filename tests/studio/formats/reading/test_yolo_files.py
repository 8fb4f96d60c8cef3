"""YOLO labels in the layouts of several programs, and lines that are wrong."""

from __future__ import annotations

import pytest

LINE = "1 0.5 0.5 0.25 0.5\n"


def test_yolo_of_roboflow(read):
    files = {
        "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['a', 'b']\n",
        "train/images/x.jpg": b"",
        "train/labels/x.txt": LINE,
        "valid/images/y.png": b"",
        "valid/labels/y.txt": "",
        "README.dataset.txt": "hello",
    }
    found = read(files)
    assert found.splits == {"x.jpg": ("train/images/x.jpg", "train"), "y.png": ("valid/images/y.png", "val")}
    (box,) = found.shapes("x.jpg")
    assert (box.name, box.bounding_box.x, box.bounding_box.w) == ("b", 24, 16)


def test_yolo_with_numbered_names_and_folders_of_its_own(read):
    files = {
        "coco8.yaml": "path: ../datasets/coco8\ntrain: pictures/first\nval: [pictures/second]\n"
        "names:\n  0: a\n  1: b\n",
        "pictures/first/x.jpg": b"",
        "pictures/first/x.txt": LINE,
        "pictures/second/y.jpg": b"",
    }
    found = read(files)
    assert found.splits == {
        "pictures/first/x.jpg": ("pictures/first/x.jpg", "train"),
        "pictures/second/y.jpg": ("pictures/second/y.jpg", "val"),
    }
    assert found.kinds("pictures/first/x.jpg") == [("bbox", "b")]
    assert found.reader.counts["no_label"] == 1


def test_yolo_of_darknet(read):
    files = {
        "obj.names": "a\nb\n",
        "obj.data": "classes = 2\n",
        "train.txt": "data/obj_train_data/x.jpg\n",
        "valid.txt": "data/obj_train_data/y.jpg\n",
        "obj_train_data/x.jpg": b"",
        "obj_train_data/x.txt": LINE,
        "obj_train_data/y.jpg": b"",
        "obj_train_data/y.txt": "0 0.5 0.5 1 1 0.75\n",
    }
    found = read(files)
    assert found.splits == {
        "x.jpg": ("obj_train_data/x.jpg", "train"),
        "y.jpg": ("obj_train_data/y.jpg", "val"),
    }
    (box,) = found.shapes("y.jpg")
    assert (box.name, box.confidence, box.bounding_box.w) == ("a", 0.75, 64)


def test_yolo_beside_its_images_with_classes_txt(read):
    found = read(
        {"classes.txt": "a\nb\n", "x.jpg": b"", "x.txt": LINE + "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\r\n"}
    )
    assert found.kinds("x.jpg") == [("bbox", "b"), ("polygon", "a")]


def test_yolo_pose(read):
    files = {
        "data.yaml": "names: [person]\nkpt_shape: [2, 3]\n",
        "images/x.jpg": b"",
        "labels/x.txt": "0 0.5 0.5 0.5 0.5 0.25 0.5 2 0 0 0\n",
    }
    found = read(files)
    assert found.kinds("x.jpg") == [("bbox", "person"), ("keypoint", "person")]
    assert found.shapes("x.jpg")[1].keypoint.x == 16


@pytest.mark.parametrize(
    "line",
    [
        "2 0.5 0.5 1 1",
        "-1 0.5 0.5 1 1",
        "x 0.5 0.5 1 1",
        "0.5 0.5 0.5 1 1",
        "0 0.5",
        "0 0.5 0.5 nan 1",
        "0 1 1 1e400 1",
        "0 0.5 0.5 1 1 2",
        "0 0 0 1 1 1 1 1",
        '"0" 0.5 0.5 1 1',
        "0 [1] 0.5 1 1",
        "0 null 1 1 1",
        "0 0.5 0.5 -1 1",
        "1e30 1 1 1 1",
    ],
)
def test_a_wrong_line_of_yolo_fails_its_image(read, line):
    found = read({"data.yaml": "names: [a, b]", "images/x.jpg": b"", "labels/x.txt": f"{LINE}{line}\n"})
    with pytest.raises(Exception) as refused:  # noqa: PT011
        found.shapes("x.jpg")
    assert refused.value.code == "invalid_annotation"


@pytest.mark.parametrize("text", ["+1  .5\t0.5 0.25 0.5", "1 5e-1 0.5 0.25 0.5  ", "1.0 0.5 0.5 0.25 0.5\r"])
def test_numbers_of_yolo_in_other_spellings(read, text):
    found = read({"data.yaml": "names: [a, b]", "images/x.jpg": b"", "labels/x.txt": f"\n{text}\n\n{LINE}"})
    assert [a.bounding_box.x for a in found.shapes("x.jpg")] == [24, 24]


@pytest.mark.parametrize(
    "text",
    ["names: {a: b}", "names: 3", "nc: x\nnames:\n  - [1]", "names: [a, a]", "kpt_shape: 3\nnames: [a]"],
)
def test_a_data_yaml_that_makes_no_sense(refuse, text):
    assert refuse({"data.yaml": text, "labels/x.txt": ""}) in {"broken_file", "class_twice"}


def test_yaml_reads_some_names_as_other_things(read):
    found = read({"data.yaml": "names: [yes, 12, 1.5, 'on']", "labels/x.txt": "0 0.5 0.5 1 1\n"})
    assert [c.name for c in found.reader.classes] == ["yes", "12", "1.5", "on"]
