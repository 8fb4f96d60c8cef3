"""Declare a dataset's classes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import ClassArgs, DatasetName, DatasetShape, declared_classes
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
    return DatasetShape.of(declared_classes(call, args.dataset_name, args.classes))


TOOL = ToolSpec(
    name="set_dataset_classes",
    title="Set a dataset's classes",
    category=Category.DATASETS,
    toolset="datasets",
    core=False,
    description=(
        "Use when a dataset's classes are to be fixed, ordered, coloured, or to get attributes (such as a "
        "sign's colour) whose options annotations choose. Replaces the whole list; afterwards annotations "
        "may use only these names and options. Without a declared list, a dataset learns names from saves."
    ),
    args=SetDatasetClassesArgs,
    result=DatasetShape,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    handler=handle,
)
