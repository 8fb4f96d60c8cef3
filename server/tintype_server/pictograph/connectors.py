"""``/connectors``: imports from other platforms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Wire, WireBody, answers

Provider = Literal["v7", "roboflow"]
ImportStatus = Literal["processing", "completed", "error", "cancelled"]
Key = Annotated[
    str,
    Field(
        description="The provider's key; never kept.",
        json_schema_extra={"format": "password", "writeOnly": True},
    ),
]
Count = Annotated[int, Field(ge=0, le=10**18)]
STOP_SECONDS = 5
"""How long a cancellation waits for the end."""


class RemoteDataset(Wire):
    """A dataset of the provider. ``version`` is Roboflow's; null for the newest."""

    id: str
    name: str
    slug: str
    image_count: int
    version: int | None


class ValidationResult(Wire):
    """Whether the key works, and what it can read."""

    valid: bool
    workspace: str
    datasets: list[RemoteDataset]
    error: str | None


class LimitCheckResult(Wire):
    """Whether an import fits. ``exceeded`` is images, storage or both."""

    allowed: bool
    current_images: int
    image_limit: int
    images_after_import: int
    current_storage_bytes: int
    storage_limit_bytes: int
    storage_after_import_bytes: int
    exceeded: Literal["images", "storage", "both"] | None


class ImportedDataset(Wire):
    """A dataset of an import; ``project_id`` is empty until there is one here."""

    name: str
    dataset_name: str
    project_id: str
    status: Literal["pending", "processing", "completed", "error"]
    imported: int
    images_imported: int
    skipped: int
    failed: int
    total_images: int
    error: str | None


class ImportFailure(Wire):
    """An image, or a whole dataset, that was given up."""

    path: str
    code: str
    reason: str


class ImportJob(Wire):
    """An import. ``progress`` from 0 to 100; images that were here already count as imported."""

    import_id: str
    status: ImportStatus
    progress: float
    total_images: int
    imported_images: int
    failed_images: int
    current_dataset: str
    datasets: list[ImportedDataset]
    error_message: str | None
    failures: list[ImportFailure]
    notes: dict[str, list[str]]


class CancelAnswer(Wire):
    """What the import is now."""

    status: ImportStatus
    import_id: str


class ValidateBody(WireBody):
    """Which provider, and the key."""

    provider: Provider
    api_key: Key


class LimitsBody(WireBody):
    """How much would come in."""

    total_images: Count
    estimated_size_bytes: Count


class WantedDataset(WireBody):
    """A dataset as `validate` tells it, with whatever else it may say; ``name`` becomes its name here."""

    model_config = ConfigDict(extra="ignore")

    id: Annotated[str, Field(min_length=1, max_length=300)]
    name: Annotated[str, Field(min_length=1, max_length=300)]
    slug: Annotated[str | None, Field(max_length=300)] = None
    image_count: Count = 0
    version: Annotated[int | None, Field(ge=1, le=10**9)] = None


class ImportBody(WireBody):
    """What to import."""

    provider: Provider
    api_key: Key
    datasets: Annotated[list[WantedDataset], Field(min_length=1, max_length=100)]


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/connectors", "Connectors")

    @router.post("/validate", responses=answers(ValidationResult))
    async def validate(request: Request, body: ValidateBody) -> Response:
        """Check a provider's key and list what it can read."""
        outcome = await door.call(request, "validate_connector", body.model_dump())
        return door.answer(request, wire_account(outcome.value), outcome)

    @router.post("/check-limits", responses=answers(LimitCheckResult))
    async def check_limits(request: Request, body: LimitsBody) -> Response:
        """Whether an import fits into the tier's limits."""
        outcome = await door.call(request, "check_import_limits", body.model_dump())
        return door.answer(request, {"exceeded": None, **outcome.value}, outcome)

    @router.post("/import/start", responses=answers(ImportJob))
    async def start(request: Request, body: ImportBody) -> Response:
        """Start an import; `status` tells how it is doing."""
        datasets = [dataset.model_dump(exclude_none=True) for dataset in body.datasets]
        arguments = {**body.model_dump(), "datasets": datasets, "wait_seconds": 0}
        outcome = await door.call(request, "import_from_connector", arguments)
        return door.answer(request, wire_import(outcome.value), outcome)

    @router.get("/import/status/{import_id}", responses=answers(ImportJob))
    async def status(request: Request, import_id: str) -> Response:
        """How an import is doing."""
        outcome = await door.call(request, "get_connector_import", {"import_id": import_id})
        return door.answer(request, wire_import(outcome.value), outcome)

    @router.post("/import/cancel/{import_id}", responses=answers(CancelAnswer))
    async def cancel(request: Request, import_id: str) -> Response:
        """Stop an import. What came in stays."""
        known = {"import_id": import_id}
        await door.call(request, "get_connector_import", known)
        outcome = await door.call(request, "cancel_job", {"job_id": import_id})
        ended = await door.call(request, "get_connector_import", known | {"wait_seconds": STOP_SECONDS})
        body = {"status": ended.value["status"], "import_id": import_id}
        return door.answer(request, body, outcome)

    return router


def wire_account(found: dict[str, Any]) -> dict[str, Any]:
    """What a key can read, on the wire."""
    datasets = [{"version": None, **dataset} for dataset in found["datasets"]]
    return {"error": None, **found, "datasets": datasets}


def wire_import(found: dict[str, Any]) -> dict[str, Any]:
    """An import on the wire."""
    error = found["job"].get("error")
    known = {name: found[name] for name in ImportJob.model_fields if name in found}
    return known | {
        "datasets": [
            {"error": None, **d, "dataset_name": d["name"], "images_imported": d["imported"]}
            for d in found["datasets"]
        ],
        "error_message": f"{error['message']} {error['fix']}" if error else None,
        "notes": found.get("notes") or {},
    }
