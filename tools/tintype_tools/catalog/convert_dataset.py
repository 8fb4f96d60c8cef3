"""Convert annotations between COCO and EdgeFirst's Arrow table, from file to file."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tintype_studio.errors import UnsupportedFormat
from tintype_studio.identity.roles import Role
from tintype_studio.names import printable
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.local_writing import would_write, write_stored
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

CHUNK = 1 << 20
TABLES = {".arrow": "edgefirst", ".parquet": "edgefirst", ".json": "coco"}
"""What is written, by the extension of the file."""


class ConvertDatasetArgs(Args):
    """What to read, and what to write."""

    source_path: Annotated[
        str, Field(description="COCO .json, or a folder or ZIP with such files; or an .arrow or .parquet.")
    ]
    output_path: Annotated[
        str, Field(description="File to write: .arrow or .parquet from COCO, .json (COCO) from a table.")
    ]
    include_masks: Annotated[bool, Field(description="Take polygons and masks, not only boxes.")] = True
    group: Annotated[
        str | None, Field(description="To a table: group of all images; else file names tell (train2017).")
    ] = None
    groups: Annotated[list[str] | None, Field(description="From a table: only these groups.")] = None


class ConvertDatasetResult(Result):
    """What was written. ``left_out``: rows without a label, which COCO cannot hold. Size in bytes."""

    output_path: str
    format: str
    images: int
    annotations: int
    categories: int
    left_out: int
    file_size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Made:
    path: Path
    sha256: str
    format: str
    images: int
    annotations: int
    categories: int
    left_out: int = 0


def _make(args: ConvertDatasetArgs, call: Call, target: Path, folder: Path) -> _Made:
    """Convert into a temporary folder."""
    source = call.files.existing(args.source_path)
    kind, made = TABLES.get(target.suffix.lower()), folder / f"made{target.suffix.lower()}"
    read = TABLES.get(source.suffix.lower(), "coco")
    if kind is None or kind == read:
        raise UnsupportedFormat(
            f"{printable(source.name)[:80]!r} is not converted to {printable(target.name)[:80]!r}.",
            code="unsupported_conversion",
            fix="Write .arrow or .parquet from COCO, or .json from an .arrow or .parquet file.",
        )
    if kind == "edgefirst":
        from tintype_studio.formats.edf.from_coco import coco_to_arrow

        table = coco_to_arrow(
            source, made, include_masks=args.include_masks, group=args.group, check=call.check
        )
        counts = (table.images, table.annotations, table.categories, 0)
    else:
        from tintype_studio.formats.edf.to_coco import arrow_to_coco

        coco = arrow_to_coco(
            source, made, include_masks=args.include_masks, groups=args.groups or (), check=call.check
        )
        counts = (coco.images, coco.annotations, coco.categories, coco.left_out)
    with made.open("rb") as file:
        return _Made(made, hashlib.file_digest(file, "sha256").hexdigest(), kind, *counts)


def plan(args: ConvertDatasetArgs, call: Call) -> Plan:
    """One file that would be written, unless it is there; found out by converting."""
    target = call.files.target(args.output_path)
    with tempfile.TemporaryDirectory(prefix="tintype-") as folder:
        made = _make(args, call, target, Path(folder))
        written = int(would_write(target, made.sha256))
        detail = {"size": made.path.stat().st_size}
    return Plan((Affected("file.written", written, name=target.name, detail=detail),), undoable=False)


def handle(args: ConvertDatasetArgs, call: Call) -> ConvertDatasetResult:
    """Write the file whole, or not at all; nothing that exists is replaced."""
    target = call.files.target(args.output_path)
    with tempfile.TemporaryDirectory(prefix="tintype-") as folder:
        made = _make(args, call, target, Path(folder))
        write_stored(target, _chunks(made.path), made.sha256, call.check)
    return ConvertDatasetResult(
        output_path=str(target),
        format=made.format,
        images=made.images,
        annotations=made.annotations,
        categories=made.categories,
        left_out=made.left_out,
        file_size=target.stat().st_size,
        sha256=made.sha256,
    )


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


TOOL = ToolSpec(
    name="convert_dataset",
    title="Convert COCO to EdgeFirst Arrow, or back",
    category=Category.EXPORTS,
    toolset="exports",
    core=False,
    description=(
        "Use when the user has an annotation file on this machine and wants it in the other format: COCO "
        "JSON to an EdgeFirst .arrow (or .parquet) table, or such a table to COCO. No dataset here is "
        "touched; an existing file is never overwritten."
    ),
    args=ConvertDatasetArgs,
    result=ConvertDatasetResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.WRITE,
    atomic=False,
    plan=plan,
    handler=handle,
)
