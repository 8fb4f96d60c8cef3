"""Delete a dataset."""

from __future__ import annotations

from typing import Literal

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DeleteDatasetArgs(Args):
    """Which one."""

    name: DatasetName


class DeleteDatasetResult(Result):
    """What went with it."""

    deleted: Literal[True] = True
    name: str
    images_deleted: int
    annotations_deleted: int


def handle(args: DeleteDatasetArgs, call: Call) -> DeleteDatasetResult:
    """Delete."""
    counts = call.studio.datasets.delete(call.principal, args.name)
    return DeleteDatasetResult(
        name=args.name,
        images_deleted=counts.images_deleted,
        annotations_deleted=counts.annotations_deleted,
    )


TOOL = ToolSpec(
    name="delete_dataset",
    title="Delete a dataset",
    category=Category.DATASETS,
    toolset="datasets",
    core=False,
    description=(
        "Use when the user asks to delete a whole dataset, with its images, annotations and exports. Needs "
        "the user's confirmation; undo_call brings it back."
    ),
    args=DeleteDatasetArgs,
    result=DeleteDatasetResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.DESTROY,
    handler=handle,
)
