"""Dry runs of what begins a prediction."""

from __future__ import annotations

from typing import Any

from support.dry_world import Ready, Refusals, World

READY: Ready = {
    "create_prediction_task": lambda w: {
        "mime_type": "video/mp4",
        "file_name": "a.mp4",
        "frames_per_second": 2,
    }
}
REFUSED: Refusals = [
    ("create_prediction_task", "wrong_media", lambda w: {"mime_type": "application/pdf"}),
]


def _begun(world: World, told: dict[str, Any], outcome: Any) -> None:
    (affected,) = told["affected"]
    assert (affected["kind"], affected["count"], affected["name"]) == ("prediction_task.created", 1, "a.mp4")
    assert told["undoable"] is False
    (task,) = world.runtime.studio.predictions.list(world.owner)
    assert (task.id, task.frames_per_second) == (outcome.value["prediction_task_uuid"], 2)


DONE = {"create_prediction_task": _begun}
NOT_UNDOABLE = {"create_prediction_task"}
