"""Take a version of a dataset away."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec
from tintype_tools.version_shapes import VersionName


class DeleteVersionArgs(Args):
    """Which version."""

    dataset_name: DatasetName
    name: VersionName


class DeleteVersionResult(Result):
    """What is gone."""

    deleted: str


def handle(args: DeleteVersionArgs, call: Call) -> DeleteVersionResult:
    """Delete it; the dataset stays as it is."""
    version = call.studio.versions.delete(call.principal, args.dataset_name, args.name)
    return DeleteVersionResult(deleted=version.name)


TOOL = ToolSpec(
    name="delete_version",
    title="Delete a dataset version",
    category=Category.VERSIONS,
    toolset="versions",
    core=False,
    description=(
        "Use when a named version of a dataset is not wanted any more. The dataset itself stays as it is; "
        "undo_call brings the version back. Needs the user's confirmation."
    ),
    args=DeleteVersionArgs,
    result=DeleteVersionResult,
    required_role=Role.ADMIN,
    idempotent=False,
    effect=Effect.DESTROY,
    handler=handle,
)
