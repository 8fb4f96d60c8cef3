"""Label a dataset's images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tintype_studio.annotations.geometry import Label
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.kinds.auto_annotate import MAX_CLASSES, OPERATION
from tintype_studio.ledger.prices import price_of
from tintype_tools.call import Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, WaitSeconds
from tintype_tools.labelling_shapes import LabellingResult, planned, quoted, so_far, started
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Quote, ToolSpec

KIND = "auto_annotate"
TYPICAL_IMAGES = 10


class BatchClass(Args):
    """A class to find, and the shape its annotations get."""

    name: Label
    output_type: Literal["polygon", "bbox"] = "polygon"


class AutoAnnotateDatasetArgs(Args):
    """Which dataset, which classes, how."""

    dataset_name: DatasetName
    classes: Annotated[
        list[BatchClass], Field(min_length=1, max_length=MAX_CLASSES, description="What to find.")
    ]
    mode: Annotated[
        Literal["batch", "text"], Field(description="text asks for each class by itself: slower.")
    ] = "batch"
    confidence_threshold: Annotated[
        float, Field(ge=0, le=1, description="Objects below this confidence are left out.")
    ] = 0.5
    overwrite: Annotated[
        bool,
        Field(description="Also label images that have annotations; those of these classes are replaced."),
    ] = False
    max_images: Annotated[int | None, Field(ge=1, description="Label so many at most.")] = None
    wait_seconds: WaitSeconds = DEFAULT_WAIT


class AutoAnnotateDatasetResult(LabellingResult):
    """What the job has done so far."""


def job_args(args: AutoAnnotateDatasetArgs) -> dict[str, Any]:
    """The job's arguments."""
    return {
        "dataset": args.dataset_name,
        "classes": [each.model_dump() for each in args.classes],
        "threshold": args.confidence_threshold,
        "overwrite": args.overwrite,
        "max_images": args.max_images,
        "one_by_one": args.mode == "text",
    }


def quote(args: AutoAnnotateDatasetArgs, call: Call) -> Quote:
    """One price per image."""
    return quoted(call, KIND, OPERATION, job_args(args))


def plan(args: AutoAnnotateDatasetArgs, call: Call) -> Plan:
    """How many images would be labelled, and how many passed over."""
    return planned(call, KIND, job_args(args))


def handle(args: AutoAnnotateDatasetArgs, call: Call) -> Output:
    """Start the job."""
    job = started(call, KIND, job_args(args))
    return Output(report(job, call), job=job.id)


def report(job: Job, call: Call) -> AutoAnnotateDatasetResult:
    """What the job has done."""
    return AutoAnnotateDatasetResult(**so_far(job, call))


TOOL = ToolSpec(
    name="auto_annotate_dataset",
    title="Label a dataset",
    category=Category.WORKFLOWS,
    toolset="auto_annotate",
    description=(
        "Use when many images are to be labelled: finds all objects of the classes and saves them as drafts "
        "with a confidence. A job of 1 credit per image labelled. First label a few images yourself (3 "
        "accepted objects per class, better 20 images), unless a detection model is set up. Then look at "
        "some (preview_image) and accept_annotations or reject_annotations."
    ),
    args=AutoAnnotateDatasetArgs,
    result=AutoAnnotateDatasetResult,
    required_role=Role.MEMBER,
    credit_cost=price_of(OPERATION).total(TYPICAL_IMAGES),
    quote=quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    open_world=True,
    bulk=True,
    handler=handle,
    report=report,
)
