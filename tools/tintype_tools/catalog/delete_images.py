"""Delete many pictures."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.batch_shapes import BatchShape, ManyImages
from tintype_tools.call import Call
from tintype_tools.spec import Category, Effect, ToolSpec


class DeleteImagesArgs(ManyImages):
    """Which ones, and how thoroughly."""

    permanent: Annotated[
        bool, Field(description="Remove for good, past the recycle bin; needs the role admin.")
    ] = False


def handle(args: DeleteImagesArgs, call: Call) -> BatchShape:
    """Delete."""
    done = call.studio.batch.delete(
        call.principal, args.dataset_name, args.image_ids, permanent=args.permanent
    )
    return BatchShape.of(done)


TOOL = ToolSpec(
    name="delete_images",
    title="Delete images",
    category=Category.IMAGES,
    toolset="batch",
    core=False,
    description=(
        "Use when the user asks to remove many images of a dataset, up to 10,000 at once. Needs the user's "
        "confirmation; undo_call brings them back unless permanent. A member deletes only its own."
    ),
    args=DeleteImagesArgs,
    result=BatchShape,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.DESTROY,
    bulk=True,
    handler=handle,
)
