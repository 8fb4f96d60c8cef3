"""Find pictures that a dataset holds more than once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call, Output
from tintype_tools.found_images import ContactSheet, FoundImage, not_indexed_note, sheet
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class FindDuplicatesArgs(Args):
    """Where, and how alike."""

    dataset_name: DatasetName
    threshold: Annotated[
        Literal["same", "near", "loose"],
        Field(description="same: recompressed or scaled; near: also a little cropped or relit; loose: more."),
    ] = "near"
    limit: Annotated[int, Field(ge=1, le=200, description="Groups to list, largest first.")] = 20
    offset: Annotated[int, Field(ge=0, description="Groups to skip.")] = 0
    contact_sheet: ContactSheet = False


class DuplicateGroup(Result):
    """One picture, several times: the image to keep, and those like it with their similarity to it."""

    keep: FoundImage
    duplicates: list[FoundImage]


class FindDuplicatesResult(Result):
    """A page of groups. ``total`` groups with ``spare`` images beyond those to keep are in the dataset."""

    groups: list[DuplicateGroup]
    count: int
    total: int
    spare: int
    not_indexed: int | None = None
    note: str | None = None


def handle(args: FindDuplicatesArgs, call: Call) -> Output:
    """Search."""
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    found = call.studio.search.duplicates(
        dataset,
        args.threshold,
        limit=args.limit,
        offset=args.offset,
        check=call.check,
        progress=lambda done, total: call.progress(done, total, "Comparing images"),
    )
    value = FindDuplicatesResult(
        groups=[
            DuplicateGroup(keep=FoundImage.of(keep), duplicates=[FoundImage.of(hit) for hit in others])
            for keep, others in found.groups
        ],
        count=len(found.groups),
        total=found.total,
        spare=found.spare,
        not_indexed=found.not_indexed or None,
        note=not_indexed_note(found.not_indexed),
    )
    tiles = [
        (f"{number} keep" if hit is keep else f"{number} · {hit.similarity:.2f}", hit)
        for number, (keep, others) in enumerate(found.groups, start=args.offset + 1)
        for hit in (keep, *others)
    ]
    return Output(value, sheet(tiles, call) if args.contact_sheet else ())


TOOL = ToolSpec(
    name="find_duplicates",
    title="Find near-duplicates",
    category=Category.SEARCH,
    toolset="search",
    core=False,
    description=(
        "Use when a dataset may hold the same picture more than once (copies, resized, cropped a little, "
        "neighbouring frames). Each group suggests which image to keep: the most annotated, then the "
        "largest. Nothing is deleted."
    ),
    args=FindDuplicatesArgs,
    result=FindDuplicatesResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
