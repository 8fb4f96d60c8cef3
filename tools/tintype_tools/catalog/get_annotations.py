"""Read an image's annotations."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import Annotations, ImageId
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class GetAnnotationsArgs(Args):
    """Which image."""

    image_uuid: ImageId


class GetAnnotationsResult(Result):
    """The annotations, in pixels of the upright image, with that image's size."""

    image_uuid: str
    width: int
    height: int
    annotations: Annotations
    count: int


def handle(args: GetAnnotationsArgs, call: Call) -> GetAnnotationsResult:
    """Read."""
    sample, annotations = call.studio.documents.get(call.principal, args.image_uuid)
    return GetAnnotationsResult(
        image_uuid=sample.id,
        width=sample.width,
        height=sample.height,
        annotations=annotations,
        count=len(annotations),
    )


TOOL = ToolSpec(
    name="get_annotations",
    title="Get annotations",
    category=Category.ANNOTATIONS,
    toolset="annotations",
    description=(
        "Use when you need the annotations of one image as data: boxes, polygons, polylines and keypoints in "
        "pixels. To see them drawn on the picture, use preview_image."
    ),
    args=GetAnnotationsArgs,
    result=GetAnnotationsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
