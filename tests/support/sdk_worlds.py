"""Served workspaces that several files of SDK tests start from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.onnx_models import blob_detector
from support.ready_models import Cell, add_model, add_scene, png, scene
from support.sdk import Sdk, installed, open_sdk, open_server

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.vision.tasks import Signature, Task

DETECTOR = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64)
LABELLED = 6
TINY = {"epochs": 1, "batch_size": 4, "image_size": 64, "max_minutes": 1, "patience": 0, "seed": 1}
"""Hyperparameters of a training that takes seconds."""
LONG = TINY | {"epochs": 500}
"""Of one that is still there to be cancelled."""


def cells_of(number: int) -> tuple[Cell, Cell]:
    """A red and a blue cell, elsewhere for each number up to 12."""
    return (number % 4, number // 4, "red"), ((number + 2) % 4, 3, "blue")


@contextmanager
def open_scenes(base: Path) -> Iterator[Sdk]:
    """A dataset ``scenes``: six labelled pictures ``0.png`` to ``5.png``, one that is not (``new.png``), and
    a model that finds red and blue cells.
    """
    installed()
    with open_server(base) as server:
        studio = open_studio(Settings(home=server.home))
        studio.jobs.supervisor.enabled = False
        owner = studio.keys.authenticate(server.keys["owner"])
        dataset = studio.datasets.create(owner, name="scenes")
        for number in range(LABELLED):
            add_scene(studio, owner, dataset, f"{number}.png", *cells_of(number), size=(160, 160))
        add_scene(studio, owner, dataset, "new.png", *cells_of(7), size=(160, 160), labelled=False)
        add_model(studio, owner, dataset, DETECTOR, blob_detector(DETECTOR), name="finder")
        studio.close()
        with open_sdk(server) as opened:
            yield opened


def pictures(folder: Path, *names: str) -> Path:
    """A folder with a scene under each name, and a file that is no picture."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(scene(160, 160, *cells_of(number + 8 - number // 4 * 4))))
    (folder / "notes.txt").write_text("no picture")
    return folder
