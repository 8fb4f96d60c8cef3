"""Train a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.ledger.prices import price_of
from tintype_studio.training.plan import GPUS, TrainRequest, operation_of
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, WaitSeconds
from tintype_tools.local_weights import local_weights
from tintype_tools.model_shapes import ModelShape, TrainingRunShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

TYPICAL_MINUTES = 10


class TrainPipelineArgs(Args):
    """What to train, on what, how."""

    dataset_name: DatasetName
    pipeline: Annotated[
        Literal[
            "yolox", "detectron2", "sm_pytorch", "classification", "rfdetr_detection", "rfdetr_segmentation"
        ],
        Field(
            description="Boxes: yolox, rfdetr_detection. Polygons: detectron2, rfdetr_segmentation. Pixels: "
            "sm_pytorch. Images: classification."
        ),
    ]
    gpu: Annotated[
        Literal["a10g", "a100", "h100"], Field(description="Price tier: 10, 60 or 120 credits a minute.")
    ] = "a10g"
    name: Annotated[
        str | None, Field(description="Of the run and the model; a repeated name counts versions.")
    ] = None
    config: Annotated[
        dict[str, Any] | None,
        Field(
            description="epochs, batch_size, learning_rate, image_size, max_minutes (10), seed, "
            "pretrained (model id, hub id, local path), drafts (use, skip), …"
        ),
    ] = None
    export_name: Annotated[
        str | None, Field(description="Train on this pictograph export instead of a new one.")
    ] = None
    class_filter: Annotated[list[str] | None, Field(description="Only these classes.")] = None
    status_filter: Annotated[
        Literal["all", "complete", "in_progress", "new"], Field(description="Only images of this status.")
    ] = "complete"
    wait: Annotated[bool, Field(description="false answers at once.")] = True
    wait_seconds: WaitSeconds = DEFAULT_WAIT

    @model_validator(mode="after")
    def _not_waiting(self) -> Self:
        if not self.wait:
            self.wait_seconds = 0
        return self


class TrainPipelineResult(Result):
    """The run as it stands, and its model once that is ready."""

    training_run: TrainingRunShape
    model: ModelShape | None = None


def request_of(args: TrainPipelineArgs, call: Call) -> TrainRequest:
    """What is asked of the platform."""
    return TrainRequest(
        dataset=args.dataset_name,
        pipeline=args.pipeline,
        gpu=args.gpu,
        name=args.name,
        config=args.config or {},
        export=args.export_name,
        class_filter=None if args.class_filter is None else tuple(args.class_filter),
        status_filter=args.status_filter,
        local_weights=local_weights(args.config, call),
    )


def quote(args: TrainPipelineArgs, call: Call) -> Quote:
    """All the minutes that it may take."""
    planned = call.studio.training.plan(call.principal, request_of(args, call))
    return Quote(planned.operation, planned.credits)


def plan(args: TrainPipelineArgs, call: Call) -> Plan:
    """One run, on how many images, for how long at most."""
    planned = call.studio.training.plan(call.principal, request_of(args, call))
    detail = {"images": planned.images, "max_minutes": planned.config.max_minutes}
    return Plan((Affected("training.started", 1, planned.dataset.name, planned.name, detail),))


def handle(args: TrainPipelineArgs, call: Call) -> Output:
    """Start the run."""
    run = call.studio.training.start(call.principal, request_of(args, call))
    return Output(TrainPipelineResult(training_run=TrainingRunShape.of(run)), job=run.job_id)


def report(job: Job, call: Call) -> TrainPipelineResult:
    """The run, and its model."""
    run = call.studio.training.get_of_job(call.principal, job.id)
    model = None if run.model_id is None else call.studio.models.get(call.principal, run.model_id)
    return TrainPipelineResult(
        training_run=TrainingRunShape.of(run), model=None if model is None else ModelShape.of(model)
    )


TOOL = ToolSpec(
    name="train_pipeline",
    title="Train a model",
    category=Category.WORKFLOWS,
    toolset="training",
    description=(
        "Use when a model shall be trained on a labelled dataset (5 complete images or more): exports, "
        "trains, evaluates, registers an ONNX model. A job paid by the minute; a failed run is refunded. "
        "Follow it with get_training_status."
    ),
    args=TrainPipelineArgs,
    result=TrainPipelineResult,
    required_role=Role.MEMBER,
    credit_cost=price_of(operation_of(GPUS[0])).total(TYPICAL_MINUTES),
    quote=quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    open_world=True,
    handler=handle,
    report=report,
)
