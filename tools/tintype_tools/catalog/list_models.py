"""List the models."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.training.models import ModelStatus
from tintype_studio.vision.tasks import Task
from tintype_tools.call import Call
from tintype_tools.model_shapes import ModelShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListModelsArgs(Args):
    """Which of them."""

    limit: Annotated[int, Field(ge=1, le=500, description="Most models to return.")] = 50
    offset: Annotated[int, Field(ge=0, le=1_000_000, description="`next_offset` of the page before.")] = 0
    status: Annotated[
        ModelStatus | None, Field(description="Only these; deleted ones only with archived.")
    ] = None
    model_type: Annotated[Task | None, Field(description="Only this type.")] = None
    dataset_name: Annotated[DatasetName | None, Field(description="Only those trained on it.")] = None


class ListModelsResult(Result):
    """Models, newest first."""

    models: list[ModelShape]
    count: int
    next_offset: int | None = None


def handle(args: ListModelsArgs, call: Call) -> ListModelsResult:
    """List."""
    found = call.studio.models.list(
        call.principal,
        limit=args.limit,
        offset=args.offset,
        dataset=args.dataset_name,
        status=args.status,
        model_type=args.model_type,
    )
    return ListModelsResult(
        models=[ModelShape.of(model) for model in found],
        count=len(found),
        next_offset=args.offset + len(found) if len(found) == args.limit else None,
    )


TOOL = ToolSpec(
    name="list_models",
    title="List models",
    category=Category.MODELS,
    toolset="models",
    core=False,
    description=(
        "Use when you look for a trained model: newest first, with status, metrics and classes. get_model "
        "tells more."
    ),
    args=ListModelsArgs,
    result=ListModelsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
