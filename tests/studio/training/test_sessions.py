"""Trainings of this server as sessions: from their start on, with what is measured and what comes of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from support.training import Script, start

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict
from tintype_studio.experiments.deletion import delete_sessions
from tintype_studio.experiments.files import Incoming
from tintype_studio.experiments.session import TrainingSession
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.session_tables import experiments, training_sessions
from tintype_studio.studio import Studio
from tintype_studio.training.plan import TrainRequest

REQUEST = TrainRequest("signs", "yolox", config={"epochs": 4, "max_minutes": 5})


def only(studio: Studio, owner: Principal) -> TrainingSession:
    [session] = studio.experiments.training.list(owner)
    return session


def test_a_training_is_a_session_of_its_project_from_its_start(
    studio: Studio, owner: Principal, signs: Dataset, script: Script, work: Any
) -> None:
    job = start(studio, owner, REQUEST)
    session = only(studio, owner)
    [run] = studio.training.list(owner)
    assert (session.name, session.model, session.run_id) == (run.name, "yolox", run.id)
    assert (session.experiment, session.project, session.dataset) == ("Trainings", "default", "signs")
    assert (session.annotation_set, session.train_group, session.val_group) == ("default", "train", "val")
    assert (session.params["epochs"], session.params["gpu"]) == (4, "a10g")
    assert None not in session.params.values()
    assert session.task is not None
    assert (session.task.id, session.status) == (studio.tasks.of_job(owner, job.id).id, "queued")
    assert (session.task.type, session.task.project) == ("trainer", "default")
    sessions = studio.experiments.training
    assert (sessions.metrics(session), sessions.files(session)) == ({"epochs": 0}, [])

    run = work(job)

    session = only(studio, owner)
    assert (session.status, session.model_id) == ("completed", run.model_id)
    metrics = sessions.metrics(session)
    assert (metrics["mAP"], metrics["epochs"], metrics["best_epoch"]) == (0.5, 4, 4)
    assert [epoch["epoch"] for epoch in metrics["history"]] == [1, 2, 3, 4]
    files = {file.path: b"".join(studio.experiments.files.stream(file)) for file in sessions.files(session)}
    assert files["artifacts/model.onnx"] == b"onnx of " + run.id.encode()
    assert files["artifacts/labels.txt"] == b"badge\ncrate\n"
    assert orjson.loads(files["artifacts/model_card.json"])["pipeline"] == "yolox"
    assert {"checkpoints/best.pt", "metrics/epochs.csv", "metrics/metrics.json"} <= files.keys()
    assert files["metrics/epochs.csv"].decode().count("\n") == 5
    assert all(len(files[file.path]) == file.size for file in sessions.files(session))


def test_two_trainings_lie_in_one_experiment(studio: Studio, owner: Principal, signs: Dataset) -> None:
    for _ in range(2):
        start(studio, owner, REQUEST)
    with studio.database.read() as connection:
        names = connection.execute(sa.select(experiments.c.name)).scalars().all()
    assert names == ["Trainings"]
    assert studio.experiments.list(owner)[0].training_sessions == 2


def test_a_rehearsed_training_leaves_no_session(studio: Studio, owner: Principal, signs: Dataset) -> None:
    with studio.database.unit_of_work(rehearsal=True):
        studio.training.start(owner, REQUEST)
    with studio.database.read() as connection:
        assert connection.execute(sa.select(training_sessions.c.id)).all() == []
        assert connection.execute(sa.select(experiments.c.id)).all() == []


def test_what_the_server_knows_is_not_told_from_outside(
    studio: Studio, owner: Principal, signs: Dataset, work: Any
) -> None:
    run = work(start(studio, owner, REQUEST))
    session, sessions = only(studio, owner), studio.experiments.training
    for told, code in (({"params": {"epochs": 9}}, "own_session"), ({"metrics": {"mAP": 1}}, "own_metric")):
        with pytest.raises(Conflict) as refused:
            sessions.update(owner, session.id, **told)
        assert refused.value.code == code
    for path in ("artifacts/model.onnx", "metrics/epochs.csv"):
        with pytest.raises(Conflict) as refused:
            sessions.add_files(owner, session, [Incoming(path, b"mine")])
        assert refused.value.code == "own_file"
    with pytest.raises(Conflict) as refused:
        delete_sessions(studio, owner, [session.id])
    assert refused.value.code == "own_session"
    told = sessions.update(owner, session.id, metrics={"latency_ms": 3.5}, description="on the bench")
    sessions.add_files(owner, session, [Incoming("artifacts/model.tflite", b"lite")])
    assert (sessions.metrics(told)["latency_ms"], sessions.metrics(told)["mAP"]) == (3.5, 0.5)
    assert sessions.file(told, "artifacts/model.tflite").size == 4
    assert run.model_id == told.model_id


def test_a_training_that_fails_says_so_in_its_session(
    studio: Studio, owner: Principal, signs: Dataset, script: Script
) -> None:
    job = start(studio, owner, REQUEST)
    studio.jobs.cancel(owner, job.id)
    session = only(studio, owner)
    assert (session.status, session.model_id) == ("cancelled", None)
    assert studio.experiments.training.files(session) == []


def test_a_session_stays_when_its_dataset_is_purged(
    studio: Studio, owner: Principal, signs: Dataset, work: Any
) -> None:
    work(start(studio, owner, REQUEST))
    studio.datasets.delete(owner, "signs")
    studio.recycle_bin.purge(owner)
    session = only(studio, owner)
    assert (session.dataset, session.dataset_row_id, session.status) == (None, None, "completed")
    assert studio.experiments.training.metrics(session)["mAP"] == 0.5
