"""Turn a prediction into work: images of a dataset with draft annotations."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, JobShape, WaitSeconds
from tintype_tools.prediction_asking import TOOLSET
from tintype_tools.prediction_shapes import TaskId
from tintype_tools.shapes import DatasetName, VirtualFolder
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec
from tintype_tools.video_shapes import clean_stem

KIND = "save_predictions"
MAX_LISTED = 100
PAGE = 500


class SavePredictionsArgs(Args):
    """Which prediction, what of it, and where to."""

    prediction_task_uuid: TaskId
    dataset_name: DatasetName
    folder_path: VirtualFolder = "/"
    confidence_threshold: Annotated[float, Field(ge=0, le=1, description="Boxes below it are left out.")] = (
        0.0
    )
    object_ids: Annotated[
        list[int] | None, Field(description="Only these objects.", min_length=1, max_length=1000)
    ] = None
    every_nth_frame: Annotated[
        int, Field(ge=1, le=10_000, description="Of a video: 2 saves every second looked-at frame.")
    ] = 1
    include_empty_frames: Annotated[
        bool, Field(description="Of a video: also frames in which nothing was seen.")
    ] = False
    wait_seconds: WaitSeconds = DEFAULT_WAIT


class SaveFailure(Result):
    """An image that was not saved. ``image`` is the frame's number, or picture."""

    image: str
    code: str
    reason: str


class SavePredictionsResult(Result):
    """What was saved so far. Images that had annotations are skipped; ``classes_left_out`` are those that the
    dataset does not take.
    """

    job: JobShape
    dataset_name: str
    folder: str
    images_saved: int
    images_skipped: int
    images_failed: int
    total_images: int | None = None
    annotations_added: int
    classes_left_out: list[str] | None = None
    failures: list[SaveFailure]


def job_args(args: SavePredictionsArgs, call: Call) -> dict[str, Any]:
    """For the job."""
    task = call.studio.predictions.get(call.principal, args.prediction_task_uuid)
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    return {
        "task": task.id,
        "dataset": dataset.name,
        "folder": args.folder_path,
        "stem": clean_stem(PurePath(task.file_name or task.media).stem),
        "threshold": args.confidence_threshold,
        "every": args.every_nth_frame,
        "empty": args.include_empty_frames,
        "objects": args.object_ids,
    }


def plan(args: SavePredictionsArgs, call: Call) -> Plan:
    """How many images would come in or get drafts, at most."""
    wanted = job_args(args, call)
    total = call.studio.jobs.plan(call.principal, KIND, wanted).total or 0
    return Plan((Affected("annotations.saved", total, wanted["dataset"], detail={"estimated": 1}),))


def handle(args: SavePredictionsArgs, call: Call) -> Output:
    """Start the job."""
    job = call.studio.jobs.start(call.principal, KIND, job_args(args, call))
    return Output(report(job, call), job=job.id)


def report(job: Job, call: Call) -> SavePredictionsResult:
    """What the job has saved."""
    jobs = call.studio.jobs
    failed = jobs.items(job, outcome="failed", limit=MAX_LISTED) if job.failed else []
    skipped = jobs.count(job, outcome="skipped")
    return SavePredictionsResult(
        job=JobShape.of(job),
        dataset_name=job.dataset or job.args["dataset"],
        folder=job.args["folder"],
        images_saved=job.done - job.failed - skipped,
        images_skipped=skipped,
        images_failed=job.failed,
        total_images=job.total,
        annotations_added=_added(job, call),
        classes_left_out=(job.result or {}).get("left_out") or None,
        failures=[
            SaveFailure(image=item.key, code=item.error_code or "", reason=item.error_message or "")
            for item in failed
        ],
    )


def _added(job: Job, call: Call) -> int:
    total, after = 0, None
    while page := call.studio.jobs.items(job, outcome="done", limit=PAGE, after=after):
        total += sum(item.detail.get("annotations", 0) for item in page)
        after = page[-1].key
    return total


TOOL = ToolSpec(
    name="save_predictions",
    title="Save predictions as drafts",
    category=Category.PREDICTIONS,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when what a prediction found should become annotations: adds its image, or the frames of its "
        "video, to a dataset as drafts to correct. Boxes of one object carry the same track; options come "
        "along. A free job. Then accept_annotations or reject_annotations."
    ),
    args=SavePredictionsArgs,
    result=SavePredictionsResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    bulk=True,
    plan=plan,
    handler=handle,
    report=report,
)
