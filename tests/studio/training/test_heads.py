"""Attribute heads in a run: their stage, its items and money, going on after a death, what is registered."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import books
from support.training import Script, checkpoints, left, start, until

from tintype_studio.catalog.datasets import ClassAttribute, Dataset, DatasetClass
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.upkeep_tables import swept_blobs
from tintype_studio.studio import Studio
from tintype_studio.training.plan import TrainRequest
from tintype_studio.vision.train.heads_plan import EPOCHS

REQUEST = TrainRequest("signs", "yolox", config={"epochs": 2, "max_minutes": 5})
OPTIONS = {"badge": {"colour": ["red", "blue"], "state": ["whole", "worn"]}}


@pytest.fixture
def attributed(studio: Studio, owner: Principal, signs: Dataset) -> Dataset:
    """``signs``, whose class badge has two attributes."""
    attributes = tuple(ClassAttribute(name, tuple(o)) for name, o in OPTIONS["badge"].items())
    return studio.classes.declare(
        owner, "signs", [DatasetClass("badge", attributes=attributes), DatasetClass("crate")]
    )


def test_heads_are_a_stage_of_the_run_and_a_file_of_the_model(
    studio: Studio, owner: Principal, attributed: Dataset, script: Script, work: Any
) -> None:
    before = books(studio, owner)[0]
    job = start(studio, owner, REQUEST)
    assert job.total == 2 + 3 + EPOCHS
    run = work(job)
    assert script.steps() == ["prepare", "1", "2", "heads-1", "heads-2", "heads-3", "finish"]
    assert (run.status, run.current_epoch, run.total_epochs, run.progress) == ("completed", 2, 2, 100)
    # Five epochs of 20 s, of whichever network: two begun minutes.
    assert run.trained_seconds == 100
    assert books(studio, owner) == (before - 20, 0)
    assert left(studio, run) == (False, [])
    job = studio.jobs.get(owner, job.id)
    assert (job.done, job.total) == (8, 8)
    model = studio.models.ready(owner, run.model_id or "")
    assert model.attributes == OPTIONS
    assert studio.blobs.get(model.heads_sha256 or "") == b"heads after 3 of " + run.id.encode()
    assert model.heads_size == studio.blobs.size(model.heads_sha256 or "")
    told = model.card["attributes"]
    assert (told["epochs"], told["seconds"], told["evaluated_on"]) == (3, 60, "test")
    # What the model needs stays when the dataset goes.
    studio.datasets.delete(owner, "signs")
    studio.recycle_bin.purge(owner)
    studio.recycle_bin.sweep()
    with studio.database.read() as connection:
        assert model.heads_sha256 not in set(connection.execute(sa.select(swept_blobs.c.sha256)).scalars())


def test_a_run_learns_no_attributes_where_none_are_declared_or_wanted(
    studio: Studio, owner: Principal, attributed: Dataset, script: Script, work: Any
) -> None:
    unwanted = replace(REQUEST, config={**REQUEST.config, "attributes": False})
    whole_images = replace(REQUEST, pipeline="classification")
    assert studio.training.plan(owner, replace(REQUEST, class_filter=("badge",))).attributes == OPTIONS
    for request in (unwanted, whole_images):
        assert studio.training.plan(owner, request).attributes == {}
    run = work(start(studio, owner, unwanted))
    assert script.steps() == ["prepare", "1", "2", "finish"]
    model = studio.models.ready(owner, run.model_id or "")
    assert (model.attributes, model.heads_sha256, "attributes" in model.card) == ({}, None, False)


def test_what_a_run_learns_is_what_was_declared_when_it_began(
    studio: Studio, owner: Principal, attributed: Dataset, script: Script, work: Any
) -> None:
    job = start(studio, owner, REQUEST)
    studio.classes.declare(owner, "signs", [DatasetClass("badge")])
    model = studio.models.ready(owner, work(job).model_id or "")
    assert model.attributes == OPTIONS


def test_a_run_goes_on_from_its_last_epoch_of_the_heads(
    studio: Studio, owner: Principal, attributed: Dataset, script: Script, pool: Pool, work: Any
) -> None:
    script.set(seconds=20, **{"heads-3": ["hang"]})
    before = books(studio, owner)[0]
    job = start(studio, owner, REQUEST)
    executor = Executor(studio, pool)
    thread = threading.Thread(target=executor.execute, args=(job.id, 0))
    thread.start()
    until(lambda: "heads-3" in script.steps())
    [running] = studio.training.list(owner)
    assert (running.stage, running.current_epoch, running.trained_seconds) == ("train attributes", 2, 80)
    assert running.metrics["val_attribute_accuracy"] == pytest.approx(2 / 3)
    assert 76 < running.progress < 95
    assert len(checkpoints(studio, running)) >= 2  # the detector's last one and that of the heads
    executor.stop(5)
    thread.join()
    run = work(job)
    assert run.status == "completed"
    assert script.steps()[-3:] == ["prepare", "heads-3", "finish"]
    assert run.trained_seconds == 100
    assert books(studio, owner) == (before - 20, 0)


def test_heads_go_on_with_smaller_batches_and_give_up_at_last(
    studio: Studio, owner: Principal, attributed: Dataset, script: Script, work: Any
) -> None:
    script.set(**{"heads-2": ["crash", "memory"]})
    run = work(start(studio, owner, REQUEST))
    assert run.status == "completed"
    batches = [line[2] for line in script.log() if line[0].startswith("heads")]
    assert batches == [64, 64, 32, 16, 16]
    assert any(
        note.startswith("While learning attributes in batches of 64, its process ended") for note in run.notes
    )
    before = books(studio, owner)
    script.path.with_suffix(".log").unlink()
    script.set(**{"heads-2": ["diverge"]})
    failed = work(start(studio, owner, REQUEST))
    assert (failed.status, failed.error_code) == ("failed", "training_diverged")
    assert books(studio, owner) == before
    assert studio.models.list(owner)[0].heads_sha256 is None


def test_a_cancelled_run_stops_in_the_heads_and_keeps_what_was_charged(
    studio: Studio, owner: Principal, attributed: Dataset, script: Script, pool: Pool
) -> None:
    script.set(seconds=20, **{"heads-2": ["hang"]})
    before = books(studio, owner)[0]
    job = start(studio, owner, REQUEST)
    executor = Executor(studio, pool)
    thread = threading.Thread(target=executor.execute, args=(job.id, 0))
    thread.start()
    until(lambda: "heads-2" in script.steps())
    [run] = studio.training.list(owner)
    studio.training.cancel(owner, run.id)
    executor.watch()  # as a worker does five times a second
    thread.join(20)
    assert studio.training.get(owner, run.id).status == "cancelled"
    assert books(studio, owner) == (before - 10, 0)
    assert left(studio, run) == (False, [])


def test_the_detector_leaves_a_share_of_the_minutes(
    studio: Studio, owner: Principal, attributed: Dataset, script: Script, work: Any
) -> None:
    script.set(seconds=45)
    before = books(studio, owner)[0]
    run = work(start(studio, owner, replace(REQUEST, config={"epochs": 9, "max_minutes": 1})))
    # 48 s for the detector, 12 s for the heads.
    assert (run.status, run.current_epoch, run.trained_seconds) == ("completed", 2, 60)
    assert script.steps()[-2:] == ["heads-1", "finish"]
    assert any("The detector's share of the 1 minute was over in epoch 2 of 9" in note for note in run.notes)
    assert books(studio, owner) == (before - 10, 0)
