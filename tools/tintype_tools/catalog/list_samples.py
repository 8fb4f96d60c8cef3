"""List the samples of a dataset, whatever sensors they are of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_studio.multisensor.file_types import file_type
from tintype_studio.multisensor.samples import MAX_PAGE
from tintype_tools.call import Call
from tintype_tools.sample_shapes import FileTypeName, SampleShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListSamplesArgs(Args):
    """Of which dataset, and which of its samples."""

    dataset_name: DatasetName
    groups: Annotated[
        list[Annotated[str, Field(max_length=120)]] | None, Field(description="In one of these groups.")
    ] = None
    types: Annotated[list[FileTypeName] | None, Field(description="With a file of one of these types.")] = (
        None
    )
    limit: Annotated[int, Field(ge=0, le=MAX_PAGE, description="0 counts only.")] = 50
    cursor: Annotated[str | None, Field(description="next_cursor of the page before.", max_length=40)] = None


class ListSamplesResult(Result):
    """Samples in the order in which they came; ``total`` counts all that match."""

    total: int
    samples: list[SampleShape]
    next_cursor: str | None = None


def handle(args: ListSamplesArgs, call: Call) -> ListSamplesResult:
    """Look up."""
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    types = [file_type(name).name for name in args.types or ()]
    total = call.studio.multisensor.count(dataset, groups=args.groups, types=types)
    if args.limit == 0:
        return ListSamplesResult(total=total, samples=[])
    page = call.studio.multisensor.page(
        dataset,
        with_annotations=False,
        groups=args.groups,
        types=types,
        after=_after(args.cursor),
        limit=args.limit,
    )
    return ListSamplesResult(
        total=total,
        samples=[SampleShape.of(sample, call) for sample in page],
        next_cursor=f"s-{page[-1].row_id:x}" if len(page) == args.limit else None,
    )


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    digits = cursor.removeprefix("s-")
    try:
        if 0 < len(digits) <= 16:
            return min(int(digits, 16), 2**63 - 1)
    except ValueError:
        pass
    raise InvalidInput(
        "This cursor is not one of list_samples.",
        code="invalid_cursor",
        fix="Send next_cursor as it came, or leave it out for the first page.",
    )


TOOL = ToolSpec(
    name="list_samples",
    title="List samples",
    category=Category.SAMPLES,
    toolset="samples",
    core=False,
    description=(
        "Use when the user wants to see or count a dataset's multi-sensor samples by group or by file type "
        "(image, lidar.pcd, radar.png …): file names, sequences, frames, sizes, location and links of the "
        "files, page by page. For conditions on annotations use query_samples."
    ),
    args=ListSamplesArgs,
    result=ListSamplesResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
