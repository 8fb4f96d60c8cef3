"""Save an export's ZIP to a local file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tintype_studio.errors import Conflict, Unavailable
from tintype_studio.identity.roles import Role
from tintype_studio.names import printable
from tintype_tools.call import Affected, Call, Plan
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
    if target.exists():
        _require_same(target, export.sha256 or "")
    written = not target.exists()
    detail = {"size": export.file_size or 0}
    return Plan(
        (Affected("file.written", int(written), args.dataset_name, target.name, detail),), undoable=False
    )


def handle(args: DownloadExportArgs, call: Call) -> DownloadExportResult:
    """Write the file whole, or not at all; nothing that exists is replaced."""
    target = call.files.target(args.output_path)
    export, chunks = call.studio.exports.open(call.principal, args.dataset_name, args.export_name)
    sha256 = export.sha256 or ""
    if target.exists():
        _require_same(target, sha256)
    else:
        try:
            _write_whole(target, chunks, sha256, call)
        except OSError as error:
            raise Unavailable(
                f"The file could not be written: {error.strerror}.",
                code="write_failed",
                fix="Choose another name or folder, or free disk space, then call again.",
                retryable=False,
            ) from error
    return DownloadExportResult(output_path=str(target), file_size=target.stat().st_size, sha256=sha256)


def _write_whole(target: Path, chunks: Iterable[bytes], sha256: str, call: Call) -> None:
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".tintype-")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                call.check()
                file.write(chunk)
        part.chmod(0o644)
        try:
            # A link appears whole, and only where nothing stands.
            os.link(part, target)
        except FileExistsError:
            _require_same(target, sha256)
        except OSError:  # a file system without links
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _require_same(target: Path, sha256: str) -> None:
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise Conflict(
                f"A file named {printable(target.name)!r} exists there and is something else.",
                code="file_exists",
                fix="Choose another file name; nothing was overwritten.",
            )


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
