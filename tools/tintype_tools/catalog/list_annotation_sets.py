"""List the annotation sets of a dataset."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog_shapes import SetShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListAnnotationSetsArgs(Args):
    """Of which dataset."""

    dataset_name: DatasetName


class ListAnnotationSetsResult(Result):
    """Sets in the order in which they were made; ``default`` is the first."""

    annotation_sets: list[SetShape]


def handle(args: ListAnnotationSetsArgs, call: Call) -> ListAnnotationSetsResult:
    """List."""
    found = call.studio.annotation_sets.list(call.principal, args.dataset_name)
    return ListAnnotationSetsResult(annotation_sets=[SetShape.of(each) for each in found])


TOOL = ToolSpec(
    name="list_annotation_sets",
    title="List annotation sets",
    category=Category.ANNOTATIONS,
    toolset="samples",
    core=False,
    description=(
        "Use when you need to know which annotation sets a dataset has (several answers side by "
        "side, such as by somebody else or a model) and how much is in each."
    ),
    args=ListAnnotationSetsArgs,
    result=ListAnnotationSetsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
