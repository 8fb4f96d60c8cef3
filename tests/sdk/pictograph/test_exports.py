"""Exports, asked by the published SDK."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.pictures import jpeg
from support.sdk import Sdk, Server

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.annotations.geometry import ANNOTATIONS

DATASET = "to export"
DOCUMENT = [
    {"id": "a", "name": "car", "type": "bbox", "bounding_box": {"x": 1, "y": 2, "w": 20, "h": 10}},
    {
        "id": "b",
        "name": "truck",
        "type": "polygon",
        "polygon": {"paths": [[{"x": 5, "y": 5}, {"x": 30, "y": 5}, {"x": 30, "y": 25}]]},
    },
]
MEMBER = {
    "pictograph": "annotations/stop/0.jpg.json",
    "coco": "annotations.json",
    "yolo": "labels/train/stop/0.txt",
    "pascal_voc": "Annotations/stop/0.xml",
    "cvat": "annotations.xml",
    "labelme": "images/stop/0.json",
    "csv": "annotations.csv",
}
"""Where the annotations are."""
DOWNLOAD = """
import pathlib, tempfile
with tempfile.TemporaryDirectory() as folder:
    target = pathlib.Path(folder) / "out.zip"
    client.exports.download(dataset, name, output_path=target)
    return target.read_bytes()
"""


@pytest.fixture(scope="module")
def dataset(sdk_server: Server) -> str:
    """Two labelled images, one that is new."""
    studio = open_studio(Settings(home=sdk_server.home))
    studio.jobs.supervisor.enabled = False
    owner = studio.keys.authenticate(sdk_server.keys["owner"])
    made = studio.datasets.create(owner, name=DATASET)
    for seed in range(3):
        sample = studio.ingest.add_image(
            owner, made, data=jpeg(seed=seed), filename=f"{seed}.jpg", folder="/stop"
        )
        if seed < 2:
            studio.documents.save(owner, sample.id, ANNOTATIONS.validate_python(DOCUMENT))
    studio.close()
    return DATASET


def create(sdk: Sdk, name: str, **given: Any) -> Any:
    return sdk.run(
        "return client.exports.create(dataset, name, **given)", dataset=DATASET, name=name, given=given
    )


def downloaded(sdk: Sdk, name: str) -> zipfile.ZipFile:
    data = base64.b64decode(sdk.run(DOWNLOAD, dataset=DATASET, name=name)["base64"])
    return zipfile.ZipFile(io.BytesIO(data))


@pytest.mark.parametrize("format", MEMBER)
def test_every_format_is_built_and_opens(sdk: Sdk, dataset: str, format: str) -> None:
    export = create(sdk, f"as {format}", format=format, include_images=True)
    assert (export["status"], export["format"], export["include_images"]) == ("completed", format, True)
    assert (export["image_count"], export["dataset_name"]) == (2, DATASET)
    archive = downloaded(sdk, f"as {format}")
    assert archive.testzip() is None
    assert "car" in archive.read(MEMBER[format]).decode() or format == "yolo"
    pictures = [archive.read(name) for name in archive.namelist() if name.endswith(".jpg")]
    assert sorted(pictures) == sorted([jpeg(seed=0), jpeg(seed=1)])


def test_the_sdks_defaults(sdk: Sdk, dataset: str) -> None:
    export = create(sdk, "plain")
    assert (export["format"], export["include_images"], export["status_filter"]) == (
        "pictograph",
        False,
        "complete",
    )
    assert export["download_url"].startswith(sdk.server.url)
    assert (export["image_count"], export["annotation_count"], export["class_filter"]) == (2, 4, None)
    assert not [name for name in downloaded(sdk, "plain").namelist() if name.endswith(".jpg")]


def test_filters(sdk: Sdk, dataset: str) -> None:
    cars = create(sdk, "cars", class_filter=["car"], status_filter="all")
    assert (cars["image_count"], cars["annotation_count"], cars["class_filter"]) == (3, 2, ["car"])
    new = json.loads(downloaded(sdk, "cars").read("annotations/stop/2.jpg.json"))
    assert new == []
    assert create(sdk, "new", status_filter="new")["image_count"] == 1
    assert create(sdk, "under way", status_filter="in_progress")["image_count"] == 0


def test_not_waiting_and_waiting_later(sdk: Sdk, dataset: str) -> None:
    export = create(sdk, "later", wait=False)
    assert export["status"] in {"pending", "processing", "completed"}
    done = sdk.run(
        "return client.exports.wait_for_completion(dataset, 'later', poll_interval=0.2, timeout=60)",
        dataset=DATASET,
    )
    assert (done["status"], done["id"]) == ("completed", export["id"])
    got = sdk.run("return client.exports.get(dataset, 'later')", dataset=DATASET)
    assert (got["id"], got["status"], got["project_id"]) == (done["id"], "completed", done["project_id"])


def test_list_and_iter(sdk: Sdk, dataset: str) -> None:
    for number in range(3):
        create(sdk, f"listed-{number}")
    newest = sdk.run("return client.exports.list(limit=2)")
    assert [e["name"] for e in newest] == ["listed-2", "listed-1"]
    everything = sdk.run("return [e.name for e in client.exports.iter(page_size=2)]")
    assert everything[:3] == ["listed-2", "listed-1", "listed-0"]
    assert len(everything) == len(set(everything)) == len(sdk.run("return client.exports.list(limit=500)"))


def test_delete(sdk: Sdk, dataset: str) -> None:
    create(sdk, "gone")
    sdk.run("return client.exports.delete(dataset, 'gone')", dataset=DATASET)
    for again in ("get", "delete"):
        error = sdk.fails(f"client.exports.{again}(dataset, 'gone')", dataset=DATASET)
        assert (error["type"], error["status_code"]) == ("NotFoundError", 404)
    create(sdk, "gone")


def test_refusals(sdk: Sdk, dataset: str, tmp_path: Path) -> None:
    create(sdk, "taken")
    code = "client.exports.create(dataset, name, **given)"

    def refused(name: str, where: str = DATASET, **given: Any) -> tuple[str, int]:
        error = sdk.fails(code, dataset=where, name=name, given=given)
        return error["type"], error["status_code"]

    assert refused("taken") == ("ConflictError", 409)
    assert refused("a", format="tfrecord") == ("ValidationError", 422)
    assert refused("a", status_filter="done") == ("ValidationError", 422)
    assert refused("a", class_filter=["tank"]) == ("ValidationError", 422)
    assert refused("a", where="none") == ("NotFoundError", 404)
    viewer = sdk.as_("viewer").fails(code, dataset=DATASET, name="v", given={})
    assert viewer["type"] == "ForbiddenError"
    member = sdk.as_("member").fails("client.exports.delete(dataset, 'taken')", dataset=DATASET)
    assert member["type"] == "ForbiddenError"
    elsewhere = sdk.as_("elsewhere").fails("client.exports.get(dataset, 'taken')", dataset=DATASET)
    assert elsewhere["type"] == "NotFoundError"
