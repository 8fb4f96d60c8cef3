"""Finish a snapshot whose files were put."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_studio.snapshots.snapshot import SnapshotStatus
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.snapshot_shapes import SnapshotRef, SnapshotShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class CompleteSnapshotArgs(Args):
    """Which snapshot; without a path all of it."""

    snapshot: SnapshotRef
    path: Annotated[
        str | None,
        Field(description="Only join this file's parts; the snapshot stays pending.", max_length=1000),
    ] = None
    etags: Annotated[
        list[str] | None,
        Field(max_length=2000, description="ETag that each PUT answered with, part after part; with path."),
    ] = None


def _require_path(args: CompleteSnapshotArgs) -> None:
    if args.etags is not None and args.path is None:
        raise InvalidInput(
            "etags are those of one file.",
            code="invalid_selection",
            fix="Send path with them, or leave them out.",
        )


def plan(args: CompleteSnapshotArgs, call: Call) -> Plan:
    """The snapshot that would be there."""
    _require_path(args)
    snapshot = call.studio.snapshots.get(call.principal, args.snapshot)
    made = int(args.path is None and snapshot.status is SnapshotStatus.PENDING)
    if made:
        call.studio.snapshots.receiving.require_parts(snapshot)
    detail = {"size": snapshot.size}
    return Plan((Affected("snapshot.created", made, name=snapshot.name, detail=detail, subject=snapshot.id),))


def handle(args: CompleteSnapshotArgs, call: Call) -> SnapshotShape:
    """Join one file, or what is left and make the snapshot available."""
    _require_path(args)
    snapshots, principal = call.studio.snapshots, call.principal
    receiving = snapshots.receiving
    if args.path is not None:
        etags = None if args.etags is None else {n: each for n, each in enumerate(args.etags, 1) if each}
        receiving.join(principal, args.snapshot, args.path, etags, check=call.check)
        return SnapshotShape.of(snapshots.get(principal, args.snapshot))
    snapshot = snapshots.get(principal, args.snapshot)
    if snapshot.status is SnapshotStatus.PENDING:
        receiving.require_parts(snapshot)
        for file in snapshot.files:
            receiving.join(principal, snapshot.id, file.path, check=call.check)
    return SnapshotShape.of(receiving.finish(principal, snapshot.id, check=call.check))


TOOL = ToolSpec(
    name="complete_snapshot",
    title="Complete an uploaded snapshot",
    category=Category.SNAPSHOTS,
    toolset="snapshots",
    core=False,
    description=(
        "Use when all files of a snapshot from create_snapshot with uploads were put: joins their parts, "
        "looks into them (a recording's topics, a table's samples) and makes it available. Missing parts are "
        "named; put them and call again."
    ),
    args=CompleteSnapshotArgs,
    result=SnapshotShape,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    atomic=False,
    plan=plan,
    handler=handle,
)
