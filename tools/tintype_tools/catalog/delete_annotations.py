"""Remove all annotations of an image."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import ImageId
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DeleteAnnotationsArgs(Args):
    """Which image."""

    image_uuid: ImageId


class DeleteAnnotationsResult(Result):
    """How many there were."""

    image_id: str
    deleted_count: int


def handle(args: DeleteAnnotationsArgs, call: Call) -> DeleteAnnotationsResult:
    """Save none."""
    saved = call.studio.documents.save(call.principal, args.image_uuid, [])
    return DeleteAnnotationsResult(image_id=saved.image_id, deleted_count=saved.previous_count)


TOOL = ToolSpec(
    name="delete_annotations",
    title="Delete an image's annotations",
    category=Category.ANNOTATIONS,
    toolset="annotations",
    core=False,
    description=(
        "Use when the user asks to remove every annotation of one image. Needs the user's confirmation; "
        "undo_call brings them back."
    ),
    args=DeleteAnnotationsArgs,
    result=DeleteAnnotationsResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.DESTROY,
    handler=handle,
)
