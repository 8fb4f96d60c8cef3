"""Datasets and projects as the wire has them: one thing, told in two ways."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tintype_server.pictograph.door import API
from tintype_server.pictograph.schema import Wire

DEFAULT_TYPES = ["bbox"]
"""What the documentation says of a project whose annotation types nobody named."""

THUMBNAIL = 256
"""Longest side of a linked thumbnail, in pixels."""


class ClassAttribute(Wire):
    """An attribute of the objects of a class; an annotation chooses one of the options."""

    name: str
    options: list[str]


class ClassLabel(Wire):
    """A class label; ``color`` as ``#rrggbb``. ``attributes`` is an extension, there only if it has any."""

    name: str
    type: str | None
    color: str | None
    attributes: list[ClassAttribute] | None = None


class DatasetImage(Wire):
    """An image of a dataset. Sizes in pixels (upright) and bytes; links are absolute."""

    id: str
    filename: str
    virtual_folder_path: str
    status: str
    width: int | None
    height: int | None
    annotation_count: int
    file_size: int
    created_at: datetime
    image_url: str | None
    thumbnail_url: str | None
    annotation_url: str


class Dataset(Wire):
    """A dataset. ``total_size`` in bytes; ``archived_images`` lie in the recycle bin."""

    id: str
    organization_id: str
    name: str
    description: str | None
    created_at: datetime
    image_count: int
    completed_image_count: int
    total_size: int
    archived_images: int
    classes: list[ClassLabel]
    images: list[DatasetImage] | None


class Project(Wire):
    """The same as its makers see it."""

    id: str
    organization_id: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime | None
    image_count: int
    completed_image_count: int
    total_size: int
    archived_images: int
    annotation_types: list[str]
    classes: list[ClassLabel]


def wire_dataset(found: dict[str, Any], images: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A dataset as the tools tell it, on the wire."""
    return {**_common(found), "images": images}


def wire_project(found: dict[str, Any]) -> dict[str, Any]:
    """The same as a project."""
    return {
        **_common(found),
        "updated_at": found.get("updated_at"),
        "annotation_types": found.get("annotation_types") or DEFAULT_TYPES,
    }


def wire_image(found: dict[str, Any], base_url: str) -> dict[str, Any]:
    """An image as the tools list it, on the wire."""
    link = found.get("image_url")
    return {
        "id": found["id"],
        "filename": found["filename"],
        "virtual_folder_path": found["folder"],
        "status": found["status"],
        "width": found["width"],
        "height": found["height"],
        "annotation_count": found["annotation_count"],
        "file_size": found["file_size"],
        "created_at": found["created_at"],
        "image_url": link,
        "thumbnail_url": None if link is None else f"{link}?thumbnail={THUMBNAIL}",
        "annotation_url": annotation_url(base_url, found["id"]),
    }


def annotation_url(base_url: str, image_id: str) -> str:
    """Where an image's annotations are got. On this host: clients send their key along."""
    return f"{base_url}{API}/annotations/{image_id}"


def _common(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": found["id"],
        "organization_id": found["organization_id"],
        "name": found["name"],
        "description": found.get("description"),
        "created_at": found["created_at"],
        "image_count": found["image_count"],
        "completed_image_count": found["completed_image_count"],
        "total_size": found["total_size"],
        "archived_images": found.get("archived_images", 0),
        "classes": [_class(each) for each in found["classes"]],
    }


def _class(found: dict[str, Any]) -> dict[str, Any]:
    shape = {"name": found["name"], "type": found.get("type"), "color": found.get("color")}
    return shape | ({"attributes": found["attributes"]} if found.get("attributes") else {})
