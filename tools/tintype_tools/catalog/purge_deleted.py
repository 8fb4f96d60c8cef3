"""Empty the recycle bin."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class PurgeDeletedArgs(Args):
    """What to remove for good."""

    dataset_name: Annotated[DatasetName | None, Field(description="Only this dataset.")] = None
    items: Annotated[
        list[str] | None,
        Field(
            description="Only these: ids of deleted datasets (ds-1a), projects (p-), annotation sets (as-), "
            "experiments (exp-), training (t-) and validation sessions (v-). Goes with nothing else.",
            min_length=1,
            max_length=1000,
        ),
    ] = None
    older_than_days: Annotated[
        int, Field(ge=0, le=36500, description="Only what was deleted so long ago.")
    ] = 0


class PurgeDeletedResult(Result):
    """What is gone. ``size`` in bytes."""

    datasets: int
    images: int
    size: int
    others: int = 0
    """Projects, annotation sets, experiments and sessions."""


def handle(args: PurgeDeletedArgs, call: Call) -> PurgeDeletedResult:
    """Purge; the bytes are freed by the next sweep."""
    if args.items is not None:
        if args.dataset_name is not None or args.older_than_days:
            raise InvalidInput(
                "items goes with nothing else.", fix="Leave out dataset_name and older_than_days, or items."
            )
        purged = call.studio.bin_items.purge(call.principal, args.items)
    else:
        purged = call.studio.recycle_bin.purge(
            call.principal, dataset=args.dataset_name, older_than=timedelta(days=args.older_than_days)
        )
    return PurgeDeletedResult(
        datasets=purged.datasets, images=purged.images, size=purged.size, others=purged.others
    )


TOOL = ToolSpec(
    name="purge_deleted",
    title="Empty the recycle bin",
    category=Category.HISTORY,
    toolset="history",
    core=False,
    description=(
        "Use when the user asks to remove deleted things for good. Cannot be undone; needs the user's "
        "confirmation. Without arguments it empties the whole recycle bin."
    ),
    args=PurgeDeletedArgs,
    result=PurgeDeletedResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.DESTROY,
    handler=handle,
)
