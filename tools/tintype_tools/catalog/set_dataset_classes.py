"""Declare a dataset's classes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import ClassArgs, DatasetName, DatasetShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class SetDatasetClassesArgs(Args):
    """The full list."""

    dataset_name: DatasetName
    classes: Annotated[
        list[ClassArgs],
        Field(min_length=1, max_length=1000, description="The full class list, in the order of their ids."),
    ]


def handle(args: SetDatasetClassesArgs, call: Call) -> DatasetShape:
    """Replace the list."""
    classes = [c.as_class() for c in args.classes]
    return DatasetShape.of(call.studio.classes.declare(call.principal, args.dataset_name, classes))


TOOL = ToolSpec(
    name="set_dataset_classes",
    title="Set a dataset's classes",
    category=Category.DATASETS,
    toolset="datasets",
    core=False,
    description=(
        "Use when the classes of a dataset are to be fixed, renamed in order or coloured. Replaces the whole "
        "list; afterwards annotations may use only these names, which catches typing mistakes. A dataset "
        "without a declared list learns class names from saved annotations."
    ),
    args=SetDatasetClassesArgs,
    result=DatasetShape,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    handler=handle,
)
