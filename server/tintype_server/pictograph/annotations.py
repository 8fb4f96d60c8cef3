"""``/annotations``: the annotations of one image, as a whole."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Wire, WireBody, answers
from tintype_studio.annotations.beside import beside, taken_out
from tintype_studio.annotations.geometry import Annotation
from tintype_studio.annotations.masks import outlined_document
from tintype_studio.errors import InvalidInput
from tintype_tools.catalog.save_annotations import MAX_ANNOTATIONS

KEYS = frozenset(
    {
        "id",
        "name",
        "type",
        "confidence",
        "created_by",
        "attributes",
        "bounding_box",
        "polygon",
        "polyline",
        "keypoint",
    }
)
"""Of an annotation on the wire: clients refuse any other."""

PLACELESS = frozenset({"box3d", "tag"})
"""Types of annotations that the wire has no place for."""


class Annotations(Wire):
    """All annotations of an image, in pixels of the upright picture."""

    annotations: list[Annotation]


class SaveBody(WireBody):
    """The complete list: what is not in it is removed."""

    image_id: Annotated[str | None, Field(max_length=80)] = None
    # Not the models of annotations: the tool checks them, once, and says what is wrong with which.
    annotations: Annotated[list[dict[str, Any]], Field(max_length=MAX_ANNOTATIONS)]


class SaveNamedBody(SaveBody):
    """The same with the image in the body."""

    image_id: Annotated[str, Field(max_length=80)]


class Saved(Wire):
    """Counts before and after, and the status that the image has now."""

    image_id: str
    previous_count: int
    new_count: int
    status: str


class Deleted(Wire):
    """How many there were."""

    image_id: str
    deleted_count: int


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/annotations", "Annotations")

    @router.get("/{image_id}", responses=answers(Annotations))
    async def get(request: Request, image_id: str) -> Response:
        """The annotations of an image; an empty list when it has none."""
        outcome = await door.call(request, "get_annotations", {"image_uuid": image_id})
        found = [wire_annotation(a) for a in outcome.value["annotations"] if a["type"] not in PLACELESS]
        return door.answer(request, {"annotations": found}, outcome)

    async def save_list(request: Request, image_id: str, annotations: list[dict[str, Any]]) -> Response:
        outcome = await door.call(
            request,
            "save_annotations",
            {"image_uuid": image_id, "annotations": [own_annotation(each) for each in annotations]},
        )
        return door.answer(request, outcome.value, outcome)

    @router.post("/{image_id}", responses=answers(Saved))
    async def save(request: Request, image_id: str, body: SaveBody) -> Response:
        """Replace the annotations of an image. Its status becomes complete, or new for an empty list."""
        if body.image_id not in {None, image_id}:
            raise InvalidInput(
                "The body names another image than the address.",
                code="invalid_selection",
                fix="Leave image_id out of the body, or send the one of the address.",
            )
        return await save_list(request, image_id, body.annotations)

    @router.post("/", responses=answers(Saved))
    async def save_named(request: Request, body: SaveNamedBody) -> Response:
        """The same, with the image in the body."""
        return await save_list(request, body.image_id, body.annotations)

    @router.delete("/{image_id}", responses=answers(Deleted))
    async def delete(request: Request, image_id: str) -> Response:
        """Remove all annotations of an image. Needs the role admin."""
        outcome = await door.call(request, "delete_annotations", {"image_uuid": image_id})
        return door.answer(request, outcome.value, outcome)

    return router


def wire_annotation(annotation: dict[str, Any]) -> dict[str, Any]:
    """An annotation with the keys that the wire knows: a mask is its outline, and an object id is among the
    attributes.
    """
    if annotation["type"] == "mask":
        annotation = outlined_document(annotation)
    if more := beside(annotation):
        annotation = {**annotation, "attributes": [*annotation.get("attributes", ()), *more]}
    return {key: value for key, value in annotation.items() if key in KEYS and value is not None}


def own_annotation(annotation: dict[str, Any]) -> dict[str, Any]:
    """The same as it came, with what stood among the attributes only for the wire back in its place."""
    attributes = annotation.get("attributes")
    if not isinstance(attributes, list):
        return annotation
    rest, found = taken_out(attributes)
    return {**annotation, "attributes": rest, **found} if found else annotation
