"""See how a prediction is doing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.prediction_asking import TOOLSET
from tintype_tools.prediction_shapes import PredictionStatus, TaskId
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class GetPredictionStatusArgs(Args):
    """Which prediction."""

    prediction_task_uuid: TaskId
    wait_seconds: Annotated[int, Field(ge=0, le=60, description="Wait so long for its end.")] = 0


def handle(args: GetPredictionStatusArgs, call: Call) -> PredictionStatus:
    """Look, or wait and look."""
    predictions = call.studio.predictions
    task = predictions.get(call.principal, args.prediction_task_uuid)
    if args.wait_seconds and task.job_id is not None and not task.ended:
        call.studio.jobs.wait(
            call.principal, task.job_id, args.wait_seconds, progress=call.progress, check=call.check
        )
        task = predictions.get(call.principal, task.id)
    return PredictionStatus.of(task)


TOOL = ToolSpec(
    name="get_prediction_status",
    title="Follow a prediction",
    category=Category.PREDICTIONS,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when you ask whether a prediction is done: waits for its file, queued, processed, predicted, "
        "or failed and why. With wait_seconds it waits for the end; cancel_job with its job_id stops it."
    ),
    args=GetPredictionStatusArgs,
    result=PredictionStatus,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    quick_unless=frozenset({"wait_seconds"}),
    handler=handle,
)
