"""List training runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.model_shapes import TrainingRunShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListTrainingRunsArgs(Args):
    """Which of them."""

    limit: Annotated[int, Field(ge=1, le=500, description="Most runs to return.")] = 50
    offset: Annotated[int, Field(ge=0, le=1_000_000, description="`next_offset` of the page before.")] = 0
    status: Annotated[
        Literal["queued", "running", "completed", "failed", "cancelled"] | None,
        Field(description="Only these."),
    ] = None
    dataset_name: Annotated[DatasetName | None, Field(description="Only those on it.")] = None


class ListTrainingRunsResult(Result):
    """Runs, newest first."""

    training_runs: list[TrainingRunShape]
    count: int
    next_offset: int | None = None


def handle(args: ListTrainingRunsArgs, call: Call) -> ListTrainingRunsResult:
    """List."""
    found = call.studio.training.list(
        call.principal,
        limit=args.limit,
        offset=args.offset,
        dataset=args.dataset_name,
        status=args.status,
    )
    return ListTrainingRunsResult(
        training_runs=[TrainingRunShape.of(run) for run in found],
        count=len(found),
        next_offset=args.offset + len(found) if len(found) == args.limit else None,
    )


TOOL = ToolSpec(
    name="list_training_runs",
    title="List training runs",
    category=Category.TRAINING,
    toolset="training",
    core=False,
    description=(
        "Use when you look for a training run, or want to know which go on: newest first, with status, "
        "progress and metrics. get_training_status tells more of one."
    ),
    args=ListTrainingRunsArgs,
    result=ListTrainingRunsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
