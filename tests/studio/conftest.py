"""A real workspace in a temporary folder, its owner, a second organization, pictures and child processes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from tintype_studio import clock
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.identity.bootstrap import DEFAULT_PROJECT, saved_api_key
from tintype_studio.identity.keys import Principal, insert_key
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import accounts, ledger_entries, organizations, projects
from tintype_studio.studio import Studio, Workspace

ORIENTATION = 0x0112

OpenStudio = Callable[[], Studio]
MakeFolder = Callable[[dict[str, bytes]], Path]
Boxes = Callable[..., list[Any]]
CheckCounters = Callable[[Studio, Principal, str], Dataset]
Spawn = Callable[..., "subprocess.Popen[str]"]


class Picture(Protocol):
    """Makes an image file."""

    def __call__(
        self, seed: int = 0, *, kind: str = "JPEG", size: tuple[int, int] = (24, 16), orientation: int = 1
    ) -> bytes: ...


def make_picture(
    seed: int = 0, *, kind: str = "JPEG", size: tuple[int, int] = (24, 16), orientation: int = 1
) -> bytes:
    """Noise as an image file; ``size`` is (width, height) of the stored pixels."""
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    image, out = Image.fromarray(noise), io.BytesIO()
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.from_pillow(image).save(out)
        return out.getvalue()
    exif = Image.Exif()
    if orientation != 1:
        exif[ORIENTATION] = orientation
    image.save(out, kind, **({"exif": exif.tobytes()} if exif else {}))
    return out.getvalue()


def make_boxes(count: int, name: str = "car") -> list[Any]:
    """``count`` box annotations of one class."""
    raw = [
        {
            "id": f"{name}-{i}",
            "name": name,
            "type": "bbox",
            "bounding_box": {"x": i, "y": 1, "w": 2, "h": 3},
        }
        for i in range(count)
    ]
    return list(AnnotationList.model_validate({"annotations": raw}).annotations)


def assert_counters_true(studio: Studio, principal: Principal, name: str) -> Dataset:
    """Recount a dataset image by image, document by document, and compare with its counters.

    For datasets in which nobody has set a status by hand: there it follows from the annotations.
    """
    dataset = studio.datasets.get(principal, name)
    images = completed = annotations = size = after = 0
    while page := studio.samples.page(dataset, limit=500, after=after):
        for sample in page:
            _, document = studio.documents.get(principal, sample.id)
            assert sample.annotation_count == len(document)
            assert sample.status == ("complete" if document else "new")
            images += 1
            completed += sample.status == "complete"
            annotations += len(document)
            size += studio.blobs.size(sample.sha256)
        after = page[-1].row_id
    counted = (images, completed, annotations, size)
    assert counted == (
        dataset.image_count,
        dataset.completed_image_count,
        dataset.annotation_count,
        dataset.total_size,
    )
    return dataset


def add_organization(studio: Studio, slug: str, *, balance: int = 0) -> str:
    """A further organization, made by hand in the database; returns its owner key."""
    now = clock.now()
    with studio.database.write() as connection:
        organization_id = connection.execute(
            sa.insert(organizations)
            .values(uuid=clock.new_id(), name=slug, slug=slug, tier="free", created_at=now)
            .returning(organizations.c.id)
        ).scalar_one()
        connection.execute(sa.insert(accounts).values(organization_id=organization_id, balance=balance))
        connection.execute(
            sa.insert(ledger_entries).values(
                uuid=clock.new_id(),
                organization_id=organization_id,
                operation="grant",
                amount=balance,
                balance_after=balance,
                created_at=now,
            )
        )
        connection.execute(
            sa.insert(projects).values(
                uuid=clock.new_id(), organization_id=organization_id, name=DEFAULT_PROJECT, created_at=now
            )
        )
        return insert_key(
            connection, studio.signer, organization_id=organization_id, name="owner", role=Role.OWNER
        )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def open_studio(home: Path) -> Iterator[OpenStudio]:
    """Opens the workspace as one more process would."""
    opened: list[Studio] = []

    def open_one() -> Studio:
        opened.append(Studio(Workspace(home)))
        return opened[-1]

    yield open_one
    for studio in opened:
        studio.close()


@pytest.fixture
def studio(open_studio: OpenStudio) -> Studio:
    return open_studio()


@pytest.fixture
def owner(studio: Studio) -> Principal:
    return studio.keys.authenticate(saved_api_key(studio.home))


@pytest.fixture
def stranger(studio: Studio) -> Principal:
    """The owner of another organization in the same database."""
    return studio.keys.authenticate(add_organization(studio, "strangers", balance=50))


@pytest.fixture
def dataset(studio: Studio, owner: Principal) -> Dataset:
    return studio.datasets.create(owner, name="signs")


@pytest.fixture
def picture() -> Picture:
    return make_picture


@pytest.fixture
def boxes() -> Boxes:
    return make_boxes


@pytest.fixture
def check_counters() -> CheckCounters:
    return assert_counters_true


@pytest.fixture
def folder(tmp_path: Path) -> MakeFolder:
    """Writes files (relative path → bytes) into a new folder."""

    def make(files: dict[str, bytes]) -> Path:
        root = tmp_path / "pictures"
        root.mkdir(exist_ok=True)
        for relative, data in files.items():
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return root

    return make


@pytest.fixture
def move_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Moves the platform's clock forward."""
    real = clock.now

    def move(by: timedelta) -> None:
        def moved() -> datetime:
            return real() + by

        monkeypatch.setattr(clock, "now", moved)

    return move


@pytest.fixture
def spawn(home: Path) -> Iterator[Spawn]:
    """Starts Python code in a process of its own; ``sys.argv[1]`` is the workspace's home."""
    children: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, str(home), *map(str, arguments)]
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()
