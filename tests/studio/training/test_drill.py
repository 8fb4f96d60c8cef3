"""kill -9 at every step of a run: no epoch is trained, charged or registered twice, and nothing by halves.

The turns run in a process of their own that kills itself at the named step.
"""

from __future__ import annotations

import math
import signal
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import books
from support.training import Script, start

from tintype_studio.catalog.datasets import ClassAttribute, Dataset, DatasetClass
from tintype_studio.history.changes import Kind
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.job_tables import job_items, jobs
from tintype_studio.studio import Studio
from tintype_studio.training.models import ModelStatus
from tintype_studio.training.plan import TrainRequest

pytestmark = pytest.mark.slow

TURN = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from support import jobs as support
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.jobs import commits
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.blobs import Blobs
from tintype_studio.studio import Studio, Workspace
from tintype_studio.training import progress, turn

home, job_id, point, times = sys.argv[1:]
left = int(times)

def reach(here):
    global left
    if here == point:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

def around(owner, name):
    real = getattr(owner, name)
    def wrapped(*arguments, **named):
        reach("before " + name)
        result = real(*arguments, **named)
        reach("after " + name)
        return result
    setattr(owner, name, wrapped)

turn.SESSION = "support.training_session"
turn.CURVES = "support.training_session:curves"
around(Blobs, "put_file")
around(Blobs, "delete_derived")
for name in ("set_export", "add_facts", "add_epoch", "add_heads_epoch", "register", "end"):
    around(progress, name)
around(commits.Commits, "items")
around(commits.Commits, "finish")
around(commits, "capture_part")
around(commits, "release_rest")
around(Pool, "call")
studio = Studio(Workspace(Path(home)))
studio.jobs.supervisor.enabled = False
owner = studio.keys.authenticate(saved_api_key(studio.home))
support.turn(studio, studio.jobs.get(owner, job_id), Pool(1))
os._exit(0)
"""

POINTS = [
    ("after put_file", 1),  # the export's bytes are there, and its row does not say so
    ("after set_export", 1),
    ("after items", 1),  # exported
    ("after call", 1),  # prepared
    ("after add_facts", 1),
    ("after call", 2),  # prepared again, and an epoch whose checkpoint is stored but not written down
    ("after add_epoch", 1),
    ("after capture_part", 1),
    ("after items", 2),  # split, and the first epoch
    ("after delete_derived", 1),
    ("after call", 3),  # finished, but not registered
    ("before register", 1),
    ("after register", 1),
]
LAST_POINTS = [
    ("after items", 1),
    ("before finish", 1),
    ("before release_rest", 1),
    ("after end", 1),
    ("after finish", 1),
]


def check(studio: Studio, owner: Principal, run_id: str, before: int) -> None:
    """Epochs, money and the registry say one and the same."""
    run = studio.training.get(owner, run_id)
    epochs = studio.training.epochs(run)
    assert [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert run.current_epoch == len(epochs)
    assert run.trained_seconds == 40 * len(epochs)
    charged = 10 * math.ceil(40 * len(epochs) / 60)
    assert books(studio, owner) == (before - charged, 0 if run.ended else 50 - charged)
    [model] = studio.models.list(owner)
    logged = [change for change in studio.changes.page(owner) if change.kind is Kind.MODEL_TRAINED]
    if model.status is ModelStatus.READY:
        assert (run.model_id, len(logged)) == (model.id, 1)
        assert len(studio.models.evaluations(model)) == 1
        assert studio.blobs.exists(model.onnx_sha256 or "")
    else:
        assert (run.model_id, model.onnx_sha256, logged) == (None, None, [])
        assert model.status is ModelStatus.TRAINING
        assert not studio.models.evaluations(model)


def test_a_run_killed_at_every_step_ends_with_one_model_and_one_bill(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, spawn: Any
) -> None:
    script.set(seconds=40)
    before = books(studio, owner)[0]
    request = TrainRequest("signs", "yolox", config={"epochs": 4, "max_minutes": 5})
    job = start(studio, owner, request)
    [run] = studio.training.list(owner)
    for number, (point, times) in enumerate([*POINTS, *LAST_POINTS]):
        with studio.database.write() as connection:  # so many deaths in a row would end it otherwise
            connection.execute(sa.update(jobs).values(attempts=0))
        child = spawn(TURN, job.id, point, times)
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL, (point, times)
        studio.settle()
        check(studio, owner, run.id, before)
        ready = studio.models.list(owner)[0].status is ModelStatus.READY
        assert ready == (number >= len(POINTS)), (point, times)
        assert studio.training.get(owner, run.id).ended == (point == "after finish"), point
    done = studio.training.get(owner, run.id)
    assert (done.status, done.current_epoch, done.credits_charged) == ("completed", 4, 30)
    assert len([e for e in studio.exports.list(owner) if e.status == "completed"]) == 1
    assert not studio.training.work_dir(run.id).exists()
    assert not list((studio.home / "blobs/derived/training").rglob("*.pt"))


HEADS_POINTS = [
    (
        "after call",
        3,
    ),  # the checkpoint of the first epoch of the heads is stored, and no more
    ("after add_heads_epoch", 1),
    ("after items", 1),
    ("after delete_derived", 1),  # the second is written down, and the first one's checkpoint is gone
    ("after call", 2),
    ("after call", 3),  # finished, but not registered
    ("after register", 1),
]


def test_a_run_killed_in_its_heads_learns_and_charges_each_of_their_epochs_once(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, spawn: Any
) -> None:
    attributes = (ClassAttribute("colour", ("red", "blue")),)
    studio.classes.declare(owner, "signs", [DatasetClass("badge", attributes=attributes)])
    script.set(seconds=40)
    before = books(studio, owner)[0]
    job = start(studio, owner, TrainRequest("signs", "yolox", config={"epochs": 1, "max_minutes": 5}))
    [run] = studio.training.list(owner)
    for point, times in [*HEADS_POINTS, ("", 1)]:
        with studio.database.write() as connection:
            connection.execute(sa.update(jobs).values(attempts=0))
        child = spawn(TURN, job.id, point, times)
        child.communicate(timeout=60)
        assert child.returncode == (-signal.SIGKILL if point else 0), (point, times)
        studio.settle()
        now = studio.training.get(owner, run.id)
        with studio.database.read() as connection:
            mine = sa.select(sa.func.count()).where(job_items.c.key.startswith("heads-"))
            heads = connection.execute(mine).scalar_one()
        assert now.trained_seconds == 40 * (now.current_epoch + heads)
        charged = 10 * math.ceil(now.trained_seconds / 60)
        assert books(studio, owner) == (before - charged, 0 if now.ended else 50 - charged), point
        [model] = studio.models.list(owner)
        assert (model.heads_sha256 is not None) is (not point), point
    assert (now.status, heads, now.credits_charged) == ("completed", 3, 30)
    assert studio.blobs.get(model.heads_sha256 or "") == b"heads after 3 of " + run.id.encode()
    assert not list((studio.home / "blobs/derived/training").rglob("*.pt"))
