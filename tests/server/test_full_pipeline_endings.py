"""full_pipeline when something goes wrong: failures, cancels, engines that go, workers that are killed."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.jobs import books, turn
from support.pipelines import (
    LABELLED,
    MINUTE,
    NEW,
    call,
    code,
    dispatch,
    entries,
    finish,
    folder,
    owner,
    pool,
    reported,
    runtime,
    script,
    template,
    yard,
)

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.ingest import Ingest
from tintype_studio.errors import Cancelled
from tintype_studio.jobs.executor import Executor
from tintype_studio.training import turn as turns
from tintype_tools.catalog import full_pipeline as tool

__all__ = ["finish", "folder", "owner", "pool", "runtime", "script", "template"]


def test_a_training_that_fails_is_in_the_report_and_gives_back_its_own_price(
    runtime, owner, folder, finish, script
):
    script.set(seconds=50, _2=["diverge"])
    before = books(runtime.studio, owner)[0]
    report = finish(call(runtime, folder))
    assert (report["success"], report["stopped_at"], report["job"]["status"]) == (False, "train", "completed")
    assert report["training_error"] == {
        "code": "training_diverged",
        "message": "The loss is not a number.",
        "fix": "Learn slower.",
    }
    run = report["training_run"]
    assert (run["status"], run["error"]["code"], run["error_message"]) == (
        "failed",
        "training_diverged",
        "The loss is not a number.",
    )
    assert run["credits"] == {"held": 2 * MINUTE, "charged": MINUTE, "refunded": MINUTE}
    assert report["annotate"]["success"] is True
    # What was labelled is there, and paid for.
    assert books(runtime.studio, owner) == (before - NEW, 0)
    assert entries(runtime)[-1] == ("full_pipeline_refund", MINUTE)
    assert "model" not in report
    model, _ = runtime.studio.models.list(owner)
    assert (model.status, model.error_message) == ("failed", "The loss is not a number.")
    assert not runtime.studio.training.work_dir(run["id"]).exists()
    script.set()
    assert finish(call(runtime, folder))["model"]["status"] == "ready"


def test_an_engine_that_is_gone_by_then_is_told(runtime, owner, folder, finish, monkeypatch):
    started = call(runtime, folder)
    before = books(runtime.studio, owner)[0]
    detectors, real = runtime.studio.detectors, runtime.studio.detectors.survey
    monkeypatch.setattr(detectors, "survey", lambda d, *rest: replace(real(d, *rest), engines={}))
    report = finish(started)
    assert (report["stopped_at"], report["annotate"]["error"]["code"]) == ("annotate", "needs_engine")
    assert (report["annotate"]["images_processed"], report["job"]["status"]) == (0, "completed")
    assert books(runtime.studio, owner) == (before, 0)


def test_a_cancelled_one_keeps_what_was_done(runtime, owner, folder, finish, script):
    started = call(runtime, folder)
    before = books(runtime.studio, owner)[0]
    dispatch(runtime, "cancel_job", {"job_id": started.value["job"]["job_id"]})
    report = reported(runtime, owner, started)
    assert (report["stopped_at"], report["success"], report["annotate"]["success"]) == (
        "annotate",
        False,
        False,
    )
    assert books(runtime.studio, owner) == (before, 0)
    assert yard(runtime, owner).image_count == LABELLED + NEW


def test_others_can_write_while_pictures_come_in(runtime, owner, folder, monkeypatch):
    """The transaction of the call begins with the job, not with the upload."""
    real, written = Ingest.add_folder, []

    def add_folder(self: Ingest, *arguments: Any, **options: Any) -> Any:
        done = real(self, *arguments, **options)
        other = threading.Thread(
            target=lambda: written.append(runtime.studio.datasets.create(owner, name="meanwhile")),
            daemon=True,
        )
        other.start()
        other.join(10)
        written.append(yard(runtime, owner).image_count)
        return done

    monkeypatch.setattr(Ingest, "add_folder", add_folder)
    call(runtime, folder)
    assert [type(each) for each in written] == [Dataset, int]
    assert written[1] == LABELLED + NEW


def test_a_caller_who_goes_away_leaves_pictures_and_no_job(runtime, owner, folder, monkeypatch):
    before = books(runtime.studio, owner)

    def gone(*_arguments: Any) -> None:
        raise Cancelled("Gone.")

    monkeypatch.setattr(tool, "begin", gone)
    assert code(runtime, folder) == "cancelled"
    runtime.studio.settle()
    assert yard(runtime, owner).image_count == LABELLED + NEW
    assert books(runtime.studio, owner) == before
    assert runtime.studio.jobs.list(owner) == []


def test_a_training_can_be_cancelled_by_its_run(runtime, owner, folder, pool, script):
    script.set(_2=["hang"])
    before = books(runtime.studio, owner)[0]
    started = call(runtime, folder)
    job = runtime.studio.jobs.get(owner, started.value["job"]["job_id"])
    executor = Executor(runtime.studio, pool)
    worker = threading.Thread(target=executor.execute, args=(job.id, 0))
    worker.start()
    until = time.monotonic() + 30
    while "2" not in script.steps() and time.monotonic() < until:
        time.sleep(0.05)
    report = reported(runtime, owner, started)
    assert (report["training_run"]["status"], report["job"]["status"]) == ("running", "running")
    assert {"success", "stopped_at", "model"}.isdisjoint(report)
    dispatch(runtime, "cancel_training", {"run_id": report["training_run"]["id"]})
    while worker.is_alive() and time.monotonic() < until:
        executor.watch()
        worker.join(0.1)
    report = reported(runtime, owner, started)
    assert (report["job"]["status"], report["training_run"]["status"]) == ("cancelled", "cancelled")
    assert (report["stopped_at"], report["success"], report["annotate"]["success"]) == ("train", False, True)
    assert report["training_run"]["credits"] == {"held": 2 * MINUTE, "charged": MINUTE, "refunded": 0}
    assert books(runtime.studio, owner) == (before - NEW - MINUTE, 0)


def test_a_job_that_fails_as_a_whole_gives_back_the_training_alone(runtime, owner, folder, pool, monkeypatch):
    before = books(runtime.studio, owner)[0]
    started = call(runtime, folder)
    monkeypatch.setattr(turns.Turn, "_finish", lambda *_: 1 / 0)
    job = runtime.studio.jobs.get(owner, started.value["job"]["job_id"])
    turn(runtime.studio, job, pool)
    report = reported(runtime, owner, started)
    assert (report["job"]["status"], report["training_run"]["status"]) == ("failed", "failed")
    assert (report["stopped_at"], report["success"]) == ("train", False)
    assert report["training_run"]["credits"]["refunded"] == MINUTE
    assert books(runtime.studio, owner) == (before - NEW, 0)


TURN = """
import os, signal, sys
from pathlib import Path
from support import jobs as support
from support.trained import use_fake_models
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.jobs import commits, run
from tintype_studio.jobs.pool import Pool
from tintype_studio.studio import Studio, Workspace
from tintype_studio.training import pipeline

home, folder, job_id, point = sys.argv[1:]
class Patch:
    setattr = staticmethod(setattr)
    setenv = os.environ.__setitem__

Patch.setattr(pipeline, "missing_libraries", lambda: ())
use_fake_models(Patch, Path(folder))
run.COMMIT_ITEMS = 2

def around(owner, name):
    real = getattr(owner, name)
    def wrapped(*arguments, **named):
        if point == f"before {name}" and wrapped.calls == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        wrapped.calls += 1
        done = real(*arguments, **named)
        if point == f"after {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    wrapped.calls = 0
    setattr(owner, name, wrapped)

around(commits.Commits, "items")
around(commits.Commits, "_each_alone")
around(commits.Commits, "finish")
studio = Studio(Workspace(Path(home)))
studio.jobs.supervisor.enabled = False
owner = studio.keys.authenticate(saved_api_key(studio.home))
support.turn(studio, studio.jobs.get(owner, job_id), Pool(1))
os._exit(0)
"""


@pytest.mark.slow
def test_a_worker_killed_in_each_phase_does_and_charges_nothing_twice(runtime, owner, folder, tmp_path):
    """Each turn ends after a commit, before another or in the middle of it; the last ends the job."""
    studio = runtime.studio
    before = books(studio, owner)[0]
    started = call(runtime, folder)
    job_id = started.value["job"]["job_id"]
    turns_taken, charged = 0, 0
    points = itertools.cycle(["after items", "before items", "before _each_alone"])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    while not (job := studio.jobs.get(owner, job_id)).ended and turns_taken < 20:
        point = next(points)
        arguments = [sys.executable, "-c", TURN, str(studio.home), str(tmp_path), job_id, point]
        died = subprocess.run(arguments, env=environment, timeout=60).returncode == -signal.SIGKILL
        studio.settle()  # as the next start would
        now = studio.jobs.get(owner, job_id)
        assert died is not now.ended, point
        assert now.done > job.done
        assert now.credits_charged >= charged
        charged, turns_taken = now.credits_charged, turns_taken + 1
        assert sum(books(studio, owner)) <= before + NEW + 2 * MINUTE
    report = reported(runtime, owner, started)
    assert (report["success"], report["annotate"]["annotations_added"]) == (True, 2 * NEW)
    assert turns_taken >= 5
    assert books(studio, owner) == (before - NEW - MINUTE, 0)
    assert yard(runtime, owner).annotation_count == 2 * (LABELLED + NEW)
    assert report["training_run"]["current_epoch"] == 3
    assert len(studio.models.list(owner)) == 2
    assert len(studio.exports.list(owner)) == 1
