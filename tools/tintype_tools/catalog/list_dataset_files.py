"""List the images of a dataset, page by page."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.catalog.samples import STATUS_FILTERS
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName, ImageShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListDatasetFilesArgs(Args):
    """Which page of which dataset."""

    dataset_name: DatasetName
    status: Annotated[
        Literal["all", "complete", "in_progress", "new"], Field(description="Only images of this status.")
    ] = "all"
    limit: Annotated[int, Field(ge=1, le=10_000, description="Most images to return.")] = 1000
    offset: Annotated[int, Field(ge=0, le=10**12, description="Images to leave out, in upload order.")] = 0


class ListDatasetFilesResult(Result):
    """Images in upload order, with links to their files where a server can serve them."""

    dataset_id: str
    images: list[ImageShape]
    count: int


def handle(args: ListDatasetFilesArgs, call: Call) -> ListDatasetFilesResult:
    """List."""
    studio = call.studio
    dataset = studio.datasets.get(call.principal, args.dataset_name)
    page = studio.samples.page_at(
        dataset, limit=args.limit, offset=args.offset, statuses=STATUS_FILTERS[args.status]
    )
    images = [ImageShape.of(sample, call) for sample in page]
    return ListDatasetFilesResult(dataset_id=dataset.id, images=images, count=len(images))


TOOL = ToolSpec(
    name="list_dataset_files",
    title="List a dataset's files",
    category=Category.DATASETS,
    toolset="datasets",
    core=False,
    description=(
        "Use when you need the images of a dataset page by page, only those of one status (new: no labels "
        "yet), or links to download many of them. Returns ids, folders, file names, sizes and statuses in "
        "upload order."
    ),
    args=ListDatasetFilesArgs,
    result=ListDatasetFilesResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
