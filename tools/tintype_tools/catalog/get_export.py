"""One export."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName, ExportShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class GetExportArgs(Args):
    """Which one."""

    dataset_name: DatasetName
    export_name: Annotated[str, Field(description="Name of the export.")]


def handle(args: GetExportArgs, call: Call) -> ExportShape:
    """Look it up."""
    return ExportShape.of(call.studio.exports.get(call.principal, args.dataset_name, args.export_name), call)


TOOL = ToolSpec(
    name="get_export",
    title="Get an export",
    category=Category.EXPORTS,
    toolset="exports",
    core=False,
    description=(
        "Use when you need to know whether an export is completed, why it failed, what its format could not "
        "hold (`notes`), or its download URL. get_job with job_id waits for one that is still built."
    ),
    args=GetExportArgs,
    result=ExportShape,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    quick_unless=frozenset(),
    handler=handle,
)
