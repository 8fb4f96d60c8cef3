"""Delete a picture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import ImageId
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DeleteImageArgs(Args):
    """Which one."""

    image_uuid: ImageId
    permanent: Annotated[
        bool, Field(description="Remove for good, from the recycle bin or past it; undo cannot help then.")
    ] = False


class DeleteImageResult(Result):
    """What was deleted."""

    deleted: Literal[True] = True
    image_uuid: str
    filename: str


def handle(args: DeleteImageArgs, call: Call) -> DeleteImageResult:
    """Delete."""
    if args.permanent:
        gone = call.studio.batch.remove(call.principal, args.image_uuid)
        return DeleteImageResult(image_uuid=gone.uuid, filename=gone.filename)
    sample = call.studio.samples.delete(call.principal, args.image_uuid)
    return DeleteImageResult(image_uuid=sample.id, filename=sample.filename)


TOOL = ToolSpec(
    name="delete_image",
    title="Delete an image",
    category=Category.IMAGES,
    toolset="images",
    core=False,
    description=(
        "Use when the user asks to remove one image and its annotations. Needs the user's confirmation; "
        "undo_call brings it back unless permanent. A member deletes only its own."
    ),
    args=DeleteImageArgs,
    result=DeleteImageResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.DESTROY,
    handler=handle,
)
