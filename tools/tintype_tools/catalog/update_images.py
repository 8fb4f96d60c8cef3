"""Set the status or display name of many pictures, archive or restore them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.catalog.samples import Status
from tintype_studio.identity.roles import Role
from tintype_tools.batch_shapes import BatchShape, ManyImages
from tintype_tools.call import Call
from tintype_tools.spec import Category, Effect, ToolSpec


class UpdateImagesArgs(ManyImages):
    """Which ones, and what to set."""

    status: Annotated[
        Status | None, Field(description="complete without annotations: nothing is to be seen there.")
    ] = None
    display_name: Annotated[
        str | None, Field(description="Shown instead of the file name; empty: none.", max_length=255)
    ] = None
    is_archived: Annotated[
        bool | None, Field(description="true: into the recycle bin; false: back from it.")
    ] = None


def handle(args: UpdateImagesArgs, call: Call) -> BatchShape:
    """Update."""
    done = call.studio.batch.update(
        call.principal,
        args.dataset_name,
        args.image_ids,
        status=args.status,
        display_name=args.display_name,
        archived=args.is_archived,
    )
    return BatchShape.of(done)


TOOL = ToolSpec(
    name="update_images",
    title="Update images",
    category=Category.IMAGES,
    toolset="batch",
    core=False,
    description=(
        "Use when the user wants many images of a dataset marked as done or for review (their status), shown "
        "under another name, archived or restored, up to 10,000 at once."
    ),
    args=UpdateImagesArgs,
    result=BatchShape,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    bulk=True,
    takes_away=True,
    handler=handle,
)
