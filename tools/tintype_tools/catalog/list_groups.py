"""List the groups of a dataset."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog_shapes import GroupShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListGroupsArgs(Args):
    """Of which dataset."""

    dataset_name: DatasetName


class ListGroupsResult(Result):
    """Groups, and how many samples are in none."""

    groups: list[GroupShape]
    ungrouped: int


def handle(args: ListGroupsArgs, call: Call) -> ListGroupsResult:
    """List."""
    groups, ungrouped = call.studio.groups.overview(call.principal, args.dataset_name)
    return ListGroupsResult(groups=[GroupShape.of(group) for group in groups], ungrouped=ungrouped)


TOOL = ToolSpec(
    name="list_groups",
    title="List a dataset's groups",
    category=Category.SAMPLES,
    toolset="samples",
    core=False,
    description=(
        "Use when you need to know how a dataset is divided: its groups (train, val, test or others), how "
        "many samples each has, and how many are in none."
    ),
    args=ListGroupsArgs,
    result=ListGroupsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
