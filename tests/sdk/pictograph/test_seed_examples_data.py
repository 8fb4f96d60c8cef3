"""The seed documentation's examples of datasets, projects, images and annotations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.pictures import jpeg
from support.sdk import Sdk
from support.seed_world import CLASSES, Filled, fill, lacks

from tintype_studio import clock


@pytest.fixture
def dataset(sdk: Sdk, tmp_path: Path) -> Filled:
    """Three images, two of them labelled with a car and a truck."""
    return fill(sdk, tmp_path)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.jpg"
    file.write_bytes(jpeg(seed=99))
    return file


# --- A client ------------------------------------------------------------------------------------------


def test_a_client_from_the_environment(sdk: Sdk, dataset: Filled) -> None:
    code = """
    import os
    from unittest.mock import patch
    from pictograph import Client
    with patch.dict(os.environ, {"PICTOGRAPH_API_KEY": key, "PICTOGRAPH_BASE_URL": url}):
        client = Client()
        datasets = client.datasets.list(limit=10)
    return datasets
    """
    found = sdk.run(code, key=sdk.key, url=sdk.server.url)
    assert found[0]["name"] == dataset.name
    assert len(found) <= 10


def test_a_client_with_a_key(sdk: Sdk) -> None:
    code = "client = pictograph.Client(api_key=key, base_url=url)\nreturn client.organizations.me().name"
    assert sdk.run(code, key=sdk.server.keys["viewer"], url=sdk.server.url) == "Local"


def test_a_client_with_limits(sdk: Sdk) -> None:
    code = """
    from pictograph import Client
    client = Client(timeout=30.0, max_retries=5, api_key=key, base_url=url)
    return [client.organizations.me().name, client._transport._config.max_retries]
    """
    assert sdk.run(code, key=sdk.key, url=sdk.server.url) == ["Local", 5]


def test_the_version(sdk: Sdk) -> None:
    code = """
    from pictograph import Client, REGISTRY, __version__
    return [f"pictograph v{__version__}", f"{len(REGISTRY)} agent tools registered"]
    """
    assert sdk.run(code) == ["pictograph v1.0.0", "28 agent tools registered"]


# --- Datasets ------------------------------------------------------------------------------------------


def test_datasets_are_listed(sdk: Sdk, dataset: Filled) -> None:
    code = """
    datasets = client.datasets.list(limit=100)
    return [[ds.name, ds.image_count] for ds in datasets]
    """
    assert [dataset.name, 3] in sdk.run(code)


def test_datasets_are_iterated(sdk: Sdk, dataset: Filled) -> None:
    code = """
    names = [ds.name for ds in client.datasets.iter(page_size=100)]
    all_datasets = client.datasets.iter().all()
    return [names, [ds.name for ds in all_datasets]]
    """
    paged, everything = sdk.run(code)
    assert paged == everything
    assert dataset.name in everything


def test_a_dataset_with_images(sdk: Sdk, dataset: Filled) -> None:
    code = """
    ds = client.datasets.get(name, include_images=True, images_limit=200)
    return [ds.image_count, len(ds.images), sorted(i.filename for i in ds.images)]
    """
    names = ["img-1.jpg", "img-2.jpg", "img-3.jpg"]
    assert sdk.run(code, **dataset.values()) == [3, 3, names]


def test_a_dataset_by_id(sdk: Sdk, dataset: Filled) -> None:
    ds = sdk.run("ds = client.datasets.get_by_id(project_id)\nreturn ds", **dataset.values())
    assert (ds["name"], ds["image_count"], ds["completed_image_count"]) == (dataset.name, 3, 2)


def test_a_dataset_is_downloaded(sdk: Sdk, dataset: Filled, tmp_path: Path) -> None:
    code = """
    told = []
    report = client.datasets.download(
        name,
        output_dir=folder,
        mode="full",
        status_filter="complete",
        max_workers=10,
        progress=lambda done, total, fn: told.append(f"{done}/{total}"),
    )
    return [report.images_downloaded, report.annotations_downloaded, len(report.failures), sorted(told)]
    """
    dump = tmp_path / "dump"
    counted = sdk.run(code, **dataset.values(folder=str(dump)))
    assert counted == [2, 2, 0, ["1/4", "2/4", "3/4", "4/4"]]
    names = sorted(p.relative_to(dump).as_posix() for p in dump.rglob("*") if p.is_file())
    assert len(names) == 4
    (picture,) = dump.rglob("img-1.jpg")
    assert picture.read_bytes() == jpeg(seed=1)
    (document,) = dump.rglob("img-1.jpg.json")
    assert [a["name"] for a in json.loads(document.read_text())["annotations"]] == list(CLASSES)


def test_projects_come_and_go(sdk: Sdk) -> None:
    code = """
    proj = client.projects.create(name, description="…")
    updated = client.projects.update(name, description="updated")
    client.projects.delete(name)
    return [proj.description, updated.description, updated.id == proj.id]
    """
    name = f"new-dataset {clock.new_id()}"
    assert sdk.run(code, name=name) == ["…", "updated", True]
    assert sdk.fails("client.projects.get(name)", name=name)["type"] == "NotFoundError"


# --- Projects ------------------------------------------------------------------------------------------

PROJECT = """
from pictograph import ProjectClass
project = client.projects.create(
    name,
    description="Road sign detection training set",
    annotation_types=["bbox", "polygon"],
    classes=[
        ProjectClass(name="stop_sign", type="bbox", color="#ff0000"),
        ProjectClass(name="yield", type="bbox", color="#ffff00"),
        ProjectClass(name="merge", type="bbox", color="#00ff00"),
    ],
)
"""


def test_projects_are_listed(sdk: Sdk, dataset: Filled) -> None:
    code = """
    projects = client.projects.list(limit=50)
    counted = [[p.name, len(p.classes)] for p in client.projects.iter(page_size=100)]
    return [[p.name for p in projects], counted]
    """
    listed, counted = sdk.run(code)
    assert dataset.name in listed
    assert [dataset.name, 3] in counted


def test_a_project_with_classes(sdk: Sdk) -> None:
    code = PROJECT + (
        "project = client.projects.get(name)\n"
        "return [project.annotation_types, [[cls.name, cls.type, cls.color] for cls in project.classes]]"
    )
    types, classes = sdk.run(code, name=f"new-dataset {clock.new_id()}")
    assert types == ["bbox", "polygon"]
    assert sorted(classes) == [
        ["merge", "bbox", "#00ff00"],
        ["stop_sign", "bbox", "#ff0000"],
        ["yield", "bbox", "#ffff00"],
    ]


def test_a_project_is_changed(sdk: Sdk, photo: Path) -> None:
    """A class that is left out goes, with the annotations that use it."""
    code = PROJECT + (
        """
from pictograph import BBoxAnnotation, BoundingBox
image = client.images.upload(project.id, photo)
box = BoundingBox(x=1, y=1, w=9, h=9)
client.annotations.save(
    image.id, [BBoxAnnotation(id=n, name=n, bounding_box=box) for n in ("merge", "yield")]
)
first = client.projects.update(
    name,
    description="Updated description",
    annotation_types=["bbox", "polygon", "polyline"],
)
second = client.projects.update(
    name,
    classes=[
        ProjectClass(name="stop_sign", type="bbox", color="#ff0000"),
        ProjectClass(name="yield", type="bbox", color="#ffaa00"),
        ProjectClass(name="speed_limit", type="bbox", color="#00aaff"),
    ],
)
return [first, second, [a.name for a in client.annotations.get(image.id)]]
"""
    )
    first, second, left = sdk.run(code, name=f"my-dataset {clock.new_id()}", photo=str(photo))
    assert (first["description"], first["annotation_types"]) == (
        "Updated description",
        ["bbox", "polygon", "polyline"],
    )
    assert sorted((c["name"], c["color"]) for c in second["classes"]) == [
        ("speed_limit", "#00aaff"),
        ("stop_sign", "#ff0000"),
        ("yield", "#ffaa00"),
    ]
    assert left == ["yield"]


def test_a_project_is_deleted(sdk: Sdk, dataset: Filled) -> None:
    code = """
    result = client.projects.delete(name)
    return [result["images_deleted"], result["annotations_deleted"]]
    """
    assert sdk.run(code, **dataset.values()) == [3, 4]


def test_a_class_by_a_dict(sdk: Sdk) -> None:
    shape = {"name": "stop_sign", "type": "bbox", "color": "#ff0000"}
    code = "return client.projects.create(name, classes=[shape]).classes"
    assert sdk.run(code, name=f"new-dataset {clock.new_id()}", shape=shape) == [shape]


# --- Images --------------------------------------------------------------------------------------------


def test_an_image_is_uploaded_and_read(sdk: Sdk, dataset: Filled, photo: Path) -> None:
    code = """
    from pathlib import Path
    project = client.projects.get(name)
    image = client.images.upload(
        dataset_id=project.id,
        file_path=Path(photo),
        folder_path="/cars",
    )
    read = client.images.get(image.id)
    return [[image.filename, image.status, image.annotation_count], read == image]
    """
    assert sdk.run(code, **dataset.values(photo=str(photo))) == [["photo.jpg", "new", 0], True]


def test_an_image_is_downloaded(sdk: Sdk, dataset: Filled, tmp_path: Path) -> None:
    path = tmp_path / "back.jpg"
    code = "return client.images.download(image_id, output_path=path)"
    assert sdk.run(code, **dataset.values(path=str(path))) == str(path)
    assert path.read_bytes() == jpeg(seed=1)


def test_an_image_is_deleted(sdk: Sdk, dataset: Filled) -> None:
    code = """
    client.images.delete(image_id)
    archived = client.datasets.get(name)
    client.images.delete(image_id, permanent=True)
    gone = client.datasets.get(name)
    return [[ds.image_count, ds.archived_images] for ds in (archived, gone)]
    """
    assert sdk.run(code, **dataset.values()) == [[2, 1], [2, 0]]


def test_images_in_bulk(sdk: Sdk, folder_of_pictures: Path) -> None:
    code = """
    from pictograph.workflows import upload_dataset_from_folder
    report = upload_dataset_from_folder(
        client,
        name,
        folder=folder,
        organize_by_class=True,
        parallel=True,
        max_workers=8,
    )
    return [report.images_uploaded, len(report.failures)]
    """
    values = {"name": f"my-dataset {clock.new_id()}", "folder": str(folder_of_pictures)}
    assert sdk.run(code, **values) == [3, 0]


def test_an_upload_under_a_key(sdk: Sdk, dataset: Filled, photo: Path) -> None:
    """Without the documented argument, each upload has a key of its own: a second one is a conflict."""
    code = """
    client.images.upload(
        dataset_id=project_id,
        file_path=photo,
        idempotency_key="upload-x-jpg-2026-04-19",
    )
    """
    values = dataset.values(photo=str(photo))
    assert "idempotency_key" in lacks(sdk, code, **values)
    without = "return client.images.upload(dataset_id=project_id, file_path=photo).filename"
    assert sdk.run(without, **values) == "photo.jpg"
    assert sdk.fails(without, **values)["type"] == "ConflictError"


# --- Annotations ---------------------------------------------------------------------------------------


def test_annotations_are_read(sdk: Sdk, dataset: Filled) -> None:
    code = """
    annotations = client.annotations.get(image_id)
    return [[ann.name, ann.type] for ann in annotations]
    """
    assert sdk.run(code, **dataset.values()) == [["car", "bbox"], ["truck", "bbox"]]


def test_annotations_are_saved(sdk: Sdk, dataset: Filled) -> None:
    code = """
    from pictograph import BBoxAnnotation, BoundingBox, PolygonAnnotation, PolygonGeometry, Point
    result = client.annotations.save(image_id, [
        BBoxAnnotation(
            id="ann-1",
            name="person",
            bounding_box=BoundingBox(x=10, y=20, w=15, h=8),
        ),
        PolygonAnnotation(
            id="ann-2",
            name="car",
            polygon=PolygonGeometry(paths=[
                [Point(x=0, y=0), Point(x=10, y=0), Point(x=10, y=10)],
            ]),
        ),
    ])
    back = client.annotations.get(image_id)
    return [[result.previous_count, result.new_count, result.status], back]
    """
    counted, (box, polygon) = sdk.run(code, **dataset.values())
    assert counted == [2, 2, "complete"]
    assert (box["id"], box["name"], box["bounding_box"]) == (
        "ann-1",
        "person",
        {"x": 10.0, "y": 20.0, "w": 15.0, "h": 8.0},
    )
    ring = [{"x": 0.0, "y": 0.0}, {"x": 10.0, "y": 0.0}, {"x": 10.0, "y": 10.0}]
    assert (polygon["id"], polygon["polygon"]["paths"]) == ("ann-2", [ring])


def test_annotations_are_deleted(sdk: Sdk, dataset: Filled) -> None:
    code = """
    result = client.annotations.delete(image_id)
    return [result.deleted_count, client.annotations.get(image_id)]
    """
    assert sdk.run(code, **dataset.values()) == [2, []]


def test_a_ring_of_one_point(sdk: Sdk) -> None:
    code = """
    from pictograph import PolygonAnnotation, PolygonGeometry, Point
    PolygonGeometry(paths=[[Point(x=0, y=0)]])
    """
    shape = sdk.fails(code)
    assert shape["type"] == "ValidationError"
    assert "paths[0] has 1 point(s)" in shape["message"]


def test_an_annotation_that_is_none(sdk: Sdk, dataset: Filled) -> None:
    """A dict never leaves the SDK; what our server says of it, another client sees."""
    values = dataset.values()
    sent = "client.annotations.save(image_id, [{'class': 'person', 'type': 'bbox'}])"
    assert lacks(sdk, sent, **values)
    code = """
    from pictograph.exceptions import ValidationError
    class Raw:
        def model_dump(self, **_):
            return {"class": "person", "type": "bbox"}
    try:
        client.annotations.save(image_id, [Raw()])
    except ValidationError as e:
        return [str(e), hasattr(e, "errors"), e.field_errors]
    """
    message, has_errors, errors = sdk.run(code, **values)
    assert "status=422" in message
    assert not has_errors
    assert all({"loc", "msg", "type"} <= set(error) for error in errors)
    assert errors
