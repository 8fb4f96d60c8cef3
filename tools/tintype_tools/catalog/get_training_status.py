"""See how a training run is doing."""

from __future__ import annotations

import struct
from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.training.run import Epoch, TrainingRun, curves_of
from tintype_tools.call import Call, Output, Picture
from tintype_tools.model_shapes import EpochShape, RunId, TrainingRunShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

PNG = "image/png"
_PNG_SIZE = slice(16, 24)
"""Where a PNG file tells its width and height."""


class GetTrainingStatusArgs(Args):
    """Which run, and how much of it."""

    run_id: RunId
    epochs: Annotated[int, Field(ge=0, le=50, description="Last epochs to list.")] = 5
    include_curves: Annotated[bool, Field(description="Draw losses and metrics.")] = False
    wait_seconds: Annotated[int, Field(ge=0, le=60, description="Wait so long for its end.")] = 0


class GetTrainingStatusResult(Result):
    """The run, and its last epochs, oldest first."""

    training_run: TrainingRunShape
    history: list[EpochShape]


def handle(args: GetTrainingStatusArgs, call: Call) -> Output:
    """Look, or wait and look."""
    training = call.studio.training
    run = training.get(call.principal, args.run_id)
    if args.wait_seconds and run.job_id is not None and not run.ended:
        call.studio.jobs.wait(
            call.principal, run.job_id, args.wait_seconds, progress=call.progress, check=call.check
        )
        run = training.get(call.principal, args.run_id)
    epochs = training.epochs(run, last=None if args.include_curves else args.epochs)
    shown = epochs[len(epochs) - args.epochs :] if args.epochs < len(epochs) else epochs
    value = GetTrainingStatusResult(
        training_run=TrainingRunShape.of(run), history=[EpochShape.of(epoch) for epoch in shown]
    )
    return Output(value, pictures=_curves(run, list(epochs)) if args.include_curves else ())


def _curves(run: TrainingRun, epochs: list[Epoch]) -> tuple[Picture, ...]:
    from tintype_studio.vision.evaluate.plots import training_curves

    data = training_curves(curves_of(epochs), run.name)
    if data is None:
        return ()
    width, height = struct.unpack(">II", data[_PNG_SIZE])
    return (Picture(data, PNG, width, height),)


TOOL = ToolSpec(
    name="get_training_status",
    title="Get a training's status",
    category=Category.TRAINING,
    toolset="training",
    description=(
        "Use when a training run goes on or has ended: status, progress, epochs, metrics, time left, "
        "credits, and why it failed."
    ),
    args=GetTrainingStatusArgs,
    result=GetTrainingStatusResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
