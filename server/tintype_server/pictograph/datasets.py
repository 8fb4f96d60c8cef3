"""``/datasets``: datasets by name and id, their images, and lists of links for a bulk download."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from tintype_server.download_names import NamesApart
from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Offset, Wire, answers
from tintype_server.pictograph.wire_datasets import Dataset, annotation_url, wire_dataset, wire_image

MAX_IMAGES = 10_000
"""Images in one answer."""


class Datasets(Wire):
    """Datasets, newest first."""

    datasets: list[Dataset]


class OneDataset(Wire):
    """A dataset."""

    dataset: Dataset


class DownloadItem(Wire):
    """Links of one image: its bytes without a key, its annotations with one."""

    filename: str
    image_url: str | None
    annotation_url: str | None


class DownloadList(Wire):
    """What a bulk download fetches. File names are unique within the list."""

    dataset_id: str
    items: list[DownloadItem]


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/datasets", "Datasets")

    @router.get("/", responses=answers(Datasets))
    async def list_datasets(
        request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 100, offset: Offset = 0
    ) -> Response:
        """The organization's datasets, newest first."""
        outcome = await door.call(request, "list_datasets", {"limit": limit, "offset": offset})
        datasets = [wire_dataset(found) for found in outcome.value["datasets"]]
        return door.answer(request, {"datasets": datasets}, outcome)

    @router.get("/by-name/{name}", responses=answers(OneDataset))
    async def get_dataset(
        request: Request,
        name: str,
        include_images: bool = False,
        images_limit: Annotated[int, Query(ge=1, le=MAX_IMAGES)] = 1000,
        images_offset: Offset = 0,
    ) -> Response:
        """A dataset by name; with a page of its images, in upload order, if so asked."""
        outcome = await door.call(request, "get_dataset", {"name": name})
        images = None
        if include_images:
            page = {"dataset_name": name, "limit": images_limit, "offset": images_offset}
            listed = (await door.call(request, "list_dataset_files", page)).value
            base_url = door.base_url(request)
            images = [wire_image(image, base_url) for image in listed["images"]]
        return door.answer(request, {"dataset": wire_dataset(outcome.value, images)}, outcome)

    @router.get("/by-name/{name}/download", responses=answers(DownloadList))
    async def download_list(
        request: Request,
        name: str,
        mode: Literal["full", "images_only", "annotations_only"] = "full",
        limit: Annotated[int, Query(ge=1, le=MAX_IMAGES)] = MAX_IMAGES,
        offset: Offset = 0,
        status_filter: Literal["all", "complete", "in_progress", "new"] = "all",
    ) -> Response:
        """Links to all images and annotations of a dataset. Those of images are signed, for an hour."""
        page = {"dataset_name": name, "status": status_filter, "limit": limit, "offset": offset}
        outcome = await door.call(request, "list_dataset_files", page)
        base_url = door.base_url(request)
        images = outcome.value["images"]
        items = [
            {
                "filename": filename,
                "image_url": None if mode == "annotations_only" else image.get("image_url"),
                "annotation_url": None if mode == "images_only" else annotation_url(base_url, image["id"]),
            }
            for image, filename in zip(images, NamesApart()(images), strict=True)
        ]
        body = {"dataset_id": outcome.value["dataset_id"], "items": items}
        return door.answer(request, body, outcome)

    @router.get("/{dataset_id}", responses=answers(OneDataset))
    async def get_dataset_by_id(request: Request, dataset_id: str) -> Response:
        """A dataset by its UUID."""
        name = await door.read(request, lambda who: door.studio.datasets.name_of(who, dataset_id))
        outcome = await door.call(request, "get_dataset", {"name": name})
        return door.answer(request, {"dataset": wire_dataset(outcome.value)}, outcome)

    return router
