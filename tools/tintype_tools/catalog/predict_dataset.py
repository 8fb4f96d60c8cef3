"""Ask a trained model about the images of a dataset."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.kinds.predict import OPERATION
from tintype_studio.ledger.prices import price_of
from tintype_tools.call import Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, WaitSeconds
from tintype_tools.labelling_shapes import LabellingResult, planned, quoted, so_far, started
from tintype_tools.predictions import Confidence, ImageClasses, ModelId, answers_of
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Quote, ToolSpec

KIND = "predict"
TYPICAL_IMAGES = 10


class PredictDatasetArgs(Args):
    """Which model, which dataset."""

    model_id: ModelId
    dataset_name: DatasetName
    confidence_threshold: Confidence = 0.5
    overwrite: Annotated[
        bool,
        Field(description="Also images that have annotations; those of the model's classes are replaced."),
    ] = False
    max_images: Annotated[int | None, Field(ge=1, description="Look at so many at most.")] = None
    wait_seconds: WaitSeconds = DEFAULT_WAIT


class PredictDatasetResult(LabellingResult):
    """``answers`` are those of a model that classifies whole images: nothing is saved then."""

    answers: list[ImageClasses] | None = None


def job_args(args: PredictDatasetArgs) -> dict[str, Any]:
    """The job's arguments."""
    return {
        "model_id": args.model_id,
        "dataset": args.dataset_name,
        "threshold": args.confidence_threshold,
        "overwrite": args.overwrite,
        "max_images": args.max_images,
    }


def quote(args: PredictDatasetArgs, call: Call) -> Quote:
    """One price per image."""
    return quoted(call, KIND, OPERATION, job_args(args))


def plan(args: PredictDatasetArgs, call: Call) -> Plan:
    """How many images would be looked at, and how many passed over."""
    return planned(call, KIND, job_args(args))


def handle(args: PredictDatasetArgs, call: Call) -> Output:
    """Start the job."""
    job = started(call, KIND, job_args(args))
    return Output(report(job, call), job=job.id)


def report(job: Job, call: Call) -> PredictDatasetResult:
    """What the job has done."""
    return PredictDatasetResult(**so_far(job, call), answers=answers_of(job, call) or None)


TOOL = ToolSpec(
    name="predict_dataset",
    title="Ask a model about a dataset",
    category=Category.MODELS,
    toolset="models",
    core=False,
    description=(
        "Use when a trained model is to pre-label images: what it finds is saved as drafts (boxes, or "
        "polygons where it has masks). A model that classifies whole images saves nothing: its classes are "
        "in `answers`. A job of 1 credit per image with predictions. Then preview_image, and "
        "accept_annotations or reject_annotations."
    ),
    args=PredictDatasetArgs,
    result=PredictDatasetResult,
    required_role=Role.MEMBER,
    credit_cost=price_of(OPERATION).total(TYPICAL_IMAGES),
    quote=quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    bulk=True,
    handler=handle,
    report=report,
)
