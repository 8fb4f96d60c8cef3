"""The five methods of the published SDK against this server: pictures and videos, from bytes to objects."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from support.dragoneye import DragoneyeSdk
from support.predicting import ON, PICTURE, scenes

from tintype_studio.predictions.shapes import name_id

PREDICT_IMAGE = """
import base64
picture = dragoneye.Image.from_bytes(base64.b64decode(data), mime_type="image/png", name=name)
return await client.classification.predict_image(picture, model, **more)
"""


def predict_image(
    sdk: DragoneyeSdk,
    data: bytes = PICTURE,
    *,
    name: str | None = None,
    model: str = "recognize_anything/cells",
    **more: Any,
) -> Any:
    """What the SDK answers about a picture."""
    values = {"data": b64encode(data).decode(), "name": name, "model": model, "more": more}
    return sdk.run(PREDICT_IMAGE, **values)


def test_a_picture(sdk: DragoneyeSdk) -> None:
    found = predict_image(sdk, name="wänd № 1.png")
    assert found["original_file_name"] == "wänd № 1.png"
    assert [each["object_id"] for each in found["objects"]] == [1, 2]
    boxes = {o["categories"][0]["name"]: o["bbox_observation"]["normalized_bbox"] for o in found["objects"]}
    assert boxes == {"red": [0.25, 0.5, 0.5, 0.75], "blue": [0.75, 0, 1, 0.25]}
    (category,) = found["objects"][0]["categories"]
    assert category["category_id"] == name_id(category["name"])
    status = sdk.run("return await client.classification.status(task)", task=found["prediction_task_uuid"])
    assert status == {
        "prediction_task_uuid": found["prediction_task_uuid"],
        "prediction_type": "image",
        "status": "predicted",
    }
    again = sdk.run(
        "return await client.classification.get_image_results(task)", task=found["prediction_task_uuid"]
    )
    assert again == found


def test_a_base_address_with_a_slash_and_fields_that_nobody_knows(sdk: DragoneyeSdk) -> None:
    slashed = sdk.with_options(base_api_url=f"{sdk.server.url}/dragoneye/")
    assert len(predict_image(slashed, whatever="1")["objects"]) == 2


PREDICT_VIDEO = """
from pathlib import Path
video = dragoneye.Video.from_path(path, name=name)
return await client.classification.predict_video(video, model, **more)
"""


def predict_video(
    sdk: DragoneyeSdk, path: Path, *, model: str = "recognize_anything/cells", **more: Any
) -> Any:
    """What the SDK answers about a video."""
    values = {"path": str(path), "name": path.name, "model": model, "more": more}
    return sdk.run(PREDICT_VIDEO, **values)


def test_a_video(sdk: DragoneyeSdk, tmp_path: Path) -> None:
    video = scenes(tmp_path / "Straße.mp4", [n / 4 for n in range(24)], until=3)
    found = predict_video(sdk, video, frames_per_second=2)
    assert (found["original_file_name"], found["frames_per_second"]) == ("Straße.mp4", 2)
    assert found["frame_timestamps_microseconds"] == [n * 500_000 for n in range(12)]
    red = next(each for each in found["objects"] if each["categories"][0]["name"] == "red")
    assert red["timestamp_ranges"] == [
        {"timestamp_start_us_inclusive": 0, "timestamp_end_us_inclusive": 2_500_000}
    ]
    assert [each["timestamp_microseconds"] for each in red["bbox_observations"]] == [
        n * 500_000 for n in range(6)
    ]
    first = red["bbox_observations"][0]["observation"]
    assert first["normalized_bbox"] == pytest.approx([0.25, 0.5, 0.5, 0.75], abs=0.01)
    again = sdk.run(
        "return await client.classification.get_video_results(task)", task=found["prediction_task_uuid"]
    )
    assert again == found


def test_attributes(sdk: DragoneyeSdk, tmp_path: Path) -> None:
    """One option with its score in a picture, and with its span in a video."""
    picture = predict_image(sdk, model="recognize_anything/states@1.0.0")
    video = predict_video(sdk, scenes(tmp_path / "a.mp4", range(4)), model="states")
    ids = {
        "attribute_id": name_id("red", "State"),
        "attribute_name": "State",
        "option_id": name_id("red", "State", "on"),
        "option_name": "on",
    }
    score = pytest.approx(ON, abs=0.01)
    by_name = {o["categories"][0]["name"]: o["categories"][0]["attributes"] for o in picture["objects"]}
    assert by_name == {"red": [{**ids, "score": score}], "blue": []}
    (red,) = video["objects"]
    span = {"timestamp_start_us_inclusive": 0, "timestamp_end_us_inclusive": 3_000_000, "score": score}
    assert red["categories"][0]["attributes"] == [{**ids, "timestamp_ranges": [span]}]


def test_a_rate_that_nobody_says_is_one(sdk: DragoneyeSdk, tmp_path: Path) -> None:
    found = predict_video(sdk, scenes(tmp_path / "a.mp4", [n / 4 for n in range(12)]))
    assert found["frames_per_second"] == 1
    assert found["frame_timestamps_microseconds"] == [0, 1_000_000, 2_000_000]
