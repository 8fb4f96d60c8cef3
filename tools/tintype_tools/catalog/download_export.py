"""Save an export's ZIP to a local file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.local_writing import would_write, write_stored
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DownloadExportArgs(Args):
    """Which export, and where to."""

    dataset_name: DatasetName
    export_name: Annotated[str, Field(description="Name of the export.")]
    output_path: Annotated[str, Field(description="Local file to write, such as ./road-signs.zip.")]


class DownloadExportResult(Result):
    """Where the file lies. Size in bytes."""

    output_path: str
    file_size: int
    sha256: str


def plan(args: DownloadExportArgs, call: Call) -> Plan:
    """One file that would be written, unless it is there."""
    target = call.files.target(args.output_path)
    export, _chunks = call.studio.exports.open(call.principal, args.dataset_name, args.export_name)
    written = int(would_write(target, export.sha256 or ""))
    detail = {"size": export.file_size or 0}
    return Plan((Affected("file.written", written, args.dataset_name, target.name, detail),), undoable=False)


def handle(args: DownloadExportArgs, call: Call) -> DownloadExportResult:
    """Write the file whole, or not at all; nothing that exists is replaced."""
    target = call.files.target(args.output_path)
    export, chunks = call.studio.exports.open(call.principal, args.dataset_name, args.export_name)
    sha256 = export.sha256 or ""
    write_stored(target, chunks, sha256, call.check)
    return DownloadExportResult(output_path=str(target), file_size=target.stat().st_size, sha256=sha256)


TOOL = ToolSpec(
    name="download_export",
    title="Download an export",
    category=Category.EXPORTS,
    toolset="exports",
    description=(
        "Use when the user wants a completed export as a local ZIP file; an existing file is never "
        "overwritten. Over the network, where this server "
        "may write no local files, use the download_url that list_exports gives."
    ),
    args=DownloadExportArgs,
    result=DownloadExportResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.WRITE,
    atomic=False,
    plan=plan,
    handler=handle,
)
