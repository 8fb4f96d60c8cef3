"""Making a snapshot survives kill -9; its files lie flat for who downloads them, on any store."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.jobs import turn
from support.pictures import jpeg

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.pool import Pool
from tintype_studio.snapshots.files import StoredFile, laid_out
from tintype_studio.snapshots.paths import clean_path, flat_names
from tintype_studio.snapshots.snapshot import SnapshotStatus
from tintype_studio.storage.blobs import Blobs
from tintype_studio.studio import Studio

from .conftest import files_of, start

MAKE = """
import os, signal, sys
from pathlib import Path
from support import jobs as support
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.jobs import commits
from tintype_studio.jobs.pool import Pool
from tintype_studio.snapshots import service
from tintype_studio.studio import Studio, Workspace

home, job_id, point = sys.argv[1:]

def die(*_arguments, **_named):
    os.kill(os.getpid(), signal.SIGKILL)

if point == "before it is looked into":
    service.look_into = die
elif point == "before the row":
    service.Snapshots.complete = die
elif point == "before the end":
    commits.Commits.finish = die
studio = Studio(Workspace(Path(home)))
studio.jobs.supervisor.enabled = False
owner = studio.keys.authenticate(saved_api_key(studio.home))
support.turn(studio, studio.jobs.get(owner, job_id), Pool(1))
os._exit(0)
"""


def test_a_worker_killed_while_it_makes_a_snapshot_is_followed_by_one_that_does(
    studio: Studio, owner: Principal, pool: Pool, spawn: Any, move_clock: Any
) -> None:
    dataset = studio.datasets.create(owner, name="signs")
    for n in range(3):
        studio.ingest.add_image(owner, dataset, data=jpeg(seed=n), filename=f"{n}.jpg")
    args = {"name": "n", "description": None, "dataset": "signs", "annotation_set": "default"}
    job = start(studio, owner, "create_snapshot", args)
    for point in ("before it is looked into", "before the row", "before the end"):
        child = spawn(MAKE, job.id, point)
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL, point
        studio.settle()
        found = studio.snapshots.of_job(owner, job.id)
        wanted = SnapshotStatus.AVAILABLE if point == "before the end" else SnapshotStatus.PROCESSING
        assert found.status is wanted, point
    turn(studio, job, pool)
    assert studio.jobs.get(owner, job.id).status is JobStatus.COMPLETED
    assert studio.snapshots.of_job(owner, job.id) == found
    assert found.facts["samples"] == 3
    # What the killed ones left beside it goes after two days.
    assert any(name.startswith("snapshot-") for name in files_of(studio.home / "tmp"))
    move_clock(timedelta(days=3))
    studio.settle()
    assert not any(name.startswith("snapshot-") for name in files_of(studio.home / "tmp"))


def test_a_snapshot_that_is_deleted_while_it_is_made_stays_deleted(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    studio.datasets.create(owner, name="signs")
    args = {"name": "n", "description": None, "dataset": "signs", "annotation_set": "default"}
    job = start(studio, owner, "create_snapshot", args)
    studio.snapshots.delete(owner, studio.snapshots.of_job(owner, job.id).id)
    turn(studio, job, pool)
    assert studio.jobs.get(owner, job.id).status is JobStatus.FAILED
    assert studio.snapshots.list(owner) == []


@pytest.mark.parametrize("url", ["memory:///", "folder"])
def test_files_are_laid_out_from_any_store(tmp_path: Path, url: str) -> None:
    blobs = Blobs(url if "://" in url else str(tmp_path / url))
    files = [StoredFile(path, 3, blobs.put(path.encode())) for path in ("a/b/c.txt", "a/d.txt", "e")]
    with laid_out(blobs, files, tmp_path) as folder:
        assert {path: (folder / path).read_text() for path in files_of(folder)} == {
            file.path: file.path for file in files
        }
    assert not folder.exists()
    assert blobs.get(files[0].sha256) == b"a/b/c.txt"


NAMES = st.text("abAB._-é", min_size=1, max_size=4).filter(lambda name: name.strip("."))


@given(st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=8, unique=True))
def test_flat_names_are_unique_and_have_no_folder(paths: list[str]) -> None:
    names = flat_names(paths)
    assert len(names) == len(paths)
    assert len({name.casefold() for name in names}) == len(names)
    assert not any("/" in name for name in names)


@given(st.text(max_size=40))
def test_a_clean_path_never_leads_out_of_its_folder(text: str) -> None:
    try:
        path = clean_path(text)
    except InvalidInput:
        return
    assert Path("/root/folder", path).resolve().is_relative_to("/root/folder")
    assert clean_path(path) == path
