"""See the versions of a dataset."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec
from tintype_tools.version_shapes import VersionShape


class ListVersionsArgs(Args):
    """Which dataset."""

    dataset_name: DatasetName


class ListVersionsResult(Result):
    """Versions, the oldest state first. ``serial`` is that of the dataset now."""

    serial: int
    versions: list[VersionShape]


def handle(args: ListVersionsArgs, call: Call) -> ListVersionsResult:
    """Look them up."""
    versions = call.studio.versions
    return ListVersionsResult(
        serial=versions.span(call.principal, args.dataset_name)[1],
        versions=[VersionShape.of(v) for v in versions.list(call.principal, args.dataset_name)],
    )


TOOL = ToolSpec(
    name="list_versions",
    title="List dataset versions",
    category=Category.VERSIONS,
    toolset="versions",
    core=False,
    description=(
        "Use when the user asks which named versions of a dataset there are, what each held, and which one "
        "was made or restored last."
    ),
    args=ListVersionsArgs,
    result=ListVersionsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
