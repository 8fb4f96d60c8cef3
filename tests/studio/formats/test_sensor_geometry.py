"""Masks, 3-D boxes, tags, object ids and groups of any name in every format of files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tintype_studio.annotations.documents import as_text
from tintype_studio.annotations.geometry import ANNOTATIONS, Mask, with_box
from tintype_studio.annotations.masks import array_of, mask_of_array
from tintype_studio.formats.figures import StoredDocument, figure_of_model, figures_of_text
from tintype_studio.formats.reading import open_reader
from tintype_studio.formats.reading.source import open_source

PICTURES = ("coco", "yolo", "cvat", "pascal_voc", "labelme", "csv")
"""Formats of annotations in pictures, all but our own."""
BOX3D = {"x": 12.5, "y": -3.0, "z": 0.5, "w": 1.9, "h": 1.6, "l": 4.4}


def blob(*, ring: bool = False) -> np.ndarray:
    array = np.zeros((48, 64), dtype=bool)
    array[10:30, 20:50] = True
    array[12, 51] = True
    if ring:
        array[15:20, 25:40] = False
    return array


def annotation(type: str, **members: object):
    (made,) = ANNOTATIONS.validate_python([{"id": "1", "name": "stop", "type": type, **members}])
    return with_box(made)


def mask_of(array: np.ndarray, **members: object):
    found = mask_of_array(array)
    assert found is not None
    return annotation("mask", mask=found.model_dump(), **members)


def stored(item, *annotations):
    """An item as an export has it: annotations as they are kept."""
    return replace(item, annotations=StoredDocument(as_text(annotations)))


@pytest.fixture
def trip(tmp_path):
    """What is read again of an export: annotations by path."""

    def run(exported):
        path = tmp_path.resolve() / "export.zip"
        path.write_bytes(exported.data)
        with open_source(path) as source:
            return {item.path: item.convert(64, 48).annotations for item in open_reader(source).items()}

    return run


@pytest.mark.parametrize("kept", [False, True], ids=["models", "stored"])
def test_coco_masks_are_compressed_run_lengths_that_pycocotools_reads(make, kept):
    mask = mask_of(blob(), attributes=[{"iscrowd": True}, {"occlusion": 0.5}])
    item = make.item(mask)
    exported = make.export("coco", stored(item, mask) if kept else item)
    (entry,) = exported.json("annotations.json")["annotations"]
    assert entry["iscrowd"] == 1
    assert entry["attributes"] == [{"occlusion": 0.5}]
    assert entry["area"] == blob().sum()
    assert entry["bbox"] == [20, 10, 32, 20]
    assert isinstance(entry["segmentation"]["counts"], str)
    assert (coco_mask.decode(entry["segmentation"]) == blob()).all()
    assert exported.summary.annotations == 1


@pytest.mark.parametrize("name", ["yolo", "cvat", "pascal_voc", "labelme", "csv"])
@pytest.mark.parametrize("kept", [False, True], ids=["models", "stored"])
def test_other_formats_get_the_outline_of_a_mask(make, name, kept):
    mask = mask_of(blob())
    item = make.item(mask)
    exported = make.export(name, stored(item, mask) if kept else item)
    assert exported.summary.annotations == 1
    assert exported.summary.left_out == 0
    assert any("outline of the pixels" in note for note in exported.summary.notes)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("kept", [False, True], ids=["models", "stored"])
def test_what_has_no_place_in_a_picture_is_left_out_and_told(make, name, kept):
    two = [annotation("box3d", box3d=BOX3D), annotation("tag").model_copy(update={"id": "2"})]
    item = make.item(*two, make.box(1, 2, 3, 4))
    exported = make.export(name, stored(item, *item.annotations) if kept else item)
    assert (exported.summary.annotations, exported.summary.left_out) == (1, 2)
    assert any(note.startswith("1 annotation was left out: a 3-D box") for note in exported.summary.notes)
    assert any(note.startswith("1 tag was left out") for note in exported.summary.notes)


@pytest.mark.parametrize("name", PICTURES)
def test_other_groups_go_in_without_a_split_and_are_told(make, name):
    exported = make.export(
        name, make.item(make.box(1, 2, 3, 4), split="night"), make.item(filename="2.jpg", split="train")
    )
    assert exported.summary.images == 2
    assert any("1 image is in other groups" in n and "(night)" in n for n in exported.summary.notes)


def test_our_own_format_holds_everything(make):
    made = [
        mask_of(blob(), object_id="7", box3d=BOX3D),
        annotation("box3d", box3d=BOX3D).model_copy(update={"id": "2"}),
        annotation("tag", attributes=["rainy"]).model_copy(update={"id": "3"}),
    ]
    exported = make.export("pictograph", make.item(*made, split="night"))
    listed = exported.json("dataset.json")["images"][0]
    assert listed["split"] == "night"
    assert ANNOTATIONS.validate_python(exported.json(listed["annotations"])) == made
    assert exported.summary.notes == []


@pytest.mark.parametrize("name", ["coco", "cvat", "pascal_voc", "labelme", "csv"])
@pytest.mark.parametrize("kept", [False, True], ids=["models", "stored"])
def test_object_ids_and_boxes_in_space_travel_as_attributes_and_come_back(make, name, kept, trip):
    made = [
        annotation("bbox", bounding_box={"x": 1, "y": 2, "w": 3, "h": 4}, object_id="7", box3d=BOX3D),
        make.polygon([(1, 1), (9, 1), (9, 9)], object_id='"8"', attributes=["wet"]),
        make.polygon([(1, 1), (9, 1), (9, 9)], mask=mask_of(blob()).mask),
    ]
    item = make.item(*made)
    (back,) = trip(make.export(name, stored(item, *made) if kept else item)).values()
    assert [(a.object_id, a.box3d, a.mask) for a in back] == [(a.object_id, a.box3d, a.mask) for a in made]
    assert back[1].attributes == ["wet"] or back[1].attributes == [{"wet": "true"}]


def test_masks_come_back_from_coco_as_they_were(make, trip):
    made = [mask_of(blob(ring=True)), mask_of(~blob()).model_copy(update={"id": "2"})]
    (back,) = trip(make.export("coco", make.item(*made))).values()
    assert [a.mask for a in back] == [a.mask for a in made]
    assert [a.bounding_box for a in back] == [a.bounding_box for a in made]


@pytest.mark.parametrize("name", ["cvat", "labelme", "pascal_voc", "csv"])
def test_outlines_of_masks_come_back_with_the_same_pixels(make, name, trip, even_odd):
    (back,) = trip(make.export(name, make.item(mask_of(blob(ring=True))))).values()
    assert (
        even_odd([[(p.x, p.y) for p in r] for r in back[0].polygon.paths], 64, 48) == blob(ring=True)
    ).all()


def test_a_mask_of_more_rings_than_a_polygon_has_is_left_out_and_told(make):
    array = np.indices((300, 300)).sum(axis=0) % 2 == 0
    item = make.item(mask_of(array), width=300, height=300)
    exported = make.export("cvat", item)
    assert (exported.summary.annotations, exported.summary.left_out) == (0, 1)
    assert any("more rings or points" in note for note in exported.summary.notes)


@pytest.mark.parametrize("paired", [False, True])
def test_the_quick_way_for_objects_gives_what_the_slow_one_does(make, paired):
    ring = [(1.25, 2), (30.5, 4), (20, 40.125)]
    every = [
        [make.polygon(ring, object_id="7"), make.polygon(ring, object_id="é \u2028")],
        [make.polygon(ring, object_id="7"), make.polygon(ring)],
        [make.polygon(ring, object_id='a"b'), make.polygon(ring, object_id="c\\d")],
        [make.polygon(ring, object_id="7"), make.box(1, 2, 3, 4, object_id="8")],
        [make.polygon(ring, object_id="7", attributes=[{"object_id": '"],"type":"polygon"'}])],
    ]
    for document in map(lambda made: [with_box(a) for a in made], every):
        found = figures_of_text(as_text(document), paired=paired)
        assert found == [figure_of_model(a, paired=paired) for a in document]


def test_run_lengths_with_brackets_do_not_confuse_the_quick_way(make):
    # [, ], \\ and ^ are among the characters of run lengths.
    text = "[[^]\\]0"
    from tintype_studio.annotations.masks import text_of

    runs = np.array([43, 45, 13, 44, 13, 48 * 64 - 158], dtype=np.int64)
    mask = Mask(size=[48, 64], counts=text_of(runs))
    made = [annotation("mask", mask=mask.model_dump()), make.polygon([(1, 1), (9, 1), (9, 9)])]
    figures = figures_of_text(as_text(made))
    assert [f.kind for f in figures] == ["mask", "polygon"]
    assert figures[0].texts == (mask.counts, "48,64")
    assert set(text) & set(mask.counts)
    assert array_of(mask).sum() == 45 + 44 + (48 * 64 - 158)
