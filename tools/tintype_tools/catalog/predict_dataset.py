"""Ask a trained model about the images of a dataset."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.kinds.predict import OPERATION
from tintype_studio.jobs.labelling import totals
from tintype_studio.ledger.prices import price_of
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, JobShape, WaitSeconds
from tintype_tools.predictions import Confidence, ModelId, ScoreShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

KIND = "predict"
MAX_FAILURES = 100
MAX_ANSWERS = 5000
PAGE = 500
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


class PredictionFailure(Result):
    """An image that was given up; it was not charged."""

    image_uuid: str
    code: str
    reason: str


class ImageClasses(Result):
    """The best classes of a whole image."""

    image_uuid: str
    classes: list[ScoreShape]


class PredictDatasetResult(Result):
    """What the job has done so far. ``failures`` lists up to 100; get_job lists all.

    ``answers`` are those of a model that classifies whole images: nothing is saved then.
    """

    dataset_name: str
    images_attempted: int
    images_processed: int
    images_skipped: int
    annotations_added: int
    answers: list[ImageClasses] | None = None
    failures: list[PredictionFailure]
    job_id: str
    job: JobShape


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
    return Quote(OPERATION, call.studio.jobs.plan(call.principal, KIND, job_args(args)).credits)


def plan(args: PredictDatasetArgs, call: Call) -> Plan:
    """How many images would be looked at, and how many passed over."""
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    total = call.studio.jobs.plan(call.principal, KIND, job_args(args)).total or 0
    passed_over = dataset.image_count - total
    return Plan((Affected("annotations.saved", total, dataset.name, detail={"images_skipped": passed_over}),))


def handle(args: PredictDatasetArgs, call: Call) -> Output:
    """Start the job."""
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    started = {**job_args(args), "images": dataset.image_count}
    job = call.studio.jobs.start(call.principal, KIND, started)
    return Output(report(job, call), job=job.id)


def report(job: Job, call: Call) -> PredictDatasetResult:
    """What the job has done."""
    failed = call.studio.jobs.items(job, outcome="failed", limit=MAX_FAILURES) if job.failed else []
    done = totals(call.studio, job)
    return PredictDatasetResult(
        dataset_name=job.dataset or job.args["dataset"],
        images_attempted=job.done,
        images_processed=done.processed,
        images_skipped=done.skipped + max(0, job.args["images"] - (job.total or 0)),
        annotations_added=done.added,
        answers=_answers(job, call) or None,
        failures=[
            PredictionFailure(image_uuid=i.key, code=i.error_code or "", reason=i.error_message or "")
            for i in failed
        ],
        job_id=job.id,
        job=JobShape.of(job),
    )


def _answers(job: Job, call: Call) -> list[ImageClasses]:
    found: list[ImageClasses] = []
    after: str | None = None
    while len(found) < MAX_ANSWERS and (
        page := call.studio.jobs.items(job, outcome="done", limit=PAGE, after=after)
    ):
        for item in page:
            scores: dict[str, float] = item.detail.get("scores") or {}
            if scores:
                classes = [ScoreShape(name=name, confidence=score) for name, score in scores.items()]
                found.append(ImageClasses(image_uuid=item.key, classes=classes))
        if not found:  # another kind of model: no item of it has scores
            break
        after = page[-1].key
    return found


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
