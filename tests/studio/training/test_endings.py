"""Endings of a run: cancelled, failed, refused, too late; the money of each, and what stays."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.jobs import books
from support.training import Script, checkpoints, entries, left, start, until

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.jobs import executor as executors
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.pool import Pool
from tintype_studio.studio import Studio
from tintype_studio.training import turn as turns
from tintype_studio.training.models import ModelStatus
from tintype_studio.training.plan import TrainRequest

REQUEST = TrainRequest("signs", "yolox", config={"epochs": 4, "max_minutes": 5})
HELD = 5 * 10


def test_cancelling_stops_within_a_second_keeps_used_minutes_charged_and_frees_the_rest(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, pool: Pool
) -> None:
    script.set(_3=["hang"])
    before = books(studio, owner)[0]
    job = start(studio, owner, REQUEST)
    executor = Executor(studio, pool)
    thread = threading.Thread(target=executor.execute, args=(job.id, 0))
    thread.start()
    until(lambda: "3" in script.steps())
    [running] = studio.training.list(owner)
    assert studio.training.cancel(owner, running.id).cancelling
    began = time.monotonic()
    executor.watch()  # as a worker does five times a second
    thread.join()
    assert time.monotonic() - began < 1
    run = studio.training.get(owner, running.id)
    assert (run.status, run.model_id, run.credits_charged, run.credits_refunded) == ("cancelled", None, 10, 0)
    assert books(studio, owner) == (before - 10, 0)
    assert left(studio, run) == (False, [])
    [model] = studio.models.list(owner)
    assert (model.status, model.onnx_sha256) == (ModelStatus.FAILED, None)
    assert studio.training.cancel(owner, run.id) == run  # twice is once
    with pytest.raises(Conflict) as caught:
        studio.models.ready(owner, model.id)
    assert caught.value.code == "model_not_ready"


def test_a_run_that_waits_is_cancelled_at_once_and_a_completed_one_not_at_all(
    studio: Studio, owner: Principal, signs: Dataset, work: Any
) -> None:
    before = books(studio, owner)
    waiting = start(studio, owner, REQUEST)
    [run] = studio.training.list(owner)
    assert studio.training.cancel(owner, run.id).status == "cancelled"
    assert books(studio, owner) == before
    assert studio.jobs.get(owner, waiting.id).status is JobStatus.CANCELLED
    done = work(start(studio, owner, REQUEST))
    with pytest.raises(Conflict) as caught:
        studio.training.cancel(owner, done.id)
    assert caught.value.code == "training_ended"
    assert studio.models.get(owner, done.model_id or "").status is ModelStatus.READY


def test_cancelling_the_job_is_cancelling_the_run(studio: Studio, owner: Principal, signs: Dataset) -> None:
    job = start(studio, owner, REQUEST)
    studio.jobs.cancel(owner, job.id)
    [run] = studio.training.list(owner, status="cancelled")
    assert run.finished_at is not None


def test_a_failed_run_gives_back_what_it_was_charged_and_tells_why(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, work: Any
) -> None:
    script.set(seconds=61, _3=["diverge"])
    before = books(studio, owner)[0]
    run = work(start(studio, owner, REQUEST))
    assert (run.status, run.error_code) == ("failed", "training_diverged")
    assert (run.error_message, run.error_fix) == ("The loss is not a number.", "Learn slower.")
    assert (run.credits_charged, run.credits_refunded) == (30, 30)
    assert entries(studio)[-1] == ("training_a10g_per_minute_refund", 30)
    assert books(studio, owner) == (before, 0)
    assert left(studio, run) == (False, [])
    [model] = studio.models.list(owner)
    assert (model.status, model.error_message) == (ModelStatus.FAILED, run.error_message)
    assert run.model_id is None
    # A refund by hand finds nothing left to give back.
    assert studio.ledger.refund(owner, run.call_id or "") == 0
    assert studio.changes.page(owner) == [c for c in studio.changes.page(owner) if c.tool != "train_pipeline"]


def test_a_run_whose_key_was_revoked_gives_back_what_it_was_charged(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, pool: Pool, work: Any
) -> None:
    script.set(seconds=61, _3=["hang"])
    before = books(studio, owner)[0]
    key = studio.keys.authenticate(studio.keys.create(owner, name="trainer", role=Role.MEMBER)[0])
    job = start(studio, key, REQUEST)
    executor = Executor(studio, pool)
    thread = threading.Thread(target=executor.execute, args=(job.id, 0))
    thread.start()
    until(lambda: "3" in script.steps())
    studio.keys.revoke(owner, prefix=key.key_prefix)
    executor.watch()
    thread.join()
    [run] = studio.training.list(owner)
    assert (run.status, run.error_code, run.credits_refunded) == ("failed", "invalid_key", 30)
    assert books(studio, owner) == (before, 0)


def test_a_cancel_after_the_model_was_registered_comes_too_late(
    studio: Studio, owner: Principal, signs: Dataset, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(studio, owner, REQUEST)
    real = turns.Turn.run

    def run(self: turns.Turn) -> Any:
        result = real(self)
        studio.jobs.cancel(owner, job.id)
        self._run.stop(executors.Cancelled())
        return result

    monkeypatch.setattr(turns.Turn, "run", run)
    run_ = work(job)
    assert studio.jobs.get(owner, job.id).status is JobStatus.CANCELLED
    assert (run_.status, run_.credits_charged) == ("completed", 20)
    assert studio.models.ready(owner, run_.model_id or "").run_id == run_.id


def test_what_a_dead_worker_left_is_removed_at_the_next_start(
    studio: Studio,
    owner: Principal,
    signs: Dataset,
    work: Any,
    monkeypatch: pytest.MonkeyPatch,
    open_studio: Any,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(studio.training, "clear", lambda _job: None)
        run = work(start(studio, owner, REQUEST))
    stray = studio.training.work_dir("0" * 36)
    stray.mkdir(parents=True)
    waiting = start(studio, owner, REQUEST)
    mine = studio.training.get_of_job(owner, waiting.id)
    studio.training.work_dir(mine.id).mkdir(parents=True)
    assert left(studio, run)[0]
    assert len(checkpoints(studio, run)) == 1
    open_studio()
    assert left(studio, run) == (False, [])
    assert not stray.exists()
    assert studio.training.work_dir(mine.id).exists()


def test_a_run_outlives_its_job(
    studio: Studio, owner: Principal, signs: Dataset, work: Any, move_clock: Any
) -> None:
    before = work(start(studio, owner, REQUEST))
    move_clock(timedelta(days=120))
    studio.settle()
    with pytest.raises(NotFound):
        studio.jobs.get(owner, before.job_id or "")
    after = studio.training.get(owner, before.id)
    assert after == replace(before, job_id=None, call_id=None)
    assert studio.models.ready(owner, after.model_id or "")


def test_a_write_that_is_refused_ends_the_run_instead_of_going_on_without_it(
    studio: Studio, owner: Principal, signs: Dataset, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = books(studio, owner)

    def refuse(*_: Any) -> bool:
        return False

    monkeypatch.setattr("tintype_studio.training.progress.keep_blobs", refuse)
    run = work(start(studio, owner, REQUEST))
    assert (run.status, run.error_code, run.model_id) == ("failed", "model_raced", None)
    assert books(studio, owner) == before
