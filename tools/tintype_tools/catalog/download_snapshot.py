"""Download the files of a snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.snapshots.service import Download
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.local_writing import would_write, write_stored
from tintype_tools.snapshot_shapes import SnapshotRef
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DownloadSnapshotArgs(Args):
    """Which snapshot, and where to."""

    snapshot: SnapshotRef
    output_folder: Annotated[
        str | None, Field(description="Existing local folder; null: only give download links.")
    ] = None


class DownloadedFile(Result):
    """A file of the snapshot. Size in bytes; ``download_url`` works for an hour, without a key."""

    name: str
    size: int
    sha256: str
    output_path: str | None = None
    download_url: str | None = None


class DownloadSnapshotResult(Result):
    """All files, under names without folders."""

    snapshot_id: str
    name: str
    files: list[DownloadedFile]


def _targets(args: DownloadSnapshotArgs, call: Call) -> list[tuple[Download, Path]]:
    if args.output_folder is None:
        return []
    folder = call.files.folder(args.output_folder)
    files = call.studio.snapshots.links(call.principal, args.snapshot)
    return [(file, call.files.target(str(folder / file.name))) for file in files]


def plan(args: DownloadSnapshotArgs, call: Call) -> Plan:
    """The files that would be written and are not there."""
    snapshot = call.studio.snapshots.ready(call.principal, args.snapshot)
    targets = _targets(args, call)
    written = sum(would_write(target, file.sha256) for file, target in targets)
    name = targets[0][1].name if len(targets) == 1 else None
    detail = {"size": snapshot.size}
    return Plan((Affected("file.written", written, name=name, detail=detail),), undoable=False)


def handle(args: DownloadSnapshotArgs, call: Call) -> DownloadSnapshotResult:
    """Write each file whole, or not at all; nothing that exists is replaced."""
    snapshots = call.studio.snapshots
    snapshot = snapshots.ready(call.principal, args.snapshot)
    targets = _targets(args, call)
    for file, target in targets:
        would_write(target, file.sha256)  # refuses before anything is written
    for file, target in targets:
        write_stored(target, call.studio.blobs.stream(file.sha256), file.sha256, call.check)
    paths = {file.name: str(target) for file, target in targets}
    return DownloadSnapshotResult(
        snapshot_id=snapshot.id,
        name=snapshot.name,
        files=[
            DownloadedFile(
                name=file.name,
                size=file.size,
                sha256=file.sha256,
                output_path=paths.get(file.name),
                download_url=call.blob_url(
                    file.sha256, mime_type="application/octet-stream", filename=file.name
                ),
            )
            for file in snapshots.links(call.principal, snapshot.id)
        ],
    )


TOOL = ToolSpec(
    name="download_snapshot",
    title="Download a snapshot",
    category=Category.SNAPSHOTS,
    toolset="snapshots",
    core=False,
    description=(
        "Use when the user wants the files of a snapshot: the recording, or the .arrow table with its .zip. "
        "Writes them into a local folder, never over another file; over the network it gives links."
    ),
    args=DownloadSnapshotArgs,
    result=DownloadSnapshotResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.WRITE,
    atomic=False,
    plan=plan,
    handler=handle,
)
