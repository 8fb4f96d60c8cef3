"""Experiments and sessions as callers see them, and their rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tintype_studio.storage.session_tables import experiments, tasks, training_sessions, validation_sessions
from tintype_studio.storage.tables import annotation_sets, datasets, projects
from tintype_studio.storage.training_tables import evaluations, models, training_runs
from tintype_studio.tasks.task import Task, columns, task_of, with_job
from tintype_studio.wire_ids import wire_id

EXPERIMENT, TRAINING, VALIDATION = "exp", "t", "v"
"""Prefixes of ids on the wire."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What brings sessions together."""

    row_id: int
    id: str
    project_row_id: int
    project: str
    name: str
    description: str | None
    training_sessions: int
    validation_sessions: int
    created_at: datetime

    @property
    def wire_id(self) -> str:
        """As dialects show it."""
        return wire_id(EXPERIMENT, self.row_id)


@dataclass(frozen=True, slots=True)
class TrainingSession:
    """A training: one of this server, or one that an outside trainer fills."""

    row_id: int
    id: str
    experiment_row_id: int
    experiment: str
    project_row_id: int
    project: str
    name: str
    description: str | None
    model: str
    """The architecture or pipeline, as its trainer calls it."""
    params: dict[str, Any]
    dataset_row_id: int | None
    """None when it has none, or when that was purged."""
    dataset: str | None
    annotation_set_row_id: int | None
    annotation_set: str | None
    train_group: str
    val_group: str
    metrics: dict[str, Any]
    """What was told from outside; ``metrics_of`` has what was measured here, too."""
    run_row_id: int | None
    run_id: str | None
    """Of one that was trained here."""
    model_id: str | None
    """Of one that was trained here, once the model is ready."""
    task: Task | None
    created_at: datetime
    updated_at: datetime

    @property
    def wire_id(self) -> str:
        """As dialects show it."""
        return wire_id(TRAINING, self.row_id)

    @property
    def status(self) -> str:
        """Its task's."""
        return "unknown" if self.task is None else self.task.status

    @property
    def own(self) -> bool:
        """Whether it was trained here."""
        return self.run_row_id is not None


@dataclass(frozen=True, slots=True)
class ValidationSession:
    """What a model is worth: measured here, or told by an outside validator."""

    row_id: int
    id: str
    project_row_id: int
    project: str
    experiment_row_id: int | None
    training_session_row_id: int | None
    training_session_id: str | None
    name: str
    description: str | None
    params: dict[str, Any]
    dataset_row_id: int | None
    dataset: str | None
    annotation_set_row_id: int | None
    annotation_set: str | None
    metrics: dict[str, Any]
    """What was told from outside."""
    evaluation_row_id: int | None
    """Of one that was measured here, once it is."""
    task: Task | None
    created_at: datetime
    updated_at: datetime

    @property
    def wire_id(self) -> str:
        """As dialects show it."""
        return wire_id(VALIDATION, self.row_id)

    @property
    def status(self) -> str:
        """Its task's."""
        return "unknown" if self.task is None else self.task.status

    @property
    def own(self) -> bool:
        """Whether it is measured here."""
        return self.task is not None and self.task.is_job


def experiments_listed() -> sa.Select[Any]:
    """Living experiments with their counts."""
    return (
        sa.select(
            experiments,
            projects.c.name.label("project_name"),
            _count(training_sessions).label("trainings"),
            _count(validation_sessions).label("validations"),
        )
        .join(projects, projects.c.id == experiments.c.project_id)
        .where(experiments.c.deleted_at.is_(None))
    )


def _count(table: sa.Table) -> sa.ScalarSelect[int]:
    return (
        sa.select(sa.func.count())
        .where(table.c.experiment_id == experiments.c.id, table.c.deleted_at.is_(None))
        .scalar_subquery()
    )


def experiment_of(row: sa.RowMapping) -> Experiment:
    """From a row of ``experiments_listed``."""
    return Experiment(
        row_id=row["id"],
        id=row["uuid"],
        project_row_id=row["project_id"],
        project=row["project_name"],
        name=row["name"],
        description=row["description"],
        training_sessions=row["trainings"],
        validation_sessions=row["validations"],
        created_at=row["created_at"],
    )


def training_listed() -> sa.Select[Any]:
    """Living training sessions with what belongs to them."""
    base = (
        training_sessions.join(experiments, experiments.c.id == training_sessions.c.experiment_id)
        .outerjoin(tasks, tasks.c.id == training_sessions.c.task_id)
        .outerjoin(datasets, datasets.c.id == training_sessions.c.dataset_id)
        .outerjoin(annotation_sets, annotation_sets.c.id == training_sessions.c.annotation_set_id)
        .outerjoin(training_runs, training_runs.c.id == training_sessions.c.run_id)
        .outerjoin(models, sa.and_(models.c.run_id == training_runs.c.id, models.c.ready_at.is_not(None)))
    )
    return (
        sa.select(
            training_sessions,
            *columns(),
            experiments.c.name.label("experiment_name"),
            experiments.c.project_id,
            _project_name(experiments.c.project_id),
            datasets.c.name.label("dataset_name"),
            annotation_sets.c.name.label("set_name"),
            training_runs.c.uuid.label("run_uuid"),
            training_runs.c.outcome.label("run_outcome"),
            models.c.uuid.label("model_uuid"),
        )
        .select_from(with_job(base))
        .where(training_sessions.c.deleted_at.is_(None))
    )


def training_of(row: sa.RowMapping) -> TrainingSession:
    """From a row of ``training_listed``."""
    task = _task(row)
    if task is not None and row["run_outcome"] is not None:
        # A pipeline may complete though the training in it failed.
        task = replace(task, status=row["run_outcome"])
    return TrainingSession(
        row_id=row["id"],
        id=row["uuid"],
        experiment_row_id=row["experiment_id"],
        experiment=row["experiment_name"],
        project_row_id=row["project_id"],
        project=row["project_name"],
        name=row["name"],
        description=row["description"],
        model=row["model"],
        params=row["params"],
        dataset_row_id=row["dataset_id"],
        dataset=row["dataset_name"],
        annotation_set_row_id=row["annotation_set_id"],
        annotation_set=row["set_name"],
        train_group=row["train_group"],
        val_group=row["val_group"],
        metrics=row["metrics"],
        run_row_id=row["run_id"],
        run_id=row["run_uuid"],
        model_id=row["model_uuid"],
        task=task,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def validation_listed() -> sa.Select[Any]:
    """Living validation sessions with what belongs to them."""
    base = (
        validation_sessions.outerjoin(tasks, tasks.c.id == validation_sessions.c.task_id)
        .outerjoin(datasets, datasets.c.id == validation_sessions.c.dataset_id)
        .outerjoin(annotation_sets, annotation_sets.c.id == validation_sessions.c.annotation_set_id)
        .outerjoin(training_sessions, training_sessions.c.id == validation_sessions.c.training_session_id)
        .outerjoin(evaluations, evaluations.c.id == validation_sessions.c.evaluation_id)
    )
    return (
        sa.select(
            validation_sessions,
            *columns(),
            _project_name(validation_sessions.c.project_id),
            datasets.c.name.label("dataset_name"),
            annotation_sets.c.name.label("set_name"),
            training_sessions.c.uuid.label("training_uuid"),
        )
        .select_from(with_job(base))
        .where(validation_sessions.c.deleted_at.is_(None))
    )


def validation_of(row: sa.RowMapping) -> ValidationSession:
    """From a row of ``validation_listed``."""
    return ValidationSession(
        row_id=row["id"],
        id=row["uuid"],
        project_row_id=row["project_id"],
        project=row["project_name"],
        experiment_row_id=row["experiment_id"],
        training_session_row_id=row["training_session_id"],
        training_session_id=row["training_uuid"],
        name=row["name"],
        description=row["description"],
        params=row["params"],
        dataset_row_id=row["dataset_id"],
        dataset=row["dataset_name"],
        annotation_set_row_id=row["annotation_set_id"],
        annotation_set=row["set_name"],
        metrics=row["metrics"],
        evaluation_row_id=row["evaluation_id"],
        task=_task(row),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _project_name(project_id: sa.ColumnElement[int]) -> sa.Label[Any]:
    # ``projects`` itself is joined as the task's, which may be none.
    mine = projects.alias("session_projects")
    return sa.select(mine.c.name).where(mine.c.id == project_id).scalar_subquery().label("project_name")


def _task(row: sa.RowMapping) -> Task | None:
    return None if row["of_task_uuid"] is None else task_of(row)
