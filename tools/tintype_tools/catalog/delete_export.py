"""Delete an export."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.errors import Conflict
from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DeleteExportArgs(Args):
    """Which one."""

    dataset_name: DatasetName
    export_name: Annotated[str, Field(description="Name of the export.")]


class DeleteExportResult(Result):
    """What was deleted."""

    deleted: Literal[True] = True
    dataset_name: str
    name: str


def plan(args: DeleteExportArgs, call: Call) -> Plan:
    """The export, which nothing brings back."""
    export = call.studio.exports.get(call.principal, args.dataset_name, args.export_name)
    detail = {"size": export.file_size or 0}
    affected = Affected("export.deleted", 1, export.dataset_name, export.name, detail, subject=export.id)
    return Plan((affected,), undoable=False)


def handle(args: DeleteExportArgs, call: Call) -> DeleteExportResult:
    """Stop its job, if one still builds it, and remove it."""
    exports, jobs = call.studio.exports, call.studio.jobs
    export = exports.get(call.principal, args.dataset_name, args.export_name)
    if export.unfinished and export.job_id is not None:
        with suppress(Conflict):  # it has ended meanwhile
            jobs.cancel(call.principal, export.job_id)
    exports.delete(call.principal, args.dataset_name, args.export_name)
    return DeleteExportResult(dataset_name=export.dataset_name, name=export.name)


TOOL = ToolSpec(
    name="delete_export",
    title="Delete an export",
    category=Category.EXPORTS,
    toolset="exports",
    core=False,
    description=(
        "Use when the user asks to delete an export and its ZIP. Cannot be undone (create_export builds it "
        "anew); needs the user's confirmation. The dataset, and what was trained on the export, stay."
    ),
    args=DeleteExportArgs,
    result=DeleteExportResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.DESTROY,
    plan=plan,
    handler=handle,
)
