"""``/training``: runs, from an export to a model."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Wire, WireBody, answers

Pipeline = Literal[
    "yolox", "detectron2", "sm_pytorch", "classification", "rfdetr_detection", "rfdetr_segmentation"
]
Gpu = Literal["a10g", "a100", "h100"]
Status = Literal["pending", "queued", "running", "completed", "failed", "cancelled"]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]

NEVER_MET = "pending"
"""A status of the wire that no run has here: it is queued in the transaction that makes it."""


class TrainingRun(Wire):
    """A training run. Times in seconds; ``model_id`` once the model is ready."""

    id: str
    organization_id: str
    name: str
    dataset_id: str | None
    dataset_name: str
    export_id: str | None
    export_name: str
    model_id: str | None
    pipeline_type: Pipeline
    gpu_type: Gpu | None
    status: Status
    progress: Annotated[int, Field(ge=0, le=100)]
    current_epoch: int
    total_epochs: int | None
    metrics: dict[str, Any]
    config: dict[str, Any]
    eta_seconds: int | None
    training_time_seconds: int | None
    error_message: str | None
    notes: list[str]
    created_by: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


class RunsAnswer(Wire):
    """Runs, newest first."""

    training_runs: list[TrainingRun]


class RunAnswer(Wire):
    """One run."""

    training_run: TrainingRun


class CreateBody(WireBody):
    """What to train, on which export, how; ``config`` takes what docs/training.md lists."""

    dataset_name: Annotated[str, Field(max_length=300)]
    export_name: Annotated[str, Field(max_length=300)]
    pipeline_type: Pipeline
    name: Name | None = None
    gpu_type: Gpu = "a10g"
    config: dict[str, Any] = {}


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/training", "Training")

    @router.post("/", responses=answers(RunAnswer))
    async def create(request: Request, body: CreateBody) -> Response:
        """Start a run on a completed export; it is paid by the minute, and refunded when it fails."""
        arguments = {
            "dataset_name": body.dataset_name,
            "export_name": body.export_name,
            "pipeline": body.pipeline_type,
            "gpu": body.gpu_type,
            "name": body.name,
            "config": body.config,
            "wait": False,
            "wait_seconds": 0,
        }
        outcome = await door.call(request, "train_pipeline", arguments)
        return door.answer(request, {"training_run": wire_run(outcome.value["training_run"])}, outcome)

    @router.get("/", responses=answers(RunsAnswer))
    async def list_runs(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Offset = 0,
        dataset_name: Annotated[str | None, Query(max_length=300)] = None,
        status: Annotated[Status | None, Query()] = None,
    ) -> Response:
        """Runs, newest first."""
        arguments = {
            "limit": limit,
            "offset": offset,
            "dataset_name": dataset_name,
            "status": None if status == NEVER_MET else status,
        }
        outcome = await door.call(request, "list_training_runs", arguments)
        found = [] if status == NEVER_MET else outcome.value["training_runs"]
        return door.answer(request, {"training_runs": [wire_run(run) for run in found]}, outcome)

    @router.get("/{run_id}", responses=answers(RunAnswer))
    async def get(request: Request, run_id: str) -> Response:
        """One run."""
        outcome = await door.call(request, "get_training_status", {"run_id": run_id, "epochs": 0})
        return door.answer(request, {"training_run": wire_run(outcome.value["training_run"])}, outcome)

    @router.post("/{run_id}/cancel", responses=answers(RunAnswer))
    async def cancel(request: Request, run_id: str) -> Response:
        """Stop a run, within a second. Trained minutes stay charged, the rest is free again."""
        outcome = await door.call(request, "cancel_training", {"run_id": run_id})
        return door.answer(request, {"training_run": wire_run(outcome.value["training_run"])}, outcome)

    return router


def wire_run(run: dict[str, Any]) -> dict[str, Any]:
    """A run on the wire."""
    error = run.get("error")
    known = {name: run.get(name) for name in TrainingRun.model_fields}
    return known | {"error_message": f"{error['message']} {error['fix']}".strip() if error else None}
