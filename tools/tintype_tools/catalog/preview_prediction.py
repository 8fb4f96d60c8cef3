"""Look at a prediction: the picture, frames of the video side by side, or a clip of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.identity.roles import Role
from tintype_studio.predictions.moments import evenly
from tintype_studio.predictions.shapes import MediaPrediction
from tintype_studio.predictions.task import PredictionTask
from tintype_studio.storage.sweep import mark_for
from tintype_tools.call import Call, Output, Picture
from tintype_tools.prediction_asking import TOOLSET
from tintype_tools.prediction_shapes import TaskId
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

MAX_FRAMES = 24
TILE_SIDE = 400
CLIP_SECONDS = 10
CLIP_SIDE = 720
CHILD_SECONDS = 55.0
"""For reading, drawing and encoding."""
CLIPS_KEPT = timedelta(days=1)
MICROSECONDS = 1_000_000
Seconds = Annotated[
    float | None,
    Field(ge=0, le=1e7, allow_inf_nan=False, description="Of a video: seconds from its beginning."),
]


class PreviewPredictionArgs(Args):
    """Which prediction, how."""

    prediction_task_uuid: TaskId
    show_as: Annotated[
        Literal["sheet", "clip"],
        Field(description="Of a video: frames on one sheet, or an MP4 to download. A picture is a picture."),
    ] = "sheet"
    frames: Annotated[int, Field(ge=1, le=MAX_FRAMES, description="Frames of a sheet, spread evenly.")] = 12
    object_id: Annotated[int | None, Field(ge=1, description="Only this object, where it was seen.")] = None
    start_seconds: Seconds = None
    end_seconds: Seconds = None
    max_side: Annotated[
        int | None,
        Field(
            ge=64,
            le=2048,
            description=f"Longest side in pixels; default 1024 of a picture, {TILE_SIDE} of each frame of a "
            f"sheet, {CLIP_SIDE} of a clip.",
        ),
    ] = None


class PreviewPredictionResult(Result):
    """What is shown. Objects of a video have their number and one colour in all frames. A clip (at most 10
    seconds) is at ``clip_url`` for an hour.
    """

    prediction_task_uuid: str
    shown: str
    object_count: int
    frame_timestamps_microseconds: list[int] | None = None
    preview_width: int
    preview_height: int
    clip_url: str | None = None
    clip_size: int | None = None
    clip_seconds: float | None = None
    clip_codec: str | None = None


def handle(args: PreviewPredictionArgs, call: Call) -> Output:
    """Draw it."""
    predictions = call.studio.predictions
    task = predictions.get(call.principal, args.prediction_task_uuid)
    prediction = _only(predictions.result(call.principal, task), args.object_id)
    if prediction.media == "image":
        return _picture(args, call, task, prediction)
    start, end = _span(args, prediction)
    if args.show_as == "clip":
        return _clip(args, call, task, prediction, start, end)
    return _sheet(args, call, task, prediction, start, end)


def _picture(
    args: PreviewPredictionArgs, call: Call, task: PredictionTask, prediction: MediaPrediction
) -> Output:
    from tintype_studio.catalog.image_files import read_image_file
    from tintype_studio.predictions.pictures import picture

    with call.studio.predictions.open_media(call.principal, task) as file:
        data = read_image_file(file)
    drawn, mime_type, width, height = picture(
        data, prediction, max_side=args.max_side or 1024, check=call.check
    )
    value = PreviewPredictionResult(
        prediction_task_uuid=task.id,
        shown="picture",
        object_count=len(prediction.objects),
        preview_width=width,
        preview_height=height,
    )
    return Output(value, (Picture(drawn, mime_type, width, height),))


def _sheet(
    args: PreviewPredictionArgs,
    call: Call,
    task: PredictionTask,
    prediction: MediaPrediction,
    start: int,
    end: int,
) -> Output:
    times = [time for time in prediction.frame_timestamps_us if start <= time <= end]
    if args.object_id is not None:
        seen = {o.timestamp_us for each in prediction.objects for o in each.observations if o.box is not None}
        times = [time for time in times if time in seen]
    times = evenly(times, args.frames)
    if not times:
        raise InvalidInput(
            "No looked-at frame lies in this span.",
            code="nothing_to_show",
            fix="Choose another span; get_prediction_results tells the times of the frames.",
        )
    with call.studio.predictions.open_media(call.principal, task) as file:
        data, width, height = call.studio.videos.in_child(
            call.principal,
            "tintype_studio.predictions.pictures:sheet",
            str(file),
            prediction.as_json(),
            times,
            args.max_side or TILE_SIDE,
            deadline=CHILD_SECONDS,
            check=call.check,
        )
    value = PreviewPredictionResult(
        prediction_task_uuid=task.id,
        shown="sheet",
        object_count=len(prediction.objects),
        frame_timestamps_microseconds=times,
        preview_width=width,
        preview_height=height,
    )
    return Output(value, (Picture(data, "image/jpeg", width, height),))


def _clip(
    args: PreviewPredictionArgs,
    call: Call,
    task: PredictionTask,
    prediction: MediaPrediction,
    start: int,
    end: int,
) -> Output:
    if call.base_url is None:
        raise Conflict(
            "A clip is handed out by a link, and this caller reaches no HTTP server.",
            code="no_http_server",
            fix="Use show_as=sheet, or have the operator run tintype serve and set TINTYPE_BASE_URL.",
        )
    with call.studio.predictions.open_media(call.principal, task) as file:
        made = call.studio.videos.in_child(
            call.principal,
            "tintype_studio.predictions.clip:clip",
            str(file),
            prediction.as_json(),
            start,
            min(end, start + CLIP_SECONDS * MICROSECONDS),
            args.max_side or CLIP_SIDE,
            deadline=CHILD_SECONDS,
            check=call.check,
        )
    sha256 = call.studio.blobs.put(made.data)
    mark_for(call.studio.database, [sha256], CLIPS_KEPT)
    stem = PurePath(task.file_name or "prediction").stem
    value = PreviewPredictionResult(
        prediction_task_uuid=task.id,
        shown="clip",
        object_count=len(prediction.objects),
        preview_width=made.width,
        preview_height=made.height,
        clip_url=call.blob_url(sha256, mime_type="video/mp4", filename=f"{stem}-predicted.mp4"),
        clip_size=len(made.data),
        clip_seconds=made.seconds,
        clip_codec=made.codec,
    )
    return Output(value)


def _only(prediction: MediaPrediction, object_id: int | None) -> MediaPrediction:
    from dataclasses import replace

    if object_id is None:
        return prediction
    kept = [each for each in prediction.objects if each.object_id == object_id]
    if not kept:
        raise NotFound(
            f"The prediction has no object {object_id}.",
            code="object_not_found",
            fix=f"It has {len(prediction.objects)} objects; get_prediction_results shows their ids.",
        )
    return replace(prediction, objects=kept)


def _span(args: PreviewPredictionArgs, prediction: MediaPrediction) -> tuple[int, int]:
    """In microseconds; of one object, unless something else is said, from its first to its last moment."""
    last = max([prediction.duration_us or 0, *prediction.frame_timestamps_us[-1:]])
    first = 0
    if args.object_id is not None and prediction.objects and prediction.objects[0].ranges:
        ranges = prediction.objects[0].ranges
        first, last = ranges[0].start_us, ranges[-1].end_us
    start = first if args.start_seconds is None else round(args.start_seconds * MICROSECONDS)
    end = last if args.end_seconds is None else round(args.end_seconds * MICROSECONDS)
    if end < start:
        raise InvalidInput(
            "The span ends before it begins, or begins behind the end of the video.",
            code="invalid_span",
            fix="Choose start_seconds and end_seconds within the video, in this order.",
        )
    return start, end


TOOL = ToolSpec(
    name="preview_prediction",
    title="Look at a prediction",
    category=Category.PREDICTIONS,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when you want to look at a prediction: boxes and attributes drawn on its image; for a video "
        "one sheet of numbered tracks, or a clip of up to 10 seconds as an MP4 link."
    ),
    args=PreviewPredictionArgs,
    result=PreviewPredictionResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
