"""Make an empty dataset."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import AnnotationType, ClassArgs, DatasetName, DatasetShape, declared_classes
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class CreateDatasetArgs(Args):
    """Its name, and what is known of it."""

    name: DatasetName
    description: Annotated[str | None, Field(description="What the dataset is for.", max_length=2000)] = None
    annotation_types: Annotated[
        list[AnnotationType] | None,
        Field(description="What its annotations are meant to be.", min_length=1, max_length=4),
    ] = None
    classes: Annotated[
        list[ClassArgs] | None,
        Field(description="Its classes; annotations may use no others.", max_length=1000),
    ] = None
    project: Annotated[
        str | None, Field(description="Project that it is to lie in; else default.", max_length=120)
    ] = None


def handle(args: CreateDatasetArgs, call: Call) -> DatasetShape:
    """Create."""
    studio = call.studio
    project = None if args.project is None else studio.projects.get(call.principal, args.project).row_id
    made = studio.datasets.create(
        call.principal,
        name=args.name,
        description=args.description,
        annotation_types=args.annotation_types,
        project_row_id=project,
    )
    if args.classes:
        made = declared_classes(call, made.name, args.classes)
    return DatasetShape.whole(made, call)


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
