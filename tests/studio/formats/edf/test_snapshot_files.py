"""A dataset with all its sensors as a table and a ZIP, and back: nothing is lost."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.sensors import ANNOTATED, drive, state_of

from tintype_studio.errors import InvalidInput, UnsupportedFormat
from tintype_studio.formats.edf.table import read_table
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.edf import open_edf, write_snapshot
from tintype_studio.studio import Studio


@pytest.fixture
def dataset(studio: Studio, owner: Principal) -> Any:
    return drive(studio, owner)


def _restored(studio: Studio, principal: Principal, folder: Path, name: str) -> None:
    target = studio.datasets.create(principal, name=name)
    with open_edf(folder) as source:
        for new, files in source.samples():
            staged = tuple(studio.population.stage(f.read(), f.type, f.filename) for f in files)
            studio.population.populate(principal, target, [replace(new, files=staged)])


def test_a_dataset_comes_back_as_it_was(
    studio: Studio, owner: Principal, dataset: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    table, container = write_snapshot(studio, owner, dataset, "default", folder)
    assert (table.name, container.name) == ("drive.arrow", "drive.zip")
    with zipfile.ZipFile(container) as archive:
        assert sorted(archive.namelist()) == [
            "only.lidar.pcd",
            "seq A/seq A_001.camera.jpg",
            "seq A/seq A_001.lidar.pcd",
            "seq A/seq A_002.camera.jpg",
            "seq A/seq A_002.lidar.pcd",
            "stop/left/alone.jpg",
        ]
    _restored(studio, owner, folder, "again")
    assert state_of(studio, owner, "again") == state_of(studio, owner, "drive")
    classes = {c.name: c.index for c in studio.datasets.get(owner, "again").classes}
    assert classes == {"cat": 7, "dog": 3, "unlabeled": classes["unlabeled"]}
    assert read_table(table).rows == len(ANNOTATED) + 3


def test_a_tree_reads_like_a_zip(studio: Studio, owner: Principal, dataset: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    _, container = write_snapshot(studio, owner, dataset, "default", folder)
    with zipfile.ZipFile(container) as archive:
        archive.extractall(folder / "drive")
    container.unlink()
    _restored(studio, owner, folder, "again")
    assert state_of(studio, owner, "again") == state_of(studio, owner, "drive")


def test_a_folder_without_a_table_is_refused(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    with pytest.raises(UnsupportedFormat, match="no table"):
        open_edf(tmp_path)
    for name in ("a.arrow", "b.arrow"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UnsupportedFormat, match="several tables"):
        open_edf(tmp_path)
    with pytest.raises(InvalidInput, match="no Arrow file"):
        open_edf(tmp_path, ["a.arrow"])
