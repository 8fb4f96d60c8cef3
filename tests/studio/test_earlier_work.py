"""What ran before there were tasks and sessions has them after the migration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import turn
from support.ready_models import add_model, add_scene
from support.sessions import SIGNATURE
from support.training import fill, start, use_fake_session

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.migrations.earlier_work import backfill
from tintype_studio.storage.session_tables import experiments, tasks, training_sessions, validation_sessions
from tintype_studio.studio import Studio
from tintype_studio.training.plan import TrainRequest

TABLES = (validation_sessions, training_sessions, experiments, tasks)


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(1)
    yield pool
    pool.close()


def forgotten(studio: Studio) -> None:
    """As it was before migration 0011."""
    with studio.database.write() as connection:
        for table in TABLES:
            connection.execute(sa.delete(table))


def filled(studio: Studio) -> None:
    with studio.database.write() as connection:
        backfill(connection)


def told(studio: Studio, owner: Principal) -> Any:
    """What can be seen of all of it, without ids and times."""
    sessions = studio.experiments.training.list(owner)
    return (
        [(t.name, t.type, t.status, t.manager, t.project, t.job_id) for t in studio.tasks.list(owner)],
        [
            (
                replace(s, row_id=0, id="", experiment_row_id=0, task=None, updated_at=s.created_at),
                s.status,
                s.task is not None and s.task.job_id,
                studio.experiments.training.metrics(s),
                [file.path for file in studio.experiments.training.files(s)],
            )
            for s in sessions
        ],
    )


def test_trainings_and_jobs_look_as_if_they_had_always_had_them(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    pool: Pool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    use_fake_session(monkeypatch, tmp_path)
    studio.jobs.supervisor.enabled = False
    fill(studio, owner, dataset)
    request = TrainRequest(dataset.name, "yolox", config={"epochs": 4, "max_minutes": 5})
    turn(studio, start(studio, owner, request), pool)
    start(studio, owner, request)
    studio.jobs.start(owner, "verify_images", {"dataset": dataset.name})
    before = told(studio, owner)
    assert len(before[0]) == 3
    assert [each[1] for each in before[1]] == ["queued", "completed"]
    forgotten(studio)
    assert told(studio, owner) == ([], [])
    filled(studio)
    assert told(studio, owner) == before
    assert [(e.name, e.training_sessions) for e in studio.experiments.list(owner)] == [("Trainings", 2)]


def test_a_run_whose_job_is_forgotten_gets_a_task_of_its_own(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    add_model(studio, owner, dataset, SIGNATURE, b"onnx")
    filled(studio)
    [session] = studio.experiments.training.list(owner)
    assert (session.status, session.own, session.model) == ("completed", True, "yolox")
    assert session.task is not None
    assert (session.task.job_id, session.task.is_job, session.task.type) == (None, True, "trainer")


def test_an_evaluation_gets_its_validation_session(studio: Studio, owner: Principal, pool: Pool) -> None:
    pytest.importorskip("onnx")
    from support.onnx_models import blob_detector

    from tintype_studio.vision.tasks import Signature, Task

    studio.jobs.supervisor.enabled = False
    board = studio.datasets.create(owner, name="board")
    signature = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64)
    model = add_model(studio, owner, board, signature, blob_detector(signature))
    add_scene(studio, owner, board, "a.png", (0, 0, "red"))
    filled(studio)
    call = replace(owner, call_id=clock.new_id(), tool="evaluate_model")
    args = {"model_id": model.id, "dataset": None, "split": "all"}
    turn(studio, studio.jobs.start(call, "evaluate", args), pool)
    [before] = studio.experiments.validation.list(owner)
    measured = studio.experiments.validation.metrics(before)
    assert (before.status, measured["images"], before.params) == ("completed", 1, {"split": "all"})
    forgotten(studio)
    filled(studio)
    [after] = studio.experiments.validation.list(owner)
    assert studio.experiments.validation.metrics(after) == measured
    assert (after.status, after.params, after.dataset) == (before.status, before.params, before.dataset)
    [session] = studio.experiments.training.list(owner)
    assert after.training_session_id == session.id


def test_nothing_is_made_of_nothing(studio: Studio) -> None:
    filled(studio)
    with studio.database.read() as connection:
        for table in TABLES:
            assert connection.execute(sa.select(table.c.id)).all() == []
