"""Show a picture with its annotations drawn."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call, Output, Picture
from tintype_tools.shapes import ImageId
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class PreviewImageArgs(Args):
    """Which image, how large."""

    image_uuid: ImageId
    max_side: Annotated[
        int, Field(ge=64, le=2048, description="Longest side of the preview in pixels; smaller costs less.")
    ] = 1024
    show_annotations: Annotated[bool, Field(description="Draw the annotations.")] = True


class PreviewImageResult(Result):
    """What the picture shows. Multiply preview pixels by ``scale`` for image pixels."""

    image_uuid: str
    filename: str
    width: int
    height: int
    preview_width: int
    preview_height: int
    scale: float
    annotation_count: int


def handle(args: PreviewImageArgs, call: Call) -> Output:
    """Draw."""
    from tintype_studio.media.draw import preview
    from tintype_studio.media.named import named_with_options

    sample, annotations = call.studio.documents.get(call.principal, args.image_uuid)
    classes = call.studio.classes.listed(sample.dataset_row_id)
    drawn, colors = named_with_options(annotations if args.show_annotations else [], classes)
    data, mime_type, width, height = preview(
        call.studio.samples.image_bytes(sample),
        drawn,
        max_side=args.max_side,
        colors=colors,
        check=call.check,
    )
    value = PreviewImageResult(
        image_uuid=sample.id,
        filename=sample.filename,
        width=sample.width,
        height=sample.height,
        preview_width=width,
        preview_height=height,
        scale=round(sample.width / width, 4),
        annotation_count=len(annotations),
    )
    return Output(value, pictures=(Picture(data, mime_type, width, height),))


TOOL = ToolSpec(
    name="preview_image",
    title="Preview an image",
    category=Category.IMAGES,
    toolset="images",
    description=(
        "Use when you want to look at an image yourself: to label it, or to check labels. Returns the "
        "picture with its annotations drawn, at the size you choose. Coordinates you read off the preview "
        "must be multiplied by `scale` before you save them."
    ),
    args=PreviewImageArgs,
    result=PreviewImageResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
