"""The prediction tools: what they ask, answer, draw, save, charge and refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")

from support.jobs import books, turn
from support.pictures import jpeg
from support.predicted import SECOND, car, of_picture, of_video, recorded
from support.predicting import PICTURE, add_cells, begun, scenes
from support.videos import clip

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.annotations.geometry import BBoxAnnotation
from tintype_studio.errors import Conflict, InvalidInput, NotFound, TintypeError, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.pool import Pool
from tintype_studio.predictions.shapes import MediaPrediction, Observation, TimeRange, name_id
from tintype_studio.predictions.task import PredictionTask
from tintype_studio.training.models import Model
from tintype_tools.call import Outcome, Request


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """One workspace for all: what the tests make is their own."""
    opened = Runtime.open(Settings(home=tmp_path_factory.mktemp("predictions") / "home"))
    opened.studio.jobs.supervisor.enabled = False
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def cells(runtime: Runtime) -> Model:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    return add_cells(runtime.studio, owner, runtime.studio.datasets.create(owner, name="board"), heads=True)


@pytest.fixture(scope="module")
def drive(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> PredictionTask:
    """A predicted clip of five seconds."""
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    return recorded(runtime.studio, owner, clip(tmp_path_factory.mktemp("film"), seconds=5), of_video())


def call(runtime: Runtime, tool: str, *, key: str | None = None, **arguments: Any) -> Outcome:
    more = {name: arguments.pop(name) for name in ("dry_run", "max_response_tokens") if name in arguments}
    return runtime.dispatch(
        Request(
            tool=tool,
            arguments=arguments,
            api_key=key or runtime.local_api_key(),
            door="toolkit",
            files=everything(runtime.settings),
            base_url="http://here",
            **more,
        )
    )


def refused(runtime: Runtime, kind: type[TintypeError], tool: str, **arguments: Any) -> str:
    with pytest.raises(kind) as error:
        call(runtime, tool, **arguments)
    return error.value.code


def results(runtime: Runtime, task: PredictionTask, **arguments: Any) -> dict[str, Any]:
    answer = call(runtime, "get_prediction_results", prediction_task_uuid=task.id, **arguments)
    prediction: dict[str, Any] = answer.value["prediction"]
    return prediction


# --- Pictures -----------------------------------------------------------------------------------------------


def test_any_file_is_predicted_and_remembered(
    runtime: Runtime, owner: Principal, cells: Model, tmp_path: Path
) -> None:
    (tmp_path / "scene.png").write_bytes(PICTURE)
    balance, _ = books(runtime.studio, owner)
    asked = {"model": "recognize_anything/cells", "local_path": str(tmp_path / "scene.png")}
    answer = call(runtime, "predict_image", **asked)
    value = answer.value
    assert (value["status"], value["original_file_name"], value["model"]) == (
        "success",
        "scene.png",
        "cells@1.0.0",
    )
    assert len(answer.pictures) == 1
    assert books(runtime.studio, owner) == (balance - 1, 0)
    (red,) = [each for each in value["objects"] if each["categories"][0]["name"] == "red"]
    assert red["bbox_observation"]["normalized_bbox"] == [0.25, 0.5, 0.5, 0.75]
    assert red["categories"][0]["category_id"] == name_id("red")
    task = runtime.studio.predictions.get(owner, value["prediction_task_uuid"])
    assert results(runtime, task)["objects"] == value["objects"]
    again = call(runtime, "predict_image", **asked | {"model": cells.id}).value
    assert again["objects"] == value["objects"]
    seen = call(runtime, "preview_prediction", prediction_task_uuid=task.id, max_side=128)
    assert (seen.value["shown"], seen.pictures[0].width) == ("picture", 128)


def test_a_task_is_predicted_by_a_job(runtime: Runtime, owner: Principal, cells: Model, pool: Pool) -> None:
    task = begun(runtime.studio, owner, file_name="sent.png")
    balance, _ = books(runtime.studio, owner)
    asked = {"model": "cells", "prediction_task_uuid": task.id, "wait_seconds": 0}
    first = call(runtime, "predict_image", **asked).value
    assert (first["status"], first["objects"], first["job"]["status"]) == ("queued", [], "queued")
    status = call(runtime, "get_prediction_status", prediction_task_uuid=task.id).value
    assert (status["status"], status["job_id"]) == ("queued", first["job"]["job_id"])
    assert refused(runtime, Conflict, "get_prediction_results", prediction_task_uuid=task.id) == (
        "prediction_not_ready"
    )
    turn(runtime.studio, runtime.studio.jobs.get(owner, status["job_id"]), pool)
    second = call(runtime, "predict_image", **asked).value
    assert (second["status"], len(second["objects"])) == ("success", 2)
    assert books(runtime.studio, owner) == (balance - 1, 0), "asking again costs nothing"
    assert refused(runtime, Conflict, "predict_image", **asked | {"model": cells.id}) == "prediction_started"


def test_one_thing_is_asked_about(runtime: Runtime, cells: Model, tmp_path: Path) -> None:
    assert refused(runtime, InvalidInput, "predict_image", model="cells") == "invalid_selection"
    both = {"image_uuid": "a", "local_path": "b"}
    assert refused(runtime, InvalidInput, "predict_image", model="cells", **both) == "invalid_selection"
    film = {"local_path": str(clip(tmp_path))}
    assert refused(runtime, InvalidInput, "predict_image", model="cells", **film) in {
        "invalid_image",
        "unsupported_format",
    }
    (tmp_path / "a.jpg").write_bytes(jpeg())
    words = {"model": "recognize_anything/open_vocabulary", "local_path": str(tmp_path / "a.jpg")}
    assert refused(runtime, Unavailable, "predict_image", **words) == "model_not_ready"
    unknown = {"model": "cell", "local_path": str(tmp_path / "a.jpg")}
    with pytest.raises(NotFound) as error:
        call(runtime, "predict_image", **unknown)
    assert "cells" in error.value.fix


# --- Videos -------------------------------------------------------------------------------------------------


def test_a_video_is_told_object_by_object(runtime: Runtime, drive: PredictionTask) -> None:
    value = results(runtime, drive)
    assert value["frame_timestamps_microseconds"] == [n * SECOND for n in range(5)]
    assert (value["width"], value["height"], value["frame_count"], value["duration_seconds"]) == (
        320,
        96,
        5,
        5,
    )
    light, other = value["objects"]
    assert light["timestamp_ranges"] == [
        {"timestamp_start_us_inclusive": 0, "timestamp_end_us_inclusive": 3 * SECOND}
    ]
    assert len(other["timestamp_ranges"]) == 2
    assert (light["observation_count"], light["gap_count"]) == (4, 1)
    gap = light["bbox_observations"][1]
    assert gap == {"timestamp_microseconds": SECOND}, "a frame in which it was missed"
    best, second = light["categories"]
    assert (best["name"], best["score"], second["name"]) == ("light", 0.8, "sign")
    green, red = best["attributes"]
    assert green["attribute_id"] == red["attribute_id"] == name_id("light", "state")
    assert (green["option_name"], red["option_name"]) == ("green", "red")
    assert red["option_id"] == name_id("light", "state", "red")
    assert red["timestamp_ranges"] == [
        {
            "timestamp_start_us_inclusive": 2 * SECOND,
            "timestamp_end_us_inclusive": 3 * SECOND,
            "score": 0.71,
        }
    ]


def test_results_by_object_by_time_and_without_boxes(runtime: Runtime, drive: PredictionTask) -> None:
    (one,) = results(runtime, drive, object_id=2, observations="all")["objects"]
    assert [o["timestamp_microseconds"] for o in one["bbox_observations"]] == [0, 3 * SECOND]
    bare = results(runtime, drive, observations="none")["objects"]
    assert ["bbox_observations" in each for each in bare] == [False, False]
    middle = results(runtime, drive, start_microseconds=SECOND, end_microseconds=2 * SECOND)
    assert middle["frame_timestamps_microseconds"] == [SECOND, 2 * SECOND]
    ((light),) = middle["objects"]
    assert (light["object_id"], light["observation_count"], light["gap_count"]) == (1, 2, 1)
    late = results(runtime, drive, start_microseconds=4 * SECOND)
    assert (late["objects"], late["frame_count"]) == ([], 1)
    ask = {"prediction_task_uuid": drive.id}
    assert refused(runtime, NotFound, "get_prediction_results", object_id=7, **ask) == "object_not_found"
    backwards = {"start_microseconds": 5, "end_microseconds": 4}
    assert refused(runtime, InvalidInput, "get_prediction_results", **backwards, **ask) == "invalid_span"


def test_a_long_answer_is_cut_object_by_object(runtime: Runtime, owner: Principal, tmp_path: Path) -> None:
    many = of_video(*[car(number) for number in range(1, 301)])
    task = recorded(runtime.studio, owner, tmp_path / "many.mp4", many)
    ask = {"prediction_task_uuid": task.id, "max_response_tokens": 4000}
    value = call(runtime, "get_prediction_results", **ask).value
    (cut,) = value["_truncated"]["cuts"]
    assert cut["path"] == "prediction.objects"
    ids = [each["object_id"] for each in value["prediction"]["objects"]]
    cursor = cut["cursor"]
    while cursor:
        page = call(runtime, "read_more", cursor=cursor, max_response_tokens=4000).value
        ids += [each["object_id"] for each in page["items"]]
        cursor = page["_truncated"]["cuts"][0]["cursor"] if "_truncated" in page else None
    assert ids == list(range(1, 301))


def test_a_long_object_is_sampled(runtime: Runtime, owner: Principal, tmp_path: Path) -> None:
    times = [n * SECOND for n in range(600)]
    seen = [
        Observation(time, None if time % 7 else (0.1, 0.1, 0.2, 0.2), None if time % 7 else 0.9)
        for time in times
    ]
    long = replace(car(1), ranges=[TimeRange(0, times[-1])], observations=seen)
    task = recorded(runtime.studio, owner, tmp_path / "long.mp4", of_video(long, seconds=600))
    value = results(runtime, task)
    (one,) = value["objects"]
    assert "frame_timestamps_microseconds" not in value
    assert value["frame_count"] == one["observation_count"] == 600
    assert len(one["bbox_observations"]) == 5
    assert all("observation" in each for each in one["bbox_observations"]), "gaps are no sample"
    whole = results(runtime, task, observations="all")
    assert len(whole["frame_timestamps_microseconds"]) == len(whole["objects"][0]["bbox_observations"]) == 600


# --- Looking ------------------------------------------------------------------------------------------------


def test_a_sheet_of_one_object_or_a_span(runtime: Runtime, drive: PredictionTask) -> None:
    ask = {"prediction_task_uuid": drive.id, "max_side": 160}
    whole = call(runtime, "preview_prediction", frames=3, **ask)
    assert whole.value["frame_timestamps_microseconds"] == [0, 2 * SECOND, 4 * SECOND]
    assert whole.pictures[0].width == whole.value["preview_width"] == 3 * 160 + 4 * 8
    one = call(runtime, "preview_prediction", object_id=2, **ask).value
    assert (one["frame_timestamps_microseconds"], one["object_count"]) == ([0, 3 * SECOND], 1)
    span = call(runtime, "preview_prediction", start_seconds=0.5, end_seconds=2.5, **ask).value
    assert span["frame_timestamps_microseconds"] == [SECOND, 2 * SECOND]
    nowhere = {"start_seconds": 0.2, "end_seconds": 0.3}
    assert refused(runtime, InvalidInput, "preview_prediction", **nowhere, **ask) == "nothing_to_show"
    assert refused(runtime, InvalidInput, "preview_prediction", start_seconds=99.0, **ask) == "invalid_span"
    assert refused(runtime, NotFound, "preview_prediction", object_id=5, **ask) == "object_not_found"


def test_a_clip_is_kept_for_a_day(
    runtime: Runtime, drive: PredictionTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = runtime.studio
    before = set(studio.blobs.digests())
    value = call(
        runtime,
        "preview_prediction",
        prediction_task_uuid=drive.id,
        show_as="clip",
        end_seconds=1.0,
        max_side=160,
    ).value
    assert value["clip_url"].startswith("http://here/_blob/")
    assert (value["clip_codec"], value["preview_width"]) == ("h264", 160)
    (made,) = set(studio.blobs.digests()) - before
    assert studio.blobs.size(made) == value["clip_size"]
    studio.recycle_bin.sweep()
    assert studio.blobs.exists(made)
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(days=1, minutes=1))
    studio.recycle_bin.sweep()
    assert not studio.blobs.exists(made)
    assert studio.blobs.exists(drive.result_sha256 or "")


# --- Who and what -------------------------------------------------------------------------------------------


def test_models_tell_how_they_are_called(runtime: Runtime, cells: Model) -> None:
    value = call(runtime, "list_prediction_models").value
    by_name = {each["name"]: each for each in value["models"]}
    trained = by_name["recognize_anything/cells"]
    assert (trained["label"], trained["ready"], trained["classes"]) == ("cells@1.0.0", True, ["red", "blue"])
    assert trained["media"] == ["image", "video"]
    engine = by_name["recognize_anything/open_vocabulary"]
    assert (engine["ready"], engine["takes_objects"]) == (False, True)
    assert engine["fix"]
    ready = call(runtime, "list_prediction_models", ready_only=True, limit=1).value
    assert [each["label"] for each in ready["models"]] == ["cells@1.0.0"]


def test_a_viewer_reads_and_a_member_asks(runtime: Runtime, owner: Principal, drive: PredictionTask) -> None:
    viewer = runtime.studio.keys.create(owner, name="eyes", role=Role.VIEWER)[0]
    assert call(runtime, "get_prediction_status", key=viewer, prediction_task_uuid=drive.id).value[
        "status"
    ] == ("predicted")
    for tool, arguments in [
        ("predict_video", {"model": "cells", "prediction_task_uuid": drive.id}),
        ("save_predictions", {"dataset_name": "board", "prediction_task_uuid": drive.id}),
    ]:
        assert refused(runtime, TintypeError, tool, key=viewer, **arguments) == "role_required"


def test_saved_predictions_are_drafts_until_they_are_taken_back(
    runtime: Runtime, owner: Principal, pool: Pool, drive: PredictionTask
) -> None:
    call(runtime, "create_dataset", name="lights")
    started = call(
        runtime, "save_predictions", prediction_task_uuid=drive.id, dataset_name="lights", wait_seconds=0
    )
    job = runtime.studio.jobs.get(owner, started.value["job"]["job_id"])
    turn(runtime.studio, job, pool)
    listed = call(runtime, "list_dataset_files", dataset_name="lights").value["images"]
    assert [image["filename"] for image in listed] == [f"drive_{n:06d}.jpg" for n in (0, 2, 3)]
    accepted = call(runtime, "accept_annotations", dataset_name="lights").value
    assert (accepted["annotations"], accepted["left"]) == (5, 0)
    annotations = call(runtime, "get_annotations", image_uuid=listed[0]["id"]).value["annotations"]
    assert {"track": f"{drive.id}/1"} in annotations[0]["attributes"]


def test_from_a_turned_video_to_drafts_on_its_frames(
    runtime: Runtime, owner: Principal, cells: Model, pool: Pool, tmp_path: Path
) -> None:
    """Uneven times, a phone's rotation, and a cell that changes place, colour and class at 2 s."""
    times = [0.0, 0.2, 0.9, 1.1, 1.5, 2.0, 2.3, 2.4, 3.1, 3.5]
    film = scenes(tmp_path / "phone.mp4", times, rotation=90, until=2.0)
    call(runtime, "create_dataset", name="phone")
    balance, _ = books(runtime.studio, owner)
    ask = {"model": "cells", "local_path": str(film), "frames_per_second": 2, "wait_seconds": 0}
    task_id = call(runtime, "predict_video", **ask).value["task"]["prediction_task_uuid"]
    task = runtime.studio.predictions.get(owner, task_id)
    turn(runtime.studio, runtime.studio.jobs.get(owner, task.job_id or ""), pool)
    assert books(runtime.studio, owner) == (balance - 10, 0)
    found = {each["categories"][0]["name"]: each for each in results(runtime, task)["objects"]}
    assert set(found) == {"red", "blue"}
    (state,) = found["red"]["categories"][0]["attributes"]
    assert (state["attribute_name"], state["option_name"]) == ("State", "on")
    save = {"prediction_task_uuid": task_id, "dataset_name": "phone", "wait_seconds": 0}
    job = runtime.studio.jobs.get(owner, call(runtime, "save_predictions", **save).value["job"]["job_id"])
    turn(runtime.studio, job, pool)
    images = call(runtime, "list_dataset_files", dataset_name="phone").value["images"]
    looked_at = results(runtime, task)["frame_timestamps_microseconds"]
    assert len(images) == len(looked_at), "one of the two is in every frame"
    for image in images:
        sample = runtime.studio.samples.get(owner, image["id"])
        pixels = np.asarray(Image.open(BytesIO(runtime.studio.samples.image_bytes(sample)))).astype(int)
        (draft,) = runtime.studio.documents.get(owner, sample.id)[1]
        assert isinstance(draft, BBoxAnnotation)
        own = 0 if draft.name == "red" else 2
        rows, columns = np.nonzero(pixels[..., own] - pixels[..., 1] > 80)
        box = draft.bounding_box
        seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (box.x, box.y, box.x + box.w, box.y + box.h) == pytest.approx(seen, abs=3)
        assert ({"State": "on"} in draft.attributes) is (draft.name == "red")


def test_what_is_stored_comes_back_as_it_was() -> None:
    for prediction in (of_video(), of_picture()):
        assert MediaPrediction.from_json(prediction.as_json()) == prediction
