"""Make an empty dataset."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName, DatasetShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class CreateDatasetArgs(Args):
    """Its name."""

    name: DatasetName
    description: Annotated[str | None, Field(description="What the dataset is for.", max_length=2000)] = None


def handle(args: CreateDatasetArgs, call: Call) -> DatasetShape:
    """Create."""
    return DatasetShape.of(
        call.studio.datasets.create(call.principal, name=args.name, description=args.description)
    )


TOOL = ToolSpec(
    name="create_dataset",
    title="Create a dataset",
    category=Category.DATASETS,
    toolset="datasets",
    core=False,
    description=(
        "Use when the user wants a new, empty dataset. A name that is taken is refused. Uploading a folder "
        "creates its dataset by itself."
    ),
    args=CreateDatasetArgs,
    result=DatasetShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    handler=handle,
)
