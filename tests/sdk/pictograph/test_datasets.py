"""Datasets and projects, driven by the published SDK."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from support.pictures import jpeg
from support.sdk import Sdk

BOX = {"id": "a1", "name": "sign", "type": "bbox", "bounding_box": {"x": 1, "y": 2, "w": 10, "h": 12}}

UPLOAD = """
images = []
for folder, path in files:
    image = client.images.upload(
        dataset_id=client.datasets.get(name).id, file_path=path, folder_path=folder
    )
    images.append(image.id)
if annotations:
    client.annotations.save(images[0], [pictograph.BBoxAnnotation(**a) for a in annotations])
return images
"""


def upload(sdk: Sdk, name: str, folder: Path, *, annotations: bool = False) -> list[str]:
    """Three images: two at the top, a namesake in ``/night``; the first one labelled if so asked."""
    files = []
    for seed, (place, filename) in enumerate([("/", "1.jpg"), ("/", "2.jpg"), ("/night", "1.jpg")]):
        path = folder / place.strip("/") / filename
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(jpeg(40, 30, seed=seed))
        files.append((place, str(path)))
    labels = [BOX] if annotations else []
    return list(sdk.run(UPLOAD, name=name, files=files, annotations=labels))


def test_a_project_is_a_dataset(sdk: Sdk) -> None:
    made = sdk.run(
        """
        project = client.projects.create(
            "sdk signs", description="d", annotation_types=["box", "polygon"],
            classes=[pictograph.ProjectClass(name="stop", type="bbox", color="red"), {"name": "b", "x": 1}],
        )
        return {
            "project": project,
            "got": client.projects.get("sdk signs"),
            "dataset": client.datasets.get("sdk signs"),
            "by_id": client.datasets.get_by_id(project.id),
            "listed": client.datasets.list(limit=1000),
            "projects": client.projects.list(limit=200),
        }
        """
    )
    project = made["project"]
    assert (project["description"], project["annotation_types"]) == ("d", ["bbox", "polygon"])
    assert project["classes"][0] == {"name": "stop", "type": "bbox", "color": "#ff0000"}
    assert made["got"] == project
    assert made["dataset"]["id"] == made["by_id"]["id"] == project["id"]
    assert project["id"] in [d["id"] for d in made["listed"]]
    assert project["id"] in [p["id"] for p in made["projects"]]


def test_attributes_of_classes_are_kept_by_a_client_that_knows_none(sdk: Sdk) -> None:
    colour = {"name": "colour", "options": ["red", "blue"]}
    kept = sdk.run(
        """
        client.projects.create("sdk options", classes=[{"name": "sign", "attributes": [colour]}])
        client.projects.update(
            "sdk options", classes=[pictograph.ProjectClass(name="sign", color="red"), {"name": "car"}]
        )
        return {
            "project": client.projects.get("sdk options"),
            "dataset": client.datasets.get("sdk options"),
            "listed": client.datasets.list(limit=1000),
        }
        """,
        colour=colour,
    )
    assert [c["name"] for c in kept["project"]["classes"]] == ["sign", "car"]
    address = f"{sdk.server.url}/api/v1/developer/projects/sdk options"
    sign, car = httpx.get(address, headers={"X-API-Key": sdk.key}).json()["project"]["classes"]
    assert (sign["color"], sign["attributes"]) == ("#ff0000", [colour])
    assert "attributes" not in car


def test_pagers_give_everything_once(sdk: Sdk) -> None:
    found = sdk.run(
        """
        for number in range(5):
            client.projects.create(f"sdk page {number}")
        return {
            "all": client.datasets.list(limit=1000),
            "datasets": client.datasets.iter(page_size=2),
            "projects": client.projects.iter(page_size=3),
            "some": client.datasets.iter(page_size=2, max_total=3),
        }
        """
    )
    names = [d["name"] for d in found["all"]]
    assert names[:5] == [f"sdk page {number}" for number in reversed(range(5))]
    assert [d["name"] for d in found["datasets"]] == names == [p["name"] for p in found["projects"]]
    assert [d["name"] for d in found["some"]] == names[:3]


def test_a_project_is_changed_and_its_removed_class_takes_its_annotations(sdk: Sdk, tmp_path: Path) -> None:
    sdk.run("client.projects.create('sdk update', classes=[{'name': 'sign'}, {'name': 'car'}])")
    (first, *_) = upload(sdk, "sdk update", tmp_path, annotations=True)
    changed = sdk.run(
        """
        renamed = client.projects.update("sdk update", new_name="sdk né", description="new")
        recoloured = client.projects.update("sdk né", classes=[{"name": "car", "color": "#0af"}])
        left = client.annotations.get(image)
        return [renamed, recoloured, left, client.projects.update("sdk né", classes=[])]
        """,
        image=first,
    )
    renamed, recoloured, left, learning = changed
    assert (renamed["name"], renamed["description"], len(renamed["classes"])) == ("sdk né", "new", 2)
    assert recoloured["classes"] == [{"name": "car", "type": None, "color": "#00aaff"}]
    assert left == []
    assert learning["classes"] == []
    assert sdk.fails("client.projects.get('sdk update')")["type"] == "NotFoundError"


def test_a_deleted_project_tells_what_went(sdk: Sdk, tmp_path: Path) -> None:
    sdk.run("client.projects.create('sdk gone')")
    upload(sdk, "sdk gone", tmp_path, annotations=True)
    assert sdk.run("return client.projects.delete('sdk gone')") == {
        "images_deleted": 3,
        "annotations_deleted": 1,
    }
    assert sdk.fails("client.datasets.get('sdk gone')")["type"] == "NotFoundError"


def test_images_come_by_page_with_links(sdk: Sdk, tmp_path: Path) -> None:
    sdk.run("client.projects.create('sdk images')")
    ids = upload(sdk, "sdk images", tmp_path)
    whole, page, past = sdk.run(
        """
        return [
            client.datasets.get("sdk images", include_images=True, images_limit=limit, images_offset=offset)
            for limit, offset in ((10, 0), (2, 1), (10, 3))
        ]
        """
    )
    assert [i["id"] for i in whole["images"]] == ids
    assert [i["id"] for i in page["images"]] == ids[1:]
    assert past["images"] == []
    image = whole["images"][0]
    assert (image["width"], image["height"], image["status"]) == (40, 30, "new")
    assert image["image_url"].startswith(sdk.server.url)
    assert image["annotation_url"] == f"{sdk.server.url}/api/v1/developer/annotations/{ids[0]}"


@pytest.mark.parametrize("mode", ["full", "images_only", "annotations_only"])
def test_a_download_loses_no_namesake(sdk: Sdk, tmp_path: Path, mode: str) -> None:
    name = f"sdk dump {mode}"
    sdk.run("client.projects.create(name)", name=name)
    upload(sdk, name, tmp_path / "in", annotations=True)
    report = sdk.run(
        "return client.datasets.download(name, out, mode=mode)",
        name=name,
        out=str(tmp_path / "out"),
        mode=mode,
    )
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    pictures = {"1.jpg", "2.jpg", "night__1.jpg"}
    labels = {f"{picture}.json" for picture in pictures}
    expected = (pictures if mode != "annotations_only" else set()) | (
        labels if mode != "images_only" else set()
    )
    assert set(files) == expected
    assert report["failures"] == []
    assert report["images_downloaded"] + report["annotations_downloaded"] == len(expected)
    if mode != "annotations_only":
        assert files["night__1.jpg"] == jpeg(40, 30, seed=2)
    if mode != "images_only":
        assert [a["name"] for a in json.loads(files["1.jpg.json"])["annotations"]] == ["sign"]


def test_a_download_of_finished_images_only(sdk: Sdk, tmp_path: Path) -> None:
    sdk.run("client.projects.create('sdk done')")
    upload(sdk, "sdk done", tmp_path / "in", annotations=True)
    counts = sdk.run(
        """
        def count(status):
            options = {"mode": "images_only", "status_filter": status}
            return client.datasets.download("sdk done", out, **options).images_downloaded

        return [count(status) for status in ("all", "complete", "new", "in_progress")]
        """,
        out=str(tmp_path / "out"),
    )
    assert counts == [3, 1, 2, 0]


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("client.datasets.list(limit=1001)", "ValidationError"),
        ("client.projects.list(limit=201)", "ValidationError"),
        ("client.datasets.get('sdk refused', include_images=True, images_limit=10001)", "ValidationError"),
        ("client.projects.create('sdk refused')", "ConflictError"),
        ("client.projects.create('a/b')", "ValidationError"),
        ("client.projects.create('c', classes=[{'name': 'x'}, {'name': 'x'}])", "ValidationError"),
        ("client.projects.create('c', classes=[{'name': 'x', 'color': 'no colour'}])", "ValidationError"),
        ("client.projects.create('c', annotation_types=['cube'])", "ValidationError"),
        ("client.projects.update('sdk refused', new_name='sdk other')", "ConflictError"),
        ("client.projects.update('sdk nowhere', description='d')", "NotFoundError"),
        ("client.projects.delete('sdk nowhere')", "NotFoundError"),
        ("client.datasets.get_by_id('no-id')", "NotFoundError"),
        ("client.projects.delete('')", "ApiError"),
    ],
)
def test_what_is_refused_is_refused_by_its_class(sdk: Sdk, script: str, kind: str) -> None:
    sdk.run(
        """
        for name in ("sdk refused", "sdk other"):
            try:
                client.projects.create(name)
            except pictograph.exceptions.ConflictError:
                pass
        """
    )
    error = sdk.fails(script)
    assert error["type"] == kind
    assert error["request_id"]
    assert sdk.fails("client.projects.get('c')")["type"] == "NotFoundError"
