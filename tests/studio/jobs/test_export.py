"""Exports that are jobs: built once whatever dies, watched, cancelled, deleted under way."""

from __future__ import annotations

import hashlib
import io
import signal
import threading
import zipfile
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import start, turn

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import Conflict, NotFound
from tintype_studio.exports import build
from tintype_studio.exports.service import Export
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs import run
from tintype_studio.jobs.job import Job, JobStatus
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.job_tables import job_items, jobs
from tintype_studio.storage.tables import exports
from tintype_studio.studio import Studio

IMAGES = 3


@pytest.fixture(scope="module")
def pool() -> Any:
    """An export computes in no child."""
    pool = Pool(1)
    yield pool
    pool.close()


@pytest.fixture
def images(studio: Studio, owner: Principal, dataset: Dataset, picture: Any, boxes: Any) -> list[Sample]:
    added = [
        studio.ingest.add_image(owner, dataset, data=picture(n), filename=f"{n}.jpg") for n in range(IMAGES)
    ]
    for sample in added:
        studio.documents.save(owner, sample.id, boxes(2, "car"))
    return added


def begin(studio: Studio, owner: Principal, name: str = "first", **changes: Any) -> Job:
    args = {
        "dataset": "signs",
        "name": name,
        "format": "coco",
        "include_images": True,
        "class_filter": None,
        "status_filter": "complete",
        **changes,
    }
    return start(studio, owner, args, kind="export")


def export_of(studio: Studio, owner: Principal, name: str = "first") -> Export:
    return studio.exports.get(owner, "signs", name)


def check_whole(studio: Studio, owner: Principal, job: Job) -> Export:
    """One completed export, made by this job, whose bytes are those it names."""
    with studio.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(exports)).scalar_one() == 1
        items = connection.execute(sa.select(job_items.c.key, job_items.c.outcome)).all()
    assert [tuple(item) for item in items] == [("export", "done")]
    export, chunks = studio.exports.open(owner, "signs", "first")
    data = b"".join(chunks)
    assert (export.job_id, export.image_count, export.annotation_count) == (job.id, IMAGES, 2 * IMAGES)
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (export.sha256, export.file_size)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    return export


def test_a_job_builds_the_export(
    studio: Studio, owner: Principal, images: list[Sample], pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "NOTE_SECONDS", 0)
    seen: list[tuple[str | None, str | None]] = []

    def note(*_: object) -> None:
        now = studio.jobs.get(owner, job.id)
        seen.append((now.stage, now.message))

    job = begin(studio, owner)
    pending = export_of(studio, owner)
    assert (pending.status, pending.job_id, pending.completed_at) == ("pending", job.id, None)
    assert (job.title, job.total, job.dataset) == ("Export signs as coco", 1, "signs")
    with pytest.raises(Conflict) as caught:
        studio.exports.open(owner, "signs", "first")
    assert (caught.value.code, caught.value.retryable) == ("export_not_ready", True)
    sa.event.listen(studio.database.engine, "commit", note)
    turn(studio, job, pool)
    sa.event.remove(studio.database.engine, "commit", note)
    ended = studio.jobs.get(owner, job.id)
    export = check_whole(studio, owner, job)
    assert (ended.status, ended.done, ended.failed) == (JobStatus.COMPLETED, 1, 0)
    assert ended.result == {"export": export.id, "images": IMAGES, "file_size": export.file_size}
    assert export.created_at == pending.created_at
    assert ("write", f"2 of {IMAGES} images") in seen
    assert ("store", f"{IMAGES} of {IMAGES} images") in seen


def test_the_same_bytes_as_in_a_call_at_the_same_time(
    studio: Studio, owner: Principal, images: list[Sample], pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begin(studio, owner)
    turn(studio, job, pool)
    made = export_of(studio, owner)
    monkeypatch.setattr("tintype_studio.clock.now", lambda: made.created_at)
    called = studio.exports.create(owner, dataset_name="signs", name="called", options=made.options)
    assert called.sha256 == made.sha256


def test_a_name_that_is_being_built_is_taken(studio: Studio, owner: Principal, images: list[Sample]) -> None:
    begin(studio, owner)
    options = export_of(studio, owner).options
    for again in (
        lambda: begin(studio, owner),
        lambda: studio.exports.create(owner, dataset_name="signs", name="first", options=options),
    ):
        with pytest.raises(Conflict) as caught:
            again()
        assert caught.value.code == "export_exists"
    assert len(studio.jobs.list(owner)) == 1


def test_cancelled_before_it_began_it_is_failed_and_its_name_is_free(
    studio: Studio, owner: Principal, images: list[Sample], pool: Pool
) -> None:
    first = begin(studio, owner)
    studio.jobs.cancel(owner, first.id)
    cancelled = export_of(studio, owner)
    assert (cancelled.status, cancelled.error_message) == ("failed", "The export was cancelled.")
    second = begin(studio, owner)
    turn(studio, second, pool)
    check_whole(studio, owner, second)


def test_cancelled_under_way_it_stops(
    studio: Studio, owner: Principal, images: list[Sample], pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begin(studio, owner)

    def cancel(this: run.Run, *_: object, **__: object) -> None:
        assert export_of(studio, owner).status == "processing"
        this.stop(run.Cancelled())

    monkeypatch.setattr(run.Run, "progress", cancel)
    turn(studio, job, pool)
    export = export_of(studio, owner)
    assert (export.status, export.sha256) == ("failed", None)
    assert studio.jobs.get(owner, job.id).status is JobStatus.CANCELLED
    assert list((studio.home / "tmp").iterdir()) == []


def test_an_export_that_is_deleted_while_it_is_built_leaves_no_bytes(
    studio: Studio, owner: Principal, images: list[Sample], pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begin(studio, owner)
    once = threading.Event()

    def delete(*_: object, **__: object) -> None:
        if not once.is_set():
            once.set()
            studio.exports.delete(owner, "signs", "first")

    monkeypatch.setattr(run.Run, "progress", delete)
    before = set(studio.blobs.digests())
    turn(studio, job, pool)
    ended = studio.jobs.get(owner, job.id)
    assert (ended.status, (ended.error or {})["code"]) == (JobStatus.FAILED, "export_not_found")
    studio.recycle_bin.sweep()
    assert set(studio.blobs.digests()) == before


def test_an_image_that_is_purged_under_way_is_left_out_at_the_next_try(
    studio: Studio, owner: Principal, images: list[Sample], pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begin(studio, owner)
    once = threading.Event()

    def purge(*_: object, **__: object) -> None:
        if not once.is_set():
            once.set()
            studio.samples.delete(owner, images[2].id)
            studio.recycle_bin.purge(owner)
            studio.recycle_bin.sweep()

    monkeypatch.setattr(run.Run, "progress", purge)
    turn(studio, job, pool)
    assert studio.jobs.get(owner, job.id).status is JobStatus.COMPLETED
    assert export_of(studio, owner).image_count == IMAGES - 1


def test_a_dataset_that_is_deleted_under_way_ends_the_export(
    studio: Studio, owner: Principal, images: list[Sample], pool: Pool
) -> None:
    job = begin(studio, owner)
    studio.datasets.delete(owner, "signs")
    turn(studio, job, pool)
    assert studio.jobs.get(owner, job.id).status is JobStatus.FAILED
    with pytest.raises(NotFound):
        export_of(studio, owner)


def test_a_full_disk_is_waited_for(
    studio: Studio, owner: Principal, images: list[Sample], pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = build.tempfile.TemporaryFile, []

    def full(*arguments: Any, **named: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(28, "No space left on device")
        return real(*arguments, **named)

    monkeypatch.setattr(build.tempfile, "TemporaryFile", full)
    job = begin(studio, owner)
    turn(studio, job, pool)
    check_whole(studio, owner, job)
    assert len(tries) == 3


def test_a_row_whose_job_ended_in_a_version_that_did_not_know_exports_is_failed_at_the_next_start(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    job = begin(studio, owner)
    studio.settle()
    assert export_of(studio, owner).status == "pending"
    with studio.database.write() as connection:
        connection.execute(
            sa.update(jobs).where(jobs.c.uuid == job.id).values(finished_at=job.created_at, status="failed")
        )
    studio.settle()
    assert export_of(studio, owner).status == "failed"


TURN = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from support import jobs as support
from tintype_studio.exports import build, service
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.jobs import commits
from tintype_studio.jobs.pool import Pool
from tintype_studio.jobs.run import Run
from tintype_studio.studio import Studio, Workspace

home, job_id, point = sys.argv[1:]

def reach(here):
    if here == point:
        os.kill(os.getpid(), signal.SIGKILL)

def around(owner, name, before, after):
    real = getattr(owner, name)
    def wrapped(*arguments, **named):
        reach(before)
        result = real(*arguments, **named)
        reach(after)
        return result
    setattr(owner, name, wrapped)

studio = Studio(Workspace(Path(home)))
studio.jobs.supervisor.enabled = False
owner = studio.keys.authenticate(saved_api_key(studio.home))
around(Run, "progress", "before an image is counted", "after an image")
around(studio.blobs, "put_file", "before the ZIP is stored", "after the ZIP is stored")
around(studio.exports, "complete", "before the row is completed", "after the row is completed")
around(commits.Commits, "items", "before the transaction", "after COMMIT")
around(commits.Commits, "finish", "before the end", "after the end")
support.turn(studio, studio.jobs.get(owner, job_id), Pool(1))
os._exit(0)
"""
POINTS = [
    "after an image",
    "before the ZIP is stored",
    "after the ZIP is stored",
    "before the transaction",
    "before the row is completed",
    "after the row is completed",
    "after COMMIT",
    "before the end",
]
COMPLETED = {"after COMMIT", "before the end"}


@pytest.mark.slow
def test_a_worker_killed_at_every_step_makes_one_export(
    studio: Studio, owner: Principal, images: list[Sample], pool: Pool, spawn: Any, open_studio: Any
) -> None:
    for number, point in enumerate([*POINTS, "after the end"]):
        if number:
            studio.exports.delete(owner, "signs", "first")
            with studio.database.write() as connection:
                connection.execute(sa.delete(job_items))
        job = begin(studio, owner)
        child = spawn(TURN, job.id, point)
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL, point
        studio.settle()  # as the next start would
        status = "completed" if point in {*COMPLETED, "after the end"} else "processing"
        assert export_of(studio, owner).status == status, point
        assert studio.jobs.get(owner, job.id).ended is (point == "after the end")
        if point != "after the end":
            turn(studio, job, pool)
        assert studio.jobs.get(owner, job.id).status is JobStatus.COMPLETED
        check_whole(studio, owner, job)
