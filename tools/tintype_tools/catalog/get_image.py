"""Metadata of one picture."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import ImageId, ImageShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class GetImageArgs(Args):
    """Which one."""

    image_uuid: ImageId


def handle(args: GetImageArgs, call: Call) -> ImageShape:
    """Read."""
    return ImageShape.of(call.studio.samples.get(call.principal, args.image_uuid), call)


TOOL = ToolSpec(
    name="get_image",
    title="Get an image",
    category=Category.IMAGES,
    toolset="images",
    core=False,
    description=(
        "Use when you need one image's file name, width and height, status, folder and download link. To "
        "look at it, use preview_image; for its labels, get_annotations."
    ),
    args=GetImageArgs,
    result=ImageShape,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    quick_unless=frozenset(),
    handler=handle,
)
