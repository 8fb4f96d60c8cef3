"""Rename or describe a dataset, or replace its classes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import AnnotationType, ClassArgs, DatasetName, DatasetShape, declared_classes
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class UpdateDatasetArgs(Args):
    """Which dataset, and what is to change; what is left out stays."""

    name: DatasetName
    new_name: Annotated[str | None, Field(description="Its name from now on.")] = None
    description: Annotated[
        str | None, Field(description="What it is for; empty takes it away.", max_length=2000)
    ] = None
    annotation_types: Annotated[
        list[AnnotationType] | None,
        Field(description="What its annotations are meant to be.", min_length=1, max_length=4),
    ] = None
    classes: Annotated[
        list[ClassArgs] | None,
        Field(description="The full class list; empty: learn classes from saves.", max_length=1000),
    ] = None
    remove_annotations: Annotated[
        bool, Field(description="Also remove the annotations of classes that are left out.")
    ] = False


def handle(args: UpdateDatasetArgs, call: Call) -> DatasetShape:
    """Change."""
    changes = (args.new_name, args.description, args.annotation_types, args.classes)
    if all(change is None for change in changes):
        raise InvalidInput(
            "Nothing to change was named.",
            code="nothing_to_change",
            fix="Send new_name, description, annotation_types or classes.",
        )
    studio, who = call.studio, call.principal
    dataset = studio.datasets.update(
        who,
        args.name,
        new_name=args.new_name,
        description=args.description,
        annotation_types=args.annotation_types,
    )
    if args.classes is not None:
        if args.remove_annotations:
            studio.removal.unlisted(who, dataset.name, [c.name for c in args.classes], check=call.check)
        dataset = declared_classes(call, dataset.name, args.classes)
    return DatasetShape.whole(dataset, call)


TOOL = ToolSpec(
    name="update_dataset",
    title="Update a dataset",
    category=Category.DATASETS,
    toolset="datasets",
    core=False,
    description=(
        "Use when a dataset is to be renamed, described anew, or to get another class list. A class that "
        "annotations use stays in the list, unless remove_annotations takes these annotations away, which "
        "undo_call brings back."
    ),
    args=UpdateDatasetArgs,
    result=DatasetShape,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    bulk=True,
    takes_away=True,
    handler=handle,
)
