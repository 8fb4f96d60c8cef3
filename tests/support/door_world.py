"""A dataset of its own in the workspace of all doors, for one test."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.doors import DOORS, Door, Site
from support.pictures import scene

SQUARE = {"x": 45, "y": 35, "w": 60, "h": 60}
BOX = {"id": "a1", "name": "sign", "type": "bbox", "bounding_box": {"x": 50, "y": 40, "w": 50, "h": 50}}
_numbers = itertools.count()


@dataclass
class World:
    """A dataset of its own for one test, with one picture in it, made through the toolkit."""

    site: Site
    dataset: str
    image: dict[str, Any]
    folder: Path

    def make(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self.site.door("toolkit").call(tool, arguments).value

    def label(self, count: int = 1) -> None:
        annotations = [{**BOX, "id": f"a{n}"} for n in range(count)]
        self.make("save_annotations", image_uuid=self.image["id"], annotations=annotations)

    def export(self, name: str = "first") -> None:
        self.label()
        self.make("create_export", dataset_name=self.dataset, name=name, format="coco")


@pytest.fixture
def world(site: Site) -> World:
    name = f"world-{next(_numbers)}"
    folder = site.folder / name
    folder.mkdir()
    (folder / "scene.png").write_bytes(scene())
    toolkit = site.door("toolkit")
    toolkit.call("create_dataset", {"name": name})
    image = toolkit.call("upload_image", {"dataset_name": name, "file_path": f"{name}/scene.png"}).value
    return World(site, name, image, folder)


@pytest.fixture(params=DOORS)
def door_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def door(site: Site, door_name: str) -> Door:
    return site.door(door_name)
