"""Put samples into a group."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.catalog.groups import MAX_SAMPLES
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog_shapes import GroupName
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class SetSplitArgs(Args):
    """Which samples, into which group."""

    dataset_name: DatasetName
    group: Annotated[GroupName | None, Field(description="Made if it is new. null: out of their groups.")]
    image_ids: Annotated[
        list[Annotated[str, Field(max_length=200)]],
        Field(max_length=MAX_SAMPLES, description="UUIDs of samples; none: only make the group."),
    ] = []


class SetSplitResult(Result):
    """How many samples are in the group as asked, and how many of them were not before."""

    group: str | None = None
    processed: int
    changed: int
    missing: list[str] | None = None


def handle(args: SetSplitArgs, call: Call) -> SetSplitResult:
    """Assign."""
    groups = call.studio.groups
    if args.group is not None and not args.image_ids:
        (made,) = groups.create(call.principal, args.dataset_name, [args.group])
        return SetSplitResult(group=made.name, processed=0, changed=0)
    done = groups.set_split(call.principal, args.dataset_name, args.group, args.image_ids, check=call.check)
    return SetSplitResult(
        group=args.group, processed=done.samples, changed=done.changed, missing=done.missing or None
    )


TOOL = ToolSpec(
    name="set_split",
    title="Set the group of samples",
    category=Category.SAMPLES,
    toolset="samples",
    core=False,
    description=(
        "Use when chosen images or samples are to be put into a group such as train, val or test, or taken "
        "out of their group. For shares use split_dataset."
    ),
    args=SetSplitArgs,
    result=SetSplitResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    bulk=True,
    handler=handle,
)
