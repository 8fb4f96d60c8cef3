"""Name the state that a dataset is in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, ToolSpec
from tintype_tools.version_shapes import VersionName, VersionShape


class CreateVersionArgs(Args):
    """Which dataset, and what its state is called."""

    dataset_name: DatasetName
    name: VersionName
    description: Annotated[str | None, Field(description="What it is for.", max_length=2000)] = None


def handle(args: CreateVersionArgs, call: Call) -> VersionShape:
    """Write the state down."""
    version = call.studio.versions.create(
        call.principal,
        args.dataset_name,
        name=args.name,
        description=args.description,
        check=call.check,
    )
    return VersionShape.of(version)


TOOL = ToolSpec(
    name="create_version",
    title="Create a dataset version",
    category=Category.VERSIONS,
    toolset="versions",
    core=False,
    description=(
        "Use when the state of a dataset shall have a name (v1.0, before-relabel), to compare with it, "
        "read it or restore it later. Copies no pictures; keeps samples, annotations, labels and groups."
    ),
    args=CreateVersionArgs,
    result=VersionShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    handler=handle,
)
