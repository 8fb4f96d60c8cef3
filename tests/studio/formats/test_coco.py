"""COCO, read back with pycocotools."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SQUARE = [(10, 10), (50, 10), (50, 40), (10, 40)]
HOLE = [(20, 18), (40, 18), (40, 30), (20, 30)]


@pytest.fixture
def load(tmp_path, capsys):
    """An exported file as pycocotools sees it."""

    def run(exported, path="annotations.json"):
        target = tmp_path / path.replace("/", "_")
        target.write_bytes(exported.zip.read(path))
        coco = COCO(str(target))
        capsys.readouterr()
        return coco

    return run


def blob(rng, cx, cy, radius, count):
    angles = np.sort(rng.uniform(0, 2 * math.pi, count))
    radii = radius * rng.uniform(0.6, 1.0, count)
    return [(cx + r * math.cos(a), cy + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)]


def shoelace(ring):
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, [*ring[1:], ring[0]], strict=True))) / 2


def test_boxes_keep_their_numbers(make, load):
    exported = make.export(
        "coco",
        make.item(make.box(1.25, 2.5, 10, 4), make.box(0.1, 0.2, 0.3, 0.4, name="car"), filename="a.jpg"),
        make.item(make.box(5, 6, 7, 8, name="car"), filename="a.jpg", folder="/stop", width=20, height=30),
    )
    coco = load(exported)
    assert coco.getCatIds() == [1, 2]
    assert [c["name"] for c in coco.loadCats([1, 2])] == ["stop", "car"]
    assert coco.loadImgs([1, 2]) == [
        {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48},
        {"id": 2, "file_name": "stop/a.jpg", "width": 20, "height": 30},
    ]
    first, second, third = coco.loadAnns([1, 2, 3])
    assert first["bbox"] == [1.25, 2.5, 10, 4]
    assert first["area"] == 40
    assert first["segmentation"] == []
    assert first["iscrowd"] == 0
    assert second["bbox"] == [0.1, 0.2, 0.3, 0.4]
    assert (third["image_id"], third["category_id"]) == (2, 2)
    assert exported.summary.annotations == 3
    assert exported.summary.notes == []


def test_polygons_stay_rings_with_true_area_and_mask(make, load, even_odd, near_border):
    rng = np.random.default_rng(3)
    shapes = [blob(rng, 100, 80, 60, count) for count in (3, 5, 9, 24, 60)]
    exported = make.export("coco", make.item(*(make.polygon(s) for s in shapes), width=200, height=160))
    coco = load(exported)
    assert len(coco.anns) == 5
    for shape, annotation in zip(shapes, coco.loadAnns(sorted(coco.anns)), strict=True):
        assert annotation["segmentation"] == [[c for point in shape for c in point]]
        assert annotation["area"] == pytest.approx(shoelace(shape), rel=1e-9)
        xs, ys = zip(*shape, strict=True)
        left, top, w, h = annotation["bbox"]
        assert (left, top) == (min(xs), min(ys))
        assert (left + w, top + h) == pytest.approx((max(xs), max(ys)))
        mask = coco.annToMask(annotation).astype(bool)
        wrong = mask != even_odd([shape], 200, 160)
        assert not (wrong & ~near_border([shape], 200, 160)).any()
        assert mask.sum() == pytest.approx(annotation["area"], rel=0.05)


def test_a_hole_makes_a_mask_in_column_order(make, load, even_odd):
    exported = make.export("coco", make.item(make.polygon(SQUARE, HOLE)))
    (annotation,) = exported.json("annotations.json")["annotations"]
    assert annotation["segmentation"]["size"] == [48, 64]
    # Ten empty columns and ten rows, then 30 rows of the first filled column.
    assert annotation["segmentation"]["counts"][:3] == [10 * 48 + 10, 30, 18]
    assert sum(annotation["segmentation"]["counts"]) == 64 * 48
    assert annotation["area"] == 40 * 30 - 20 * 12
    assert annotation["bbox"] == [10, 10, 40, 30]
    assert annotation["iscrowd"] == 0
    coco = load(exported)
    mask = coco.annToMask(coco.anns[1]).astype(bool)
    assert (mask == even_odd([SQUARE, HOLE], 64, 48)).all()
    assert mask.sum() == 960
    assert "1 polygon has holes" in exported.summary.notes[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), holes=st.integers(1, 3), shift=st.floats(-60, 60))
def test_masks_equal_the_even_odd_raster(make, even_odd, seed, holes, shift):
    """Holes, islands, crossing rings and shapes that leave the image; decoded with pycocotools."""
    from pycocotools import mask as mask_api

    rng = np.random.default_rng(seed)
    rings = [blob(rng, 60 + shift, 50, 45, 12)]
    rings += [
        blob(rng, 60 + shift + rng.uniform(-25, 25), 50 + rng.uniform(-25, 25), 14, 7) for _ in range(holes)
    ]
    exported = make.export("coco", make.item(make.polygon(*rings), width=120, height=100))
    expected = even_odd(rings, 120, 100)
    entries = exported.json("annotations.json")["annotations"]
    if not entries:
        assert not expected.any()
        return
    segmentation = entries[0]["segmentation"]
    rle = mask_api.frPyObjects(segmentation, 100, 120)
    mask = mask_api.decode(mask_api.merge(rle) if isinstance(rle, list) else rle).astype(bool)
    if isinstance(segmentation, dict):
        assert (mask == expected).all()
        inside = len(np.unique(np.flatnonzero(expected)))
        assert entries[0]["area"] == pytest.approx(inside, abs=90)
    else:  # all "holes" lie apart from the outline
        assert (mask != expected).sum() <= 0.1 * expected.sum() + 60


def test_an_island_in_a_hole_and_a_second_part_are_in_the_mask(make, load, even_odd):
    island, part = [(26, 21), (34, 21), (34, 27), (26, 27)], [(54, 2), (62, 2), (62, 8), (54, 8)]
    rings = [SQUARE, HOLE, island, part]
    coco = load(make.export("coco", make.item(make.polygon(*rings))))
    assert coco.anns[1]["area"] == 1200 - 240 + 48 + 48
    assert (coco.annToMask(coco.anns[1]).astype(bool) == even_odd(rings, 64, 48)).all()


def test_parts_that_do_not_meet_stay_rings(make, load):
    left, right = [(2, 2), (12, 2), (12, 12), (2, 12)], [(30, 5), (40, 5), (40, 15), (30, 15)]
    # An L around the second square: its box overlaps, the shape does not.
    corner = [(20, 1), (60, 1), (60, 4), (25, 4), (25, 40), (20, 40)]
    exported = make.export("coco", make.item(make.polygon(left, right, corner)))
    coco = load(exported)
    assert len(coco.anns[1]["segmentation"]) == 3
    assert coco.anns[1]["area"] == 100 + 100 + 40 * 3 + 36 * 5
    assert coco.annToMask(coco.anns[1]).sum() == coco.anns[1]["area"]
    assert exported.summary.notes == []


@pytest.mark.parametrize(
    ("rings", "area"),
    [
        ([[(0, 0), (20, 20), (20, 0), (0, 20)]], 200),  # a bow tie
        ([[(0, 0), (10, 10), (20, 20), (20, 0), (10, 10), (0, 20)]], 200),  # with a vertex at the knot
        ([[(0, 0), (20, 0), (20, 20), (0, 20)], [(10, 10), (30, 10), (30, 30), (10, 30)]], 600),
        ([[(0, 0), (20, 0), (20, 20), (0, 20)], [(20, 0), (40, 0), (40, 20), (20, 20)]], 800),
        ([[(0, 0), (20, 0), (20, 20), (0, 20)], [(0, 0), (10, 5), (5, 10)]], 400 - 37.5),
        ([[(0, 0), (20, 0), (20, 20), (0, 20)]] * 2, 0),  # twice the same: nothing is inside an odd number
        ([[(5, 5), (5, 5), (5, 5)]], 0),
        ([[(5, 5), (25, 5), (25, 25), (5, 25), (5, 5)]], 400),  # closed explicitly
        ([[(0, 0), (30, 0), (30, 10), (10, 10), (10, 20), (30, 20), (30, 30), (0, 30)]], 700),  # a C
    ],
)
def test_area_is_even_odd(make, load, even_odd, near_border, rings, area):
    coco = load(make.export("coco", make.item(make.polygon(*rings))))
    annotation = coco.anns[1]
    assert annotation["area"] == pytest.approx(area, abs=1e-9)
    wrong = coco.annToMask(annotation).astype(bool) != even_odd(rings, 64, 48)
    assert not (wrong & ~near_border(rings, 64, 48)).any()


def test_a_mask_and_its_numbers_end_at_the_border(make, load):
    big = [(-100, -100), (32, -100), (32, 500), (-100, 500)]
    hole = [(8, 8), (16, 8), (16, 16), (8, 16)]
    exported = make.export("coco", make.item(make.polygon(big, hole)))
    coco = load(exported)
    annotation = coco.anns[1]
    assert annotation["bbox"] == [0, 0, 32, 48]
    assert annotation["area"] == 32 * 48 - 64 == coco.annToMask(annotation).sum()


def test_a_polygon_with_a_hole_outside_the_image_is_left_out_and_said(make, load):
    away = [[(x + 500, y) for x, y in ring] for ring in (SQUARE, HOLE)]
    exported = make.export("coco", make.item(make.polygon(*away), make.box(1, 2, 3, 4)))
    assert list(load(exported).anns) == [1]
    assert exported.summary.left_out == 1
    assert any("1 polygon with holes was left out" in note for note in exported.summary.notes)


def test_a_plain_polygon_outside_the_image_keeps_its_coordinates(make, load):
    away = [(x + 500, y) for x, y in SQUARE]
    assert load(make.export("coco", make.item(make.polygon(away)))).anns[1]["bbox"] == [510, 10, 40, 30]


def test_keypoints_and_polylines(make, load):
    exported = make.export(
        "coco",
        make.item(make.line((1, 1), (9, 9)), make.keypoint(12.5, 7), make.line((1, 2), (3, 4))),
        make.item(make.keypoint(1, 2, name="car"), filename="b.jpg"),
        classes=("stop", "car", "lane"),
    )
    coco = load(exported)
    assert coco.anns[1]["keypoints"] == [12.5, 7, 2]
    assert coco.anns[1]["num_keypoints"] == 1
    assert coco.anns[1]["bbox"] == [12.5, 7, 0, 0]
    assert [c.get("keypoints") for c in coco.loadCats([1, 2, 3])] == [["stop"], ["car"], None]
    assert exported.summary.annotations == 2
    assert exported.summary.left_out == 2
    assert exported.summary.notes == [
        "2 polylines were left out: COCO has no open lines.",
        "2 keypoints were written as COCO keypoints, one per annotation, with an empty box.",
    ]


def test_confidence_and_attributes_ride_along(make, load):
    exported = make.export(
        "coco", make.item(make.box(1, 2, 3, 4, confidence=0.5, attributes=[{"big": 2**60}, "wet"]))
    )
    assert load(exported).anns[1]["score"] == 0.5
    assert load(exported).anns[1]["attributes"] == [{"big": 2**60}, "wet"]
    plain = make.export("coco", make.item(make.box(1, 2, 3, 4)))
    assert not {"score", "attributes"} & set(load(plain).anns[1])


def test_boxes_beside_polygons_are_pointed_out(make):
    exported = make.export("coco", make.item(make.box(1, 2, 3, 4), make.polygon(SQUARE)))
    assert any("1 box has an empty segmentation" in note for note in exported.summary.notes)


def test_splits_make_files_with_common_categories_and_unique_ids(make, load):
    exported = make.export(
        "coco",
        make.item(make.box(1, 2, 3, 4), filename="a.jpg", split="val"),
        make.item(make.keypoint(1, 2, name="car"), make.box(1, 2, 3, 4), filename="b.jpg", split="train"),
        make.item(filename="c.jpg", split="val"),
        make.item(make.box(5, 5, 5, 5), filename="d.jpg"),
    )
    assert exported.names == [
        "annotations/instances_train.json",
        "annotations/instances_val.json",
        "annotations/instances_unassigned.json",
    ]
    train, val, rest = (load(exported, path) for path in exported.names)
    assert [i["file_name"] for i in val.dataset["images"]] == ["a.jpg", "c.jpg"]
    assert (list(val.anns), list(train.anns), list(rest.anns)) == ([1], [2, 3], [4])
    assert (list(val.imgs), list(train.imgs), list(rest.imgs)) == ([1, 3], [2], [4])
    assert train.dataset["categories"] == val.dataset["categories"] == rest.dataset["categories"]
    assert any("1 image has no split" in note for note in exported.summary.notes)


def test_a_dataset_without_splits_is_one_file(make, load):
    exported = make.export("coco", make.item(image=lambda: b"raw"))
    assert exported.names == ["images/001.jpg", "annotations.json"]
    assert load(exported).dataset["info"]["description"] == "signs"


def test_many_images_keep_their_order_across_batches(make, load):
    rng = np.random.default_rng(1)
    items = [
        make.item(
            *(make.polygon(blob(rng, 30, 20, 15, 40)) for _ in range(n % 4)),
            filename=f"{n:04}.jpg",
            split=("train", "val", None)[n % 3],
        )
        for n in range(600)
    ]
    exported = make.export("coco", *items)
    seen = {}
    for path in exported.names:
        coco = load(exported, path)
        for annotation in coco.anns.values():
            seen[annotation["id"]] = (coco.imgs[annotation["image_id"]]["file_name"], annotation)
    expected = [(item.filename, a) for item in items for a in item.annotations]
    assert sorted(seen) == list(range(1, len(expected) + 1)) == list(range(1, 901))
    for number, (filename, annotation) in enumerate(expected, start=1):
        assert seen[number][0] == filename
        ring = [c for p in annotation.polygon.paths[0] for c in (p.x, p.y)]
        assert seen[number][1]["segmentation"] == [ring]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_cocoeval_finds_an_export_perfect_against_itself(make, load, tmp_path, capsys, kind):
    rng = np.random.default_rng(5)
    items = []
    for n in range(6):
        shapes = [make.polygon(blob(rng, 30 + 60 * k, 40, 28, 15)) for k in range(3)]
        ring = [(210, 10), (290, 10), (290, 90), (210, 90)]
        shapes.append(make.polygon(ring, blob(rng, 250, 50, 20, 8), name="car"))
        items.append(make.item(*shapes, filename=f"{n}.jpg", width=300, height=100))
    truth = load(make.export("coco", *items))
    results = []
    for annotation in truth.anns.values():
        entry = {key: annotation[key] for key in ("image_id", "category_id")} | {"score": 0.9}
        if kind == "bbox":
            entry["bbox"] = annotation["bbox"]
        else:
            rle = truth.annToRLE(annotation)
            entry["segmentation"] = rle | {"counts": rle["counts"].decode()}
        results.append(entry)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    evaluation = COCOeval(truth, truth.loadRes(str(path)), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()
    assert evaluation.stats[0] == pytest.approx(1.0)
