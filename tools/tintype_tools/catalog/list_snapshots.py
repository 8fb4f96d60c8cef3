"""List snapshots."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.snapshots.snapshot import SnapshotStatus
from tintype_tools.call import Call
from tintype_tools.snapshot_shapes import SnapshotRef, SnapshotShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListSnapshotsArgs(Args):
    """Which page, or which one."""

    limit: Annotated[int, Field(ge=1, le=500, description="Most snapshots to return.")] = 50
    before: Annotated[
        str | None, Field(description="id of the last one of the page before.", max_length=200)
    ] = None
    status: Annotated[
        Literal["pending", "processing", "available", "failed"] | None,
        Field(description="Only of this status."),
    ] = None
    snapshot: Annotated[
        SnapshotRef | None, Field(description="Only this one, with its files, topics and labels.")
    ] = None


class ListSnapshotsResult(Result):
    """Snapshots, newest first."""

    snapshots: list[SnapshotShape]
    count: int


def handle(args: ListSnapshotsArgs, call: Call) -> ListSnapshotsResult:
    """List."""
    snapshots = call.studio.snapshots
    if args.snapshot is not None:
        found = [SnapshotShape.of(snapshots.get(call.principal, args.snapshot))]
        return ListSnapshotsResult(snapshots=found, count=1)
    before = None if args.before is None else snapshots.get(call.principal, args.before).row_id
    status = None if args.status is None else SnapshotStatus(args.status)
    page = snapshots.list(call.principal, limit=args.limit, before=before, status=status)
    return ListSnapshotsResult(
        snapshots=[SnapshotShape.of(each, whole=False) for each in page], count=len(page)
    )


TOOL = ToolSpec(
    name="list_snapshots",
    title="List snapshots",
    category=Category.SNAPSHOTS,
    toolset="snapshots",
    core=False,
    description=(
        "Use when you need to know which snapshots exist and whether they are available, or, with snapshot, "
        "what one holds: the topics of a recording, the files, the labels of a table."
    ),
    args=ListSnapshotsArgs,
    result=ListSnapshotsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
