"""List the exports."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import ExportShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListExportsArgs(Args):
    """Which page."""

    limit: Annotated[int, Field(ge=1, le=500, description="Most exports to return.")] = 50


class ListExportsResult(Result):
    """Exports, newest first."""

    exports: list[ExportShape]
    count: int


def handle(args: ListExportsArgs, call: Call) -> ListExportsResult:
    """List."""
    found = call.studio.exports.list(call.principal, limit=args.limit)
    return ListExportsResult(exports=[ExportShape.of(e, call) for e in found], count=len(found))


TOOL = ToolSpec(
    name="list_exports",
    title="List exports",
    category=Category.EXPORTS,
    toolset="exports",
    core=False,
    description=(
        "Use when you need to know which exports exist, whether one is completed, or its download URL. "
        "Newest first, over all datasets."
    ),
    args=ListExportsArgs,
    result=ListExportsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
