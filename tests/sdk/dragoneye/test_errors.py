"""The five exceptions of the published SDK, each where its documentation says, with what it tells."""

from __future__ import annotations

import threading
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from support.dragoneye import DragoneyeSdk, studio_of
from support.predicting import PICTURE, scenes
from support.ready_models import png, scene

STEPS = """
import base64
picture = dragoneye.Image.from_bytes(base64.b64decode(data), mime_type=mime_type)
await client.classification.predict_image(picture, model, **more)
"""


def fails(
    sdk: DragoneyeSdk,
    data: bytes = PICTURE,
    mime_type: str = "image/png",
    model: str = "recognize_anything/cells",
    **more: Any,
) -> tuple[str, str]:
    """Class and message of what a prediction raises."""
    values = {"data": b64encode(data).decode(), "mime_type": mime_type, "model": model, "more": more}
    error = sdk.fails(STEPS, **values)
    return error["type"], error["message"]


def begun(sdk: DragoneyeSdk, mime_type: str = "image/png") -> str:
    """A task without a file."""
    return str(
        sdk.run(
            """
            begun = await client.classification._begin_prediction_task(
                mime_type=mime_type, frames_per_second=None, file_name=None
            )
            return begun.prediction_task_uuid
            """,
            mime_type=mime_type,
        )
    )


def test_a_prediction_that_cannot_begin(sdk: DragoneyeSdk, tmp_path: Path) -> None:
    video = scenes(tmp_path / "a.mp4", [0, 1])
    script = "await client.classification.predict_video(dragoneye.Video.from_path(path), 'm', **more)"
    for fps, message in ((0, "greater than or equal to 1"), (61, "less than or equal to 60")):
        error = sdk.fails(script, path=str(video), more={"frames_per_second": fps})
        assert error["type"] == "PredictionTaskBeginError"
        assert message in error["message"]
    wrong_key = sdk.with_key("pk_live_wrong")
    assert fails(wrong_key)[0] == "PredictionTaskBeginError"
    viewer = fails(sdk.as_("viewer"))
    assert viewer[0] == "PredictionTaskBeginError"
    assert "role" in viewer[1]


def test_a_file_that_cannot_come(sdk: DragoneyeSdk) -> None:
    kind, _ = fails(sdk, bytes(50 * 1024**2 + 1))
    assert kind == "PredictionUploadError"


def test_a_task_that_fails(sdk: DragoneyeSdk) -> None:
    for data, code in ((b"no picture", "invalid_image"), (PICTURE[:90], "truncated_image")):
        assert fails(sdk, data) == ("PredictionTaskError", f"Prediction task failed: failed_{code}")
    kind, message = fails(sdk, model="recognize_anything/bells")
    assert kind == "PredictionTaskError"
    assert "404" in message


def test_time_that_is_up(sdk: DragoneyeSdk) -> None:
    """A task that waits is asked about until then."""
    assert fails(sdk, timeout_seconds=0)[0] == "PredictionTimeoutException"
    error = sdk.fails(
        "await client.classification._wait_for_prediction_task_completion(task, 0.1, timeout_seconds=1)",
        task=begun(sdk),
    )
    assert error["type"] == "PredictionTimeoutException"


def test_results_that_are_not_there(sdk: DragoneyeSdk) -> None:
    task = begun(sdk)
    unavailable = "PredictionTaskResultsUnavailableError"
    for kind in ("image", "video"):
        error = sdk.fails(f"await client.classification.get_{kind}_results(task)", task=task)
        assert error["type"] == unavailable
        assert "awaiting_upload" in error["message"]
    error = sdk.fails("await client.classification.get_image_results('none')")
    assert (error["type"], "No prediction task" in error["message"]) == (unavailable, True)


def test_a_task_of_another_organization(sdk: DragoneyeSdk) -> None:
    task = begun(sdk)
    stranger = sdk.as_("elsewhere")
    error = stranger.fails("await client.classification.get_image_results(task)", task=task)
    assert error["type"] == "PredictionTaskResultsUnavailableError"
    error = stranger.fails("await client.classification.status(task)", task=task)
    assert error["type"] == "ClientResponseError"
    assert error["message"] == "Not Found"


def test_an_upload_that_was_never_made(sdk: DragoneyeSdk) -> None:
    task = begun(sdk)
    statuses = sdk.run(
        """
        import aiohttp
        found = []
        async with aiohttp.ClientSession(headers={"X-API-Key": client.api_key}) as session:
            for form in (
                {"model_name": "recognize_anything/cells", "prediction_task_uuid": task},
                {"model_name": "recognize_anything/bells", "prediction_task_uuid": task},
                {"model_name": "recognize_anything/cells"},
                {"prediction_task_uuid": task},
                {"model_name": "recognize_anything/cells", "prediction_task_uuid": "none"},
            ):
                async with session.post(f"{client.base_api_url}/predict", data=form) as answer:
                    found.append([answer.status, (await answer.json())["error"]["code"]])
            begin = f"{client.base_api_url}/prediction-task/begin"
            for form in (
                {"mimetype": "application/pdf"},
                {"mimetype": "image/png", "response_version": "json"},
                {"mimetype": "video/mp4", "frames_per_second": "1.5"},
                {},
            ):
                async with session.post(begin, data=form) as answer:
                    found.append([answer.status, (await answer.json())["error"]["code"]])
        return found
        """,
        task=task,
    )
    assert statuses == [
        [409, "upload_missing"],
        [404, "model_not_found"],
        [422, "missing_field"],
        [422, "missing_field"],
        [404, "prediction_task_not_found"],
        [400, "wrong_media"],
        [400, "unknown_response_version"],
        [400, "invalid_field"],
        [400, "missing_field"],
    ]
    status = sdk.run("return await client.classification.status(task)", task=task)
    assert status["status"] == "awaiting_upload"


def test_a_prediction_is_asked_for_twice(sdk: DragoneyeSdk) -> None:
    """As after an answer that was lost: one job, one charge."""
    with studio_of(sdk.server) as studio:
        owner = studio.keys.authenticate(sdk.key)
        before = studio.ledger.available(owner)
        answers = sdk.run(
            """
            import asyncio, aiohttp, base64
            begun = await client.classification._begin_prediction_task(
                mime_type="image/png", frames_per_second=None, file_name=None
            )
            picture = dragoneye.Image.from_bytes(base64.b64decode(data), mime_type="image/png")
            await client.classification._upload_media_to_prediction_task(picture, begun.signed_urls[0])
            form = {"model_name": "cells", "prediction_task_uuid": begun.prediction_task_uuid}
            async with aiohttp.ClientSession(headers={"X-API-Key": client.api_key}) as session:
                async def ask():
                    async with session.post(f"{client.base_api_url}/predict", data=form) as answer:
                        return answer.status
                return [await asyncio.gather(*(ask() for _ in range(4))), await ask()]
            """,
            data=b64encode(PICTURE).decode(),
        )
        assert answers == [[200] * 4, 200]
        assert studio.ledger.available(owner) == before - 1


def test_too_many_calls_are_sent_again(sdk: DragoneyeSdk) -> None:
    """429 by 429 with what the SDK waits between; with one try, its exception."""
    with studio_of(sdk.server) as studio:
        owner = studio.keys.authenticate(sdk.server.keys["owner"])
        key, made = studio.keys.create(owner, name="slow", role=owner.role, rate_limit=1)
        slow = sdk.with_key(key).with_options(max_retries=1)
        slow.run("return await client.classification._begin_prediction_task('image/png', None, None)")
        assert fails(slow)[0] == "PredictionTaskBeginError"
        patient = sdk.with_key(key).with_options(max_retries=20, max_backoff_time=60)
        later = threading.Timer(0.7, lambda: studio.keys.update(owner, made.id, rate_limit=100))
        later.start()
        assert patient.run(STEPS_DONE, data=b64encode(png(scene(64, 64))).decode()) == 0
        later.join()


STEPS_DONE = """
import base64
picture = dragoneye.Image.from_bytes(base64.b64decode(data), mime_type="image/png")
return len((await client.classification.predict_image(picture, "recognize_anything/cells")).objects)
"""


def test_the_media_classes_refuse_by_themselves(sdk: DragoneyeSdk) -> None:
    error = sdk.fails("dragoneye.Image.from_bytes(b'', mime_type='video/mp4')")
    assert error["type"] == "ValueError"


@pytest.mark.parametrize("fields", [{"objects": "car"}, {"confidence_threshold": "much"}])
def test_extra_fields_that_are_known_are_checked(sdk: DragoneyeSdk, fields: dict[str, str]) -> None:
    kind, message = fails(sdk, **fields)
    assert kind == "PredictionTaskError"
    assert "422" in message
