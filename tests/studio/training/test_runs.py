"""Runs from beginning to end: steps, money, resumption, small memory, full disks, endings, what stays."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import books
from support.training import Script, checkpoints, entries, left, start, until

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import NotFound
from tintype_studio.exports.service import ExportOptions
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.upkeep_tables import swept_blobs
from tintype_studio.studio import Studio
from tintype_studio.training import turn as turns
from tintype_studio.training.models import ModelStatus
from tintype_studio.training.plan import TrainRequest

REQUEST = TrainRequest("signs", "yolox", config={"epochs": 4, "max_minutes": 5})
HELD = 5 * 10


def test_a_run_ends_with_a_model_and_is_charged_by_the_begun_minute(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, work: Any
) -> None:
    before = books(studio, owner)[0]
    job = start(studio, owner, REQUEST)
    assert (job.title, job.total, job.credits_held) == ("Train yolox on signs", 7, HELD)
    assert books(studio, owner) == (before, HELD)
    [queued] = studio.training.list(owner)
    assert (queued.status, queued.progress, queued.model_id) == ("queued", 0, None)
    [model] = studio.models.list(owner)
    assert (model.status, model.onnx_sha256, model.version) == (ModelStatus.TRAINING, None, "1.0.0")

    run = work(job)

    # Four epochs of 20 s are two begun minutes: the first at the first epoch, the second at the fourth.
    assert entries(studio) == [("training_a10g_per_minute", -10), ("training_a10g_per_minute", -10)]
    assert books(studio, owner) == (before - 20, 0)
    assert (run.status, run.progress, run.current_epoch, run.best_epoch) == ("completed", 100, 4, 4)
    assert (run.credits_held, run.credits_charged, run.credits_refunded) == (HELD, 20, 0)
    assert run.trained_seconds == 80
    assert run.metrics == {"mAP": 0.5, "mAP_50": 0.9, "precision": 0.8, "recall": 0.7}
    assert (run.facts["device"], run.facts["architecture"]) == ("cpu", "fake-nano")
    assert run.facts["data"]["images"] == {"train": 4, "val": 1, "test": 1}
    assert "The class crate stands in for others." in run.notes
    assert script.steps() == ["prepare", "1", "2", "3", "4", "finish"]

    model = studio.models.get(owner, run.model_id or "")
    assert (model.status, model.name, model.run_id) == (ModelStatus.READY, run.name, run.id)
    assert model.class_mapping == {"0": "badge", "1": "crate"}
    assert studio.blobs.get(model.onnx_sha256 or "") == b"onnx of " + run.id.encode()
    assert model.onnx_size == studio.blobs.size(model.onnx_sha256 or "")
    assert model.card["initialization"] == "random"
    assert model.card["training"]["config"]["epochs"] == 4
    [evaluation] = studio.models.evaluations(model)
    assert (evaluation.split, evaluation.images, evaluation.metrics) == ("test", 1, run.metrics)
    assert studio.blobs.get(evaluation.sha256) == b"evaluation of " + run.id.encode()
    drawn = studio.blobs.get(evaluation.pictures["training_curves"]).decode()
    assert drawn == f"{run.name}: [1.0, 0.5, 0.3333333333333333, 0.25]"
    assert left(studio, run) == (False, [])
    job = studio.jobs.get(owner, job.id)
    assert (job.status, job.done, job.total) == (JobStatus.COMPLETED, 7, 7)
    assert job.result == {"training_run": run.id, "model": model.id, "metrics": run.metrics}
    [export] = studio.exports.list(owner)
    assert (export.id, export.name, export.image_count) == (run.export_id, run.export_name, 6)
    assert run.name.startswith("yolox-run-20")
    assert run.export_name == run.name.replace("-run-", "-")


def test_epochs_are_kept_in_order_with_what_they_measured(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, work: Any
) -> None:
    script.set(_3=["nan"])
    run = work(start(studio, owner, REQUEST))
    epochs = studio.training.epochs(run)
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4]
    assert epochs[1].metrics == {"train_loss": 0.5, "train_box": 0.25, "val_mAP_50": 0.5}
    assert "val_mAP_50" not in epochs[2].metrics  # JSON has no word for it
    assert [epoch.number for epoch in studio.training.epochs(run, last=2)] == [3, 4]


def test_a_job_that_is_handed_back_goes_on_from_its_last_epoch_and_charges_nothing_twice(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, pool: Pool, work: Any
) -> None:
    script.set(seconds=40, _3=["hang"])
    before = books(studio, owner)[0]
    job = start(studio, owner, REQUEST)
    executor = Executor(studio, pool)
    thread = threading.Thread(target=executor.execute, args=(job.id, 0))
    thread.start()
    until(lambda: "3" in script.steps())
    [running] = studio.training.list(owner)
    assert (running.status, running.stage, running.current_epoch, running.total_epochs) == (
        "running",
        "train",
        2,
        4,
    )
    assert 40 <= running.progress <= 60
    assert running.eta_seconds == 80
    assert len(checkpoints(studio, running)) == 1
    executor.stop(5)
    thread.join()
    assert studio.training.get(owner, running.id).status == "queued"
    assert books(studio, owner) == (before - 20, HELD - 20)
    run = work(job)
    # The data is prepared again, for the new child may be on another machine; epochs are not trained again.
    assert script.steps() == ["prepare", "1", "2", "3", "prepare", "3", "4", "finish"]
    assert (run.status, run.trained_seconds) == ("completed", 160)
    assert books(studio, owner) == (before - 30, 0)
    assert sum(amount for _, amount in entries(studio)) == -30


@pytest.mark.parametrize("deed", ["crash", "memory"])
def test_a_child_that_dies_or_lacks_memory_halves_the_batch_and_says_so(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, work: Any, deed: str
) -> None:
    script.set(_2=[deed, deed])
    run = work(start(studio, owner, replace(REQUEST, config={"epochs": 3, "batch_size": 8})))
    batches = [(line[0], line[2]) for line in script.log() if line[0].isdigit()]
    assert batches == [("1", 8), ("2", 8), ("2", 4), ("2", 2), ("3", 2)]
    assert run.status == "completed"
    [first, second] = [note for note in run.notes if note.startswith("While")]
    why = {"crash": "its process ended", "memory": "memory ran out"}[deed]
    assert first == f"While training epoch 2 in batches of 8, {why}; it went on in batches of 4."
    assert "in batches of 4" in second


@pytest.mark.parametrize(("deed", "code"), [("crash", "training_crashed"), ("memory", "out_of_memory")])
def test_with_one_image_at_a_time_there_is_nothing_left_to_halve(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, work: Any, deed: str, code: str
) -> None:
    script.set(_1=[deed] * 9)
    before = books(studio, owner)
    run = work(start(studio, owner, replace(REQUEST, config={"batch_size": 2})))
    assert [line[2] for line in script.log() if line[0] == "1"] == [2, 1]
    assert (run.status, run.error_code) == ("failed", code)
    assert books(studio, owner) == before


def test_preparing_and_finishing_survive_one_crash_of_the_child(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, work: Any
) -> None:
    script.set(prepare=["crash"], finish=["crash"])
    run = work(start(studio, owner, replace(REQUEST, config={"epochs": 1, "batch_size": 8})))
    assert run.status == "completed"
    assert [(line[0], line[3]) for line in script.log()] == [
        ("prepare", 8),
        ("prepare", 8),
        ("1", 8),
        ("finish", 8),
        ("finish", 4),
    ]


def test_preparing_that_crashes_again_ends_the_run(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, work: Any
) -> None:
    script.set(prepare=["crash", "crash"])
    assert work(start(studio, owner, REQUEST)).error_code == "training_crashed"


@pytest.mark.parametrize("step", ["prepare", "_2", "finish"])
def test_a_full_disk_is_waited_for(
    studio: Studio,
    owner: Principal,
    signs: Dataset,
    script: Script,
    work: Any,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "ROOM_PAUSE_SECONDS", 0.02)
    script.set(**{step: ["full", "full"]})
    assert work(start(studio, owner, REQUEST)).status == "completed"
    assert script.steps().count(step.lstrip("_")) == 3


def test_a_disk_that_is_full_during_the_export_is_waited_for(
    studio: Studio, owner: Principal, signs: Dataset, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    monkeypatch.setattr(turns, "ROOM_PAUSE_SECONDS", 0.02)
    real, full = studio.blobs.put_file, [True, True]

    def put_file(file: Any) -> Any:
        if full:
            full.pop()
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file)

    monkeypatch.setattr(studio.blobs, "put_file", put_file)
    assert work(start(studio, owner, REQUEST)).status == "completed"


def test_the_minute_limit_ends_training_and_the_best_weights_become_the_model(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, work: Any
) -> None:
    script.set(seconds=45, _2=["over"])
    before = books(studio, owner)[0]
    run = work(start(studio, owner, replace(REQUEST, config={"epochs": 9, "max_minutes": 1})))
    assert (run.status, run.current_epoch, run.total_epochs) == ("completed", 2, 9)
    assert run.trained_seconds == 60  # 45 s and the 15 s that were left
    assert "The 1 minute was over in epoch 2 of 9; the best weights until then became the model." in run.notes
    assert books(studio, owner) == (before - 10, 0)


def test_early_stopping_ends_training(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, work: Any
) -> None:
    script.set(_2=["stop"])
    run = work(start(studio, owner, REQUEST))
    assert (run.status, run.current_epoch) == ("completed", 2)
    assert "Epoch 2 is tired." in run.notes
    job = studio.jobs.get(owner, run.job_id or "")
    assert (job.done, job.total) == (5, 5)


def test_an_epoch_that_never_ends_is_killed(
    studio: Studio,
    owner: Principal,
    signs: Dataset,
    script: Script,
    work: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "GRACE_SECONDS", -299.5)
    script.set(_1=["hang"])
    run = work(start(studio, owner, REQUEST))
    assert (run.status, run.error_code) == ("failed", "training_deadline")


def test_images_and_their_dataset_may_go_while_training(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, pool: Pool, work: Any
) -> None:
    script.set(_2=["hang"])
    job = start(studio, owner, REQUEST)
    executor = Executor(studio, pool)
    thread = threading.Thread(target=executor.execute, args=(job.id, 0))
    thread.start()
    until(lambda: "2" in script.steps())
    [run] = studio.training.list(owner)
    sample = studio.samples.page(signs, limit=1)[0]
    studio.samples.delete(owner, sample.id)
    studio.datasets.delete(owner, "signs")
    studio.recycle_bin.purge(owner)
    studio.recycle_bin.sweep()
    executor.stop(5)
    thread.join()
    run = work(job)  # the child asks for the export's bytes again
    assert (run.status, run.dataset_id, run.dataset_name) == ("completed", None, "signs")
    model = studio.models.ready(owner, run.model_id or "")
    assert (model.dataset_row_id, model.dataset_name) == (None, "signs")
    assert [m.id for m in studio.models.list(owner, dataset="signs")] == [model.id]
    # The run was the last that needed the export's bytes: now they go, and the model's stay.
    kept = {model.onnx_sha256, model.checkpoint_sha256, studio.models.evaluations(model)[0].sha256}
    studio.recycle_bin.sweep()
    with studio.database.read() as connection:
        swept = set(connection.execute(sa.select(swept_blobs.c.sha256)).scalars())
    pictures = set(studio.models.evaluations(model)[0].pictures.values())
    assert kept | pictures == set(studio.blobs.digests())
    assert not kept & swept


def test_a_dataset_that_is_gone_before_the_export_fails_the_run(
    studio: Studio, owner: Principal, signs: Dataset, work: Any
) -> None:
    before = books(studio, owner)
    job = start(studio, owner, REQUEST)
    studio.datasets.delete(owner, "signs")
    run = work(job)
    assert (run.status, run.error_code) == ("failed", "dataset_not_found")
    assert books(studio, owner) == before


def test_an_image_purged_during_the_export_is_left_out(
    studio: Studio, owner: Principal, signs: Dataset, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, gone = studio.samples.image_bytes, [True]

    def image_bytes(sample: Any) -> bytes:
        if gone:
            gone.pop()
            studio.samples.delete(owner, sample.id)
            studio.recycle_bin.purge(owner)
            studio.recycle_bin.sweep()
        return real(sample)

    monkeypatch.setattr(studio.samples, "image_bytes", image_bytes)
    run = work(start(studio, owner, REQUEST))
    assert run.status == "completed"
    assert [e.image_count for e in studio.exports.list(owner) if e.status == "completed"] == [5]


def test_an_existing_export_is_taken(studio: Studio, owner: Principal, signs: Dataset, work: Any) -> None:
    export = studio.exports.create(owner, dataset_name="signs", name="mine", options=ExportOptions())
    run = work(start(studio, owner, replace(REQUEST, export="mine")))
    assert (run.status, run.export_id, run.export_name) == ("completed", export.id, "mine")
    assert len(studio.exports.list(owner)) == 1


def test_two_runs_of_one_second_have_names_of_their_own(
    studio: Studio, owner: Principal, signs: Dataset, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tintype_studio.training import progress

    monkeypatch.setattr(progress, "stamp", lambda _now: "20261125-013005")
    jobs = [start(studio, owner, REQUEST) for _ in range(3)]
    runs = [work(job) for job in jobs]
    assert [run.name for run in runs] == [f"yolox-run-20261125-013005{end}" for end in ("", "-2", "-3")]
    assert [run.export_name for run in runs] == [f"yolox-20261125-013005{end}" for end in ("", "-2", "-3")]
    assert {run.status for run in runs} == {"completed"}


def test_an_export_name_that_somebody_took_meanwhile_is_not_theirs_to_train_on(
    studio: Studio, owner: Principal, signs: Dataset, work: Any
) -> None:
    job = start(studio, owner, REQUEST)
    [run] = studio.training.list(owner)
    other = studio.exports.create(
        owner, dataset_name="signs", name=run.export_name, options=ExportOptions(format="coco")
    )
    run = work(job)
    assert (run.status, run.export_name) == ("completed", f"{other.name}-2")


def test_runs_of_one_name_make_versions_of_one_model(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, work: Any
) -> None:
    named = replace(REQUEST, name="finder")
    work(start(studio, owner, named))
    script.set(_1=["diverge"])
    script.path.with_suffix(".log").unlink()
    work(start(studio, owner, named))
    script.set()
    work(start(studio, owner, named))
    found = [(m.name, m.version, m.status) for m in studio.models.list(owner)]
    assert found == [
        ("finder", "3.0.0", "ready"),
        ("finder", "2.0.0", "failed"),
        ("finder", "1.0.0", "ready"),
    ]


def test_runs_are_listed_by_dataset_and_status_and_only_to_their_own(
    studio: Studio, owner: Principal, stranger: Principal, signs: Dataset, work: Any
) -> None:
    done = work(start(studio, owner, REQUEST))
    start(studio, owner, REQUEST)
    assert len(studio.training.list(owner)) == 2
    assert [run.id for run in studio.training.list(owner, status="completed")] == [done.id]
    assert [run.id for run in studio.training.list(owner, limit=1, offset=1)] == [done.id]
    assert studio.training.list(owner, dataset="other") == []
    assert studio.training.list(stranger) == studio.models.list(stranger) == []
    for look in (studio.training.get, studio.training.cancel):
        with pytest.raises(NotFound):
            look(stranger, done.id)
