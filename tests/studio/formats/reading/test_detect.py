"""Which format files are of."""

from __future__ import annotations

import pytest

COCO = {
    "images": [{"id": 0, "file_name": "a.jpg", "width": 64, "height": 48}],
    "categories": [{"id": 0, "name": "signs", "supercategory": "none"}, {"id": 1, "name": "stop"}],
    "annotations": [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}],
}


LINE = "1 0.5 0.5 0.25 0.5\n"


def test_files_of_two_formats_are_told_and_one_can_be_chosen(read, refuse):
    files = {"x.json": COCO, "data.yaml": "names: [a, b]", "labels/a.txt": LINE, "images/a.jpg": b""}
    assert refuse(files) == "format_ambiguous"
    assert read(files, "yolo").kinds("a.jpg") == [("bbox", "b")]
    assert read(files, "coco").kinds("a.jpg") == [("bbox", "stop")]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"a.jpg": b""},
        {"package.json": '{"name": "x"}'},
        {"pom.xml": "<project/>"},
        {"x.csv": "a,b\n1,2\n"},
        {"config.yaml": "a: 1"},
        {"a.json": b"\xff\xfe\x00"},
        {"a.json": "[]"},
    ],
)
def test_other_files_are_of_no_format(refuse, files):
    assert refuse(files | {"readme.txt": "x"}) == "format_not_found"


def test_an_unknown_format(refuse):
    assert refuse({"a.jpg": b""}, "tfrecord") == "unsupported_format"


def test_a_large_array_of_images_does_not_hide_a_coco_file(read):
    images = [{"id": n, "file_name": f"{n:06}.jpg", "width": 64, "height": 48} for n in range(3000)]
    found = read({"x.json": {**COCO, "images": images}})
    assert found.format == "coco"
    assert len(found.items) == 3000


def test_names_that_a_dataset_cannot_have_are_changed_and_told(read):
    found = read({"x.json": {**COCO, "categories": [{"id": 1, "name": "50% off / sale?"}]}})
    assert found.kinds("a.jpg") == [("bbox", "50- off - sale-")]
    assert found.reader.counts["renamed"] == 1
