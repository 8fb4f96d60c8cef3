"""Take drafts away."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.annotations.review import Selection
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import OnlyClass, ReviewedShape, review
from tintype_tools.spec import Args, Category, Effect, ToolSpec

MAX_IDS = 10_000


class RejectAnnotationsArgs(Args):
    """Which drafts: of one image, or of a dataset."""

    image_uuid: Annotated[str | None, Field(description="Review this image.")] = None
    annotation_ids: Annotated[
        list[str] | None,
        Field(min_length=1, max_length=MAX_IDS, description="Drafts of the image; default: all of them."),
    ] = None
    dataset_name: Annotated[str | None, Field(description="Or review all images of this dataset.")] = None
    class_name: OnlyClass = None
    max_confidence: Annotated[
        float, Field(ge=0, le=1, description="Only drafts with this confidence or less.")
    ] = 1.0


def handle(args: RejectAnnotationsArgs, call: Call) -> ReviewedShape:
    """Reject."""
    selection = Selection(
        ids=None if args.annotation_ids is None else frozenset(args.annotation_ids),
        name=args.class_name,
        max_confidence=args.max_confidence,
    )
    return review(call, args.image_uuid, args.dataset_name, selection, accept=False)


TOOL = ToolSpec(
    name="reject_annotations",
    title="Reject drafts",
    category=Category.ANNOTATIONS,
    toolset="annotations",
    description=(
        "Use when drafts that an engine made are wrong: removes them, never final annotations. One image, "
        "some ids, or a dataset by class."
    ),
    args=RejectAnnotationsArgs,
    result=ReviewedShape,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    bulk=True,
    handler=handle,
)
