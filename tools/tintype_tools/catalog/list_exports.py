"""List the exports."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import ExportShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListExportsArgs(Args):
    """Which page."""

    limit: Annotated[int, Field(ge=1, le=500, description="Most exports to return.")] = 50
    offset: Annotated[int, Field(ge=0, description="Exports to skip.")] = 0
    dataset_name: Annotated[str | None, Field(description="Only of this dataset.")] = None
    status: Annotated[
        Literal["pending", "processing", "completed", "failed"] | None,
        Field(description="Only of this status."),
    ] = None


class ListExportsResult(Result):
    """Exports, newest first."""

    exports: list[ExportShape]
    count: int


def handle(args: ListExportsArgs, call: Call) -> ListExportsResult:
    """List."""
    found = call.studio.exports.list(
        call.principal,
        limit=args.limit,
        offset=args.offset,
        dataset_name=args.dataset_name,
        status=args.status,
    )
    return ListExportsResult(exports=[ExportShape.of(e, call) for e in found], count=len(found))


TOOL = ToolSpec(
    name="list_exports",
    title="List exports",
    category=Category.EXPORTS,
    toolset="exports",
    core=False,
    description=(
        "Use when you need to know which exports exist, whether one is completed, or its download URL. "
        "Newest first, over all datasets unless one is named."
    ),
    args=ListExportsArgs,
    result=ListExportsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
