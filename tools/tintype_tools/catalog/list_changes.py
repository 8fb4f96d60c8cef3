"""See what was changed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListChangesArgs(Args):
    """Which part of the history."""

    limit: Annotated[int, Field(ge=1, le=1000, description="Changes to list.")] = 50
    before: Annotated[int | None, Field(description="`next_before` of the page before.")] = None
    dataset_name: Annotated[DatasetName | None, Field(description="Only this dataset.")] = None
    session: Annotated[str | None, Field(description="Only this session; 'current': yours.")] = None


class ChangeShape(Result):
    """One kind of change of one call. ``undone_by`` is a call, or purged."""

    call_id: str
    tool: str | None = None
    session: str | None = None
    key_prefix: str | None = None
    kind: str
    dataset: str | None = None
    name: str | None = None
    count: int
    created_at: datetime
    undone_by: str | None = None
    undo_of: str | None = None


class RestorePointShape(Result):
    """A mark that was set before a deletion or a bulk change."""

    id: str
    call_id: str
    tool: str
    created_at: datetime


class ListChangesResult(Result):
    """Changes, newest first, and the latest restore points."""

    changes: list[ChangeShape]
    restore_points: list[RestorePointShape]
    next_before: int | None = None
    current_session: str | None = None


def handle(args: ListChangesArgs, call: Call) -> ListChangesResult:
    """Read the log."""
    found = call.studio.changes.page(
        call.principal,
        limit=args.limit,
        before=args.before,
        dataset=args.dataset_name,
        session=call.principal.session if args.session == "current" else args.session,
    )
    return ListChangesResult(
        changes=[
            ChangeShape(
                call_id=c.call_id,
                tool=c.tool,
                session=c.session,
                key_prefix=c.key_prefix,
                kind=c.kind.value,
                dataset=c.dataset,
                name=c.label,
                count=c.count,
                created_at=c.created_at,
                undone_by=c.undone_by,
                undo_of=c.undo_of,
            )
            for c in found
        ],
        restore_points=[
            RestorePointShape(id=p.id, call_id=p.call_id, tool=p.tool, created_at=p.created_at)
            for p in call.studio.changes.restore_points(call.principal)
        ],
        next_before=found[-1].id if len(found) == args.limit else None,
        current_session=call.principal.session,
    )


TOOL = ToolSpec(
    name="list_changes",
    title="List changes",
    category=Category.HISTORY,
    toolset="history",
    core=False,
    description=(
        "Use when the user asks what was changed or done to the data, when, and with which key, or before an "
        "undo: changes by call, newest first, with the ids for undo_call and undo_session."
    ),
    args=ListChangesArgs,
    result=ListChangesResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
