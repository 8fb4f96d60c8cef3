"""List the datasets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListDatasetsArgs(Args):
    """Which page."""

    limit: Annotated[int, Field(ge=1, le=1000, description="Most datasets to return.")] = 100
    offset: Annotated[int, Field(ge=0, le=10**12, description="Skip so many.")] = 0


class ListDatasetsResult(Result):
    """Datasets, newest first."""

    datasets: list[DatasetShape]
    count: int


def handle(args: ListDatasetsArgs, call: Call) -> ListDatasetsResult:
    """List."""
    found = call.studio.datasets.list(call.principal, limit=args.limit, offset=args.offset)
    return ListDatasetsResult(datasets=DatasetShape.listed(found, call), count=len(found))


TOOL = ToolSpec(
    name="list_datasets",
    title="List datasets",
    category=Category.DATASETS,
    toolset="datasets",
    description=(
        "Use when you need to know which datasets exist, or the exact name of one. Returns each dataset's "
        "name, image and annotation counts, and classes, newest first."
    ),
    args=ListDatasetsArgs,
    result=ListDatasetsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
