"""COCO to the table and back: the same JSON, whatever the file has; and what is refused."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from tintype_studio.errors import InvalidInput, UnsupportedFormat
from tintype_studio.formats.edf.arrays import of_list
from tintype_studio.formats.edf.coco_file import read_coco
from tintype_studio.formats.edf.from_coco import coco_to_arrow
from tintype_studio.formats.edf.schema import COLUMNS
from tintype_studio.formats.edf.table import read_table, write_table
from tintype_studio.formats.edf.to_coco import arrow_to_coco

RING = [10.25, 20.5, 110.35, 20.5, 60.2, 70.83]


def _runs(height: int = 480, width: int = 640) -> dict[str, Any]:
    bits = np.zeros((height, width), dtype=np.uint8, order="F")
    bits[5:90, 7:33] = 1
    found = coco_mask.encode(bits)
    return {"size": [height, width], "counts": found["counts"].decode()}


def everything() -> dict[str, Any]:
    """A COCO file with all that the published converter loses."""
    annotations: list[dict[str, Any]] = [
        {"id": 100, "image_id": 10, "category_id": 3, "bbox": [10.25, 20.5, 100.1, 50.33], "area": 4000.5}
        | {"segmentation": [RING, [1, 2, 3.5, 2, 3, 9]], "iscrowd": 0, "score": 0.9},
        {"id": 7, "image_id": 12, "category_id": 90, "bbox": [1, 2, 30, 40], "area": 1200, "iscrowd": 1}
        | {"segmentation": {"size": [480, 640], "counts": [0, 480, 306720]}},
        {"id": 8, "image_id": 12, "category_id": 3, "bbox": [7, 5, 26, 85], "area": 2210, "iscrowd": 0}
        | {"segmentation": _runs(), "score": 0.25},
        {"id": 9, "image_id": 10, "category_id": 3, "bbox": [5, 5, 10, 10], "area": 100.0, "iscrowd": 0}
        | {"segmentation": [], "attributes": {"wet": True}},
        {"id": 11, "image_id": 10, "category_id": 3, "bbox": [5, 5, 10.01, 10], "area": 0, "iscrowd": 0}
        | {"keypoints": [6, 6, 2, 0, 0, 0], "num_keypoints": 1},
        {"id": 12, "image_id": 10, "category_id": 3, "bbox": [5, 5, 10, 10], "area": 3, "iscrowd": 0}
        | {"segmentation": [[1.5, 2, 3, 4]]},
    ]
    return {
        "info": {"description": "d", "year": 2017},
        "licenses": [{"id": 1, "name": "L", "url": "u"}],
        "images": [
            {"id": 12, "file_name": "train/a.b.jpg", "width": 640, "height": 480, "license": 1}
            | {"coco_url": "http://x/1.jpg", "date_captured": "2013-11-14 11:18:45", "flickr_url": "f"},
            {"id": 10, "file_name": "val/a.b.PNG", "width": 640, "height": 480, "license": 1}
            | {"neg_category_ids": [90], "not_exhaustive_category_ids": [3]},
            {"id": 1, "file_name": "a.c.jpeg", "width": 100, "height": 50},
        ],
        "annotations": annotations,
        "categories": [
            {"id": 90, "name": "toothbrush", "supercategory": "indoor", "frequency": "r"},
            {"id": 3, "name": "cat", "supercategory": "animal", "synset": "cat.n.01", "def": "a cat"}
            | {"keypoints": ["nose", "tail"], "skeleton": [[1, 2]], "frequency": "f"},
            {"id": 4, "name": "never", "supercategory": ""},
        ],
    }


def _there_and_back(document: Any, folder: Path, **options: Any) -> Any:
    source, table, back = folder / "in.json", folder / "t.arrow", folder / "out.json"
    source.write_bytes(document if isinstance(document, bytes) else orjson.dumps(document))
    coco_to_arrow(source, table)
    arrow_to_coco(table, back, **options)
    return orjson.loads(back.read_bytes())


def _by_id(document: dict[str, Any]) -> dict[str, Any]:
    return document | {"annotations": sorted(document["annotations"], key=lambda entry: entry["id"])}


def test_everything_comes_back(tmp_path: Path) -> None:
    document = everything()
    assert _there_and_back(document, tmp_path) == document
    table = read_table(tmp_path / "t.arrow")
    assert table.facts.version == "2026.10"
    assert table.values("name") == ["val/a.b", "train/a.b", "train/a.b", *["val/a.b"] * 3, "a.c"]
    assert table.values("label_index")[:2] == [3, 90]
    assert [mask is not None for mask in table.values("mask")] == [False, True, True, *[False] * 4]


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    source, table, back = tmp_path / "in.json", tmp_path / "t.parquet", tmp_path / "out.json"
    source.write_bytes(orjson.dumps(everything()))
    coco_to_arrow(source, table)
    assert table.read_bytes()[:4] == b"PAR1"
    arrow_to_coco(table, back)
    assert orjson.loads(back.read_bytes()) == everything()


@pytest.mark.parametrize("indent", [None, 2])
def test_pieces_and_the_whole_are_parsed_alike(indent: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    document = everything()
    document["annotations"] = [{**a, "id": n} for n in range(50) for a in [document["annotations"][n % 6]]]
    plain = json.dumps(document, indent=indent).encode()
    # A text in which an annotation seems to end.
    document["annotations"][20]["note"] = 'a}, {"b": 1}, "annotations": [{'
    nasty = json.dumps(document, indent=indent).encode()
    monkeypatch.setattr("tintype_studio.formats.edf.coco_file.PIECE", 100)
    cut, whole = (
        read_coco(plain, "a"),
        read_coco(b" " + plain.replace(b'"annotations"', b'"annotation\\u0073"'), "a"),
    )
    for name in ("ids", "areas", "rings", "lengths", "masks", "further", "scores"):
        assert getattr(cut.columns, name) == getattr(whole.columns, name), name
    assert sorted(cut.columns.bare) == sorted(whole.columns.bare)
    assert np.array_equal(cut.columns.values, whole.columns.values)
    assert read_coco(nasty, "a").columns.further[20]["note"].startswith("a}, {")


def test_sequences_and_sensors_come_back(tmp_path: Path) -> None:
    document = everything()
    document["images"][0] |= {"file_name": "drive/drive_001.camera.jpeg"}
    document["images"][0] |= {"sequence_name": "drive", "frame_number": 1, "group_name": "held out"}
    document["images"][0] |= {"location": [45.5, -73.25], "pose": [1.5, 2, 3], "degradation": "fog"}
    document["images"][1] |= {"file_name": "drive/drive_002.camera.jpeg"}
    document["images"][1] |= {"sequence_name": "drive", "frame_number": 2}
    document["annotations"][1] |= {"box3d": [1, 2, 3, 4, 5, 6.5], "truncation": 2, "occlusion": 1}
    assert _there_and_back(document, tmp_path) == document
    table = read_table(tmp_path / "t.arrow")
    assert set(zip(table.values("name"), table.values("frame"), strict=True)) == {
        ("drive", 1),
        ("drive", 2),
        ("a.c", None),
    }


def test_a_folder_of_splits_is_one_table(tmp_path: Path) -> None:
    first, second = everything(), everything()
    second["images"] = [image | {"file_name": f"new/{image['id']}.jpg"} for image in second["images"]]
    folder = tmp_path / "coco" / "annotations"
    folder.mkdir(parents=True)
    (folder / "instances_train2017.json").write_bytes(orjson.dumps(first))
    (folder / "instances_val2017.json").write_bytes(orjson.dumps(second))
    (folder / "captions_val2017.json").write_bytes(b"{}")
    done = coco_to_arrow(tmp_path / "coco", tmp_path / "t.arrow")
    assert (done.images, done.annotations, done.categories, done.masks) == (6, 12, 3, 4)
    arrow_to_coco(tmp_path / "t.arrow", tmp_path / "val.json", groups=["val"])
    found = orjson.loads((tmp_path / "val.json").read_bytes())
    assert {image["file_name"] for image in found["images"]} == {i["file_name"] for i in second["images"]}
    assert {image["group_name"] for image in found["images"]} == {"val"}
    assert len({entry["id"] for entry in found["annotations"]}) == 6


def test_coordinates_with_many_decimals_stay_within_float32(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    document = everything()
    values = rng.uniform(0, 480, 40)
    document["annotations"][0]["segmentation"] = [values.tolist()]
    found = _there_and_back(document, tmp_path)["annotations"][0]["segmentation"][0]
    assert np.abs(np.array(found) - values).max() < 4e-5


def test_pycocotools_reads_what_is_written(tmp_path: Path) -> None:
    _there_and_back(everything(), tmp_path)
    theirs, ours = COCO(tmp_path / "in.json"), COCO(tmp_path / "out.json")
    for id in (100, 7, 8):
        assert np.array_equal(theirs.annToMask(theirs.anns[id]), ours.annToMask(ours.anns[id]))
    assert ours.imgs == theirs.imgs
    assert ours.cats == theirs.cats


def test_without_masks_only_boxes_are_left(tmp_path: Path) -> None:
    document = everything()
    source = tmp_path / "in.json"
    source.write_bytes(orjson.dumps(document))
    coco_to_arrow(source, tmp_path / "t.arrow", include_masks=False)
    table = read_table(tmp_path / "t.arrow")
    assert "polygon" not in table
    assert "mask" not in table
    found = _there_and_back(document, tmp_path, include_masks=False)
    assert all(not entry.get("segmentation") for entry in found["annotations"] if entry["id"] != 12)


def test_what_a_table_does_not_tell_is_measured(tmp_path: Path) -> None:
    """Files of others have no areas, no file names, and holes only where we wrote them."""
    ring, hole = [0.1, 0.1, 0.5, 0.1, 0.5, 0.5, 0.1, 0.5], [0.2, 0.2, 0.3, 0.2, 0.3, 0.3, 0.2, 0.3]
    columns = {
        "name": of_list(COLUMNS["name"], ["a", "a"]),
        "label": of_list(COLUMNS["label"], ["cat", None]),
        "polygon": of_list(COLUMNS["polygon"], [[ring, hole], None]),
        "box2d": of_list(COLUMNS["box2d"], [None, [0.5, 0.5, 0.1, 0.1]]),
        "size": of_list(COLUMNS["size"], [[100, 100], None]),
    }
    found = []
    for rings in ("united", "even-odd"):
        write_table(tmp_path / "a.arrow", [columns], {"schema_version": "2026.04", "rings": rings})
        done = arrow_to_coco(tmp_path / "a.arrow", tmp_path / "a.json")
        assert (done.annotations, done.left_out) == (1, 1)
        (entry,) = orjson.loads((tmp_path / "a.json").read_bytes())["annotations"]
        found.append(entry)
        assert entry["bbox"] == [10, 10, 40, 40]
    united, holed = found
    assert united["area"] == 1700
    assert [len(ring) for ring in united["segmentation"]] == [8, 8]
    assert holed["area"] == pytest.approx(1500)
    assert (
        coco_mask.area(holed["segmentation"] | {"counts": holed["segmentation"]["counts"].encode()}) == 1500
    )


def test_file_names_are_found_beside_the_table(tmp_path: Path) -> None:
    columns = {
        "name": of_list(COLUMNS["name"], ["a.b", "drive", "drive", "gone"]),
        "frame": of_list(COLUMNS["frame"], [None, 1, 12, None]),
    }
    write_table(tmp_path / "set.arrow", [columns], {})
    for path in ("a.b.JPG", "drive/drive_001.camera.jpeg", "drive_12.png"):
        (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / path).write_bytes(b"")
    arrow_to_coco(tmp_path / "set.arrow", tmp_path / "a.json")
    images = orjson.loads((tmp_path / "a.json").read_bytes())["images"]
    assert [image["file_name"] for image in images] == [
        "a.b.JPG",
        "drive/drive_001.camera.jpeg",
        "drive_12.png",
        "gone",
    ]


def _broken(change: Any) -> bytes:
    document = copy.deepcopy(everything())
    change(document)
    return orjson.dumps(document)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["annotations"][0].update(image_id=99), "annotation 100 refers to the image 99"),
        (lambda d: d["annotations"][0].update(category_id="x"), "category id x, which is not listed"),
        (lambda d: d["annotations"][0].update(id=7), "annotation id 7 occurs twice"),
        (lambda d: d["annotations"][0].update(id=-1), "annotation id -1 is no whole number"),
        (lambda d: d["annotations"][0].update(id="a"), "annotation id a is no whole number"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), "bbox is no list of four numbers"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3, "4"]), "bbox is no list of four numbers"),
        (lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5, "6"]]), "a ring is no list"),
        (lambda d: d["annotations"][0].update(segmentation=[1, 2, 3, 4, 5, 6]), "a ring is no list"),
        (lambda d: d["annotations"][0].update(segmentation="x"), "its segmentation is no list and no mask"),
        (lambda d: d["annotations"][0].update(segmentation=[[1e300] * 6]), "infinite or too large"),
        (lambda d: d["annotations"][1]["segmentation"].update(size=[9, 9]), "not its image's size"),
        (lambda d: d["annotations"][1]["segmentation"].update(counts=[5]), "do not add up"),
        (lambda d: d["annotations"][2]["segmentation"].update(counts="~"), "annotation 8"),
        (lambda d: d["annotations"][0].update(iscrowd="no"), "iscrowd is neither 0 nor 1"),
        (lambda d: d["annotations"][0].update(area="big"), "area is not what it should be"),
        (lambda d: d["images"][0].update(width=12.5), "no width and height in whole pixels"),
        (lambda d: d["images"][0].pop("height"), "no width and height in whole pixels"),
        (lambda d: d["images"][0].update(file_name=""), "image 12 has no file_name"),
        (lambda d: d["images"][0].update(id=10), "the image id 10 occurs twice"),
        (lambda d: d["categories"][0].update(id=3), "category id 3 occurs twice"),
        (lambda d: d["categories"][0].update(name="cat"), "has two ids"),
        (lambda d: d["categories"][0].pop("name"), "category 90 has no name"),
        (lambda d: d.update(images={}), "'images' is no list of objects"),
        (lambda d: d.update(annotations=[1]), "'annotations' is no list of objects"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(change: Any, told: str, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_bytes(_broken(change))
    with pytest.raises(InvalidInput, match=told) as refused:
        coco_to_arrow(tmp_path / "in.json", tmp_path / "t.arrow")
    assert refused.value.fix
    assert not (tmp_path / "t.arrow").exists()


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff\xfe", b'{"images":[],"annotations":[{}]}'])
def test_what_is_no_coco_file_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_bytes(data)
    with pytest.raises(InvalidInput):
        coco_to_arrow(tmp_path / "in.json", tmp_path / "t.arrow")


def test_a_folder_without_coco_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"shapes":[],"imagePath":""}')
    with pytest.raises(UnsupportedFormat, match="no COCO file"):
        coco_to_arrow(tmp_path, tmp_path / "t.arrow")


def test_an_empty_file_is_an_empty_table(tmp_path: Path) -> None:
    empty = {"images": [], "annotations": [], "categories": []}
    found = _there_and_back(empty, tmp_path)
    assert found["images"] == found["annotations"] == found["categories"] == []
    assert read_table(io.BytesIO((tmp_path / "t.arrow").read_bytes())).rows == 0
