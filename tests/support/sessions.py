"""Experiments, sessions and tasks for tests, with models that nobody had to train."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from support.ready_models import add_model

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.experiments.own_runs import begin_training
from tintype_studio.experiments.session import Experiment, TrainingSession, ValidationSession
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.training_tables import models, training_runs
from tintype_studio.studio import Studio
from tintype_studio.training.models import Model
from tintype_studio.vision.tasks import Signature, Task

SIGNATURE = Signature(Task.DETECTION, "yolox", ("sign", "tree"), 64)


def experiment(studio: Studio, principal: Principal, name: str = "tries") -> Experiment:
    """An experiment of the default project."""
    project = studio.projects.default(principal)
    return studio.experiments.create(principal, project_row_id=project.row_id, name=name)


def told_session(
    studio: Studio, principal: Principal, of: Experiment | None = None, **given: Any
) -> TrainingSession:
    """A training session that an outside trainer fills."""
    values = {"name": "run 1", "model": "modelpack"} | given
    return studio.experiments.training.create(
        principal, experiment=of or experiment(studio, principal), **values
    )


def told_validation(studio: Studio, principal: Principal, of: TrainingSession) -> ValidationSession:
    """A validation session that an outside validator fills."""
    return studio.experiments.validation.create(principal, training=of, name="check 1", params={})


def own_session(
    studio: Studio, principal: Principal, dataset: Dataset, onnx: bytes = b"an ONNX file", **given: Any
) -> tuple[TrainingSession, Model]:
    """The session of a training of this server, long after it ended, and its model."""
    model = add_model(studio, principal, dataset, SIGNATURE, onnx, **given)
    with studio.database.write() as connection:
        query = sa.select(training_runs.c.id).join(models, models.c.run_id == training_runs.c.id)
        run = connection.execute(query.where(models.c.id == model.row_id)).scalar_one()
        job = connection.execute(sa.select(sa.func.coalesce(sa.func.max(jobs.c.id), 0))).scalar_one()
        begin_training(connection, principal, job + 1, run)
    return studio.experiments.training.of_run(principal, run), model
