"""A training run as callers see it, and its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.tables import api_keys, datasets, exports, organizations
from tintype_studio.storage.training_tables import models, training_epochs, training_runs
from tintype_studio.training.status import run_status
from tintype_studio.vision.train.heads_plan import EPOCHS, SHARE

ENDED = frozenset({"completed", "failed", "cancelled"})

_BEFORE, _AFTER = 2, 5
"""Percent of a run's progress that come before its epochs and after them."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A run. Whole credits; times in seconds."""

    row_id: int
    id: str
    organization_id: str
    name: str
    pipeline: str
    gpu: str
    """The price tier; ``facts["device"]`` tells what it runs on."""
    status: str
    """queued, running, completed, failed or cancelled."""
    stage: str | None
    message: str | None
    cancelling: bool
    dataset_id: str | None
    """None when the dataset was purged."""
    dataset_name: str
    export_id: str | None
    export_name: str
    model_id: str | None
    """Only when the model is ready."""
    config: dict[str, Any]
    class_filter: list[str] | None
    status_filter: str | None
    current_epoch: int
    """Epochs that are finished."""
    total_epochs: int
    best_epoch: int | None
    trained_seconds: float
    metrics: dict[str, Any]
    """Of the last epoch; of the finished model once there is one."""
    facts: dict[str, Any]
    """Device, architecture, initialization, what the data is, as far as known."""
    notes: list[str]
    credits_held: int
    credits_charged: int
    credits_refunded: int
    error_code: str | None
    error_message: str | None
    error_fix: str | None
    job_id: str | None
    """None when the job was forgotten, long after the end."""
    call_id: str | None
    created_by: str | None
    """Prefix of the key that started it."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    @property
    def progress(self) -> int:
        """Percent: of epochs or of minutes, whichever is further."""
        if self.status == "completed":
            return 100
        if not self.current_epoch:
            return 0 if self.started_at is None else 1
        done = self.current_epoch / max(1, self.total_epochs)
        time = self.trained_seconds / self.most_seconds
        share = min(1.0, max(done, time))
        if "attributes" in self.facts:
            # By the time they are given: the detector's, then that of the attributes.
            heads = self.facts.get("heads")
            share *= 1 - SHARE
            if heads is not None:
                share = 1 - SHARE + SHARE * (1.0 if heads["stop"] else heads["epochs"] / EPOCHS)
        return _BEFORE + math.floor((100 - _BEFORE - _AFTER) * share)

    @property
    def eta_seconds(self) -> int | None:
        """What the epochs will still take, if all of them are needed; None before the first one."""
        if self.ended or not self.current_epoch:
            return None
        heads = self.facts.get("heads")
        if heads is None:
            left = self.total_epochs - self.current_epoch
            by_epochs = left * self.trained_seconds / self.current_epoch
        else:
            by_epochs = 0.0 if heads["stop"] else (EPOCHS - heads["epochs"]) * heads["epoch_seconds"]
        return max(0, round(min(by_epochs, self.most_seconds - self.trained_seconds)))

    @property
    def most_seconds(self) -> float:
        """What training may take in all."""
        return 60.0 * float(self.config["max_minutes"])


@dataclass(frozen=True, slots=True)
class Epoch:
    """A finished epoch."""

    number: int
    """From 1."""
    metrics: dict[str, float]
    seconds: float
    batch_size: int
    """To go on with."""
    best: bool
    """Whether it was better than all before it."""
    stop: bool
    """Whether nothing more was to be trained after it."""
    checkpoint: str


def listed() -> sa.Select[Any]:
    """Runs with what belongs to them."""
    return (
        sa.select(
            training_runs,
            run_status().label("status"),
            organizations.c.uuid.label("organization_uuid"),
            datasets.c.uuid.label("dataset_uuid"),
            datasets.c.name.label("now_named"),
            exports.c.uuid.label("export_uuid"),
            api_keys.c.prefix,
            jobs.c.uuid.label("job_uuid"),
            jobs.c.call_id,
            jobs.c.stage,
            jobs.c.message,
            jobs.c.cancel_requested_at,
            jobs.c.started_at.label("job_started_at"),
            jobs.c.finished_at.label("job_finished_at"),
            jobs.c.credits_held.label("job_held"),
            jobs.c.credits_charged.label("job_charged"),
            models.c.uuid.label("model_uuid"),
            models.c.ready_at,
        )
        .join(organizations, organizations.c.id == training_runs.c.organization_id)
        .outerjoin(jobs, jobs.c.id == training_runs.c.job_id)
        .outerjoin(datasets, datasets.c.id == training_runs.c.dataset_id)
        .outerjoin(exports, exports.c.id == training_runs.c.export_id)
        .outerjoin(api_keys, api_keys.c.id == training_runs.c.api_key_id)
        .outerjoin(models, models.c.run_id == training_runs.c.id)
    )


def run_of(row: sa.RowMapping) -> TrainingRun:
    """From a row of ``listed``."""
    ended = row["status"] in ENDED
    return TrainingRun(
        row_id=row["id"],
        id=row["uuid"],
        organization_id=row["organization_uuid"],
        name=row["name"],
        pipeline=row["pipeline"],
        gpu=row["gpu"],
        status=row["status"],
        stage=None if ended else row["stage"],
        message=None if ended else row["message"],
        cancelling=row["cancel_requested_at"] is not None and not ended,
        dataset_id=row["dataset_uuid"],
        dataset_name=row["now_named"] or row["dataset_name"],
        export_id=row["export_uuid"],
        export_name=row["export_name"],
        model_id=row["model_uuid"] if row["ready_at"] is not None else None,
        config=row["config"],
        class_filter=row["class_filter"],
        status_filter=row["status_filter"],
        current_epoch=row["epochs_done"],
        total_epochs=row["config"]["epochs"],
        best_epoch=row["best_epoch"],
        trained_seconds=row["trained_seconds"],
        metrics=row["metrics"],
        facts=row["facts"],
        notes=row["notes"],
        credits_held=_first(row["credits_held"], row["job_held"], 0),
        credits_charged=_first(row["credits_charged"], row["job_charged"], 0),
        credits_refunded=row["credits_refunded"] or 0,
        error_code=row["error_code"],
        error_message=row["error_message"],
        error_fix=row["error_fix"],
        job_id=row["job_uuid"],
        call_id=row["call_id"],
        created_by=row["prefix"],
        created_at=row["created_at"],
        started_at=row["started_at"] or row["job_started_at"],
        finished_at=row["finished_at"] or row["job_finished_at"],
    )


def read_epochs(connection: sa.Connection, run_row_id: int, *, last: int | None = None) -> list[Epoch]:
    """The epochs of a run in order, or the ``last`` of them."""
    query = sa.select(training_epochs).where(training_epochs.c.run_id == run_row_id)
    query = query.order_by(training_epochs.c.number.desc())
    if last is not None:
        query = query.limit(last)
    found = [
        Epoch(
            number=row["number"],
            metrics=row["metrics"],
            seconds=row["seconds"],
            batch_size=row["batch_size"],
            best=row["best"],
            stop=row["stop"],
            checkpoint=row["checkpoint"],
        )
        for row in connection.execute(query).mappings()
    ]
    return found[::-1]


def curves_of(epochs: Sequence[Epoch]) -> list[dict[str, Any]]:
    """Epochs as ``evaluate.plots.training_curves`` draws them."""
    found = []
    for epoch in epochs:
        losses = {k.removeprefix("train_"): v for k, v in epoch.metrics.items() if k.startswith("train_")}
        total = losses.pop("loss", None)
        figures = {k.removeprefix("val_"): v for k, v in epoch.metrics.items() if k.startswith("val_")}
        found.append({"train_loss": total, "losses": losses, **figures})
    return found


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
