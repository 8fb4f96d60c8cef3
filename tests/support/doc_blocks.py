"""The code of the documentation, found and run in one served workspace."""

from __future__ import annotations

import builtins
import io
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from support.doors import serve, stop
from support.onnx_models import blob_detector
from support.providers import KEY, open_provider
from support.ready_models import add_model, png, scene

from tintype_server.runtime import Runtime
from tintype_server.settings import Settings
from tintype_studio.annotations.geometry import (
    BBoxAnnotation,
    BoundingBox,
    Point,
    PolygonAnnotation,
    PolygonGeometry,
)
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.vision.tasks import Signature, Task

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ADDRESS = "http://127.0.0.1:8750"
"""Where the pages say that the server is."""
SIGNS = Signature(Task.DETECTION, "yolox", ("stop", "yield"), 64, nms_iou=0.5)
DATASET = "road-signs"
SQUARE = PolygonGeometry(paths=[[Point(x=x, y=y) for x, y in ((0, 0), (16, 0), (16, 16), (0, 16))]])
FENCE = re.compile(r"^```(?P<language>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block. ``place`` is where it stands, such as ``docs/cli.md:43``."""

    page: str
    line: int
    language: str
    code: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def name_of(page: Path) -> str:
    """``docs/cli.md``."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(name_of(page), text.count("\n", 0, found.start()) + 1, found["language"].strip(), found["code"])
        for found in FENCE.finditer(text)
    ]


@dataclass
class Place:
    """A user's machine: a workspace with a server, and a folder that the user stands in."""

    home: Path
    folder: Path
    url: str
    key: str
    v7_url: str
    variables: dict[str, str] = field(default_factory=dict)
    """What the page's shell has exported so far."""
    names: dict[str, Any] = field(default_factory=dict)
    """What the page's Python has defined so far."""
    stand_ins: dict[str, str] = field(default_factory=dict)
    """What the words in capitals of a page stand for here, such as ``IMAGE_ID``."""

    stale: bool = False
    """A page has deleted something of what stands here."""

    @property
    def environment(self) -> dict[str, str]:
        """Of the user's shell."""
        scripts = str(Path(sys.executable).parent)
        return {
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "TINTYPE_HOME": str(self.home),
            "TINTYPE_V7_URL": self.v7_url,
            "V7_API_KEY": KEY,
            "NO_PROXY": "*",
            **self.variables,
        }

    def filled(self, code: str) -> str:
        """The code with this place's address, ids and keys."""
        for word, value in self.stand_ins.items():
            code = code.replace(word, value)
        return code.replace(ADDRESS, self.url).replace("pk_live_…", self.key)

    def begin_page(self) -> None:
        """A new shell, a new Python, a folder and a dataset as new; the workspace stays."""
        for found in self.folder.iterdir():
            shutil.rmtree(found) if found.is_dir() else found.unlink()
        _lay_out(self.folder)
        self.variables, self.names = {}, {"__name__": "__main__"}
        if self.stale:
            make_dataset(self)

    def run_python(self, block: Block) -> str:
        """Run a block after those before it on the page; what it printed."""
        printed = io.StringIO()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TINTYPE_")} | self.environment
        with (
            chdir(self.folder),
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.object(builtins, "input", _person),
            redirect_stdout(printed),
        ):
            exec(compile(self.filled(block.code), block.place, "exec"), self.names)
        return printed.getvalue()


def _person(question: str = "") -> str:
    """Who sits at the terminal: repeats the names that were told, and says yes."""
    told = re.search(r"These go: (.*)\. Repeat", question)
    return told[1] if told else "y"


@contextmanager
def open_place(base: Path) -> Iterator[Place]:
    """A workspace with what the pages speak of, served."""
    home, folder = base / "home", base / "work"
    folder.mkdir()
    with closing(Runtime.open(Settings(home=home))) as runtime:
        runtime.studio.jobs.supervisor.enabled = False
        stand_ins = _fill(runtime)
    key = saved_api_key(home)
    assert key is not None
    with open_provider() as provider:
        provider.add_v7("road-damage")
        process, url = serve(home, "--root", str(folder), env={"TINTYPE_V7_URL": provider.url})
        try:
            yield Place(home, folder, url, key, provider.url, stand_ins=stand_ins)
        finally:
            stop(process)


def make_dataset(place: Place) -> None:
    """Make ``road-signs`` again when a page has deleted it, or a part of it."""
    with closing(Runtime.open(Settings(home=place.home))) as runtime:
        runtime.studio.jobs.supervisor.enabled = False
        principal = runtime.studio.keys.authenticate(place.key)
        listed = {found.name for found in runtime.studio.datasets.list(principal)}
        if place.stale and DATASET in listed:
            runtime.studio.datasets.delete(principal, DATASET)
        if place.stale or DATASET not in listed:
            place.stand_ins |= _signs(runtime)
        place.stale = False


def _lay_out(folder: Path) -> None:
    """The files that the pages name."""
    (folder / "pictures").mkdir()
    for number in range(2):
        (folder / "pictures" / f"new-{number}.png").write_bytes(png(scene(64, 64, (number, 3, "red"))))
    (folder / "photo.jpg").write_bytes(png(scene(64, 64, (1, 1, "red"), (3, 3, "blue"))))
    coco = {
        "images": [{"id": 1, "file_name": "old.png", "width": 64, "height": 64}],
        "categories": [{"id": 1, "name": "stop"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 16, 16], "area": 256}],
    }
    with zipfile.ZipFile(folder / "coco.zip", "w") as archive:
        archive.writestr("annotations.json", json.dumps(coco))
        archive.writestr("images/old.png", png(scene(64, 64, (0, 0, "red"))))


def _fill(runtime: Runtime) -> dict[str, str]:
    """The datasets, a key; what their ids stand for on the pages."""
    studio = runtime.studio
    principal = studio.keys.authenticate(runtime.local_api_key())
    for name in ("test-1", "test-2"):
        studio.datasets.create(principal, name=name)
    return _signs(runtime)


def _signs(runtime: Runtime) -> dict[str, str]:
    """``road-signs``: six labelled pictures, two that are not, one of them dark, and a model."""
    studio = runtime.studio
    principal = studio.keys.authenticate(runtime.local_api_key())
    dataset = studio.datasets.create(principal, name=DATASET)
    image = outlined = ""
    for number in range(6):
        picture = png(scene(64, 64, (number % 4, 0, "red"), (3 - number % 4, 2, "blue")))
        added = studio.ingest.add_image(principal, dataset, data=picture, filename=f"sign-{number}.png")
        boxes = [("stop", number % 4, 0), ("yield", 3 - number % 4, 2)]
        studio.documents.save(
            principal,
            added.id,
            [
                BBoxAnnotation(id=name, name=name, bounding_box=BoundingBox(x=x * 16, y=y * 16, w=16, h=16))
                for name, x, y in boxes
            ],
        )
        image = added.id
        outlined = added.id if number == 0 else outlined
    studio.documents.save(
        principal,
        outlined,
        [
            PolygonAnnotation(id="outline", name="stop", polygon=SQUARE),
            BBoxAnnotation(id="box", name="yield", bounding_box=BoundingBox(x=48, y=32, w=16, h=16)),
        ],
    )
    studio.ingest.add_image(
        principal, dataset, data=png(scene(64, 64, (2, 1, "red"))), filename="unlabelled.png"
    )
    dark = png(scene(64, 64, (1, 2, "red")) // 6)
    studio.ingest.add_image(principal, dataset, data=dark, filename="night.png")
    model = add_model(studio, principal, dataset, SIGNS, blob_detector(SIGNS), name="signs")
    (run, *_) = studio.training.list(principal)
    return {"IMAGE_ID": image, "MODEL_ID": model.id, "RUN_ID": run.id}
