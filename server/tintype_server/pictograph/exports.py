"""``/exports``: ZIPs of a dataset in a format."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Offset, Wire, WireBody, answers

Format = Literal["pictograph", "coco", "yolo", "pascal_voc", "cvat", "labelme", "csv"]
Status = Literal["pending", "processing", "completed", "failed"]
StatusFilter = Literal["all", "complete", "in_progress", "new"]


class Export(Wire):
    """An export. ``file_size`` in bytes; ``project_id`` is the dataset's id; an export does not expire."""

    id: str
    organization_id: str
    project_id: str
    dataset_name: str
    name: str
    format: Format
    status: Status
    include_images: bool
    class_filter: list[str] | None
    status_filter: StatusFilter | None
    error_message: str | None
    notes: list[str]
    file_size: int | None
    image_count: int | None
    annotation_count: int | None
    job_id: str | None
    created_at: datetime
    completed_at: datetime | None
    expires_at: datetime | None
    download_url: str | None


class ExportsAnswer(Wire):
    """Exports, newest first."""

    exports: list[Export]


class ExportAnswer(Wire):
    """One export."""

    export: Export


class DownloadAnswer(Wire):
    """A link that works for an hour without a key."""

    download_url: str


class DeletedAnswer(Wire):
    """What is gone."""

    deleted: Annotated[bool, Field(description="Always true.")]
    dataset_name: str
    name: str


class CreateBody(WireBody):
    """What to export, and how."""

    dataset_name: Annotated[str, Field(max_length=300)]
    name: Annotated[str, Field(max_length=300, description="Unique in the dataset; up to 100 characters.")]
    format: Format = "pictograph"
    include_images: bool = False
    class_filter: Annotated[
        list[str] | None, Field(description="Only annotations of these classes; images stay.")
    ] = None
    status_filter: Annotated[
        StatusFilter | None, Field(description="Only images of this status; complete when it is left out.")
    ] = None


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/exports", "Exports")

    async def wired(request: Request, export: dict[str, Any]) -> dict[str, Any]:
        principal = await door.principal(request)
        return wire_export(export, principal.organization_uuid)

    @router.post("/", responses=answers(ExportAnswer))
    async def create(request: Request, body: CreateBody) -> Response:
        """Build an export: a small one at once, a large one as a job that `status` tells of."""
        outcome = await door.call(request, "create_export", body.model_dump() | {"wait_seconds": 0})
        return door.answer(request, {"export": await wired(request, outcome.value)}, outcome)

    @router.get("/", responses=answers(ExportsAnswer))
    async def list_exports(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        offset: Offset = 0,
        dataset_name: Annotated[str | None, Query(max_length=300)] = None,
        status: Annotated[Status | None, Query()] = None,
    ) -> Response:
        """Exports, newest first."""
        arguments = {"limit": limit, "offset": offset, "dataset_name": dataset_name, "status": status}
        outcome = await door.call(request, "list_exports", arguments)
        exports = [await wired(request, export) for export in outcome.value["exports"]]
        return door.answer(request, {"exports": exports}, outcome)

    @router.get("/{dataset_name}/{export_name}", responses=answers(ExportAnswer))
    async def get(request: Request, dataset_name: str, export_name: str) -> Response:
        """One export."""
        arguments = {"dataset_name": dataset_name, "export_name": export_name}
        outcome = await door.call(request, "get_export", arguments)
        return door.answer(request, {"export": await wired(request, outcome.value)}, outcome)

    @router.get("/{dataset_name}/{export_name}/download", responses=answers(DownloadAnswer))
    async def download(request: Request, dataset_name: str, export_name: str) -> Response:
        """A link to the ZIP of a completed export."""
        arguments = {"dataset_name": dataset_name, "export_name": export_name}
        outcome = await door.call(request, "get_export", arguments)
        if "download_url" not in outcome.value:
            exports = door.studio.exports
            await door.read(request, lambda who: exports.ready(who, dataset_name, export_name))
        return door.answer(request, {"download_url": outcome.value["download_url"]}, outcome)

    @router.delete("/{dataset_name}/{export_name}", responses=answers(DeletedAnswer))
    async def delete(request: Request, dataset_name: str, export_name: str) -> Response:
        """Remove an export and its ZIP for good."""
        arguments = {"dataset_name": dataset_name, "export_name": export_name}
        outcome = await door.call(request, "delete_export", arguments)
        return door.answer(request, outcome.value, outcome)

    return router


def wire_export(export: dict[str, Any], organization_id: str) -> dict[str, Any]:
    """An export on the wire."""
    known = {name: export.get(name) for name in Export.model_fields}
    return known | {
        "organization_id": organization_id,
        "project_id": export["dataset_id"],
        "notes": export.get("notes", []),
    }
