"""Copy pictures into a virtual folder."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.catalog.copying import Duplicates
from tintype_studio.identity.roles import Role
from tintype_tools.batch_shapes import BatchShape, ManyImages
from tintype_tools.call import Call
from tintype_tools.shapes import VirtualFolder
from tintype_tools.spec import Category, Effect, ToolSpec


class CopyImagesArgs(ManyImages):
    """Which ones, and where to."""

    target_folder_path: VirtualFolder = "/"
    duplicate_handling: Annotated[
        Duplicates, Field(description="When the name is taken: rename or skip the copy, or overwrite.")
    ] = Duplicates.RENAME
    copy_annotations: Annotated[bool, Field(description="Copy annotations and status, too.")] = False


def handle(args: CopyImagesArgs, call: Call) -> BatchShape:
    """Copy."""
    done = call.studio.batch.copy(
        call.principal,
        args.dataset_name,
        args.image_ids,
        args.target_folder_path,
        duplicates=args.duplicate_handling,
        annotations=args.copy_annotations,
    )
    return BatchShape.of(done)


TOOL = ToolSpec(
    name="copy_images",
    title="Copy images",
    category=Category.IMAGES,
    toolset="batch",
    core=False,
    description=(
        "Use when the user wants copies of images in another virtual folder of the same dataset, with or "
        "without their annotations, up to 10,000 at once. What overwrite replaces goes into the recycle bin."
    ),
    args=CopyImagesArgs,
    result=BatchShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    bulk=True,
    takes_away=True,
    handler=handle,
)
