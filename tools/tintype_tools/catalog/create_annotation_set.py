"""Make an annotation set."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog_shapes import SetName, SetShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class CreateAnnotationSetArgs(Args):
    """Where, and its name."""

    dataset_name: DatasetName
    name: SetName
    description: Annotated[str | None, Field(description="What it is for.", max_length=2000)] = None


def handle(args: CreateAnnotationSetArgs, call: Call) -> SetShape:
    """Create."""
    made = call.studio.annotation_sets.create(
        call.principal, args.dataset_name, name=args.name, description=args.description
    )
    return SetShape.of(made)


TOOL = ToolSpec(
    name="create_annotation_set",
    title="Create an annotation set",
    category=Category.ANNOTATIONS,
    toolset="samples",
    core=False,
    description=(
        "Use when a dataset shall get one more, empty annotation set beside the default one, such as for "
        "another labeller or for a model's output."
    ),
    args=CreateAnnotationSetArgs,
    result=SetShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    handler=handle,
)
