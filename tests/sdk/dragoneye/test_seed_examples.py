"""What the SDK's documentation shows, block by block: the quick start, media, gap frames, errors, shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.dragoneye import DragoneyeSdk
from support.predicting import PICTURE, scenes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``photo.png`` and ``example.mp4``, in which an object is missed in one frame of six."""
    made = tmp_path_factory.mktemp("seed")
    (made / "photo.png").write_bytes(PICTURE)
    scenes(made / "example.mp4", [n / 2 for n in range(12)], bare={2.0})
    return made


def test_quick_start(sdk: DragoneyeSdk, folder: Path) -> None:
    image, video, printed = sdk.run(
        """
        from dragoneye import Dragoneye, Image, Video

        image = Image.from_path(f"{folder}/photo.png")
        image_result = await client.classification.predict_image(
            media=image, model_name="recognize_anything/cells"
        )
        video = Video.from_path(path=f"{folder}/example.mp4", name="any-file-name")
        video_result = await client.classification.predict_video(
            media=video, model_name="recognize_anything/cells"
        )
        printed = []
        for obj in image_result.objects:
            bbox = obj.bbox_observation.normalized_bbox
            top_category = max(obj.categories, key=lambda c: c.score)
            printed.append(f"Category: {top_category.name} ({top_category.score:.2f})")
            for attr in top_category.attributes:
                printed.append(f"  {attr.attribute_name}: {attr.option_name} ({attr.score:.2f})")
        return image_result, video_result, printed
        """,
        folder=str(folder),
    )
    assert sorted(printed) == ["Category: blue (1.00)", "Category: red (1.00)"]
    assert image["original_file_name"] == "photo.png"
    assert (video["original_file_name"], video["frames_per_second"]) == ("any-file-name", 1)
    assert video["frame_timestamps_microseconds"] == [n * 1_000_000 for n in range(6)]


def test_the_key_from_the_environment(sdk: DragoneyeSdk) -> None:
    base = f"{sdk.server.url}/dragoneye"
    status = sdk.run(
        """
        import os
        os.environ["DRAGONEYE_API_KEY"] = key
        own = dragoneye.Dragoneye(max_retries=10, max_backoff_time=120, base_api_url=base)
        begun = await own.classification._begin_prediction_task("image/png", None, None)
        return await own.classification.status(prediction_task_uuid=begun.prediction_task_uuid)
        """,
        key=sdk.key,
        base=base,
    )
    assert (status["prediction_type"], status["status"]) == ("image", "awaiting_upload")


def test_media_classes(sdk: DragoneyeSdk, folder: Path) -> None:
    """Every constructor, as it is documented; each picture is predicted."""
    names, counts = sdk.run(
        """
        from dragoneye import Image
        path = f"{folder}/photo.png"
        raw_bytes = open(path, "rb").read()
        media = [
            Image.from_path(path=path, name="my-photo", mime_type=None, guess_from_extension=True,
                            read_into_memory=False),
            Image.from_path(path=path, mime_type="image/png", guess_from_extension=False,
                            read_into_memory=True),
            Image.from_bytes(data=raw_bytes, mime_type="image/jpeg", name="my-photo"),
            Image.from_stream(stream=open(path, "rb"), mime_type="image/png"),
        ]
        predict = client.classification.predict_image
        found = [await predict(each, "cells", timeout_seconds=60) for each in media]
        return [each.original_file_name for each in found], [len(each.objects) for each in found]
        """,
        folder=str(folder),
    )
    assert names == ["my-photo", "photo.png", "my-photo", None]
    assert counts == [2] * 4


def test_a_video_from_a_stream_and_its_gap_frames(sdk: DragoneyeSdk, folder: Path) -> None:
    drawn, gaps, timeline = sdk.run(
        """
        from dragoneye import Video
        media = Video.from_stream(stream=open(f"{folder}/example.mp4", "rb"), mime_type="video/mp4",
                                  name="my-clip")
        result = await client.classification.predict_video(media, "recognize_anything/cells",
                                                           frames_per_second=2, timeout_seconds=60)
        drawn, gaps = [], []
        for obj in result.objects:
            for obs in obj.bbox_observations:
                if obs.observation is None:
                    gaps.append(obs.timestamp_microseconds)
                    continue  # gap frame
                x1, y1, x2, y2 = obs.observation.normalized_bbox
                drawn.append([obj.object_id, obs.timestamp_microseconds, x1 < x2 and y1 < y2])
        return drawn, gaps, result.frame_timestamps_microseconds
        """,
        folder=str(folder),
    )
    assert drawn == [[1, at, True] for at in timeline if at != 2_000_000]
    assert gaps == [2_000_000]
    assert timeline == [n * 500_000 for n in range(12)]


def test_error_handling(sdk: DragoneyeSdk, folder: Path) -> None:
    script = """
        from dragoneye import Dragoneye, Image
        from dragoneye.types.exception import (
            PredictionTimeoutException,
            PredictionTaskError,
            PredictionUploadError,
        )
        image = Image.from_bytes(data, "image/png") if bad else Image.from_path(path)
        try:
            await client.classification.predict_image(media=image, model_name=model, timeout_seconds=timeout)
        except PredictionTimeoutException:
            return "Prediction timed out"
        except PredictionUploadError:
            return "Failed to upload media"
        except PredictionTaskError:
            return "Prediction task failed on the server"
        return "done"
        """.replace("data,", "b'no picture',")
    told = [
        sdk.run(script, path=str(folder / "photo.png"), **values)
        for values in (
            {"bad": False, "model": "recognize_anything/cells", "timeout": 60},
            {"bad": False, "model": "recognize_anything/cells", "timeout": 0},
            {"bad": True, "model": "recognize_anything/cells", "timeout": 60},
            {"bad": False, "model": "recognize_anything/your_model_name", "timeout": 60},
        )
    ]
    failed = "Prediction task failed on the server"
    assert told == ["done", "Prediction timed out", failed, failed]
