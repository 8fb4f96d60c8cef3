"""``/search``: images that look like one of them, and images by tags."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Offset, Wire, answers

Tags = Annotated[list[str] | None, Query(max_length=100)]
Limit = Annotated[int, Query(ge=1, le=500)]


class AutoTags(Wire):
    """What is known of an image; ``confidence`` is there for tags that are not certain."""

    objects: list[str]
    scenes: list[str]
    attributes: list[str]
    confidence: dict[str, float] | None = None


class FoundImage(Wire):
    """An image that was found."""

    id: str
    filename: str
    virtual_folder_path: str
    status: str
    annotation_count: int
    image_auto_tags: AutoTags


class SimilarImage(FoundImage):
    """An image that looks like the one that was named."""

    similarity: Annotated[float, Field(ge=0, le=1)]


class TaggedImage(FoundImage):
    """An image with the tags. ``project_id`` is its dataset's id."""

    project_id: str


class SimilarImages(Wire):
    """Most alike first; ``not_indexed`` images were not looked at yet."""

    results: list[SimilarImage]
    not_indexed: int
    note: str | None


class TaggedImages(Wire):
    """In upload order; ``total`` fit, ``not_indexed`` were not looked at yet."""

    results: list[TaggedImage]
    total: int
    not_indexed: int
    note: str | None


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/search", "Search")

    @router.get("/similar", responses=answers(SimilarImages))
    async def similar(
        request: Request,
        image_id: Annotated[str, Query(max_length=80)],
        threshold: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)] = 0.6,
        limit: Limit = 50,
        folder_path: Annotated[str | None, Query(max_length=500)] = None,
    ) -> Response:
        """Images of the same dataset that look like one of them; ``folder_path`` / is the whole dataset."""
        arguments = {
            "image_id": image_id,
            "threshold": threshold,
            "limit": limit,
            "folder_path": folder_path,
        }
        outcome = await door.call(request, "search_by_similarity", arguments)
        results = [
            wire_found(image) | {"similarity": min(1.0, max(0.0, image["similarity"]))}
            for image in outcome.value["images"]
        ]
        return door.answer(request, {"results": results, **_beside(outcome.value)}, outcome)

    @router.get("/by-tags", responses=answers(TaggedImages))
    async def by_tags(
        request: Request,
        objects: Tags = None,
        scenes: Tags = None,
        attributes: Tags = None,
        dataset_name: Annotated[str | None, Query(max_length=300)] = None,
        limit: Limit = 50,
        offset: Offset = 0,
    ) -> Response:
        """Images with one of the tags of every list that is given, of one dataset or of all."""
        arguments: dict[str, Any] = {
            "objects": objects,
            "scenes": scenes,
            "attributes": attributes,
            "limit": limit,
            "offset": offset,
        }
        if dataset_name is None:
            outcome = await door.call(request, "search_organization_by_tag", arguments)
            results = [
                wire_found(image) | {"project_id": image["dataset_id"]} for image in outcome.value["images"]
            ]
        else:
            arguments["dataset_name"] = dataset_name
            outcome = await door.call(request, "search_by_tag", arguments)
            dataset = await door.read(request, lambda own: door.studio.datasets.get(own, dataset_name))
            results = [wire_found(image) | {"project_id": dataset.id} for image in outcome.value["images"]]
        beside = {"total": outcome.value["total"], **_beside(outcome.value)}
        return door.answer(request, {"results": results, **beside}, outcome)

    return router


def wire_found(image: dict[str, Any]) -> dict[str, Any]:
    """What both searches tell of an image."""
    return {
        "id": image["id"],
        "filename": image["filename"],
        "virtual_folder_path": image["virtual_folder_path"],
        "status": image["status"],
        "annotation_count": image["annotation_count"],
        "image_auto_tags": image["image_auto_tags"],
    }


def _beside(found: dict[str, Any]) -> dict[str, Any]:
    return {"not_indexed": found.get("not_indexed", 0), "note": found.get("note")}
