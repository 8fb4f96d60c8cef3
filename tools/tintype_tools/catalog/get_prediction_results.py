"""What was predicted: whole, one object, or a span of time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.prediction_asking import TOOLSET
from tintype_tools.prediction_shapes import Answer, Detail, PredictionStatus, TaskId, answer_of
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

LAST = 10**13
"""Microseconds: later than any video ends."""
Moment = Annotated[
    int | None, Field(ge=0, le=LAST, description="Of a video: only this span, in microseconds, inclusive.")
]


class GetPredictionResultsArgs(Args):
    """Which prediction, and what of it."""

    prediction_task_uuid: TaskId
    observations: Detail = "sampled"
    object_id: Annotated[int | None, Field(ge=1, description="Only this object.")] = None
    start_microseconds: Moment = None
    end_microseconds: Moment = None

    def span(self) -> tuple[int, int] | None:
        """The span of time that is meant; None for the whole."""
        if self.start_microseconds is None and self.end_microseconds is None:
            return None
        start = self.start_microseconds or 0
        end = LAST if self.end_microseconds is None else self.end_microseconds
        if end < start:
            raise InvalidInput(
                "end_microseconds is before start_microseconds.",
                code="invalid_span",
                fix="Choose an end_microseconds that is not smaller than start_microseconds.",
            )
        return start, end


class GetPredictionResultsResult(Result):
    """The task, and what was predicted."""

    task: PredictionStatus
    prediction: Answer


def handle(args: GetPredictionResultsArgs, call: Call) -> GetPredictionResultsResult:
    """Read it."""
    span = args.span()
    predictions = call.studio.predictions
    task = predictions.get(call.principal, args.prediction_task_uuid)
    found = predictions.result(call.principal, task)
    if args.object_id is not None and all(each.object_id != args.object_id for each in found.objects):
        raise NotFound(
            f"The prediction has no object {args.object_id}.",
            code="object_not_found",
            fix=f"It has {len(found.objects)} objects; call without object_id to see their ids.",
        )
    answer = answer_of(found, observations=args.observations, object_id=args.object_id, span=span)
    return GetPredictionResultsResult(task=PredictionStatus.of(task), prediction=answer)


TOOL = ToolSpec(
    name="get_prediction_results",
    title="Get the results of a prediction",
    category=Category.PREDICTIONS,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when a prediction is done and you need its objects: all of them, one by object_id with every "
        "box (observations=all), or those of a span of a video. Boxes are shares of the picture, times "
        "microseconds; an observation without a box is a frame in which the object was missed."
    ),
    args=GetPredictionResultsArgs,
    result=GetPredictionResultsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
