"""Turn a video into images."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.names import clean_folder
from tintype_studio.video.choice import LEAST_FPS, MAX_FRAMES, MOST_FPS, MOST_SECONDS
from tintype_studio.video.probe import VideoInfo
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, WaitSeconds
from tintype_tools.shapes import VirtualFolder
from tintype_tools.spec import Category, Effect, ToolSpec
from tintype_tools.upload_links import IntoDataset
from tintype_tools.video_shapes import TOOLSET, ExtractionResult, VideoArgs, extraction

KIND = "extract_frames"
Seconds = Annotated[
    float | None,
    Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False, description="Seconds from the beginning."),
]


class ExtractVideoFramesArgs(VideoArgs, IntoDataset):
    """Which frames of which video, and where to."""

    folder_path: VirtualFolder = "/"
    fps: Annotated[
        float,
        Field(ge=LEAST_FPS, le=MOST_FPS, allow_inf_nan=False, description="Frames per second of video."),
    ] = 1.0
    start_seconds: Seconds = None
    end_seconds: Seconds = None
    max_frames: Annotated[int | None, Field(ge=1, le=MAX_FRAMES, description="Stop after so many.")] = None
    wait_seconds: WaitSeconds = DEFAULT_WAIT


def job_args(args: ExtractVideoFramesArgs, call: Call) -> tuple[dict[str, Any], VideoInfo]:
    """For the job; and the video, which is opened once so that it is refused before the job is made."""
    start, end = args.start_seconds or 0.0, args.end_seconds
    if end is not None and end <= start:
        raise InvalidInput(
            "end_seconds is not behind start_seconds.",
            code="invalid_span",
            fix="Choose an end_seconds that is larger than start_seconds.",
        )
    dataset, source = args.dataset(call), args.source(call)
    info = call.studio.videos.probe(
        call.principal, upload=source.upload, local=source.local, check=call.check
    )
    if start >= info.duration_seconds > 0:
        raise InvalidInput(
            f"The video ends at {info.duration_seconds:.2f} s.",
            code="nothing_to_extract",
            fix="Choose start_seconds before the end of the video.",
        )
    wanted = {
        "dataset": dataset.name,
        "upload": source.upload,
        "local": source.local,
        "stem": source.stem,
        "folder": clean_folder(args.folder_path),
        "fps": args.fps,
        "start_seconds": args.start_seconds,
        "end_seconds": args.end_seconds,
        "max_frames": args.max_frames,
    }
    return wanted, info


def plan(args: ExtractVideoFramesArgs, call: Call) -> Plan:
    """About how many images would come in; exactly, the packets of the file say it."""
    wanted, info = job_args(args, call)
    call.studio.jobs.plan(call.principal, KIND, wanted)  # refuses
    end = min(args.end_seconds or info.duration_seconds, info.duration_seconds)
    rate = min(args.fps, info.native_fps or args.fps)
    count = max(1, round((end - (args.start_seconds or 0.0)) * rate))
    if args.max_frames is not None:
        count = min(count, args.max_frames)
    return Plan((Affected("images.added", count, wanted["dataset"], detail={"estimated": 1}),))


def handle(args: ExtractVideoFramesArgs, call: Call) -> Output:
    """Start the job."""
    wanted, _ = job_args(args, call)
    job = call.studio.jobs.start(call.principal, KIND, wanted)
    return Output(report(job, call), job=job.id)


def report(job: Job, call: Call) -> ExtractionResult:
    """What the job has extracted."""
    return extraction(job, call)


TOOL = ToolSpec(
    name="extract_video_frames",
    title="Extract frames of a video",
    category=Category.VIDEO,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when images shall come from a video: adds frames at `fps`, upright, to a dataset, named "
        "<video>_000000.jpg and so on. A free job; running it again skips the frames that are there. Needs a "
        "local_path or an upload_path."
    ),
    args=ExtractVideoFramesArgs,
    result=ExtractionResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    bulk=True,
    plan=plan,
    handler=handle,
    report=report,
)
