"""Declare a dataset's classes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.annotations.geometry import Label
from tintype_studio.catalog.datasets import DatasetClass
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName, DatasetShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class ClassArgs(Args):
    """One class."""

    name: Annotated[Label, Field(description="Class label, case-sensitive.")]
    type: Annotated[
        Literal["bbox", "polygon", "polyline", "keypoint"] | None,
        Field(description="Annotation type the class is meant for."),
    ] = None
    color: Annotated[
        str | None, Field(pattern=r"^#[0-9a-fA-F]{6}$", description="Drawing colour, #rrggbb.")
    ] = None


class SetDatasetClassesArgs(Args):
    """The full list."""

    dataset_name: DatasetName
    classes: Annotated[
        list[ClassArgs],
        Field(min_length=1, max_length=1000, description="The full class list, in the order of their ids."),
    ]


def handle(args: SetDatasetClassesArgs, call: Call) -> DatasetShape:
    """Replace the list."""
    classes = [DatasetClass(c.name, c.type, c.color) for c in args.classes]
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
