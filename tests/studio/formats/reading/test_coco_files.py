"""COCO files as other programs make them, and what is wrong with some."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from tintype_studio.formats.reading.base import undisturbed

COCO = {
    "images": [{"id": 0, "file_name": "a.jpg", "width": 64, "height": 48}],
    "categories": [{"id": 0, "name": "signs", "supercategory": "none"}, {"id": 1, "name": "stop"}],
    "annotations": [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}],
}


def test_coco_of_roboflow(read):
    files = {f"{split}/_annotations.coco.json": COCO for split in ("train", "valid", "test")}
    files |= {f"{split}/a.jpg": b"" for split in ("train", "valid", "test")} | {"README.roboflow.txt": "x"}
    found = read(files)
    assert found.format == "coco"
    assert found.splits == {
        "a.jpg": ("test/a.jpg", "test"),
        "train/a.jpg": ("train/a.jpg", "train"),
        "val/a.jpg": ("valid/a.jpg", "val"),
    }
    assert [c.name for c in found.reader.classes] == ["signs", "stop"]


def test_coco_as_it_is_published(read):
    files = {
        "annotations/instances_train2017.json": COCO,
        "annotations/instances_val2017.json": {
            **COCO,
            "images": [{**COCO["images"][0], "file_name": "b.jpg"}],
        },
        "train2017/a.jpg": b"",
        "val2017/b.jpg": b"",
        "val2017/c.jpg": b"",
    }
    found = read(files)
    assert found.splits == {
        "a.jpg": ("train2017/a.jpg", "train"),
        "b.jpg": ("val2017/b.jpg", "val"),
    }
    assert found.reader.counts["unlisted"] == 1


def test_coco_keypoints_crowds_and_captions(read):
    person = {"id": 1, "name": "person", "keypoints": ["nose", "left eye", "right eye"], "skeleton": [[1, 2]]}
    entries = [
        {
            "id": 7,
            "image_id": 0,
            "category_id": 1,
            "bbox": [1, 2, 30, 40],
            "keypoints": [5, 6, 2, 7, 8, 1, 0, 0, 0],
            "num_keypoints": 2,
        },
        {
            "id": 8,
            "image_id": 0,
            "category_id": 1,
            "iscrowd": 1,
            "bbox": [0, 0, 1, 1],
            "segmentation": {"size": [48, 64], "counts": [0, 48, 48 * 63]},
        },
        {"id": 9, "image_id": 0, "caption": "a street"},
        {"id": 10, "image_id": 0, "category_id": 1, "bbox": [1, 1, 0, 5]},
    ]
    found = read({"x.json": {**COCO, "categories": [person], "annotations": entries}, "a.jpg": b""})
    shapes = {a.id: a for a in found.shapes("a.jpg")}
    assert {id: (a.type, a.name) for id, a in shapes.items()} == {
        "7-1": ("keypoint", "nose"),
        "7-2": ("keypoint", "left eye"),
        "7": ("bbox", "person"),
        "8": ("mask", "person"),
    }
    assert shapes["8"].attributes == [{"iscrowd": 1}]
    box = shapes["8"].bounding_box
    assert (box.x, box.y, box.w, box.h) == (0, 0, 1, 48)
    assert found.converted("a.jpg").notes == [
        "1 shape was left out: no area (under three points, or no width or height).",
        "1 annotation marks a crowd and got the attribute iscrowd.",
        "1 caption was left out: there are no captions of images.",
        "2 keypoints were taken without links to other keypoints.",
        "1 keypoint was left out: not labelled (visibility 0).",
    ]


def test_panoptic_coco_is_refused(refuse):
    entries = [{"image_id": 0, "segments_info": []}]
    assert refuse({"x.json": {**COCO, "annotations": entries}}) == "unsupported_format"


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("stop/a.jpg", "stop/a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("../../a.jpg", "a.jpg"),
        ("/data/set/a.jpg", "a.jpg"),
        ("C:\\data\\a.jpg", "a.jpg"),
        ("stop\\a.jpg", "stop/a.jpg"),
    ],
)
def test_file_names_of_all_kinds_stay_inside(read, name, place):
    found = read({"x.json": {**COCO, "images": [{"id": 0, "file_name": name}]}, "images/a.jpg": b""})
    assert found.splits == {place: ("images/a.jpg", None)}


def test_an_image_that_is_told_twice_fails_alone(read):
    images = [
        {"id": 0, "file_name": "a.jpg"},
        {"id": 1, "file_name": "a.jpg"},
        {"id": 2, "file_name": "b.jpg"},
    ]
    found = read({"x.json": {**COCO, "images": images}})
    assert [(path, item.error.code if item.error else None) for path, item in found.items.items()] == [
        ("a.jpg", None),
        ("a.jpg (2)", "image_twice"),
        ("b.jpg", None),
    ]
    images[1]["id"], images[1]["file_name"] = 0, "c.jpg"
    found = read({"x.json": {**COCO, "images": images}})
    assert (found.refused("a.jpg"), found.refused("c.jpg")) == ("image_twice", "image_twice")


@pytest.mark.parametrize("score", [-0.1, 1.5, "x", [1]])
def test_a_score_that_is_none(read, score):
    entry = {**COCO["annotations"][0], "score": score}
    found = read({"x.json": {**COCO, "annotations": [entry]}})
    with pytest.raises(Exception, match="confidence"):
        found.shapes("a.jpg")


def test_an_annotation_that_leaves_the_image_is_kept_and_told(read):
    entry = {**COCO["annotations"][0], "bbox": [-5, 2, 500, 10]}
    found = read({"x.json": {**COCO, "annotations": [entry]}})
    assert found.shapes("a.jpg")[0].bounding_box.x == -5
    assert found.converted("a.jpg").notes == ["1 annotation reaches beyond the image by more than a pixel."]


def test_an_annotation_wholly_outside_is_kept_and_told(read):
    entry = {**COCO["annotations"][0], "bbox": [500, 500, 10, 10]}
    found = read({"x.json": {**COCO, "annotations": [entry]}})
    assert found.shapes("a.jpg")[0].bounding_box.x == 500
    assert found.converted("a.jpg").notes == ["1 annotation lies wholly outside the image."]


def test_masks_as_numbers_are_exact():
    from tintype_studio.annotations.masks import outline_of
    from tintype_studio.formats.reading.masks import mask_of
    from tintype_studio.formats.shapes import run_lengths

    rng = np.random.default_rng(5)
    mask = rng.random((40, 30)) < 0.5
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    counts = [0, *counts] if flat[0] else counts
    outline = outline_of(mask_of({"size": [40, 30], "counts": counts}, 30, 40, "x"))
    rings = [([p.x for p in ring], [p.y for p in ring]) for ring in outline.paths]
    assert run_lengths(rings, 30, 40) == counts


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [48, 63], "counts": [0]},
        {"size": [48, 64], "counts": [48 * 64 - 1]},
        {"size": [48, 64], "counts": [-1, 48 * 64 + 1]},
        {"size": [48, 64], "counts": [[1]]},
        {"size": [48, 64], "counts": ["x"]},
        {"size": [48, 64], "counts": []},
        {"size": [48, 64]},
        {"counts": [48 * 64]},
        {"size": [48, 64], "counts": "\x00"},
        {"size": [48, 64], "counts": "é"},
        {"size": [48, 64], "counts": ""},
        {"size": [48, 64], "counts": "o" * 40},
        {"size": [48, 64], "counts": "0"},
        {"size": [48, 64], "counts": [2**80]},
    ],
)
def test_run_lengths_of_the_wrong_size_or_kind(read, rle):
    entry = {**COCO["annotations"][0], "segmentation": rle}
    found = read({"x.json": {**COCO, "annotations": [entry]}})
    assert found.refused("a.jpg") == "invalid_annotation"


def test_what_was_parsed_counts_as_old_and_what_others_froze_stays_so():
    assert gc.isenabled()
    with undisturbed():
        assert not gc.isenabled()
        kept = [[n] for n in range(1_000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert not any(entry is kept[0] for entry in gc.get_objects(generation=0))
    gc.freeze()
    try:
        with undisturbed():
            pass
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()
