"""A snapshot becomes a dataset: all of it, with everything that was known, or nothing at all."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import turn
from support.pictures import jpeg
from support.recordings import Stream, camera, drive, every, lidar, write

from tintype_studio import clock
from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict, InvalidInput, NotFound, TintypeError, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.pool import Pool
from tintype_studio.multisensor.new_sample import NewSample
from tintype_studio.multisensor.pcd import pcd_of
from tintype_studio.multisensor.sample_meta import Location, Pose, SampleMeta
from tintype_studio.multisensor.samples import SensorSample
from tintype_studio.snapshots.snapshot import Snapshot, SnapshotStatus, SnapshotType
from tintype_studio.storage.tables import datasets, sample_files, samples
from tintype_studio.studio import Studio

from .conftest import Restored, Uploaded, files_of, in_call, restore_args, start


def listed(studio: Studio, who: Principal, name: str) -> list[SensorSample]:
    return studio.multisensor.page(studio.datasets.get(who, name), limit=1000)


def cloud(seed: int) -> bytes:
    import numpy as np

    return pcd_of({name: np.full(5, seed, np.float32) for name in "xyz"})


def boxes(seed: int) -> Any:
    box = {"x": 3.5, "y": 2.25, "w": 20.0, "h": 10.0}
    return ANNOTATIONS.validate_python(
        [
            {"id": f"a{seed}", "name": "car", "type": "bbox", "bounding_box": box, "object_id": f"o{seed}"},
            {
                "id": f"b{seed}",
                "name": "person",
                "type": "polygon",
                "polygon": {"paths": [[{"x": 1, "y": 1}, {"x": 30, "y": 1}, {"x": 30, "y": 20}]]},
            },
        ]
    )


@pytest.fixture
def full(studio: Studio, owner: Principal) -> Dataset:
    """A dataset with all there is: two sequences, a picture by itself, a LiDAR-only sample, groups."""
    dataset = studio.datasets.create(owner, name="full")
    stage = studio.population.stage
    news = []
    for n in range(6):
        sequence = f"run{n % 2}"
        news.append(
            NewSample(
                sequence_name=sequence,
                sequence_description="wet",
                frame_number=n // 2,
                group=("train", "val")[n % 2],
                annotations=boxes(n),
                label_indices={"car": 7, "person": 40},
                meta=SampleMeta(
                    location=Location(lat=52.5 + n, lon=13.4),
                    pose=Pose(roll=1, pitch=2, yaw=3 + n),
                    degradation="rain",
                    date=datetime(2026, 5, 1, 12, 0, n, tzinfo=UTC),
                    neg_label_indices=[3],
                    further={"speed": n},
                ),
                files=(
                    stage(jpeg(64, 48, seed=n), "image", f"{sequence}_{n // 2:03}.camera.jpeg"),
                    stage(cloud(n), "lidar.pcd", f"{sequence}_{n // 2:03}.lidar.pcd"),
                ),
            )
        )
    news.append(NewSample(files=(stage(jpeg(seed=50), "image", "alone.jpg"),), annotations=boxes(9)))
    news.append(NewSample(image_name="only", files=(stage(cloud(9), "lidar.pcd", "only.lidar.pcd"),)))
    studio.population.populate(owner, dataset, news, learn=True)
    return studio.datasets.get(owner, "full")


@pytest.fixture
def frozen(studio: Studio, owner: Principal, full: Dataset, pool: Pool) -> Snapshot:
    args = {"name": "My backup", "description": None, "dataset": "full", "annotation_set": "default"}
    job = start(studio, owner, "create_snapshot", args)
    assert studio.snapshots.of_job(owner, job.id).status is SnapshotStatus.PROCESSING
    turn(studio, job, pool)
    assert studio.jobs.get(owner, job.id).status is JobStatus.COMPLETED
    return studio.snapshots.of_job(owner, job.id)


def told(sample: SensorSample) -> Any:
    """What of a sample must be the same in another dataset."""
    annotations = [a.model_dump(exclude={"id"}, exclude_none=True) for a in sample.annotations]
    files = {kind: (file.filename, file.sha256) for kind, file in sample.files.items()}
    sequence = sample.sequence and (sample.sequence.name, sample.sequence.description)
    size = (sample.width, sample.height)
    where = (sample.folder, sample.filename, sample.group, sample.status, sequence, sample.frame_number, size)
    return where, files, sample.meta.as_json(), sorted(annotations, key=repr)


def test_a_dataset_comes_back_as_it_was(
    studio: Studio, owner: Principal, full: Dataset, frozen: Snapshot, restored: Restored
) -> None:
    assert (frozen.type, frozen.status) == (SnapshotType.EDGEFIRST, SnapshotStatus.AVAILABLE)
    assert (frozen.dataset_name, frozen.facts["samples"]) == ("full", 8)
    job = restored(frozen)
    assert job.status is JobStatus.COMPLETED, job.error
    assert (job.result or {})["samples"] == 8
    before, after = listed(studio, owner, "full"), listed(studio, owner, "back")
    assert sorted(map(told, after), key=repr) == sorted(map(told, before), key=repr)
    assert not {s.id for s in before} & {s.id for s in after}
    back = studio.datasets.get(owner, "back")
    assert {c.name: c.index for c in back.classes} == {"car": 7, "person": 40}
    assert (back.image_count, back.annotation_count, back.total_size) == (
        full.image_count,
        full.annotation_count,
        full.total_size,
    )


def test_an_undo_takes_the_restored_dataset_away(
    studio: Studio, owner: Principal, frozen: Snapshot, restored: Restored
) -> None:
    job = restored(frozen)
    studio.undo.call(in_call(owner), job.call_id or "")
    with pytest.raises(NotFound):
        studio.datasets.get(owner, "back")
    assert studio.snapshots.get(owner, frozen.id).status is SnapshotStatus.AVAILABLE


def test_a_deleted_snapshot_comes_back_by_undo_and_is_gone_after_thirty_days(
    studio: Studio, owner: Principal, frozen: Snapshot, full: Dataset, move_clock: Any
) -> None:
    deletion = in_call(owner)
    studio.snapshots.delete(deletion, frozen.id)
    assert studio.snapshots.list(owner) == []
    undo = in_call(owner)
    studio.undo.call(undo, deletion.call_id or "")
    assert studio.snapshots.get(owner, frozen.id) == frozen
    studio.undo.call(in_call(owner), undo.call_id or "")
    digests = {file.sha256 for file in frozen.files}
    studio.settle()
    assert digests <= set(studio.blobs.digests())
    move_clock(timedelta(days=31))
    studio.settle()
    studio.settle()
    assert not digests & set(studio.blobs.digests())
    with pytest.raises(Conflict):
        studio.undo.call(in_call(owner), deletion.call_id or "")


def test_an_undone_creation_takes_the_snapshot_away(
    studio: Studio, owner: Principal, frozen: Snapshot
) -> None:
    job = studio.jobs.get(owner, frozen.job_id or "")
    studio.undo.call(in_call(owner), job.call_id or "")
    assert studio.snapshots.list(owner) == []


def test_the_sets_of_a_dataset_are_frozen_one_by_one(
    studio: Studio, owner: Principal, full: Dataset, pool: Pool, restored: Restored
) -> None:
    studio.annotation_sets.create(owner, "full", name="second look")
    (first, *_) = listed(studio, owner, "full")
    studio.documents.save(owner, first.id, boxes(77), annotation_set="second look")
    args = {"name": "n", "description": None, "dataset": "full", "annotation_set": "second look"}
    job = start(studio, owner, "create_snapshot", args)
    turn(studio, job, pool)
    restored(studio.snapshots.of_job(owner, job.id))
    counts = [len(s.annotations) for s in listed(studio, owner, "back")]
    assert sorted(counts) == [0] * 7 + [2]


def test_local_files_become_a_snapshot(studio: Studio, owner: Principal, tmp_path: Path, pool: Pool) -> None:
    (tmp_path / "drive.mcap").write_bytes(drive(count=4))
    args = {"name": "d", "description": "x", "paths": [("a/drive.mcap", str(tmp_path / "drive.mcap"))]}
    job = start(studio, owner, "create_snapshot", args)
    turn(studio, job, pool)
    snapshot = studio.snapshots.of_job(owner, job.id)
    assert (snapshot.type, snapshot.status) == (SnapshotType.MCAP, SnapshotStatus.AVAILABLE)
    assert [download.name for download in studio.snapshots.links(owner, snapshot.id)] == ["drive.mcap"]


def test_a_snapshot_of_a_damaged_file_fails_with_its_reason_and_keeps_no_bytes(
    studio: Studio, owner: Principal, tmp_path: Path, pool: Pool
) -> None:
    (tmp_path / "drive.mcap").write_bytes(drive(count=4)[:9000])
    args = {"name": "d", "description": None, "paths": [("drive.mcap", str(tmp_path / "drive.mcap"))]}
    job = start(studio, owner, "create_snapshot", args)
    turn(studio, job, pool)
    snapshot = studio.snapshots.of_job(owner, job.id)
    assert snapshot.status is SnapshotStatus.FAILED
    assert "cut off" in (snapshot.error_message or "")
    studio.settle()
    assert list(studio.blobs.digests()) == []


def test_a_recording_becomes_sequences(
    studio: Studio, owner: Principal, uploaded: Uploaded, restored: Restored
) -> None:
    snapshot = uploaded({"drive.mcap": drive(count=150)})
    assert {t["topic"]: t["meaning"] for t in snapshot.facts["topics"]} == {
        "/camera/jpeg": "camera",
        "/lidar/points": "points",
        "/gps": "location",
        "/imu": "attitude",
        "/tf": "other",
    }
    job = restored(snapshot)
    assert job.status is JobStatus.COMPLETED, job.error
    assert "/tf" in (job.result or {})["notes"][0]
    found = listed(studio, owner, "back")
    assert len(found) == 150
    assert [s.frame_number for s in found] == list(range(150))
    assert {s.sequence.name for s in found if s.sequence} == {"drive"}
    assert all({"image", "lidar.pcd"} == set(s.files) for s in found)
    assert all((s.width, s.height) == (96, 64) for s in found)
    assert found[3].meta.location == Location(lat=52, lon=13)
    counters_true(studio, owner, found)


def counters_true(studio: Studio, owner: Principal, found: list[SensorSample]) -> None:
    dataset = studio.datasets.get(owner, "back")
    size = sum(file.size for sample in found for file in sample.files.values())
    assert (dataset.image_count, dataset.total_size) == (len(found), size)


def test_topics_and_frames_are_chosen(
    studio: Studio, owner: Principal, uploaded: Uploaded, restored: Restored
) -> None:
    snapshot = uploaded({"drive.mcap": drive(count=30)})
    assert (restored(snapshot, "one", fps=1).result or {})["samples"] == 3
    assert (restored(snapshot, "two", topics=["/lidar/points"]).result or {})["samples"] == 30
    assert studio.datasets.get(owner, "two").image_count == 0
    three = restored(snapshot, "three", topics=["/camera/jpeg"])
    assert three.status is JobStatus.COMPLETED
    assert all(set(s.files) == {"image"} for s in listed(studio, owner, "three"))


def bad_frame(n: int, time: int) -> bytes:
    from support.recordings import compressed_image

    return compressed_image(time, jpeg(seed=n) if n % 2 else b"\xff\xd8\xff no picture")


def test_frames_that_cannot_be_read_are_left_out_and_told(
    studio: Studio, owner: Principal, uploaded: Uploaded, restored: Restored
) -> None:
    stream = Stream("/cam", "sensor_msgs/msg/CompressedImage", every(0.1, 10), bad_frame)
    empty = replace(lidar(count=10), message=lambda n, t: b"\0\1\0\0")
    job = restored(uploaded({"r.mcap": write([stream, empty])}))
    assert job.status is JobStatus.COMPLETED
    assert (job.result or {})["samples"] == 5
    assert "5 frames could not be read" in " ".join((job.result or {})["notes"])
    assert all(set(s.files) == {"image"} for s in listed(studio, owner, "back"))


def nothing_left(studio: Studio, owner: Principal, kept: Snapshot) -> None:
    """No dataset, sample, file or byte of a restore that failed is there."""
    assert studio.datasets.find(owner, "back") is None
    with studio.database.read() as connection:
        for table in (datasets, samples, sample_files):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0, table
    studio.settle()
    assert set(studio.blobs.digests()) == {file.sha256 for file in kept.files}
    assert not [f for f in files_of(studio.home / "tmp") if f.startswith("snapshot-")]


def test_nothing_is_left_when_no_frame_can_be_read(
    studio: Studio, owner: Principal, uploaded: Uploaded, restored: Restored
) -> None:
    stream = Stream("/cam", "sensor_msgs/msg/CompressedImage", every(0.1, 3), lambda n, t: b"junk")
    snapshot = uploaded({"r.mcap": write([stream])})
    job = restored(snapshot)
    assert (job.status, (job.error or {})["code"]) == (JobStatus.FAILED, "nothing_to_restore")
    nothing_left(studio, owner, snapshot)


def test_nothing_is_left_of_a_recording_that_is_damaged_behind_its_first_frames(
    studio: Studio, owner: Principal, uploaded: Uploaded, restored: Restored
) -> None:
    data = bytearray(write([camera(count=200)], chunk=20_000))
    data[len(data) // 2] ^= 0xFF  # inside of a chunk: head and end are as they were
    snapshot = uploaded({"r.mcap": bytes(data)})
    job = restored(snapshot)
    assert (job.status, (job.error or {})["code"]) == (JobStatus.FAILED, "mcap_damaged")
    nothing_left(studio, owner, snapshot)


def test_nothing_is_left_when_a_file_of_a_table_is_damaged(
    studio: Studio, owner: Principal, frozen: Snapshot, uploaded: Uploaded, restored: Restored
) -> None:
    import io
    import zipfile

    table, archive = (studio.blobs.get(file.sha256 or "") for file in frozen.files)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for number, name in enumerate(old.namelist()):
            new.writestr(name, b"\xff\xd8\xff broken" if number == 8 else old.read(name))
    snapshot = uploaded({"full.arrow": table, "full.zip": out.getvalue()}, "again")
    job = restored(snapshot)
    assert job.status is JobStatus.FAILED
    assert (job.error or {})["fix"]
    assert studio.datasets.find(owner, "back") is None
    with studio.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(datasets)).scalar() == 1


def test_nothing_is_left_of_a_restore_that_is_cancelled(
    studio: Studio, owner: Principal, uploaded: Uploaded
) -> None:
    snapshot = uploaded({"drive.mcap": drive(count=4)})
    job = start(studio, owner, "restore_snapshot", restore_args(snapshot))
    assert studio.datasets.get(owner, "back").image_count == 0
    studio.jobs.cancel(owner, job.id)
    studio.settle()
    nothing_left(studio, owner, snapshot)


def refused(work: Any, kind: type[TintypeError] = InvalidInput) -> str:
    with pytest.raises(kind) as found:
        work()
    assert found.value.fix
    return found.value.code


def test_what_cannot_be_restored_is_refused_before_anything_is_made(
    studio: Studio, owner: Principal, stranger: Principal, uploaded: Uploaded, dataset: Dataset
) -> None:
    recording, files = uploaded({"drive.mcap": drive(count=4)}), uploaded({"x.txt": b"x"}, "files")

    def restore(snapshot: Snapshot, who: Principal = owner, **more: Any) -> Any:
        return lambda: start(studio, who, "restore_snapshot", restore_args(snapshot, **more))

    assert refused(restore(files)) == "nothing_to_restore"
    assert refused(restore(recording, topics=["/none"])) == "topic_not_found"
    assert refused(restore(recording, dataset="a/b")) == "invalid_name"
    assert refused(restore(recording, dataset=dataset.name), Conflict) == "dataset_exists"
    assert refused(restore(recording, labels=["person"]), Unavailable) == "needs_engine"
    assert refused(restore(recording, who=stranger), NotFound) == "snapshot_not_found"
    with studio.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(datasets)).scalar() == 1


RESTORE = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from support import jobs as support
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.jobs import commits
from tintype_studio.jobs.pool import Pool
from tintype_studio.snapshots import restoring
from tintype_studio.studio import Studio, Workspace

home, job_id, point, times = sys.argv[1:]
left = int(times)

def reach(here):
    global left
    if here == point:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

def around(module, name, before, after):
    real = getattr(module, name)
    def wrapped(*arguments, **named):
        reach(before)
        result = real(*arguments, **named)
        reach(after)
        return result
    setattr(module, name, wrapped)

restoring.CHUNK = 8
around(restoring.Restoring, "_staged", "before a file", "after a file")
around(restoring.Restoring, "_write", "before the samples", "after the samples")
around(commits.Commits, "items", "before the transaction", "after COMMIT")
around(commits.Commits, "finish", "before the end", "after the end")
around(restoring, "_purge_some", "before the purge", "in the purge")
studio = Studio(Workspace(Path(home)))
studio.jobs.supervisor.enabled = False
owner = studio.keys.authenticate(saved_api_key(studio.home))
support.turn(studio, studio.jobs.get(owner, job_id), Pool(1))
os._exit(0)
"""

POINTS = [
    ("before a file", 3),
    ("after a file", 5),
    ("before the samples", 1),
    ("after the samples", 2),
    ("before the transaction", 2),
    ("after COMMIT", 2),
    ("before the end", 1),
]


def test_a_worker_killed_at_every_step_of_a_restore_restores_each_sample_once(
    studio: Studio, owner: Principal, uploaded: Uploaded, spawn: Any, pool: Pool
) -> None:
    snapshot = uploaded({"drive.mcap": drive(count=60)})
    job = start(studio, owner, "restore_snapshot", restore_args(snapshot))
    done = 0
    for point, times in POINTS:
        child = spawn(RESTORE, job.id, point, times)
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL, point
        studio.settle()
        now = studio.jobs.get(owner, job.id)
        assert now.done == len(listed(studio, owner, "back")) >= done
        done = now.done
    turn(studio, job, pool)
    assert studio.jobs.get(owner, job.id).status is JobStatus.COMPLETED
    found = listed(studio, owner, "back")
    assert [s.frame_number for s in found] == list(range(60))
    counters_true(studio, owner, found)


@pytest.mark.parametrize("point", ["before the purge", "in the purge"])
def test_a_worker_killed_while_it_removes_a_failed_restore_is_helped_by_the_next(
    studio: Studio, owner: Principal, uploaded: Uploaded, spawn: Any, point: str
) -> None:
    data = bytearray(write([camera(count=200)], chunk=20_000))
    data[len(data) // 2] ^= 0xFF
    snapshot = uploaded({"r.mcap": bytes(data)})
    job = start(studio, owner, "restore_snapshot", restore_args(snapshot))
    child = spawn(RESTORE, job.id, point, 1)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert studio.datasets.find(owner, "back") is None
    studio.settle()
    nothing_left(studio, owner, snapshot)


def test_a_row_of_another_job_is_not_purged(studio: Studio, owner: Principal, dataset: Dataset) -> None:
    """Only what a restore has made goes for good; what somebody deleted lies in the bin."""
    studio.datasets.delete(replace(owner, call_id=clock.new_id()), dataset.name)
    studio.settle()
    with studio.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(datasets)).scalar() == 1
