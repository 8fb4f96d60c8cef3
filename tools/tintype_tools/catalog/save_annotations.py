"""Replace an image's annotations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.annotations.bounds import Outside
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import Annotations, ImageId
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

MAX_ANNOTATIONS = 10_000


class SaveAnnotationsArgs(AnnotationList, Args):
    """The full list for one image."""

    image_uuid: ImageId
    annotations: Annotated[
        Annotations,
        Field(
            max_length=MAX_ANNOTATIONS,
            description="All annotations of the image; what is not in the list is removed.",
        ),
    ]


class AnnotationWarning(Result):
    """What is doubtful about a saved annotation: ``index`` is its place in the list."""

    index: int
    id: str
    name: str
    code: str
    message: str
    fix: str


class SaveAnnotationsResult(Result):
    """Counts before and after; ``classes_added`` names classes that the dataset learned."""

    image_id: str
    previous_count: int
    new_count: int
    status: str
    classes_added: list[str] | None = None
    warnings: list[AnnotationWarning] | None = None


def handle(args: SaveAnnotationsArgs, call: Call) -> SaveAnnotationsResult:
    """Save."""
    saved = call.studio.documents.save(call.principal, args.image_uuid, args.annotations)
    return SaveAnnotationsResult(
        image_id=saved.image_id,
        previous_count=saved.previous_count,
        new_count=saved.new_count,
        status=saved.status.value,
        classes_added=saved.classes_added or None,
        warnings=[_warning(found) for found in saved.outside] or None,
    )


def _warning(found: Outside) -> AnnotationWarning:
    name, (x, y, w, h) = found.annotation.name, found.bounds
    kind = found.annotation.type
    return AnnotationWarning(
        index=found.index,
        id=found.annotation.id,
        name=name,
        code="outside_image",
        message=f"The {kind} of {name!r} at x {x:g}, y {y:g} ({w:g} x {h:g}) lies wholly outside the image.",
        fix="Check that its coordinates are pixels of the upright image (see get_image), then save "
        "the list again.",
    )


TOOL = ToolSpec(
    name="save_annotations",
    title="Save annotations",
    category=Category.ANNOTATIONS,
    toolset="annotations",
    description=(
        "Use when you have labels for one image. Replaces all of its annotations, so send the complete list. "
        "The class label is `name`. Boxes are {x,y,w,h} objects, polygons are rings of {x,y} points "
        "(further rings are holes), all in pixels of the upright image. The image becomes complete, or new "
        "when its last one goes. What lies wholly outside the image gets a warning. Check the outcome with "
        "preview_image."
    ),
    args=SaveAnnotationsArgs,
    result=SaveAnnotationsResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    handler=handle,
)
