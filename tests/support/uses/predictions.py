"""What every door does with predictions: ask, follow, read, look, save."""

from __future__ import annotations

from typing import Any

import httpx
from support.door_world import World
from support.doors import Door, Refused
from support.predicted import SECOND, of_video, recorded
from support.uses.models import _working_model
from support.uses.video import _uploaded
from support.videos import clip

from tintype_server.opening import open_studio
from tintype_server.settings import Settings

_known: dict[Any, str] = {}
"""A predicted clip that all doors look at, by workspace."""


def _predicted(world: World) -> str:
    home = world.site.home
    if home not in _known:
        studio = open_studio(Settings(home=home))
        try:
            owner = studio.keys.authenticate(world.site.owner)
            folder = world.site.folder / "predicted"
            folder.mkdir(exist_ok=True)
            _known[home] = recorded(studio, owner, clip(folder, seconds=5), of_video()).id
        finally:
            studio.close()
    return _known[home]


def use_predict_video(door: Door, world: World) -> None:
    arguments = {
        "model": _working_model(world),
        "upload_path": _uploaded(world),
        "frames_per_second": 2,
        "wait_seconds": 60,
    }
    value = door.call("predict_video", arguments).value
    assert (value["task"]["status"], value["task"]["media"]) == ("predicted", "video")
    found = value["prediction"]
    assert found["frame_timestamps_microseconds"] == [n * SECOND // 2 for n in range(8)]
    (sign,) = found["objects"]
    assert (sign["categories"][0]["name"], sign["observation_count"], sign["gap_count"]) == ("sign", 8, 0)


def use_get_prediction_status(door: Door, world: World) -> None:
    value = door.call("get_prediction_status", {"prediction_task_uuid": _predicted(world)}).value
    assert (value["status"], value["frames_per_second"], value["model"]) == ("predicted", 1, "lights@1.0.0")


def use_get_prediction_results(door: Door, world: World) -> None:
    arguments = {"prediction_task_uuid": _predicted(world), "object_id": 1, "observations": "all"}
    (one,) = door.call("get_prediction_results", arguments).value["prediction"]["objects"]
    times = [(o["timestamp_microseconds"], "observation" in o) for o in one["bbox_observations"]]
    assert times == [(0, True), (SECOND, False), (2 * SECOND, True), (3 * SECOND, True)]


def use_list_prediction_models(door: Door, world: World) -> None:
    _working_model(world)
    value = door.call("list_prediction_models", {"media": "video", "limit": 500}).value
    by_name = {model["name"]: model for model in value["models"]}
    assert by_name["recognize_anything/cells"]["classes"] == ["sign", "tree"]
    assert by_name["recognize_anything/open_vocabulary"]["takes_objects"] is True


def use_preview_prediction(door: Door, world: World) -> None:
    task = _predicted(world)
    sheet = door.call("preview_prediction", {"prediction_task_uuid": task, "frames": 2})
    assert sheet.value["frame_timestamps_microseconds"] == [0, 4 * SECOND]
    assert len(sheet.pictures) == 1
    try:
        made = door.call("preview_prediction", {"prediction_task_uuid": task, "show_as": "clip"}).value
    except Refused as refused:
        assert refused.shape["code"] == "no_http_server"  # noqa: PT017  behind a pipe nobody serves it
        return
    assert httpx.get(made["clip_url"]).content[4:8] == b"ftyp"


def use_save_predictions(door: Door, world: World) -> None:
    arguments = {
        "prediction_task_uuid": _predicted(world),
        "dataset_name": world.dataset,
        "folder_path": "/frames",
        "every_nth_frame": 2,
        "wait_seconds": 60,
    }
    value = door.call("save_predictions", arguments).value
    assert (value["job"]["status"], value["images_saved"], value["annotations_added"]) == ("completed", 2, 3)
