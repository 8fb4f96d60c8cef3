"""Annotations that the dialect has no words for: what its clients read is valid, and what they save loses
nothing that they were shown.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.rest import Rest, open_rest

from tintype_server.pictograph.annotations import KEYS
from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.annotations.masks import mask_of_array

BOX3D = {"x": 9.0, "y": 1.0, "z": 0.0, "w": 2.0, "h": 2.0, "l": 4.0}


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with open_rest(tmp_path_factory.mktemp("sensors") / "home") as opened:
        yield opened


@pytest.fixture
def image(rest: Rest) -> str:
    """An image with one annotation of each new kind."""
    pixels = np.zeros((20, 30), dtype=bool)
    pixels[5:15, 10:20] = True
    mask = mask_of_array(pixels)
    assert mask is not None
    out = io.BytesIO()
    Image.new("RGB", (30, 20)).save(out, "PNG")
    studio = rest.runtime.studio
    dataset = studio.datasets.create(rest.owner, name="sensors")
    image = studio.ingest.add_image(rest.owner, dataset, data=out.getvalue(), filename="a.png").id
    box = {"x": 1, "y": 2, "w": 5, "h": 5}
    annotations = [
        {"id": "1", "name": "car", "type": "bbox", "bounding_box": box, "object_id": "7", "box3d": BOX3D},
        {"id": "2", "name": "car", "type": "mask", "mask": mask.model_dump(), "attributes": ["wet"]},
        {"id": "3", "name": "car", "type": "box3d", "box3d": BOX3D},
        {"id": "4", "name": "rain", "type": "tag"},
    ]
    studio.documents.save(rest.owner, image, ANNOTATIONS.validate_python(annotations))
    return image


def kept(rest: Rest, image: str) -> list[dict[str, Any]]:
    _, found = rest.runtime.studio.documents.get(rest.owner, image)
    return [each.model_dump(mode="json", exclude_none=True) for each in found]


def test_what_is_read_is_valid_on_the_wire_and_saving_it_keeps_it(rest: Rest, image: str) -> None:
    before = kept(rest, image)
    found = rest.ok("GET", f"/annotations/{image}")["annotations"]
    assert [(a["id"], a["type"]) for a in found] == [("1", "bbox"), ("2", "polygon")]
    assert all(set(a) <= KEYS for a in found)
    assert found[0]["attributes"] == [{"object_id": "7"}, {"box3d": BOX3D}]
    assert sorted((p["x"], p["y"]) for p in found[1]["polygon"]["paths"][0]) == [
        (10, 5),
        (10, 15),
        (20, 5),
        (20, 15),
    ]
    saved = rest.send("POST", f"/annotations/{image}", json={"annotations": found})
    assert saved.status_code == 200, saved.text
    after = kept(rest, image)
    assert after[0] == before[0]
    assert (after[1]["type"], after[1]["attributes"]) == ("polygon", ["wet"])
