"""Sessions of what is trained and measured here: made in the transactions that start the work."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.session_tables import experiments, tasks, training_sessions, validation_sessions
from tintype_studio.storage.tables import annotation_sets, datasets, projects
from tintype_studio.storage.training_tables import evaluations, models, training_runs

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.training.models import Model

OWN_EXPERIMENT = "Trainings"
"""Of each project: what was trained here."""
MAX_NAME = 120


def begin_training(connection: sa.Connection, principal: Principal, job_row_id: int, run_row_id: int) -> None:
    """The session of a run whose row was just made; its job's task is there already."""
    run = (
        connection.execute(sa.select(training_runs).where(training_runs.c.id == run_row_id)).mappings().one()
    )
    project = sa.select(datasets.c.project_id).where(datasets.c.id == run["dataset_id"])
    experiment = own_experiment(
        connection, principal.organization_id, connection.execute(project).scalar_one(), run["created_at"]
    )
    connection.execute(
        sa.insert(training_sessions).values(
            uuid=clock.new_id(),
            organization_id=principal.organization_id,
            experiment_id=experiment,
            task_id=_task_of_job(job_row_id),
            run_id=run_row_id,
            dataset_id=run["dataset_id"],
            annotation_set_id=set_of(run["dataset_id"]),
            name=run["name"][:MAX_NAME],
            model=run["pipeline"],
            params=params_of_run(run),
            train_group="train",
            val_group="val",
            metrics={},
            created_by=principal.key_id,
            created_at=run["created_at"],
            updated_at=run["created_at"],
        )
    )


def params_of_run(run: sa.RowMapping) -> dict[str, Any]:
    """What a run was told: its configuration, and on which of the images and classes it learns."""
    chosen = {name: run[name] for name in ("gpu", "class_filter", "status_filter") if run[name] is not None}
    return {**{name: value for name, value in run["config"].items() if value is not None}, **chosen}


def own_experiment(
    connection: sa.Connection, organization_id: int, project_row_id: int, now: datetime
) -> int:
    """Row of the project's experiment of what is trained here; made when there is none."""
    # Of two that begin at once, the second waits here and then finds it.
    connection.execute(sa.select(projects.c.id).where(projects.c.id == project_row_id).with_for_update())
    found = connection.execute(
        sa.select(experiments.c.id)
        .where(
            experiments.c.project_id == project_row_id,
            experiments.c.name == OWN_EXPERIMENT,
            experiments.c.deleted_at.is_(None),
        )
        .order_by(experiments.c.id)
        .limit(1)
    ).scalar()
    if found is not None:
        return int(found)
    return int(
        connection.execute(
            sa.insert(experiments)
            .values(
                uuid=clock.new_id(),
                organization_id=organization_id,
                project_id=project_row_id,
                name=OWN_EXPERIMENT,
                description="What was trained on this server.",
                created_at=now,
                updated_at=now,
            )
            .returning(experiments.c.id)
        ).scalar_one()
    )


def begin_validation(
    connection: sa.Connection,
    principal: Principal,
    job_row_id: int,
    *,
    model: Model,
    dataset: Dataset,
    params: dict[str, Any],
    name: str,
    description: str | None,
    project_row_id: int | None = None,
    asked: bool = False,
    annotation_set: str | None = None,
) -> None:
    """The session of an evaluation whose job was just written down; ``project_row_id``: the dataset's.

    ``asked``: it was asked for by name, which its task then has, too.
    """
    trained = (
        connection.execute(
            sa.select(training_sessions.c.id, training_sessions.c.experiment_id)
            .join(training_runs, training_runs.c.id == training_sessions.c.run_id)
            .join(models, models.c.run_id == training_runs.c.id)
            .where(models.c.id == model.row_id, training_sessions.c.deleted_at.is_(None))
        )
        .mappings()
        .first()
    )
    now = clock.now()
    connection.execute(
        sa.insert(validation_sessions).values(
            uuid=clock.new_id(),
            organization_id=principal.organization_id,
            project_id=project_row_id or dataset.project_row_id,
            experiment_id=None if trained is None else trained["experiment_id"],
            training_session_id=None if trained is None else trained["id"],
            task_id=_task_of_job(job_row_id),
            dataset_id=dataset.row_id,
            annotation_set_id=set_of(dataset.row_id, annotation_set or DEFAULT_SET),
            name=name[:MAX_NAME],
            description=description,
            params=params,
            metrics={},
            created_by=principal.key_id,
            created_at=now,
            updated_at=now,
        )
    )
    if asked:
        connection.execute(sa.update(tasks).where(tasks.c.job_id == job_row_id).values(name=name[:MAX_NAME]))


def set_evaluation(connection: sa.Connection, job_row_id: int, evaluation_id: str) -> None:
    """Name what an evaluation's job has found, in the transaction that keeps it."""
    found = sa.select(evaluations.c.id).where(evaluations.c.uuid == evaluation_id).scalar_subquery()
    connection.execute(
        sa.update(validation_sessions)
        .where(validation_sessions.c.task_id == _task_of_job(job_row_id))
        .values(evaluation_id=found, updated_at=clock.now())
    )


def set_of(dataset_row_id: int | None, name: str = DEFAULT_SET) -> sa.ScalarSelect[int]:
    """The row of a dataset's annotation set, as a part of a statement."""
    return (
        sa.select(annotation_sets.c.id)
        .where(
            annotation_sets.c.dataset_id == dataset_row_id,
            annotation_sets.c.name == name,
            annotation_sets.c.deleted_at.is_(None),
        )
        .scalar_subquery()
    )


def _task_of_job(job_row_id: int) -> sa.ScalarSelect[int]:
    return sa.select(tasks.c.id).where(tasks.c.job_id == job_row_id).scalar_subquery()
