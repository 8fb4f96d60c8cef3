"""What the seed documentation's examples find when they run: datasets with images, some labelled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.pictures import jpeg
from support.sdk import Sdk

from tintype_studio import clock

FILL = """
from pictograph import BBoxAnnotation, BoundingBox
project = client.projects.create(name, classes=[{"name": c, "type": t} for c, t in declared])
ids = [client.images.upload(project.id, path).id for path in paths]
for number, image in enumerate(ids[:labelled]):
    box = BoundingBox(x=4, y=5, w=20, h=10)
    client.annotations.save(image, [BBoxAnnotation(id=c, name=c, bounding_box=box) for c in classes])
return [project.id, ids]
"""
CLASSES = ("car", "truck")
DECLARED = (("car", "bbox"), ("truck", "bbox"), ("person", "bbox"))


@dataclass(frozen=True)
class Filled:
    """A dataset: its name, its id, the ids of its images (``img-1.jpg``, …)."""

    name: str
    id: str
    images: list[str]

    def values(self, **more: Any) -> dict[str, Any]:
        """For a script: ``name``, ``project_id``, ``ids``, ``image_id``."""
        known = {"name": self.name, "project_id": self.id, "ids": self.images, "image_id": self.images[0]}
        return known | more


def fill(sdk: Sdk, folder: Path, *, count: int = 3, labelled: int = 2, name: str = "my-dataset") -> Filled:
    """A new dataset whose first images are labelled with a car and a truck each."""
    name = f"{name} {clock.new_id()}"
    paths = pictures(folder / name, count)
    told = {"paths": paths, "labelled": labelled, "classes": CLASSES, "declared": DECLARED}
    project, images = sdk.run(FILL, name=name, **told)
    return Filled(name, project, images)


def pictures(folder: Path, count: int) -> list[Path]:
    """``img-1.jpg`` and so on."""
    folder.mkdir(parents=True)
    made = []
    for number in range(1, count + 1):
        made.append(folder / f"img-{number}.jpg")
        made[-1].write_bytes(jpeg(seed=number))
    return made


def lacks(sdk: Sdk, code: str, /, **values: Any) -> str:
    """What Python says of a documented call that the published SDK does not have: no request is made."""
    shape = sdk.fails(code, **values)
    assert shape["type"] in {"TypeError", "AttributeError"}, shape["trace"]
    message: str = shape["message"]
    return message
