"""See what lies in the recycle bin."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListDeletedArgs(Args):
    """How much of it."""

    limit: Annotated[int, Field(ge=1, le=1000, description="Entries to list, latest first.")] = 50
    offset: Annotated[int, Field(ge=0, description="Entries to skip.")] = 0


class DeletedShape(Result):
    """What one call deleted from one dataset. ``size`` in bytes; ``kind`` is dataset or images."""

    kind: str
    dataset: str
    images: int
    size: int
    deleted_at: datetime
    call_id: str | None = None


class ListDeletedResult(Result):
    """Entries of the recycle bin."""

    deleted: list[DeletedShape]


def handle(args: ListDeletedArgs, call: Call) -> ListDeletedResult:
    """Look into the bin."""
    return ListDeletedResult(
        deleted=[
            DeletedShape(
                kind=b.kind,
                dataset=b.dataset,
                images=b.count,
                size=b.size,
                deleted_at=b.deleted_at,
                call_id=b.call_id,
            )
            for b in call.studio.recycle_bin.list(call.principal, limit=args.limit, offset=args.offset)
        ]
    )


TOOL = ToolSpec(
    name="list_deleted",
    title="List deleted things",
    category=Category.HISTORY,
    toolset="history",
    core=False,
    description=(
        "Use when the user looks for deleted datasets or images: lists the recycle bin; undo_call with a "
        "call_id of it brings them back."
    ),
    args=ListDeletedArgs,
    result=ListDeletedResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
