"""From a folder of pictures to a trained model."""

from __future__ import annotations

from contextvars import Context
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from tintype_studio.catalog.ingest import Survey, UploadReport
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.kinds.auto_annotate import MAX_CLASSES, OPERATION
from tintype_studio.ledger.prices import price_of
from tintype_studio.training.pipeline import (
    OPERATION_OF_ALL,
    PipelineRequest,
    begin,
    credit_skip,
    foresee,
    nobody_finds,
)
from tintype_studio.training.plan import GPUS, operation_of
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.catalog.auto_annotate_dataset import BatchClass
from tintype_tools.job_shapes import DEFAULT_WAIT, WaitSeconds
from tintype_tools.local_weights import local_weights
from tintype_tools.pipeline_shapes import (
    FullPipelineResult,
    report_of,
    report_without_job,
    upload_as_json,
)
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Quote, ToolSpec

TYPICAL_IMAGES = 10
TYPICAL_MINUTES = 10


class FullPipelineArgs(Args):
    """Which pictures, what to find in them, what to train."""

    dataset_name: DatasetName
    folder: Annotated[str, Field(description="Local folder; it is read with all its subfolders.")]
    classes: Annotated[
        list[BatchClass], Field(min_length=1, max_length=MAX_CLASSES, description="What to find and learn.")
    ]
    pipeline: Annotated[
        Literal[
            "yolox", "detectron2", "sm_pytorch", "classification", "rfdetr_detection", "rfdetr_segmentation"
        ],
        Field(description="As in train_pipeline."),
    ]
    gpu: Annotated[Literal["a10g", "a100", "h100"], Field(description="Price tier of the training.")] = "a10g"
    annotate: Annotated[bool, Field(description="false: the pictures are labelled already.")] = True
    train: Annotated[bool, Field(description="false: only upload and label.")] = True
    annotate_mode: Annotated[
        Literal["batch", "text"], Field(description="text asks for each class by itself: slower.")
    ] = "batch"
    confidence_threshold: Annotated[
        float, Field(ge=0, le=1, description="Objects below this confidence are left out.")
    ] = 0.5
    train_config: Annotated[
        dict[str, Any] | None, Field(description="`config` of train_pipeline; max_minutes sets the price.")
    ] = None
    min_credits: Annotated[
        int | None, Field(ge=0, description="With less, it only uploads; null: no such check.")
    ] = 1
    wait_seconds: WaitSeconds = DEFAULT_WAIT


def request_of(args: FullPipelineArgs, call: Call) -> PipelineRequest:
    """What is asked of the platform."""
    return PipelineRequest(
        dataset=args.dataset_name,
        classes=tuple(each.model_dump() for each in args.classes),
        pipeline=args.pipeline,
        gpu=args.gpu,
        annotate=args.annotate,
        train=args.train,
        one_by_one=args.annotate_mode == "text",
        threshold=args.confidence_threshold,
        config=args.train_config or {},
        min_credits=args.min_credits,
        local_weights=local_weights(args.train_config, call) if args.train else None,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What is there to be done, and what of it would be."""

    folder: Survey
    images: int
    """To label; 0 when it would come to an end with the upload."""
    minutes: int
    """To train; 0 likewise."""
    credits: int


def _look(args: FullPipelineArgs, call: Call) -> _Found:
    studio, request, folder = call.studio, request_of(args, call), _survey(args, call)
    foreseen = foresee(studio, call.principal, request, arriving=folder.pictures - folder.existing)
    ends = credit_skip(studio, call.principal, request) is not None or (
        foreseen.images > 0 and nobody_finds(studio, call.principal, request, call.check)
    )
    if ends:
        return _Found(folder, 0, 0, 0)
    minutes = foreseen.config.max_minutes if args.train else 0
    return _Found(folder, foreseen.images, minutes, foreseen.credits)


def quote(args: FullPipelineArgs, call: Call) -> Quote:
    """A price per image that there will be to label, and all the minutes of the training."""
    return Quote(OPERATION_OF_ALL, _look(args, call).credits)


def plan(args: FullPipelineArgs, call: Call) -> Plan:
    """How many pictures there are to take, how many images to label, how long to train."""
    found = _look(args, call)
    folder, name = found.folder, args.dataset_name
    made = call.studio.datasets.find(call.principal, name) is None
    detail = {"pictures": folder.pictures, "existing": folder.existing}
    affected = [Affected("dataset.created", 1, name)] if made else []
    affected.append(Affected("images.added", folder.pictures - folder.existing, name, detail=detail))
    if found.images:
        affected.append(Affected("annotations.saved", found.images, name))
    if found.minutes:
        affected.append(Affected("training.started", 1, name, detail={"max_minutes": found.minutes}))
    return Plan(tuple(affected))


def _survey(args: FullPipelineArgs, call: Call) -> Survey:
    folder = call.files.folder(args.folder)
    dataset = call.studio.datasets.find(call.principal, args.dataset_name)
    return call.studio.ingest.survey(dataset, folder)


def handle(args: FullPipelineArgs, call: Call) -> Output:
    """Take the pictures, then start the job that does the rest."""
    # Pictures take long: they are taken in transactions of their own, before this call's transaction begins
    # with the job. What is taken stays, and the same call goes on from it.
    uploaded = upload_as_json(Context().run(_upload, args, call))
    begun = begin(call.studio, call.principal, request_of(args, call), uploaded, call.check)
    if begun.job is None:
        return Output(report_without_job(args.dataset_name, uploaded, begun), credits=0)
    return Output(report_of(begun.job, call), job=begun.job.id)


def _upload(args: FullPipelineArgs, call: Call) -> UploadReport:
    folder = call.files.folder(args.folder)
    dataset = call.studio.datasets.get_or_create(call.principal, args.dataset_name)
    return call.studio.ingest.add_folder(
        call.principal, dataset, folder, allowed=call.files.allows, progress=call.progress
    )


TOOL = ToolSpec(
    name="full_pipeline",
    title="Upload, label and train in one go",
    category=Category.WORKFLOWS,
    toolset="training",
    core=False,
    description=(
        "Use when the user has a folder of pictures and wants a trained model: uploads, labels what has no "
        "labels, trains (on unreviewed drafts, too), and reports each phase; a phase that fails ends it, and "
        "the report says why. Running it again goes on from there. Without a detection model, label a few "
        "images of the dataset first."
    ),
    args=FullPipelineArgs,
    result=FullPipelineResult,
    required_role=Role.MEMBER,
    credit_cost=price_of(OPERATION).total(TYPICAL_IMAGES)
    + price_of(operation_of(GPUS[0])).total(TYPICAL_MINUTES),
    quote=quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    open_world=True,
    handler=handle,
    report=report_of,
)
