"""Delete a snapshot."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from tintype_studio.errors import Conflict
from tintype_studio.identity.roles import Role
from tintype_studio.snapshots.snapshot import SnapshotStatus
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.snapshot_shapes import SnapshotRef
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DeleteSnapshotArgs(Args):
    """Which one."""

    snapshot: SnapshotRef


class DeleteSnapshotResult(Result):
    """What was deleted."""

    deleted: Literal[True] = True
    id: str
    name: str


def plan(args: DeleteSnapshotArgs, call: Call) -> Plan:
    """The snapshot; an unfinished upload cannot be brought back."""
    snapshot = call.studio.snapshots.get(call.principal, args.snapshot)
    detail = {"size": snapshot.size}
    affected = Affected("snapshot.deleted", 1, name=snapshot.name, detail=detail, subject=snapshot.id)
    return Plan((affected,), undoable=snapshot.status is not SnapshotStatus.PENDING)


def handle(args: DeleteSnapshotArgs, call: Call) -> DeleteSnapshotResult:
    """Stop the job that still makes it, and delete it."""
    snapshots, jobs = call.studio.snapshots, call.studio.jobs
    snapshot = snapshots.get(call.principal, args.snapshot)
    if snapshot.status is SnapshotStatus.PROCESSING and snapshot.job_id is not None:
        with suppress(Conflict):  # it has ended meanwhile
            jobs.cancel(call.principal, snapshot.job_id)
    snapshots.delete(call.principal, snapshot.id)
    return DeleteSnapshotResult(id=snapshot.id, name=snapshot.name)


TOOL = ToolSpec(
    name="delete_snapshot",
    title="Delete a snapshot",
    category=Category.SNAPSHOTS,
    toolset="snapshots",
    core=False,
    description=(
        "Use when the user asks to delete a snapshot with its files. Needs the user's confirmation; "
        "undo_call brings it back within 30 days. Datasets that were restored from it stay."
    ),
    args=DeleteSnapshotArgs,
    result=DeleteSnapshotResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.DESTROY,
    plan=plan,
    handler=handle,
)
