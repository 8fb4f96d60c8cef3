"""Delete an annotation set."""

from __future__ import annotations

from typing import Literal

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog_shapes import SetName
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DeleteAnnotationSetArgs(Args):
    """Which one."""

    dataset_name: DatasetName
    name: SetName


class DeleteAnnotationSetResult(Result):
    """What went with it."""

    deleted: Literal[True] = True
    name: str
    image_count: int
    annotation_count: int


def handle(args: DeleteAnnotationSetArgs, call: Call) -> DeleteAnnotationSetResult:
    """Delete."""
    gone = call.studio.annotation_sets.delete(call.principal, args.dataset_name, args.name)
    return DeleteAnnotationSetResult(
        name=gone.name, image_count=gone.sample_count, annotation_count=gone.annotation_count
    )


TOOL = ToolSpec(
    name="delete_annotation_set",
    title="Delete an annotation set",
    category=Category.ANNOTATIONS,
    toolset="samples",
    core=False,
    description=(
        "Use when the user asks to remove a whole annotation set, one that is not the default; pictures "
        "stay. Needs the user's confirmation; undo_call brings it back."
    ),
    args=DeleteAnnotationSetArgs,
    result=DeleteAnnotationSetResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.DESTROY,
    handler=handle,
)
