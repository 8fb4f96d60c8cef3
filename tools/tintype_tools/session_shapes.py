"""Experiments, sessions and tasks as agents see them, and how tools find them."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from tintype_studio.annotations.documents import set_row_id
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import InvalidInput
from tintype_studio.experiments.files import StoredFile
from tintype_studio.experiments.session import Experiment, TrainingSession, ValidationSession
from tintype_studio.tasks.task import Task
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.spec import Result

SessionId = Annotated[str, Field(description="UUID of the session, or t-… / v-….", max_length=80)]
ExperimentId = Annotated[str, Field(description="UUID of the experiment, or exp-….", max_length=80)]
TaskId = Annotated[str, Field(description="UUID of the task, or task-….", max_length=80)]
ProjectName = Annotated[str, Field(description="The project's name.", max_length=120)]
SetName = Annotated[str, Field(description="Annotation set of the dataset.", max_length=120)]
Limit = Annotated[int, Field(ge=1, le=500, description="How many to list.")]
Before = Annotated[str | None, Field(description="`next_before` of the page before.", max_length=80)]
Parameters = dict[str, Any]
"""JSON without null."""


class ExperimentShape(Result):
    """An experiment and how many sessions it has."""

    id: str
    wire_id: str
    project: str
    name: str
    description: str | None = None
    training_sessions: int
    validation_sessions: int
    created_at: datetime

    @classmethod
    def of(cls, found: Experiment) -> ExperimentShape:
        """From the platform's experiment."""
        return cls(
            id=found.id,
            wire_id=found.wire_id,
            project=found.project,
            name=found.name,
            description=found.description,
            training_sessions=found.training_sessions,
            validation_sessions=found.validation_sessions,
            created_at=found.created_at,
        )


class StageShape(Result):
    """A step of a task; percentage is 0 to 100."""

    stage: str
    description: str | None = None
    status: str | None = None
    message: str | None = None
    percentage: int


class TaskShape(Result):
    """A task. ``manager``: cloud for a job of this server (``job_id``), user for work elsewhere."""

    id: str
    wire_id: str
    name: str
    description: str | None = None
    type: str
    status: str
    manager: str
    project: str | None = None
    stages: list[StageShape]
    job_id: str | None = None
    created_at: datetime
    finished_at: datetime | None = None

    @classmethod
    def of(cls, found: Task) -> TaskShape:
        """From the platform's task."""
        return cls(
            id=found.id,
            wire_id=found.wire_id,
            name=found.name,
            description=found.description,
            type=found.type,
            status=found.status,
            manager=found.manager,
            project=found.project,
            stages=[
                StageShape(
                    stage=stage.name,
                    description=stage.description,
                    status=stage.status,
                    message=stage.message,
                    percentage=stage.percentage,
                )
                for stage in found.stages
            ],
            job_id=found.job_id,
            created_at=found.created_at,
            finished_at=found.finished_at,
        )


class SessionShape(Result):
    """A session. ``here``: this server trains or measures; otherwise somebody else fills it."""

    id: str
    wire_id: str
    kind: str
    name: str
    description: str | None = None
    project: str
    experiment: str | None = None
    model: str | None = None
    training_session_id: str | None = None
    dataset_name: str | None = None
    annotation_set: str | None = None
    train_group: str | None = None
    val_group: str | None = None
    params: Parameters
    status: str
    task_id: str | None = None
    here: bool
    training_run_id: str | None = None
    model_id: str | None = None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, found: TrainingSession | ValidationSession) -> SessionShape:
        """From the platform's session."""
        if isinstance(found, ValidationSession):
            return cls(
                kind="validation",
                training_session_id=found.training_session_id,
                **_common(found),
            )
        return cls(
            kind="training",
            experiment=found.experiment,
            model=found.model,
            train_group=found.train_group,
            val_group=found.val_group,
            training_run_id=found.run_id,
            model_id=found.model_id,
            **_common(found),
        )


def _common(found: TrainingSession | ValidationSession) -> dict[str, Any]:
    return {
        "id": found.id,
        "wire_id": found.wire_id,
        "name": found.name,
        "description": found.description,
        "project": found.project,
        "dataset_name": found.dataset,
        "annotation_set": found.annotation_set,
        "params": found.params,
        "status": found.status,
        "task_id": None if found.task is None else found.task.wire_id,
        "here": found.own,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
    }


class FileShape(Result):
    """A file of a session or task. Size in bytes."""

    path: str
    size: int
    created_at: datetime
    download_url: str | None = None

    @classmethod
    def of(cls, found: StoredFile, call: Call) -> FileShape:
        """From the platform's file; with a signed URL where an HTTP server can serve it."""
        url = None
        if found.sha256 is not None:
            kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
            url = call.blob_url(found.sha256, mime_type=kind, filename=found.name)
        return cls(path=found.path, size=found.size, created_at=found.created_at, download_url=url)


def tried(
    kind: str, deed: Callable[[Any, Call], Any], *, count: int | None = 1
) -> Callable[[Any, Call], Plan]:
    """A plan that does the deed in a transaction that is taken back; it tells ``kind``, and of what.

    What outside work tells of itself is no data: the change history, and with it undo, does not know it.
    ``count`` None: of its files.
    """

    def plan(args: Any, call: Call) -> Plan:
        with call.studio.database.unit_of_work(rehearsal=True):
            told = deed(args, call)
        number = len(told.files) if count is None else count
        name = told.session.name if hasattr(told, "session") else getattr(told, "name", None)
        return Plan((Affected(kind, number, name=name),), undoable=False)

    return plan


def project_row(call: Call, name: str | None) -> int | None:
    """The row of a project; None for no name."""
    return None if name is None else call.studio.projects.get(call.principal, name).row_id


def dataset_and_set(
    call: Call, dataset_name: str | None, annotation_set: str | None
) -> tuple[Dataset | None, int | None]:
    """A dataset, and the row of one of its annotation sets (default: ``default``)."""
    if dataset_name is None:
        if annotation_set is not None:
            raise InvalidInput(
                "annotation_set needs dataset_name.",
                code="dataset_missing",
                fix="Name the dataset that the annotation set is of.",
            )
        return None, None
    dataset = call.studio.datasets.get(call.principal, dataset_name)
    with call.studio.database.read() as connection:
        return dataset, set_row_id(connection, dataset.row_id, annotation_set or "default")


def next_before(found: Sequence[Any], limit: int) -> str | None:
    """What lists the next page, if there may be one."""
    return found[-1].wire_id if len(found) == limit else None
