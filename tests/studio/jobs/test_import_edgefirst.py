"""The export format ``edgefirst`` and its import as a job: every sensor, every fact, twice the same."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.jobs import start, turn
from support.sensors import ANNOTATED, drive, state_of

from tintype_studio.exports.service import ExportOptions
from tintype_studio.formats.edf.table import read_table


@pytest.fixture
def exported(studio: Any, owner: Any, tmp_path: Path) -> Path:
    drive(studio, owner)
    options = ExportOptions("edgefirst", status_filter="all")
    studio.exports.create(owner, dataset_name="drive", name="e", options=options)
    _, chunks = studio.exports.open(owner, "drive", "e")
    path = tmp_path / "drive.zip"
    path.write_bytes(b"".join(chunks))
    return path


def _import(studio: Any, owner: Any, pool: Any, path: Path, **changes: Any) -> Any:
    args = {"dataset": "again", "path": str(path), "format": "auto", "create": True, "skip_existing": True}
    job = start(studio, owner, {**args, **changes}, kind="import_files")
    turn(studio, job, pool)
    return studio.jobs.get(owner, job.id)


def test_a_zip_comes_back_as_it_was(studio: Any, owner: Any, pool: Any, exported: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        assert "drive/drive.arrow" in archive.namelist()
        assert "drive/drive/seq A/seq A_001.camera.jpg" in archive.namelist()
        table = exported.parent / "drive.arrow"
        table.write_bytes(archive.read("drive/drive.arrow"))
    assert read_table(table).rows == len(ANNOTATED) + 3
    job = _import(studio, owner, pool, exported)
    assert job.status == "completed"
    assert job.result["format"] == "edgefirst"
    assert job.result["added"] == 4
    assert job.result["annotations"] == len(ANNOTATED) + 1
    assert sorted(state_of(studio, owner, "again")) == sorted(state_of(studio, owner, "drive"))


def test_a_second_import_changes_nothing(studio: Any, owner: Any, pool: Any, exported: Path) -> None:
    _import(studio, owner, pool, exported)
    before = state_of(studio, owner, "again")
    _import(studio, owner, pool, exported)
    assert state_of(studio, owner, "again") == before


def test_a_sample_without_its_files_fails_alone(
    studio: Any, owner: Any, pool: Any, exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tree"
    with zipfile.ZipFile(exported) as archive:
        archive.extractall(folder)
    for path in (folder / "drive" / "drive" / "seq A").iterdir():
        if "_002" in path.name:
            path.unlink()
    job = _import(studio, owner, pool, folder)
    assert job.result["added"] == 3
    (failed,) = studio.jobs.items(job, outcome="failed", limit=9)
    assert failed.error_code == "image_missing"
    assert "cam 2" in failed.key
