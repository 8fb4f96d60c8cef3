"""Annotations, asked by the published SDK: every kind there and back, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from support.pictures import jpeg
from support.sdk import Sdk, Server

from tintype_studio import clock

API = "/api/v1/developer"
SQUARE = [{"x": 0, "y": 0}, {"x": 100, "y": 0}, {"x": 100, "y": 100.5}, {"x": 0, "y": 100.5}]
HOLE = [{"x": 30, "y": 30}, {"x": 70, "y": 30}, {"x": 70, "y": 70}]
DOCUMENT: list[dict[str, Any]] = [
    {"id": "1", "name": "person", "type": "bbox", "bounding_box": {"x": -3, "y": 0.5, "w": 50, "h": 80}},
    {"id": "2", "name": "car", "type": "polygon", "polygon": {"paths": [SQUARE[:3]]}},
    {
        "id": "3",
        "name": "donut",
        "type": "polygon",
        "polygon": {"paths": [SQUARE, HOLE]},
        "bounding_box": {"x": 0, "y": 0, "w": 100, "h": 100.5},
        "confidence": 0.25,
        "created_by": "somebody",
        "attributes": ["occluded", {"colour": "red", "n": [1, None, 2.5]}],
    },
    {"id": "4", "name": "lane", "type": "polyline", "polyline": {"path": SQUARE[:2]}},
    {"id": "5", "name": "eye é", "type": "keypoint", "keypoint": {"x": 250, "y": 180}},
]
SAVE = """
from pydantic import TypeAdapter
from pictograph.models.annotation import Annotation
typed = TypeAdapter(list[Annotation]).validate_python(annotations)
return client.annotations.save(image, typed)
"""
GET = "return [a.model_dump(mode='json', exclude_none=True) for a in client.annotations.get(image)]"


@pytest.fixture
def image(sdk: Sdk, tmp_path: Path) -> str:
    """The id of a new image, in a dataset whose classes nobody declared."""
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(seed=1))
    code = "return client.images.upload(client.projects.create(name).id, path).id"
    return str(sdk.run(code, name=f"annotations {clock.new_id()}", path=path))


def save(sdk: Sdk, image: str, annotations: list[dict[str, Any]]) -> Any:
    return sdk.run(SAVE, image=image, annotations=annotations)


def filled_in(annotation: dict[str, Any]) -> dict[str, Any]:
    """As it comes back: defaults set, polygons and lines with their box."""
    boxes = {"2": {"x": 0, "y": 0, "w": 100, "h": 100.5}}
    box = {"bounding_box": boxes[annotation["id"]]} if annotation["id"] in boxes else {}
    return {"confidence": 1.0, "attributes": [], **box, **annotation}


def test_every_kind_comes_back_as_it_was_saved(sdk: Sdk, image: str) -> None:
    assert sdk.run("return client.annotations.get(image)", image=image) == []
    saved = save(sdk, image, DOCUMENT)
    assert saved == {"image_id": image, "previous_count": 0, "new_count": 5, "status": "complete"}
    assert sdk.run(GET, image=image) == [filled_in(a) for a in DOCUMENT]
    assert sdk.run("return client.images.get(image).annotation_count", image=image) == 5


def test_a_save_replaces_everything(sdk: Sdk, image: str) -> None:
    save(sdk, image, DOCUMENT)
    saved = save(sdk, image, DOCUMENT[:1])
    assert (saved["previous_count"], saved["new_count"]) == (5, 1)
    assert [a["id"] for a in sdk.run(GET, image=image)] == ["1"]
    assert save(sdk, image, [])["status"] == "new"


def test_what_came_back_can_be_saved_again(sdk: Sdk, image: str) -> None:
    save(sdk, image, DOCUMENT)
    first = sdk.run(GET, image=image)
    sdk.run("client.annotations.save(image, client.annotations.get(image))", image=image)
    assert sdk.run(GET, image=image) == first


def test_delete_needs_an_admin(sdk: Sdk, image: str) -> None:
    save(sdk.as_("member"), image, DOCUMENT)
    code = "return client.annotations.delete(image)"
    error = sdk.as_("member").fails(code, image=image)
    assert (error["type"], error["status_code"]) == ("ForbiddenError", 403)
    deleted = sdk.as_("admin").run(code, image=image)
    assert (deleted["image_id"], deleted["deleted_count"]) == (image, 5)
    assert sdk.as_("viewer").run(GET, image=image) == []
    assert sdk.run("return client.images.get(image).status", image=image) == "new"


def test_images_that_are_not_there(sdk: Sdk, image: str) -> None:
    codes = (
        "client.annotations.get(image)",
        "client.annotations.save(image, [])",
        "client.annotations.delete(image)",
    )
    for code in codes:
        for who, what in ((sdk, clock.new_id()), (sdk, "nonsense"), (sdk.as_("elsewhere"), image)):
            error = who.fails(code, image=what)
            assert (error["type"], error["status_code"]) == ("NotFoundError", 404)
    error = sdk.as_("viewer").fails("client.annotations.save(image, [])", image=image)
    assert error["status_code"] == 403


def test_a_class_that_the_project_does_not_have(sdk: Sdk, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(seed=1))
    code = """
    project = client.projects.create(name, classes=[{"name": "person"}])
    return client.images.upload(project.id, path).id
    """
    image = sdk.run(code, name=f"classes {clock.new_id()}", path=path)
    save(sdk, image, DOCUMENT[:1])
    error = sdk.fails(SAVE, image=image, annotations=[{**DOCUMENT[0], "name": "Person"}])
    assert (error["type"], error["status_code"]) == ("ValidationError", 422)
    assert error["response"]["error"]["code"] == "unknown_class"
    assert "'person'" in error["message"] or "person" in error["response"]["error"]["fix"]


@pytest.fixture
def http(sdk_server: Server) -> Any:
    with httpx.Client(base_url=sdk_server.url, headers={"X-API-Key": sdk_server.keys["owner"]}) as client:
        yield client


BAD: dict[str, dict[str, Any]] = {
    "class instead of name": {"id": "1", "class": "a", "bounding_box": {"x": 0, "y": 0, "w": 1, "h": 1}},
    "a flat polygon": {"id": "1", "name": "a", "type": "polygon", "polygon": [[10, 20, 30, 40]]},
    "a box as a list": {"id": "1", "name": "a", "type": "bbox", "bbox": [0, 0, 1, 1]},
    "a ring of two points": {"id": "1", "name": "a", "type": "polygon", "polygon": {"paths": [SQUARE[:2]]}},
    "a box without width": {**DOCUMENT[0], "bounding_box": {"x": 0, "y": 0, "w": 0, "h": 1}},
    "a blank name": {**DOCUMENT[0], "name": "  "},
    "a number for an id": {**DOCUMENT[0], "id": 7},
    "no confidence": {**DOCUMENT[0], "confidence": None},
    "a confidence over one": {**DOCUMENT[0], "confidence": 1.1},
    "a keypoint with a box": {**DOCUMENT[4], "bounding_box": DOCUMENT[0]["bounding_box"]},
    "an unknown key": {**DOCUMENT[0], "zone": 1},
    "an unknown type": {**DOCUMENT[0], "type": "cuboid"},
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_annotations_are_named(http: httpx.Client, sdk: Sdk, image: str, case: str) -> None:
    """The SDK would not send them; others do. Nothing is saved, and the place of the mistake is told."""
    save(sdk, image, DOCUMENT[:1])
    response = http.post(f"{API}/annotations/{image}", json={"annotations": [DOCUMENT[1], BAD[case]]})
    body = response.json()
    assert response.status_code == 422, body
    assert all({"loc", "msg", "type"} == set(problem) for problem in body["detail"])
    assert {"annotations", 1} <= set(body["detail"][0]["loc"])
    assert [a["id"] for a in sdk.run(GET, image=image)] == ["1"]


def test_the_sdk_reads_the_places_of_mistakes(sdk: Sdk, image: str) -> None:
    code = """
    client._transport.request("POST", f"/api/v1/developer/annotations/{image}", json={"annotations": [bad]})
    """
    error = sdk.fails(code, image=image, bad=BAD["an unknown key"])
    assert error["type"] == "ValidationError"
    assert "zone" in error["field_errors"][0]["loc"]


def test_the_image_may_stand_in_the_body(http: httpx.Client, image: str) -> None:
    body = {"image_id": image, "annotations": DOCUMENT[:1]}
    saved = http.post(f"{API}/annotations/", json=body)
    assert (saved.status_code, saved.json()["new_count"]) == (200, 1)
    assert http.post(f"{API}/annotations/", json={"annotations": []}).status_code == 422
    other = http.post(f"{API}/annotations/{clock.new_id()}", json=body)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "invalid_selection")


def test_a_type_may_follow_from_the_geometry(http: httpx.Client, sdk: Sdk, image: str) -> None:
    bare = [{k: v for k, v in a.items() if k != "type"} for a in DOCUMENT]
    assert http.post(f"{API}/annotations/{image}", json={"annotations": bare}).status_code == 200
    assert sdk.run(GET, image=image) == [filled_in(a) for a in DOCUMENT]
