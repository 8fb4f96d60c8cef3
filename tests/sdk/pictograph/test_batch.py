"""Batch operations, asked by the published SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from support.pictures import jpeg
from support.sdk import Sdk, Server

from tintype_studio import clock

API = "/api/v1/developer"
NAMES = ("a.jpg", "b.jpg", "c.jpg")
UPLOAD = """
project = client.projects.create(name)
return [client.images.upload(project.id, path).id for path in paths]
"""
LISTED = """
dataset = client.datasets.get(name, include_images=True)
return sorted([i.filename, i.status, i.annotation_count] for i in dataset.images)
"""


@pytest.fixture
def images(sdk: Sdk, tmp_path: Path) -> tuple[str, list[str]]:
    """The name of a new dataset and the ids of its three images, the first of them labelled."""
    paths = []
    for seed, filename in enumerate(NAMES):
        paths.append(tmp_path / filename)
        paths[-1].write_bytes(jpeg(seed=seed))
    name = f"batch {clock.new_id()}"
    ids = sdk.run(UPLOAD, name=name, paths=paths)
    code = """
    box = pictograph.BoundingBox(x=1, y=2, w=3, h=4)
    client.annotations.save(image, [pictograph.BBoxAnnotation(id="1", name="car", bounding_box=box)])
    """
    sdk.run(code, image=ids[0])
    return name, ids


def run(sdk: Sdk, method: str, images: tuple[str, list[str]], **given: Any) -> Any:
    code = f"return client.batch.{method}(name, ids, **given)"
    return sdk.run(code, name=images[0], ids=images[1], given=given)


def fails(sdk: Sdk, method: str, images: tuple[str, list[str]], **given: Any) -> tuple[str, int | None]:
    code = f"return client.batch.{method}(name, ids, **given)"
    error = sdk.fails(code, name=images[0], ids=images[1], given=given)
    return error["type"], error.get("status_code")


def listed(sdk: Sdk, name: str) -> list[list[Any]]:
    found: list[list[Any]] = sdk.run(LISTED, name=name)
    return found


def archived(sdk: Sdk, name: str) -> tuple[int, int]:
    dataset = sdk.run("return client.datasets.get(name)", name=name)
    return dataset["image_count"], dataset["archived_images"]


def test_move(sdk: Sdk, images: tuple[str, list[str]]) -> None:
    done = run(sdk, "move", images, target_folder_path="/sorted/cars")
    assert (done["processed"], done["failed"]) == (3, [])
    assert done["affected_folders"] == ["/", "/sorted/cars"]
    back = run(sdk, "move", (images[0], images[1][:1]))
    assert (back["processed"], back["affected_folders"]) == (1, ["/", "/sorted/cars"])


def test_what_fails_is_named_and_the_rest_goes_on(sdk: Sdk, images: tuple[str, list[str]]) -> None:
    name, (a, b, _) = images
    missing = clock.new_id()
    done = run(sdk, "move", (name, [a, missing, b]), target_folder_path="/x")
    assert (done["processed"], [f["id"] for f in done["failed"]]) == (2, [missing])
    code = "return client.batch.move(name, ids, target_folder_path='/y').success"
    assert sdk.run(code, name=name, ids=[a, missing]) is False
    assert sdk.run(code, name=name, ids=[b]) is True


def test_copy(sdk: Sdk, images: tuple[str, list[str]]) -> None:
    name, ids = images
    assert run(sdk, "copy", images, target_folder_path="/copies", copy_annotations=True)["processed"] == 3
    assert listed(sdk, name) == sorted(
        [["a.jpg", "complete", 1], ["b.jpg", "new", 0], ["c.jpg", "new", 0]] * 2
    )
    renamed = run(sdk, "copy", (name, ids[:1]))
    assert renamed["processed"] == 1
    assert ["a_1.jpg", "new", 0] in listed(sdk, name)
    skipped = run(sdk, "copy", (name, ids[:1]), duplicate_handling="skip")
    assert (skipped["processed"], skipped["failed"]) == (0, [])
    over = run(sdk, "copy", images, target_folder_path="/copies", duplicate_handling="overwrite")
    assert over["processed"] == 3
    assert [row for row in listed(sdk, name) if row[0] == "a.jpg"] == [
        ["a.jpg", "complete", 1],
        ["a.jpg", "new", 0],
    ]
    assert archived(sdk, name) == (7, 3)


def test_delete(sdk: Sdk, images: tuple[str, list[str]]) -> None:
    name, ids = images
    assert run(sdk, "delete", (name, ids[:2]))["processed"] == 2
    assert archived(sdk, name) == (1, 2)
    assert fails(sdk.as_("member"), "delete", images, permanent=True) == ("ForbiddenError", 403)
    gone = run(sdk.as_("admin"), "delete", images, permanent=True)
    assert (gone["processed"], archived(sdk, name)) == (3, (0, 0))
    assert fails(sdk, "delete", images) == ("NotFoundError", 404)


def test_update(sdk: Sdk, images: tuple[str, list[str]]) -> None:
    name, ids = images
    assert run(sdk, "update", images, status="complete", display_name="Shown")["processed"] == 3
    assert [row[1] for row in listed(sdk, name)] == ["complete"] * 3
    assert run(sdk, "update", (name, ids[:1]), is_archived=True)["processed"] == 1
    assert archived(sdk, name) == (2, 1)
    assert run(sdk, "update", images, is_archived=False, status="annotate")["processed"] == 3
    assert listed(sdk, name) == [["a.jpg", "annotate", 1], ["b.jpg", "annotate", 0], ["c.jpg", "annotate", 0]]
    assert fails(sdk, "update", images) == ("ValueError", None)  # before any request
    assert fails(sdk, "update", images, status="in_progress") == ("ValidationError", 422)


def test_who_may_what(sdk: Sdk, images: tuple[str, list[str]]) -> None:
    name, ids = images
    for method, given in (("move", {}), ("copy", {}), ("delete", {}), ("update", {"status": "new"})):
        assert fails(sdk.as_("viewer"), method, images, **given) == ("ForbiddenError", 403)
        assert fails(sdk.as_("elsewhere"), method, images, **given) == ("NotFoundError", 404)
        assert fails(sdk, method, (name, [clock.new_id()]), **given) == ("NotFoundError", 404)
        assert fails(sdk, method, ("no such", ids), **given) == ("NotFoundError", 404)
    done = run(sdk.as_("member"), "delete", images)
    assert (done["processed"], [f["id"] for f in done["failed"]]) == (0, ids)
    assert archived(sdk, name) == (3, 0)


@pytest.fixture
def http(sdk_server: Server) -> Any:
    with httpx.Client(base_url=sdk_server.url, headers={"X-API-Key": sdk_server.keys["owner"]}) as client:
        yield client


def test_bodies_that_are_refused(http: httpx.Client, images: tuple[str, list[str]]) -> None:
    name, ids = images
    base = {"dataset_name": name, "image_ids": ids}
    for method, path, body in (
        ("POST", "move", base | {"target_folder_path": "/a#b"}),
        ("POST", "move", base | {"image_ids": []}),
        ("POST", "move", base | {"image_ids": [str(i) for i in range(10_001)]}),
        ("POST", "move", base | {"image_ids": "a"}),
        ("POST", "copy", base | {"duplicate_handling": "merge"}),
        ("PATCH", "update", base | {"updates": {}}),
        ("PATCH", "update", base | {"updates": {"status": None}}),
        ("PATCH", "update", base | {"updates": {"owner": "me"}}),
        ("POST", "delete", {"image_ids": ids}),
    ):
        response = http.request(method, f"{API}/batch/images/{path}", json=body)
        assert response.status_code == 422, (path, body, response.text)


def test_a_retried_copy_is_one(http: httpx.Client, images: tuple[str, list[str]], sdk: Sdk) -> None:
    body = {"dataset_name": images[0], "image_ids": images[1], "target_folder_path": "/x"}
    headers = {"Idempotency-Key": clock.new_id()}
    first, again = (http.post(f"{API}/batch/images/copy", json=body, headers=headers) for _ in range(2))
    assert (first.json(), again.headers["Idempotent-Replayed"]) == (again.json(), "true")
    assert archived(sdk, images[0]) == (6, 0)


def test_a_dry_run_tells_and_does_nothing(
    http: httpx.Client, images: tuple[str, list[str]], sdk: Sdk
) -> None:
    body = {"dataset_name": images[0], "image_ids": images[1]}
    told = http.post(f"{API}/batch/images/delete", json=body, headers={"X-Dry-Run": "true"}).json()
    assert told["affected"] == [{"kind": "images.deleted", "count": 3, "dataset": images[0]}]
    assert archived(sdk, images[0]) == (3, 0)
