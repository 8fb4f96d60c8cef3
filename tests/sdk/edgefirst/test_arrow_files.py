"""Tables judged by others: the client's converters, Polars and pyarrow; what the client writes, by us."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.edgefirst import VERSIONS, installed
from support.sdk import PLACES, installed_in

from tintype_studio.formats.edf.from_coco import coco_to_arrow
from tintype_studio.formats.edf.table import read_table
from tintype_studio.formats.edf.to_coco import arrow_to_coco

RUNS = {"size": [480, 640], "counts": [0, 480, 306720]}
DOCUMENT: dict[str, Any] = {
    "images": [
        {"id": 10, "file_name": "train/a.jpg", "width": 640, "height": 480},
        {"id": 11, "file_name": "c.png", "width": 100, "height": 50},
    ],
    "categories": [
        {"id": 7, "name": "dog", "supercategory": "animal", "frequency": "r"},
        {"id": 3, "name": "cat", "supercategory": "animal", "keypoints": ["nose"], "skeleton": []},
    ],
    "annotations": [
        {"id": 100, "image_id": 10, "category_id": 3, "bbox": [10.25, 20.5, 100.1, 50.33], "area": 4000.5}
        | {"segmentation": [[10.25, 20.5, 110.35, 20.5, 60.2, 70.83]], "iscrowd": 0},
        {"id": 101, "image_id": 10, "category_id": 7, "bbox": [0, 0, 1, 480], "area": 480, "iscrowd": 1}
        | {"segmentation": RUNS},
        {"id": 102, "image_id": 10, "category_id": 7, "bbox": [1, 2, 30, 40], "area": 1200, "iscrowd": 0}
        | {"segmentation": []},
    ],
}


def _asked(python: Path, code: str, *arguments: Any) -> Any:
    command = [str(python), "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


TO_COCO = "import sys, edgefirst_client as e; print(e.arrow_to_coco(sys.argv[1], sys.argv[2]))"
TO_ARROW = "import sys, edgefirst_client as e; print(e.coco_to_arrow(sys.argv[1], sys.argv[2]))"
POLARS = """
import sys, json, polars
frame = polars.read_ipc(sys.argv[1])
rows = frame.select("name", "label", "label_index", "box2d", "size").to_dicts()
print(json.dumps([{name: str(kind) for name, kind in frame.schema.items()}, rows], default=str))
"""
MARK = "lib/python3.11/site-packages/pyarrow/__init__.py"
PYARROW = """
import sys, json, pyarrow.ipc as ipc
table = ipc.open_file(sys.argv[1]).read_all()
table.validate(full=True)
facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
print(json.dumps([facts["schema_version"], json.loads(facts["labels"]), table.num_rows]))
"""


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> Path:
    return installed(request.param) / "bin" / "python"


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    path = tmp_path / "in.json"
    path.write_bytes(orjson.dumps(DOCUMENT))
    return path


def test_the_client_reads_our_table(python: Path, coco: Path, tmp_path: Path) -> None:
    coco_to_arrow(coco, tmp_path / "ours.arrow")
    assert _asked(python, TO_COCO, tmp_path / "ours.arrow", tmp_path / "back.json") == 3
    found = orjson.loads((tmp_path / "back.json").read_bytes())
    assert [image["file_name"] for image in found["images"]] == ["a", "c"]
    assert {entry["id"]: entry["name"] for entry in found["categories"]} == {3: "cat", 7: "dog"}
    for entry, told in zip(found["annotations"], DOCUMENT["annotations"], strict=True):
        assert (entry["id"], entry["category_id"]) == (told["id"], told["category_id"])
        assert entry["bbox"] == pytest.approx(told["bbox"], abs=1e-3)
        assert entry["iscrowd"] == told["iscrowd"]
    assert found["annotations"][1]["segmentation"] == RUNS
    (ring,) = found["annotations"][0]["segmentation"]
    assert ring == pytest.approx(DOCUMENT["annotations"][0]["segmentation"][0], abs=1e-4)


def test_we_read_the_clients_table(python: Path, coco: Path, tmp_path: Path) -> None:
    assert _asked(python, TO_ARROW, coco, tmp_path / "theirs.arrow") == 4
    assert read_table(tmp_path / "theirs.arrow").facts.version in {"2026.04", "2026.10"}
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a.jpg").write_bytes(b"")
    arrow_to_coco(tmp_path / "theirs.arrow", tmp_path / "back.json")
    found = orjson.loads((tmp_path / "back.json").read_bytes())
    assert [image["file_name"] for image in found["images"]] == ["a.jpg", "c"]
    for entry, told in zip(found["annotations"], DOCUMENT["annotations"], strict=True):
        for name in ("id", "category_id", "bbox", "iscrowd"):
            assert entry[name] == told[name]
    assert found["annotations"][0]["segmentation"] == DOCUMENT["annotations"][0]["segmentation"]
    assert found["annotations"][1]["area"] == 480


def test_polars_sees_categories_and_arrays(python: Path, coco: Path, tmp_path: Path) -> None:
    coco_to_arrow(coco, tmp_path / "ours.arrow")
    schema, rows = _asked(python, POLARS, tmp_path / "ours.arrow")
    assert schema["label"].startswith("Categorical")
    assert schema["box2d"] == "Array(Float32, shape=(4,))"
    assert schema["polygon"] == "List(List(Float32))"
    assert [(row["name"], row["label"], row["label_index"]) for row in rows] == [
        ("a", "cat", 3),
        ("a", "dog", 7),
        ("a", "dog", 7),
        ("c", None, None),
    ]


def test_pyarrow_finds_nothing_wrong(coco: Path, tmp_path: Path) -> None:
    place = installed_in(PLACES / "pyarrow", ["pyarrow>=20"], MARK)
    coco_to_arrow(coco, tmp_path / "ours.arrow")
    found = _asked(place / "bin" / "python", PYARROW, tmp_path / "ours.arrow")
    assert found == ["2026.10", ["cat", "dog"], 4]


def test_we_read_the_newest_clients_parquet(coco: Path, tmp_path: Path) -> None:
    python = installed("2.19.0") / "bin" / "python"
    _asked(python, TO_ARROW, coco, tmp_path / "theirs.parquet")
    table = read_table(tmp_path / "theirs.parquet")
    assert (table.rows, table.facts.version, table.facts.labels) == (4, "2026.10", ("cat", "dog"))
    coco_to_arrow(coco, tmp_path / "ours.parquet")
    assert _asked(python, TO_COCO, tmp_path / "ours.parquet", tmp_path / "back.json") == 3
