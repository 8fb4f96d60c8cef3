"""Look at one dataset."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName, DatasetShape, ImageShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class GetDatasetArgs(Args):
    """Which dataset, and whether with its images."""

    name: DatasetName
    include_images: Annotated[bool, Field(description="Also list the images.")] = False
    images_limit: Annotated[int, Field(ge=1, le=10_000, description="Most images to list.")] = 1000


def handle(args: GetDatasetArgs, call: Call) -> DatasetShape:
    """Look up."""
    dataset = call.studio.datasets.get(call.principal, args.name)
    images = None
    if args.include_images:
        page = call.studio.samples.page(dataset, limit=args.images_limit)
        images = [ImageShape.of(sample, call) for sample in page]
    return DatasetShape.whole(dataset, call, images)


TOOL = ToolSpec(
    name="get_dataset",
    title="Get a dataset",
    category=Category.DATASETS,
    toolset="datasets",
    description=(
        "Use when you need one dataset's counts and classes, or, with include_images=true, the ids, file "
        "names, sizes and statuses of its images (other tools take these ids)."
    ),
    args=GetDatasetArgs,
    result=DatasetShape,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    quick_unless=frozenset({"include_images"}),
    handler=handle,
)
