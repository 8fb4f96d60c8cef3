"""Measure a model on labelled images."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.training.splits import choose, dataset_of, require_some
from tintype_tools.call import Affected, Call, Output, Picture, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, JobShape, WaitSeconds
from tintype_tools.predictions import ModelId, OfSplit, rounded
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

KIND = "evaluate"
MAX_FAILURES = 100


class EvaluateModelArgs(Args):
    """Which model, on what."""

    model_id: ModelId
    dataset_name: Annotated[str | None, Field(description="Default: the dataset that it was trained on.")] = (
        None
    )
    split: OfSplit = "test"
    wait_seconds: WaitSeconds = DEFAULT_WAIT


class EvaluationFailure(Result):
    """An image that could not be measured."""

    image_uuid: str
    code: str
    reason: str


class EvaluateModelResult(Result):
    """The figures once the job is completed, each 0 to 1. ``split`` is what was measured in truth.

    Detection: mAP (COCO), mAP_50, and precision, recall, f1 at ``score_threshold``, where f1 is best; with
    masks the same of masks, and box_mAP. Semantic: mIoU, pixel_accuracy. Classification: accuracy, f1.
    ``attributes``: how often the true option is chosen, on true boxes (accuracy) and on those found of them.
    """

    model_id: str
    dataset_name: str
    split: str
    images: int | None = None
    objects: int | None = None
    metrics: dict[str, float | None] | None = None
    per_class: list[dict[str, Any]] | None = None
    attributes: list[dict[str, Any]] | None = None
    note: str | None = None
    failures: list[EvaluationFailure]
    job_id: str
    job: JobShape


def job_args(args: EvaluateModelArgs) -> dict[str, Any]:
    """The job's arguments."""
    return {"model_id": args.model_id, "dataset": args.dataset_name, "split": args.split}


def plan(args: EvaluateModelArgs, call: Call) -> Plan:
    """How many images would be looked at; none is changed."""
    studio = call.studio
    model = studio.models.ready(call.principal, args.model_id)
    dataset = dataset_of(studio, call.principal, model, args.dataset_name)
    images = require_some(studio, dataset, model, choose(studio, dataset, model, args.split))
    return Plan((Affected("images.evaluated", images, dataset.name),), undoable=False)


def handle(args: EvaluateModelArgs, call: Call) -> Output:
    """Start the job."""
    job = call.studio.jobs.start(call.principal, KIND, job_args(args))
    shown = report(job, call)
    return Output(shown.value, shown.pictures, job=job.id)


def report(job: Job, call: Call) -> Output:
    """What the job has found."""
    failed = call.studio.jobs.items(job, outcome="failed", limit=MAX_FAILURES) if job.failed else []
    value = EvaluateModelResult(
        model_id=job.args["model_id"],
        dataset_name=job.dataset or job.args["dataset"] or "",
        split=job.args["split"],
        failures=[
            EvaluationFailure(image_uuid=i.key, code=i.error_code or "", reason=i.error_message or "")
            for i in failed
        ],
        job_id=job.id,
        job=JobShape.of(job),
    )
    if job.result is None:
        return Output(value)
    evaluation = orjson.loads(call.studio.blobs.get(job.result["evaluation"]))
    figures = {
        "split": job.result["split"],
        "note": job.result["note"],
        "images": evaluation["images"],
        "objects": evaluation["objects"],
        "metrics": rounded(evaluation["metrics"]),
        "per_class": rounded(evaluation["per_class"]),
        "attributes": rounded(evaluation.get("attributes")) or None,
    }
    pictures = [_picture(call.studio.blobs.get(sha256)) for sha256 in job.result["pictures"].values()]
    return Output(value.model_copy(update=figures), tuple(pictures))


def _picture(png: bytes) -> Picture:
    from tintype_studio.vision.evaluate.plots import size_of

    return Picture(png, "image/png", *size_of(png))


TOOL = ToolSpec(
    name="evaluate_model",
    title="Measure a model",
    category=Category.MODELS,
    toolset="models",
    core=False,
    description=(
        "Use when you need to know how good a model is: measures it (mAP, precision, recall, or what fits "
        "its kind) on the labelled images of a dataset and split, overall and by class, with pictures of "
        "the precision-recall curves and of what was taken for what. A free job; compare_models uses what "
        "it keeps."
    ),
    args=EvaluateModelArgs,
    result=EvaluateModelResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    plan=plan,
    handler=handle,
    report=report,
)
