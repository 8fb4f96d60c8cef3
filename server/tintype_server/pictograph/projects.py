"""``/projects``: datasets as they are made, changed and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Offset, Wire, WireBody, answers
from tintype_server.pictograph.wire_datasets import Project, wire_project

MAX_CLASSES = 1000


def _known_type(value: Any) -> Any:
    return "bbox" if value == "box" else value


def _hex_color(value: Any) -> Any:
    """Any colour of CSS as ``#rrggbb``, which is what is kept."""
    if not isinstance(value, str):
        return value
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(value.strip()[:80])[:3]
    except (ValueError, IndexError):
        raise ValueError("is no colour, such as #ff0000 or red") from None
    return f"#{red:02x}{green:02x}{blue:02x}"


AnnotationType = Annotated[
    Literal["bbox", "polygon", "polyline", "keypoint"],
    BeforeValidator(
        _known_type, json_schema_input_type=Literal["bbox", "box", "polygon", "polyline", "keypoint"]
    ),
]


class ProjectAttribute(WireBody):
    """An attribute of the objects of a class, and what it can be."""

    model_config = ConfigDict(extra="ignore")

    name: str
    options: list[str]


class ProjectClass(WireBody):
    """A class. Keys that are not named here are left out of what is kept.

    ``attributes`` is an extension; a class that is sent without keeps those that it has.
    """

    model_config = ConfigDict(extra="ignore")

    name: str
    type: AnnotationType | None = None
    color: Annotated[str, BeforeValidator(_hex_color, json_schema_input_type=str)] | None = None
    attributes: list[ProjectAttribute] | None = None


class NewProject(WireBody):
    """What a new project is to be."""

    name: str
    description: Annotated[str | None, Field(max_length=2000)] = None
    annotation_types: Annotated[list[AnnotationType] | None, Field(min_length=1)] = None
    classes: Annotated[list[ProjectClass] | None, Field(max_length=MAX_CLASSES)] = None


class ProjectChanges(WireBody):
    """What is to change; what is left out stays. ``classes`` is the whole new list."""

    name: str | None = None
    description: Annotated[str | None, Field(max_length=2000)] = None
    annotation_types: Annotated[list[AnnotationType] | None, Field(min_length=1)] = None
    classes: Annotated[list[ProjectClass] | None, Field(max_length=MAX_CLASSES)] = None


class Projects(Wire):
    """Projects, newest first."""

    projects: list[Project]


class OneProject(Wire):
    """A project."""

    project: Project


class DeletedCounts(Wire):
    """What went with a project, into the recycle bin."""

    images_deleted: int
    annotations_deleted: int


class DeletedProject(Wire):
    """A deleted project."""

    deleted: DeletedCounts


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/projects", "Projects")

    @router.get("/", responses=answers(Projects))
    async def list_projects(
        request: Request, limit: Annotated[int, Query(ge=1, le=200)] = 50, offset: Offset = 0
    ) -> Response:
        """The organization's projects, newest first."""
        outcome = await door.call(request, "list_datasets", {"limit": limit, "offset": offset})
        projects = [wire_project(found) for found in outcome.value["datasets"]]
        return door.answer(request, {"projects": projects}, outcome)

    @router.post("/", status_code=201, responses=answers(OneProject, 201))
    async def create_project(request: Request, body: NewProject) -> Response:
        """Make a project. A name that is taken is a conflict."""
        arguments = {
            "name": body.name,
            "description": body.description,
            "annotation_types": _types(body.annotation_types),
            "classes": _classes(body.classes),
        }
        outcome = await door.call(request, "create_dataset", arguments)
        return door.answer(request, {"project": wire_project(outcome.value)}, outcome, status=201)

    @router.get("/{name}", responses=answers(OneProject))
    async def get_project(request: Request, name: str) -> Response:
        """A project by name."""
        outcome = await door.call(request, "get_dataset", {"name": name})
        return door.answer(request, {"project": wire_project(outcome.value)}, outcome)

    @router.patch("/{name}", responses=answers(OneProject))
    async def update_project(request: Request, name: str, body: ProjectChanges) -> Response:
        """Change a project. Annotations of classes that are left out of a new list are removed."""
        arguments = {
            "name": name,
            "new_name": body.name,
            "description": body.description,
            "annotation_types": _types(body.annotation_types),
            "classes": _classes(body.classes),
            "remove_annotations": None if body.classes is None else True,
        }
        outcome = await door.call(request, "update_dataset", arguments)
        return door.answer(request, {"project": wire_project(outcome.value)}, outcome)

    @router.delete("/{name}", responses=answers(DeletedProject))
    async def delete_project(request: Request, name: str) -> Response:
        """Put a project with all that is in it into the recycle bin."""
        outcome = await door.call(request, "delete_dataset", {"name": name})
        counts = {key: outcome.value[key] for key in ("images_deleted", "annotations_deleted")}
        return door.answer(request, {"deleted": counts}, outcome)

    return router


def _types(types: Sequence[str] | None) -> list[str] | None:
    return None if types is None else list(dict.fromkeys(types))


def _classes(classes: list[ProjectClass] | None) -> list[dict[str, Any]] | None:
    return None if classes is None else [c.model_dump(exclude_none=True) for c in classes]
