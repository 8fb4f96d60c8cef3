"""The seed documentation's examples of batches of images and of exports."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.sdk import Sdk
from support.seed_world import Filled, fill


@pytest.fixture
def dataset(sdk: Sdk, tmp_path: Path) -> Filled:
    """Three images, two of them labelled with a car and a truck."""
    return fill(sdk, tmp_path)


# --- Batch ---------------------------------------------------------------------------------------------


def test_images_are_moved(sdk: Sdk, dataset: Filled) -> None:
    code = """
    result = client.batch.move(
        dataset_name=name,
        image_ids=ids,
        target_folder_path="/sorted/cars",
    )
    absent = [a for a in ("succeeded", "failed_count", "failures") if not hasattr(result, a)]
    return [result.processed, result.failed, result.success, absent]
    """
    absent = ["succeeded", "failed_count", "failures"]
    assert sdk.run(code, **dataset.values()) == [3, [], True, absent]


def test_images_are_copied(sdk: Sdk, dataset: Filled) -> None:
    code = """
    result = client.batch.copy(
        dataset_name=name,
        image_ids=ids[:2],
        target_folder_path="/cars-copy",
        duplicate_handling="rename",
        copy_annotations=False,
    )
    ds = client.datasets.get(name, include_images=True)
    return [result.processed, ds.image_count, sum(i.annotation_count for i in ds.images)]
    """
    assert sdk.run(code, **dataset.values()) == [2, 5, 4]


def test_images_are_deleted(sdk: Sdk, dataset: Filled) -> None:
    code = """
    result = client.batch.delete(
        dataset_name=name,
        image_ids=ids,
        permanent=False,
    )
    return [result.processed, client.datasets.get(name).archived_images]
    """
    assert sdk.run(code, **dataset.values()) == [3, 3]


def test_images_are_updated(sdk: Sdk, dataset: Filled) -> None:
    code = """
    result = client.batch.update(
        dataset_name=name,
        image_ids=ids[1:],
        status="complete",
        is_archived=False,
    )
    return [result.processed, client.datasets.get(name).completed_image_count]
    """
    assert sdk.run(code, **dataset.values()) == [2, 3]


# --- Exports -------------------------------------------------------------------------------------------

EXPORT = """
export = client.exports.create(
    name,
    "for-yolov8",
    format="yolo",
    include_images=True,
    class_filter=["car", "truck"],
    status_filter="complete",
    wait=True,
    poll_interval=2.0,
    timeout=600.0,
)
"""


def exported(sdk: Sdk, dataset: Filled, code: str, **more: Any) -> Any:
    return sdk.run(EXPORT + code, **dataset.values(**more))


def test_an_export(sdk: Sdk, dataset: Filled) -> None:
    export = sdk.run(EXPORT + "return export", **dataset.values())
    assert export["id"]
    assert (export["status"], export["image_count"], export["annotation_count"]) == ("completed", 2, 4)


def test_exports_are_listed(sdk: Sdk, dataset: Filled) -> None:
    code = """
exports = client.exports.list(limit=20)
return [exports[0].name, [[e.dataset_name, e.name, e.status] for e in client.exports.iter(page_size=50)]]
"""
    newest, listed = exported(sdk, dataset, code)
    assert newest == "for-yolov8"
    assert [dataset.name, "for-yolov8", "completed"] in listed


def test_an_export_is_read(sdk: Sdk, dataset: Filled) -> None:
    code = """
export = client.exports.get(name, "for-yolov8")
return [export.status, export.download_url]
"""
    status, url = exported(sdk, dataset, code)
    assert status == "completed"
    assert url.startswith(sdk.server.url)


def test_an_export_is_downloaded(sdk: Sdk, dataset: Filled, tmp_path: Path) -> None:
    code = """
from pathlib import Path
return client.exports.download(
    name, "for-yolov8",
    output_path=Path(path),
)
"""
    written = exported(sdk, dataset, code, path=str(tmp_path / "my-dataset.zip"))
    with zipfile.ZipFile(written) as archive:
        labels = [n for n in archive.namelist() if n.startswith("labels/") and n.endswith(".txt")]
        pictures = [n for n in archive.namelist() if n.endswith(".jpg")]
        assert (len(labels), len(pictures)) == (2, 2)
        assert len(archive.read(labels[0]).decode().splitlines()) == 2


def test_an_export_is_waited_for(sdk: Sdk, dataset: Filled) -> None:
    code = """
    export = client.exports.create(name, "name", format="coco", wait=False)
    begun = export.status
    export = client.exports.wait_for_completion(name, "name", timeout=300.0)
    return [begun, export.status]
    """
    begun, ended = sdk.run(code, **dataset.values())
    assert begun in {"pending", "processing", "completed"}
    assert ended == "completed"


def test_an_export_is_deleted(sdk: Sdk, dataset: Filled) -> None:
    exported(sdk, dataset, 'client.exports.delete(name, "for-yolov8")')
    error = sdk.fails("client.exports.get(name, 'for-yolov8')", **dataset.values())
    assert error["type"] == "NotFoundError"
