"""Attributes of classes at ``/projects`` and ``/datasets``: an extension that nobody has to know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.pictures import jpeg
from support.rest import Rest, open_rest

from tintype_server.pictograph.wire_datasets import Dataset, Project

COLOUR = {"name": "colour", "options": ["red", "White / Off-white"]}
SIGN = {"name": "sign", "type": "bbox", "color": None, "attributes": [COLOUR]}
POLE = {"name": "pole", "type": None, "color": None}
BOX = {"id": "a", "name": "sign", "bounding_box": {"x": 1, "y": 2, "w": 9, "h": 9}}


@pytest.fixture
def rest(tmp_path: Path) -> Iterator[Rest]:
    """A project ``road`` whose class ``sign`` has an attribute."""
    with open_rest(tmp_path / "home") as opened:
        classes = [{"name": "sign", "type": "bbox", "attributes": [COLOUR]}, {"name": "pole"}]
        made = opened.send("POST", "/projects/", json={"name": "road", "classes": classes})
        assert made.status_code == 201, made.text
        yield opened


def classes_of(rest: Rest) -> list[dict[str, Any]]:
    project = Project.model_validate(rest.ok("GET", "/projects/road")["project"])
    found = rest.ok("GET", f"/datasets/{project.id}")["dataset"]
    Dataset.model_validate({"images": None} | found)
    assert found["classes"] == rest.ok("GET", "/projects/road")["project"]["classes"]
    listed: list[dict[str, Any]] = found["classes"]
    return listed


def refused(rest: Rest, *classes: dict[str, Any]) -> tuple[int, str]:
    answer = rest.send("PATCH", "/projects/road", json={"classes": list(classes)})
    return answer.status_code, answer.text


def test_attributes_are_told_where_a_class_has_them(rest: Rest) -> None:
    assert classes_of(rest) == [SIGN, POLE]


def test_a_client_that_knows_no_attributes_keeps_them(rest: Rest) -> None:
    known = [{"name": "sign", "type": "bbox", "color": "#ff0000"}, {"name": "pole", "shortcut": 3}]
    rest.ok("PATCH", "/projects/road", json={"classes": known})
    assert classes_of(rest) == [{**SIGN, "color": "#ff0000"}, POLE]
    rest.ok("PATCH", "/projects/road", json={"classes": [{"name": "sign", "attributes": []}]})
    assert classes_of(rest) == [{"name": "sign", "type": None, "color": None}]


def test_an_option_in_use_stays_and_what_is_none_is_refused(rest: Rest) -> None:
    dataset = rest.runtime.studio.datasets.get(rest.owner, "road")
    image = rest.runtime.studio.ingest.add_image(rest.owner, dataset, data=jpeg(), filename="a.jpg").id
    path, body = f"/annotations/{image}", {"image_id": image}
    chosen = {**BOX, "attributes": [{"colour": "White / Off-white"}, {"maker": "any"}]}
    rest.ok("POST", path, json=body | {"annotations": [chosen]})
    wrong = {**BOX, "attributes": [{"colour": "rad"}]}
    answer = rest.send("POST", path, json=body | {"annotations": [wrong]})
    assert answer.status_code == 422
    assert "unknown_option" in answer.text
    other = {"name": "colour", "options": ["red", "blue"]}
    status, text = refused(rest, {"name": "sign", "attributes": [other]})
    assert status == 409
    assert "option_in_use" in text
    status, _ = refused(rest, {"name": "sign", "attributes": [{"name": "colour", "options": ["red"]}]})
    assert status == 422
    assert classes_of(rest) == [SIGN, POLE]
