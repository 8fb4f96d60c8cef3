"""Save an export's ZIP to a local file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tintype_studio.errors import Unavailable
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
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


def handle(args: DownloadExportArgs, call: Call) -> DownloadExportResult:
    """Write the file whole, or not at all."""
    target = call.files.target(args.output_path)
    export, chunks = call.studio.exports.open(call.principal, args.dataset_name, args.export_name)
    size = _write_whole(target, chunks, call)
    return DownloadExportResult(output_path=str(target), file_size=size, sha256=export.sha256 or "")


def _write_whole(target: Path, chunks: Iterable[bytes], call: Call) -> int:
    size = 0
    descriptor, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                call.check()
                size += file.write(chunk)
        Path(part).replace(target)
    except OSError as error:
        Path(part).unlink(missing_ok=True)
        raise Unavailable(
            f"The file could not be written: {error.strerror}.",
            code="write_failed",
            fix="Free disk space or choose another folder, then call again.",
        ) from error
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return size


TOOL = ToolSpec(
    name="download_export",
    title="Download an export",
    category=Category.EXPORTS,
    toolset="exports",
    description=(
        "Use when the user wants a completed export as a local ZIP file. Over the network, where this server "
        "may write no local files, use the download_url that list_exports gives."
    ),
    args=DownloadExportArgs,
    result=DownloadExportResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.WRITE,
    handler=handle,
)
