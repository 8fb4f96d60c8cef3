"""What came of a full pipeline: read from its job's items, and written at its end.

A phase that fails ends the job, not the report: its error is an item of the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.errors import TintypeError
from tintype_studio.jobs.job import Job, JobStatus
from tintype_studio.jobs.kind import End
from tintype_studio.jobs.labelling import totals
from tintype_studio.ledger.prices import price_of
from tintype_studio.storage.job_tables import job_items
from tintype_studio.storage.training_tables import models, training_runs
from tintype_studio.training import progress
from tintype_studio.training.plan import operation_of

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

ANNOTATED, ANNOTATE_ERROR, BEGUN, TRAIN_ERROR = "annotated", "annotate-error", "training", "train-error"
STEPS = (ANNOTATED, ANNOTATE_ERROR, BEGUN, TRAIN_ERROR)
"""Items of the job that stand for no image and no step of the training."""


def is_image(key: str) -> bool:
    """Whether an item of the job is an image: a UUID."""
    return len(key) == 36


def error_as_json(error: TintypeError) -> dict[str, str]:
    """An error as the job's items keep it."""
    return {"code": error.code, "message": error.message[:500], "fix": error.fix[:500]}


@dataclass(frozen=True, slots=True)
class Annotated:
    """What came of labelling; counts of images, and of annotations added."""

    processed: int
    skipped: int
    """Passed over by the job itself."""
    failed: int
    added: int
    over: bool
    error: dict[str, str] | None
    """Why the phase as a whole came to nothing."""


@dataclass(frozen=True, slots=True)
class PipelineState:
    """How far a job is."""

    annotated: Annotated | None
    """None when nothing was to be labelled."""
    labelled: int | None
    """Complete images when the labelling was over; None before."""
    run_id: str | None
    train_error: dict[str, str] | None
    """Why there is no model; None when the run's own error tells."""

    @property
    def nothing_to_train_on(self) -> bool:
        """Whether training was left out because nothing is labelled."""
        return self.labelled == 0


def state_of(studio: Studio, job: Job) -> PipelineState:
    """How far a job of the kind is, from its items."""
    steps = steps_of(studio, job.row_id)
    over = steps.get(ANNOTATED)
    error = steps.get(ANNOTATE_ERROR, {}).get("error")
    annotated = None
    if over is not None:
        counts = {name: over[name] for name in ("processed", "skipped", "failed", "added")}
        annotated = Annotated(**counts, over=True, error=None)
    elif job.args["request"]["annotate"]:
        # Until then, all its items are images, but for the one that tells of an error.
        done = totals(studio, replace(job, result=None))
        step = error is not None
        annotated = Annotated(done.processed - step, done.skipped, job.failed, done.added, step, error)
    with studio.database.read() as connection:
        query = sa.select(training_runs.c.uuid).where(training_runs.c.job_id == job.row_id)
        run_id = connection.execute(query).scalar()
    return PipelineState(
        annotated,
        None if over is None else over["labelled"],
        run_id,
        steps.get(TRAIN_ERROR, {}).get("error"),
    )


def steps_of(studio: Studio, job_row_id: int, *, keys: Sequence[str] = STEPS) -> dict[str, dict[str, Any]]:
    """What is known of these items of a job, by key."""
    query = sa.select(job_items.c.key, job_items.c.detail)
    with studio.database.read() as connection:
        rows = connection.execute(query.where(job_items.c.job_id == job_row_id, job_items.c.key.in_(keys)))
        return {row.key: row.detail or {} for row in rows}


def end_training(studio: Studio, connection: sa.Connection, end: End) -> None:
    """End the run of a job that has one. Only the training of a run that failed is refunded: what was
    labelled stays.
    """
    run = connection.execute(
        sa.select(training_runs, models.c.ready_at)
        .join(models, models.c.run_id == training_runs.c.id)
        .where(training_runs.c.job_id == end.job_row_id)
    ).first()
    if run is None or run.outcome is not None:
        return
    mine = job_items.c.job_id == end.job_row_id
    detail = connection.execute(sa.select(job_items.c.detail).where(mine, job_items.c.key == TRAIN_ERROR))
    error = (detail.scalar() or {}).get("error")
    others = sa.select(sa.func.coalesce(sa.func.sum(job_items.c.credits), 0)).where(
        mine, sa.not_(job_items.c.key.startswith("epoch-"))
    )
    charged = end.credits_charged - int(connection.execute(others).scalar_one())
    told = replace(
        end,
        status=end.status if error is None else JobStatus.FAILED,
        error=end.error if error is None else error,
        credits_held=price_of(operation_of(run.gpu)).total(run.config["max_minutes"]),
        credits_charged=charged,
        call_id=None,  # all that the call was charged is not what the run was
    )
    progress.end(studio, connection, told)
    if told.status is JobStatus.FAILED and run.ready_at is None and charged and end.call_id is not None:
        refunded = studio.ledger.refund_in(
            connection,
            end.organization_id,
            end.call_id,
            charged,
            description=f"The training run {run.name} failed.",
        )
        connection.execute(
            sa.update(training_runs).where(training_runs.c.id == run.id).values(credits_refunded=refunded)
        )
