"""Dry runs of changes of experiments, sessions and tasks."""

from __future__ import annotations

from typing import Any

import pytest
from support.dry_world import BOX, Ready, Refusals, World
from support.sessions import own_session, told_session, told_validation


def _experiment(world: World) -> str:
    return str(world.live("create_experiment", {"name": "tries"}).value["id"])


def _taken(world: World) -> dict[str, Any]:
    _experiment(world)
    return {"name": "tries"}


def _session(world: World) -> str:
    return told_session(world.runtime.studio, world.owner).id


def _validation(world: World) -> str:
    studio = world.runtime.studio
    return told_validation(studio, world.owner, told_session(studio, world.owner)).id


def _task(world: World) -> str:
    return str(world.live("create_task", {"name": "convert", "type": "convertor"}).value["id"])


def for_validation(world: World) -> dict[str, Any]:
    pytest.importorskip("onnx")
    from support.onnx_models import blob_detector
    from support.sessions import SIGNATURE

    studio = world.runtime.studio
    studio.jobs.supervisor.enabled = False  # nobody need do it
    world.live("save_annotations", {"image_uuid": world.image().id, "annotations": [BOX]})
    dataset = studio.datasets.get(world.owner, "signs")
    session, _ = own_session(studio, world.owner, dataset, blob_detector(SIGNATURE))
    return {"training_session_id": session.wire_id, "params": {"split": "all"}, "wait_seconds": 0}


def _file(world: World) -> dict[str, Any]:
    return {"path": "artifacts/labels.txt", "text": "sign\n"}


READY: Ready = {
    "create_experiment": lambda w: {"name": "tries"},
    "create_session": lambda w: {"experiment_id": _experiment(w), "name": "run 1", "model": "modelpack"},
    "update_session": lambda w: {"session_id": _session(w), "metrics": {"loss": 0.5}},
    "delete_sessions": lambda w: {"session_ids": [_validation(w)]},
    "start_validation": for_validation,
    "create_task": lambda w: {"name": "convert", "type": "convertor"},
    "update_task": lambda w: {"task_id": _task(w), "status": "running", "stages": [{"name": "read"}]},
    "stop_task": lambda w: {"task_id": _task(w)},
    "add_session_files": lambda w: {"session_id": _session(w), "files": [_file(w)]},
}


def _told(kind: str) -> Any:
    def check(world: World, told: dict[str, Any], outcome: Any) -> None:
        assert [(each["kind"], each["count"]) for each in told["affected"]] == [(kind, 1)]
        assert told["undoable"] is False
        assert world.runtime.studio.changes.of_call(world.owner, outcome.call_id) == []

    return check


def _measured(world: World, told: dict[str, Any], outcome: Any) -> None:
    _told("images.evaluated")(world, told, outcome)
    assert (outcome.value["job"]["status"], outcome.value["session"]["status"]) == ("queued", "queued")


DONE = {
    "update_session": _told("session.updated"),
    "start_validation": _measured,
    "create_task": _told("task.created"),
    "update_task": _told("task.updated"),
    "stop_task": _told("task.stopped"),
    "add_session_files": _told("session_files.added"),
}
NOT_UNDOABLE = {"update_session", "create_task", "update_task", "stop_task", "add_session_files"}
REFUSED: Refusals = [
    ("create_experiment", "experiment_exists", _taken),
    ("create_experiment", "project_not_found", lambda w: {"name": "tries", "project": "x"}),
    ("create_session", "experiment_not_found", lambda w: READY["create_session"](w) | {"experiment_id": "x"}),
    ("create_session", "invalid_parameters", lambda w: READY["create_session"](w) | {"params": {"a": None}}),
    ("update_session", "session_not_found", lambda w: {"session_id": "x", "name": "y"}),
    ("update_session", "nothing_to_change", lambda w: {"session_id": _session(w)}),
    ("delete_sessions", "session_not_found", lambda w: {"session_ids": ["v-99"]}),
    ("start_validation", "not_trained_here", lambda w: {"training_session_id": _session(w)}),
    ("start_validation", "session_not_found", lambda w: {"training_session_id": "t-99"}),
    ("create_task", "project_not_found", lambda w: READY["create_task"](w) | {"project": "x"}),
    ("update_task", "task_not_found", lambda w: {"task_id": "task-99", "status": "running"}),
    (
        "update_task",
        "stage_not_found",
        lambda w: {"task_id": _task(w), "stage": {"stage": "x", "percentage": 5}},
    ),
    ("stop_task", "task_not_found", lambda w: {"task_id": "x"}),
    (
        "add_session_files",
        "invalid_file_path",
        lambda w: {"session_id": _session(w), "files": [{"path": "../x", "text": ""}]},
    ),
]
