"""A server on which the seed documentation's examples can annotate and train: painted cells, ready models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.onnx_models import blob_detector
from support.ready_models import Cell, add_model, add_scene, png, scene
from support.sdk import Sdk, installed, open_sdk, open_server

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_studio.vision.tasks import Signature, Task

RED_AND_BLUE: tuple[Cell, ...] = ((1, 1, "red"), (2, 2, "blue"))
TINY = {"epochs": 1, "batch_size": 4, "image_size": 64, "max_minutes": 1, "patience": 0, "seed": 1}
"""A training of seconds; the documentation's own is of hours."""

HURRY = """
import time
from unittest.mock import patch
real = time.sleep
patch("time.sleep", lambda seconds: real(min(seconds, 0.2))).start()
try:
    return main()
finally:
    patch.stopall()
"""


def hurried(code: str) -> str:
    """The script, with the SDK's waits between polls cut to 0.2 s; some of its workflows take no interval."""
    return "def main():\n" + "\n".join(f"    {line}" for line in code.splitlines()) + HURRY


def add_dataset(
    studio: Studio,
    owner: Principal,
    name: str,
    classes: tuple[str, str],
    *,
    images: int = 0,
    labelled: int = 0,
    size: tuple[int, int] = (64, 64),
    cells: Sequence[Cell] = RED_AND_BLUE,
) -> None:
    """A dataset with ``img-1.png`` and so on, and a model that calls red and blue cells by ``classes``."""
    dataset = studio.datasets.create(owner, name=name)
    for number in range(1, images + 1):
        done = number <= labelled
        add_scene(studio, owner, dataset, f"img-{number}.png", *cells, size=size, labelled=done, folder="/")
    signature = Signature(Task.DETECTION, "yolox", classes, 64)
    add_model(studio, owner, dataset, signature, blob_detector(signature), name=f"{name} finder")


def scenes(folder: Path, count: int) -> Path:
    """A folder of pictures, half of them in ``night/``; red and blue change their places."""
    (folder / "night").mkdir(parents=True)
    for number in range(count):
        column, row = number % 2, number // 2 % 2
        picture = scene(64, 64, (column, row, "red"), (2 + column, 2, "blue"))
        place = folder / "night" if number % 2 else folder
        (place / f"sign-{number}.png").write_bytes(png(picture))
    return folder


@contextmanager
def open_models_sdk(base: Path) -> Iterator[Sdk]:
    """The SDK with the server; the datasets are named as in the documentation."""
    installed()
    with open_server(base) as server:
        studio = open_studio(Settings(home=server.home))
        studio.jobs.supervisor.enabled = False
        owner = studio.keys.authenticate(server.keys["owner"])
        signs = ("stop_sign", "yield")
        for name in ("road-signs", "only annotated", "ungated"):
            add_dataset(studio, owner, name, signs)
        for name in ("unlabelled", "classes"):
            add_dataset(studio, owner, name, signs, images=4)
        add_dataset(studio, owner, "half labelled", signs, images=4, labelled=2)
        add_dataset(studio, owner, "to train", ("red", "blue"), images=6, labelled=6)
        add_dataset(studio, owner, "my-dataset", ("car", "person"), images=4, labelled=2, size=(640, 480))
        for name in ("reds", "demo"):
            add_dataset(studio, owner, name, ("red car", "blue car"), images=2, size=(320, 240))
        studio.close()
        with open_sdk(server) as opened:
            yield opened
