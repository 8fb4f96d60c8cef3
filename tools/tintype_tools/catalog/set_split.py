"""Put samples into a group."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tintype_studio.annotations.documents import set_row_id
from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.catalog.groups import MAX_SAMPLES
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_studio.multisensor.query import QueryScope, condition_of, parse
from tintype_studio.multisensor.query.text import MAX_TEXT
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
        Field(max_length=MAX_SAMPLES, description="UUIDs of samples."),
    ] = []
    query: Annotated[
        str | None,
        Field(
            max_length=MAX_TEXT,
            description="Instead of ids: all that it finds; written as for query_samples.",
        ),
    ] = None


class SetSplitResult(Result):
    """How many samples are in the group as asked, and how many of them were not before."""

    group: str | None = None
    processed: int
    changed: int
    missing: list[str] | None = None


def handle(args: SetSplitArgs, call: Call) -> SetSplitResult:
    """Assign."""
    groups = call.studio.groups
    if args.image_ids and args.query is not None:
        raise InvalidInput(
            "Samples are named twice, by ids and by a query.",
            code="invalid_batch",
            fix="Send image_ids or query, not both.",
        )
    if args.group is not None and not args.image_ids and args.query is None:
        (made,) = groups.create(call.principal, args.dataset_name, [args.group])
        return SetSplitResult(group=made.name, processed=0, changed=0)
    done = groups.set_split(
        call.principal,
        args.dataset_name,
        args.group,
        args.image_ids,
        where=_where(call, args),
        check=call.check,
    )
    return SetSplitResult(
        group=args.group, processed=done.samples, changed=done.changed, missing=done.missing or None
    )


def _where(call: Call, args: SetSplitArgs) -> list[Any]:
    """The query as conditions of the database; none where there is no query."""
    if args.query is None:
        return []
    studio = call.studio
    asked = parse(args.query)
    dataset = studio.datasets.get(call.principal, args.dataset_name)
    with studio.database.read() as connection:
        default = set_row_id(connection, dataset.row_id, DEFAULT_SET)
    return [condition_of(asked, QueryScope(default, True, studio.database.is_sqlite))]


TOOL = ToolSpec(
    name="set_split",
    title="Set the group of images",
    category=Category.SAMPLES,
    toolset="samples",
    core=False,
    description=(
        "Use when chosen images are to be put into a group such as train, val or test, or taken "
        "out of their group. For shares use split_dataset."
    ),
    args=SetSplitArgs,
    result=SetSplitResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    handler=handle,
)
