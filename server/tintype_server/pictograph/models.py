"""``/models``: what trainings have made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Wire, answers

ModelType = Literal["object_detection", "semantic_segmentation", "instance_segmentation", "classification"]
Status = Literal["training", "ready", "failed", "archived"]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]

FORMATS = {"onnx": "onnx", "pytorch": "checkpoint", "checkpoint": "checkpoint"}
"""What clients call the files of a model."""


class Model(Wire):
    """A model; ``metrics`` are those of images that it never learned from."""

    id: str
    organization_id: str
    name: str
    description: str | None
    model_type: ModelType
    architecture: str | None
    status: Status
    visibility: Literal["private", "public"]
    metrics: dict[str, Any] | None
    class_mapping: dict[str, str] | None
    version: str
    parent_model_id: str | None
    pipeline_type: str
    dataset_name: str
    training_run_id: str
    image_size: int | None
    onnx_size: int | None
    onnx_sha256: str | None
    error_message: str | None
    created_at: datetime
    updated_at: datetime


class ModelsAnswer(Wire):
    """Models, newest first."""

    models: list[Model]


class ModelAnswer(Wire):
    """One model."""

    model: Model


class DownloadAnswer(Wire):
    """A link that works for an hour without a key; size in bytes."""

    download_url: str
    format: Literal["onnx", "checkpoint"]
    file_size: int
    sha256: str


class DeletedAnswer(Wire):
    """What was archived."""

    deleted: Annotated[bool, Field(description="Always true.")]
    model_id: str
    name: str
    version: str


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/models", "Models")

    @router.get("/", responses=answers(ModelsAnswer))
    async def list_models(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Offset = 0,
        dataset_name: Annotated[str | None, Query(max_length=300)] = None,
        status: Annotated[Status | None, Query()] = None,
        model_type: Annotated[ModelType | None, Query()] = None,
    ) -> Response:
        """Models, newest first; deleted ones only with ``status=archived``."""
        arguments = {
            "limit": limit,
            "offset": offset,
            "dataset_name": dataset_name,
            "status": status,
            "model_type": model_type,
        }
        outcome = await door.call(request, "list_models", arguments)
        models = [wire_model(model) for model in outcome.value["models"]]
        return door.answer(request, {"models": models}, outcome)

    @router.get("/{model_id}", responses=answers(ModelAnswer))
    async def get(request: Request, model_id: str) -> Response:
        """One model, deleted or not."""
        outcome = await door.call(request, "get_model", {"model_id": model_id})
        return door.answer(request, {"model": wire_model(outcome.value["model"])}, outcome)

    @router.get("/{model_id}/download", responses=answers(DownloadAnswer))
    async def download(
        request: Request,
        model_id: str,
        file_format: Annotated[Literal["onnx", "pytorch", "checkpoint"], Query(alias="format")] = "onnx",
    ) -> Response:
        """A link to a file of a ready model."""
        arguments = {"model_id": model_id, "format": FORMATS[file_format], "output_path": "model"}
        outcome = await door.call(request, "download_model", arguments)
        found = {name: outcome.value[name] for name in DownloadAnswer.model_fields}
        return door.answer(request, found, outcome)

    @router.delete("/{model_id}", responses=answers(DeletedAnswer))
    async def delete(request: Request, model_id: str) -> Response:
        """Archive a model. Its files stay, and undoing the call brings it back."""
        outcome = await door.call(request, "delete_model", {"model_id": model_id})
        return door.answer(request, outcome.value, outcome)

    return router


def wire_model(model: dict[str, Any]) -> dict[str, Any]:
    """A model on the wire."""
    return {name: model.get(name) for name in Model.model_fields}
