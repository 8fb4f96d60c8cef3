"""Empty the recycle bin."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class PurgeDeletedArgs(Args):
    """What to remove for good."""

    dataset_name: Annotated[DatasetName | None, Field(description="Only this dataset.")] = None
    older_than_days: Annotated[
        int, Field(ge=0, le=36500, description="Only what was deleted so long ago.")
    ] = 0


class PurgeDeletedResult(Result):
    """What is gone. ``size`` in bytes."""

    datasets: int
    images: int
    size: int


def handle(args: PurgeDeletedArgs, call: Call) -> PurgeDeletedResult:
    """Purge; the bytes are freed by the next sweep."""
    purged = call.studio.recycle_bin.purge(
        call.principal, dataset=args.dataset_name, older_than=timedelta(days=args.older_than_days)
    )
    return PurgeDeletedResult(datasets=purged.datasets, images=purged.images, size=purged.size)


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
