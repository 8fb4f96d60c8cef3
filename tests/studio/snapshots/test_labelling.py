"""A restored recording is labelled by a model of the project, paid by the picture, and all of it or none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

pytest.importorskip("onnx")

from support.jobs import books, turn
from support.onnx_models import blob_detector
from support.ready_models import add_model, png, scene
from support.recordings import Stream, compressed_image, every, write

from tintype_studio import clock
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import Job, JobStatus
from tintype_studio.jobs.pool import Pool
from tintype_studio.snapshots.snapshot import Snapshot
from tintype_studio.storage.tables import datasets
from tintype_studio.studio import Studio
from tintype_studio.vision.tasks import Signature, Task

from .conftest import Uploaded, restore_args

COUNT = 6
CELLS = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64)


def frame(number: int, time: int) -> bytes:
    """Every other picture has a red cell."""
    cells = [(1, 2, "red")] if number % 2 else []
    return compressed_image(time, png(scene(64, 64, *cells)))


@pytest.fixture
def snapshot(uploaded: Uploaded) -> Snapshot:
    stream = Stream("/cam", "sensor_msgs/msg/CompressedImage", every(0.1, COUNT), frame)
    return uploaded({"r.mcap": write([stream])})


@pytest.fixture
def paid(studio: Studio, owner: Principal, snapshot: Snapshot) -> Any:
    """Starts a restore with labels as the dispatcher does: hold first, then job and hand-over together."""

    def start(**more: Any) -> Job:
        who = replace(owner, call_id=clock.new_id(), tool="restore_snapshot")
        args = restore_args(snapshot, labels=["red"], **more)
        price = studio.jobs.plan(who, "restore_snapshot", args).credits
        assert price == COUNT
        studio.ledger.hold(who, call_id=who.call_id or "", operation="auto_annotate_image", amount=price)
        with studio.database.unit_of_work() as unit:
            job = studio.jobs.start(who, "restore_snapshot", args)
            studio.jobs.take_hold(unit.connection(), job.id, who.call_id or "")
        return studio.jobs.get(owner, job.id)

    return start


def test_a_model_of_the_project_finds_what_is_asked_for(
    studio: Studio, owner: Principal, pool: Pool, paid: Any
) -> None:
    other = studio.datasets.create(owner, name="trained on")
    model = add_model(studio, owner, other, CELLS, blob_detector(CELLS), metrics={"mAP_50": 0.9})
    before = books(studio, owner)[0]
    job = paid()
    turn(studio, job, pool)
    job = studio.jobs.get(owner, job.id)
    assert job.status is JobStatus.COMPLETED, job.error
    assert (job.result or {})["labelled"] == COUNT // 2
    assert (job.result or {})["samples"] == COUNT
    assert job.credits_charged == COUNT // 2
    assert books(studio, owner) == (before - COUNT // 2, 0)
    found = studio.multisensor.page(studio.datasets.get(owner, "back"), limit=100)
    assert [len(sample.annotations) for sample in found] == [0, 1] * (COUNT // 2)
    (drafted,) = found[1].annotations
    assert (drafted.name, drafted.created_by) == ("red", f"{model.name}@{model.version}")
    assert drafted.confidence is not None
    box = drafted.bounding_box  # type: ignore[union-attr]
    assert box is not None
    assert (box.x, box.y, box.w, box.h) == (16, 32, 16, 16)


def test_a_model_of_another_project_is_not_asked(
    studio: Studio, owner: Principal, snapshot: Snapshot
) -> None:
    from tintype_studio.errors import Unavailable

    elsewhere = studio.projects.create(owner, name="elsewhere")
    other = studio.datasets.create(owner, name="trained on", project_row_id=elsewhere.row_id)
    add_model(studio, owner, other, CELLS, blob_detector(CELLS), metrics={"mAP_50": 0.9})
    here = studio.projects.create(owner, name="here")
    with pytest.raises(Unavailable, match="'red'") as refused:
        studio.jobs.plan(
            owner, "restore_snapshot", restore_args(snapshot, labels=["red"], project=here.row_id)
        )
    assert refused.value.code == "needs_engine"
    args = restore_args(snapshot, labels=["red"], project=elsewhere.row_id)
    assert studio.jobs.plan(owner, "restore_snapshot", args).credits == COUNT


def test_a_cancelled_restore_charges_nothing_and_leaves_nothing(
    studio: Studio, owner: Principal, paid: Any
) -> None:
    other = studio.datasets.create(owner, name="trained on")
    add_model(studio, owner, other, CELLS, blob_detector(CELLS), metrics={"mAP_50": 0.9})
    before = books(studio, owner)
    job = paid()
    studio.jobs.cancel(owner, job.id)
    studio.settle()
    assert books(studio, owner) == before
    with studio.database.read() as connection:
        assert connection.execute(sa.select(datasets.c.name)).scalars().all() == ["trained on"]
