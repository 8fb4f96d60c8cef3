"""Experiments, sessions and tasks as clients read them: every field that one of them requires is there."""

from __future__ import annotations

from typing import Any

from tintype_server.edgefirst.params import stamp
from tintype_studio.experiments.parameters import without_nulls
from tintype_studio.experiments.session import Experiment, TrainingSession, ValidationSession
from tintype_studio.tasks.task import Stage, Task
from tintype_studio.wire_ids import row_of

_STATUS = {"completed": "complete"}
"""Words of jobs that clients know by another one."""
_STATES = {
    "queued": "SUBMITTED",
    "running": "RUNNING",
    "completed": "SUCCEEDED",
    "complete": "SUCCEEDED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
}


def status_word(task: Task) -> str:
    """Where a task stands: what was told of other work stays as it was told."""
    return _STATUS.get(task.status, task.status) if task.is_job else task.status


def task_wire(task: Task) -> dict[str, Any]:
    """A task in a list, or of a session."""
    return {
        "id": task.row_id,
        "name": task.name,
        "type": task.type,
        "status": status_word(task),
        "manage_type": task.manager,
        "instance_type": task.instance,
        "date": stamp(task.created_at),
    }


def task_info_wire(task: Task) -> dict[str, Any]:
    """A task by itself. A date that is not known is left out: clients take no null there."""
    told: dict[str, Any] = {
        "id": task.row_id,
        "type": task.type,
        "name": task.name,
        "project_id": task.project_row_id,
        "task_description": task.description or task.name,
        "status": status_word(task),
        "progress": {"stages": {stage.name: _stage(stage, task.row_id) for stage in task.stages}},
        "created_date": stamp(task.created_at),
    }
    if task.finished_at is not None:
        told["end_date"] = stamp(task.finished_at)
    return {name: value for name, value in told.items() if value is not None}


def _stage(stage: Stage, task_id: int) -> dict[str, Any]:
    told = {
        "stage": stage.name,
        "percentage": stage.percentage,
        "status": stage.status,
        "description": stage.description,
        "message": stage.message,
        "docker_task_id": task_id,
    }
    return {name: value for name, value in told.items() if value is not None}


def job_wire(task: Task, code: str, title: str) -> dict[str, Any]:
    """A job that was started by its app's name."""
    return {
        "task_id": task.row_id,
        "code": code,
        "title": title,
        "job_name": task.name,
        "job_id": task.job_id or task.id,
        "state": _STATES.get(task.status, task.status.upper()),
        "launch": stamp(task.created_at),
    }


def experiment_wire(found: Experiment) -> dict[str, Any]:
    """An experiment."""
    return {
        "id": found.row_id,
        "project_id": found.project_row_id,
        "name": found.name,
        "description": found.description or "",
    }


def training_wire(found: TrainingSession) -> dict[str, Any]:
    """A training session."""
    return {
        "id": found.row_id,
        "trainer_id": found.experiment_row_id,
        "model": found.model,
        "name": found.name,
        "description": found.description or "",
        "params": {
            "model_params": without_nulls(found.params),
            "dataset_params": {
                "dataset_id": found.dataset_row_id or 0,
                "annotation_set_id": found.annotation_set_row_id or 0,
                "train_group_name": found.train_group,
                "val_group_name": found.val_group,
            },
        },
        "docker_task": _task_of(found),
    }


def validation_wire(found: ValidationSession) -> dict[str, Any]:
    """A validation session; its name is its task's."""
    params = without_nulls(found.params)
    model = params.pop("model", "model.onnx")
    return {
        "id": found.row_id,
        "description": found.description or "",
        "dataset_id": found.dataset_row_id or 0,
        "experiment_id": found.experiment_row_id or 0,
        "training_session_id": found.training_session_row_id or 0,
        "gt_annotation_set_id": found.annotation_set_row_id or 0,
        "params": {
            "model_params": {"validation": params},
            "validate_params": {"model": model if isinstance(model, str) else "model.onnx"},
        },
        "docker_task": {**_task_of(found), "name": found.name},
    }


def _task_of(found: TrainingSession | ValidationSession) -> dict[str, Any]:
    if found.task is not None:
        return task_wire(found.task)
    kind = "trainer" if isinstance(found, TrainingSession) else "validation"
    return {
        "id": 0,
        "name": found.name,
        "type": kind,
        "status": "unknown",
        "instance_type": "",
        "date": stamp(found.created_at),
    }


def row_in(wire: str, prefix: str) -> int:
    """The row of an id that a tool told."""
    row_id = row_of(prefix, wire)
    if row_id is None:
        raise ValueError(f"{wire!r} is no id")
    return row_id
