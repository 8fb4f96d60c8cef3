"""List the labels of a dataset."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog_shapes import LabelShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListLabelsArgs(Args):
    """Of which dataset."""

    dataset_name: DatasetName


class ListLabelsResult(Result):
    """Labels by index."""

    labels: list[LabelShape]


def handle(args: ListLabelsArgs, call: Call) -> ListLabelsResult:
    """List."""
    found = call.studio.labels.list(call.principal, args.dataset_name, count_uses=True)
    return ListLabelsResult(labels=[LabelShape.of(label) for label in found])


TOOL = ToolSpec(
    name="list_labels",
    title="List a dataset's labels",
    category=Category.DATASETS,
    toolset="samples",
    core=False,
    description=(
        "Use when you need the labels of a dataset with their indices (the numbers that files and models "
        "know them by), or how many annotations there are of each label."
    ),
    args=ListLabelsArgs,
    result=ListLabelsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
