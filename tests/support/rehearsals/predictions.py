"""Dry runs of predictions, and of what makes work of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.dry_world import Ready, Refusals, World
from support.predicted import of_picture, of_video, recorded
from support.rehearsals.models import for_cells
from support.videos import clip


def for_image(world: World) -> dict[str, Any]:
    return {"model": for_cells(world)["model_id"], "image_uuid": world.image().id, "confidence_threshold": 0}


def for_video(world: World) -> dict[str, Any]:
    """Four seconds."""
    world.runtime.studio.jobs.supervisor.enabled = False  # nobody need do it
    model = for_cells(world)["model_id"]
    return {"model": model, "local_path": str(clip(world.folder)), "wait_seconds": 0}


def for_saving(world: World, **more: Any) -> dict[str, Any]:
    """Three frames with something in them."""
    studio = world.runtime.studio
    studio.jobs.supervisor.enabled = False
    task = recorded(studio, world.owner, clip(world.folder, seconds=5), of_video())
    return {"prediction_task_uuid": task.id, "dataset_name": "signs", "wait_seconds": 0} | more


def for_picture(world: World) -> dict[str, Any]:
    studio = world.runtime.studio
    task = recorded(studio, world.owner, Path("a.png"), of_picture(), image=world.image().id)
    return {"prediction_task_uuid": task.id, "model": "other"}


def begun(world: World) -> str:
    """A task whose file nobody has put."""
    task, _ = world.runtime.studio.predictions.begin(world.owner, media="video", mime_type="video/mp4")
    return task.id


READY: Ready = {
    "predict_image": for_image,
    "predict_video": for_video,
    "save_predictions": for_saving,
}
OPERATIONS = {"predict_image": "image_inference", "predict_video": "video_inference_per_minute"}
PRICES = {"predict_video": 10}
REFUSED: Refusals = [
    ("predict_image", "model_not_found", lambda w: {"model": "x", "image_uuid": w.image().id}),
    ("predict_image", "image_not_found", lambda w: for_image(w) | {"image_uuid": "x"}),
    ("predict_image", "invalid_selection", lambda w: for_image(w) | {"local_path": "x.png"}),
    ("predict_image", "file_not_found", lambda w: {"model": "x", "local_path": str(w.folder / "x.png")}),
    ("predict_image", "objects_not_taken", lambda w: for_image(w) | {"objects": ["tree"]}),
    ("predict_image", "prediction_started", for_picture),
    ("predict_video", "model_not_found", lambda w: for_video(w) | {"model": "x"}),
    ("predict_video", "invalid_selection", lambda w: {"model": "x"}),
    ("predict_video", "file_not_found", lambda w: for_video(w) | {"local_path": "/no/such.mp4"}),
    (
        "predict_video",
        "unsupported_format",
        lambda w: for_video(w) | {"local_path": str(w.folder / "note.jpg")},
    ),
    (
        "predict_video",
        "upload_missing",
        lambda w: {"model": for_video(w)["model"], "prediction_task_uuid": begun(w)},
    ),
    (
        "predict_video",
        "prediction_task_not_found",
        lambda w: {"model": for_video(w)["model"], "prediction_task_uuid": "x"},
    ),
    ("save_predictions", "prediction_task_not_found", lambda w: for_saving(w, prediction_task_uuid="x")),
    ("save_predictions", "prediction_not_ready", lambda w: for_saving(w, prediction_task_uuid=begun(w))),
    ("save_predictions", "dataset_not_found", lambda w: for_saving(w, dataset_name="x")),
    ("save_predictions", "invalid_name", lambda w: for_saving(w, folder_path="/../x")),
    ("save_predictions", "nothing_to_save", lambda w: for_saving(w, object_ids=[9])),
]


def _asked(world: World, told: dict[str, Any], outcome: Any) -> None:
    (affected,) = told["affected"]
    assert (affected["kind"], affected["count"], affected["minutes"]) == ("video.predicted", 1, 1)
    assert outcome.value["task"]["status"] == "queued"
    assert outcome.value["job"]["credits_held"] == told["price"]["credits"]


def _queued(world: World, told: dict[str, Any], outcome: Any) -> None:
    """The job does it later, so that the history has nothing yet."""
    (affected,) = told["affected"]
    assert (affected["kind"], affected["count"], affected["dataset"]) == ("annotations.saved", 3, "signs")
    assert (outcome.value["job"]["status"], outcome.value["total_images"]) == ("queued", 3)


DONE = {"predict_video": _asked, "save_predictions": _queued}
