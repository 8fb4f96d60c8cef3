"""Training runs and models as agents see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from tintype_studio.training.models import Model
from tintype_studio.training.run import Epoch, TrainingRun
from tintype_tools.spec import Result

RunId = Annotated[str, Field(description="UUID of the training run.", max_length=80)]

Metrics = dict[str, float | None]


class CreditsOfRun(Result):
    """Whole credits. A failed run gives back what it was charged."""

    held: int
    charged: int
    refunded: int


class RunErrorShape(Result):
    """Why a run failed."""

    code: str
    message: str
    fix: str


class TrainingRunShape(Result):
    """A training run. Times in seconds; ``model_id`` once the model is ready; ``gpu_type`` is the price tier,
    ``device`` what it really runs on.
    """

    id: str
    organization_id: str
    name: str
    pipeline_type: str
    gpu_type: str
    status: str
    progress: int
    stage: str | None = None
    message: str | None = None
    cancelling: bool | None = None
    current_epoch: int
    total_epochs: int
    best_epoch: int | None = None
    eta_seconds: int | None = None
    training_time_seconds: int
    metrics: Metrics
    config: dict[str, Any]
    class_filter: list[str] | None = None
    dataset_id: str | None = None
    dataset_name: str
    export_id: str | None = None
    export_name: str
    model_id: str | None = None
    job_id: str | None = None
    device: str | None = None
    architecture: str | None = None
    initialization: str | None = None
    notes: list[str]
    credits: CreditsOfRun
    error_message: str | None = None
    error: RunErrorShape | None = None
    created_by: str | None = None
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None

    @classmethod
    def of(cls, run: TrainingRun) -> TrainingRunShape:
        """From the platform's run."""
        error = None
        if run.error_code is not None:
            error = RunErrorShape(
                code=run.error_code, message=run.error_message or "", fix=run.error_fix or ""
            )
        return cls(
            id=run.id,
            organization_id=run.organization_id,
            name=run.name,
            pipeline_type=run.pipeline,
            gpu_type=run.gpu,
            status=run.status,
            progress=run.progress,
            stage=run.stage,
            message=run.message,
            cancelling=run.cancelling or None,
            current_epoch=run.current_epoch,
            total_epochs=run.total_epochs,
            best_epoch=run.best_epoch,
            eta_seconds=run.eta_seconds,
            training_time_seconds=round(run.trained_seconds),
            metrics=_short(run.metrics),
            config=run.config,
            class_filter=run.class_filter,
            dataset_id=run.dataset_id,
            dataset_name=run.dataset_name,
            export_id=run.export_id,
            export_name=run.export_name,
            model_id=run.model_id,
            job_id=run.job_id,
            device=run.facts.get("device"),
            architecture=run.facts.get("architecture"),
            initialization=run.facts.get("initialization"),
            notes=run.notes,
            credits=CreditsOfRun(
                held=run.credits_held, charged=run.credits_charged, refunded=run.credits_refunded
            ),
            error_message=run.error_message,
            error=error,
            created_by=run.created_by,
            created_at=run.created_at,
            started_at=run.started_at,
            completed_at=run.finished_at,
        )


class EpochShape(Result):
    """A finished epoch."""

    epoch: int
    best: bool | None = None
    seconds: float
    batch_size: int
    metrics: Metrics

    @classmethod
    def of(cls, epoch: Epoch) -> EpochShape:
        """From the platform's epoch."""
        return cls(
            epoch=epoch.number,
            best=epoch.best or None,
            seconds=round(epoch.seconds, 2),
            batch_size=epoch.batch_size,
            metrics=_short(epoch.metrics),
        )


class ModelShape(Result):
    """A model. ``onnx_size`` in bytes; ``metrics`` are those of images that it never learned from;
    ``attributes`` are those that it chooses, by class.
    """

    id: str
    organization_id: str
    name: str
    version: str
    model_type: str
    status: str
    visibility: str
    pipeline_type: str
    architecture: str | None = None
    initialization: str | None = None
    image_size: int | None = None
    metrics: Metrics | None = None
    class_mapping: dict[str, str] | None = None
    attributes: dict[str, list[str]] | None = None
    dataset_name: str
    training_run_id: str
    parent_model_id: str | None = None
    error_message: str | None = None
    onnx_size: int | None = None
    onnx_sha256: str | None = None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, model: Model) -> ModelShape:
        """From the platform's model."""
        return cls(
            id=model.id,
            organization_id=model.organization_id,
            name=model.name,
            version=model.version,
            model_type=model.model_type.value,
            status=model.status.value,
            visibility=model.visibility,
            pipeline_type=model.pipeline,
            architecture=model.architecture,
            initialization=model.initialization,
            image_size=model.signature.image_size if model.signature is not None else None,
            metrics=_short(model.metrics) or None,
            class_mapping=model.class_mapping or None,
            attributes={name: list(own) for name, own in model.attributes.items()} or None,
            dataset_name=model.dataset_name,
            training_run_id=model.run_id,
            parent_model_id=model.parent_model_id,
            error_message=model.error_message,
            onnx_size=model.onnx_size,
            onnx_sha256=model.onnx_sha256,
            created_at=model.created_at,
            updated_at=model.updated_at,
        )


def _short(metrics: dict[str, Any]) -> Metrics:
    """Figures with as many digits as tell something."""
    return {
        name: value if value is None or isinstance(value, int) else float(f"{value:.4g}")
        for name, value in metrics.items()
    }
