"""What a run's job writes of it, inside the transaction that also records and charges the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, Unavailable
from tintype_studio.experiments.own_runs import begin_training
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.kind import End
from tintype_studio.storage.sweep import keep_blobs, mark_unused
from tintype_studio.storage.tables import datasets, exports
from tintype_studio.storage.training_tables import models, training_epochs, training_runs
from tintype_studio.training.models import insert_evaluation
from tintype_studio.training.plan import MAX_NAME, TrainPlan, TrainRequest

if TYPE_CHECKING:
    from tintype_studio.studio import Studio
    from tintype_studio.vision.train.session import EpochReport, Finished, HeadsReport

MAX_NOTES = 100
"""Of one run; a note is told once."""
MAX_EXPORT_NAME = 100
ATTRIBUTES = "attributes"
"""The fact that says which attributes a run learns."""
HEADS = "heads"
"""The fact that says how far it is with them."""
WEIGHTS = "weights"
"""The fact that says what a run starts from; its ``path`` is told to nobody."""


def begin(
    connection: sa.Connection, principal: Principal, job_row_id: int, plan: TrainPlan, request: TrainRequest
) -> None:
    """Make the rows of a run, of the model that will come of it, and of its session."""
    # Of several that begin at once on one dataset, each sees the names of those before it.
    connection.execute(sa.select(datasets.c.id).where(datasets.c.id == plan.dataset.row_id).with_for_update())
    now = clock.now()
    name = plan.name or _free_run_name(connection, plan, now)
    run_row_id = connection.execute(
        sa.insert(training_runs)
        .values(
            uuid=clock.new_id(),
            organization_id=principal.organization_id,
            api_key_id=principal.key_id,
            job_id=job_row_id,
            dataset_id=plan.dataset.row_id,
            dataset_name=plan.dataset.name,
            name=name,
            pipeline=plan.pipeline.name,
            gpu=request.gpu,
            config=plan.config.as_json(),
            class_filter=plan.class_filter,
            status_filter=request.status_filter if plan.export is None else plan.export.status_filter,
            metrics={},
            facts=_facts(plan),
            notes=plan.notes[:MAX_NOTES],
            created_at=now,
            **_data(connection, plan, now),
        )
        .returning(training_runs.c.id)
    ).scalar_one()
    same = sa.and_(models.c.dataset_id == plan.dataset.row_id, models.c.name == name)
    latest = connection.execute(sa.select(sa.func.max(models.c.version)).where(same)).scalar()
    connection.execute(
        sa.insert(models).values(
            uuid=clock.new_id(),
            organization_id=principal.organization_id,
            run_id=run_row_id,
            dataset_id=plan.dataset.row_id,
            dataset_name=plan.dataset.name,
            name=name,
            version=(latest or 0) + 1,
            model_type=plan.pipeline.task.value,
            pipeline=plan.pipeline.name,
            created_at=now,
            updated_at=now,
        )
    )
    begin_training(connection, principal, job_row_id, run_row_id)


def _facts(plan: TrainPlan) -> dict[str, Any]:
    """What an interrupted run must find again as it was."""
    weights = {} if plan.weights is None else {WEIGHTS: plan.weights.as_json()}
    return weights | ({ATTRIBUTES: plan.attributes} if plan.attributes else {})


def _data(connection: sa.Connection, plan: TrainPlan, now: datetime) -> dict[str, Any]:
    """Columns that say what the run trains on."""
    if plan.export is None:
        taken = set(
            connection.execute(
                sa.union_all(
                    sa.select(exports.c.name).where(exports.c.dataset_id == plan.dataset.row_id),
                    sa.select(training_runs.c.export_name).where(
                        training_runs.c.dataset_id == plan.dataset.row_id
                    ),
                )
            ).scalars()
        )
        return {"export_name": free_name(f"{plan.pipeline.name}-{stamp(now)}", taken)}
    row = connection.execute(
        sa.select(exports.c.id, exports.c.sha256).where(exports.c.uuid == plan.export.id)
    ).first()
    if row is None:
        raise _export_gone()
    return {"export_id": row.id, "data_sha256": row.sha256, "export_name": plan.export.name}


def _free_run_name(connection: sa.Connection, plan: TrainPlan, now: datetime) -> str:
    mine = training_runs.c.dataset_id == plan.dataset.row_id
    taken = set(connection.execute(sa.select(training_runs.c.name).where(mine)).scalars())
    return free_name(f"{plan.pipeline.name}-run-{stamp(now)}", taken)[:MAX_NAME]


def stamp(now: datetime) -> str:
    """A time as it stands in names: ``20261125-013005``."""
    return now.strftime("%Y%m%d-%H%M%S")


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """The name, or with the first number that makes it a new one: two runs can begin in the same second."""
    names, number = set(taken), 1
    while (name := wanted if number == 1 else f"{wanted}-{number}") in names:
        number += 1
    return name


def set_export(run_row_id: int, export_id: str, connection: sa.Connection) -> None:
    """Name the export that the run has made, and keep its bytes until the run's end."""
    row = connection.execute(
        sa.select(exports.c.id, exports.c.name, exports.c.sha256).where(exports.c.uuid == export_id)
    ).first()
    if row is None:
        raise _export_gone()
    _update(connection, run_row_id, export_id=row.id, export_name=row.name, data_sha256=row.sha256)


def add_facts(
    run_row_id: int, facts: Mapping[str, Any], notes: Iterable[str], connection: sa.Connection
) -> None:
    """Add to what is known of a run, and to what it remarks."""
    row = connection.execute(
        sa.select(training_runs.c.facts, training_runs.c.notes).where(training_runs.c.id == run_row_id)
    ).one()
    kept = list(dict.fromkeys([*row.notes, *notes]))[:MAX_NOTES]
    _update(connection, run_row_id, facts={**row.facts, **facts}, notes=kept)


def add_epoch(
    run_row_id: int,
    report: EpochReport,
    trained_seconds: float,
    notes: Iterable[str],
    connection: sa.Connection,
) -> None:
    """Record an epoch; ``trained_seconds`` are those of all epochs until now."""
    metrics = finite(report.metrics)
    connection.execute(
        sa.insert(training_epochs).values(
            run_id=run_row_id,
            number=report.number,
            metrics=metrics,
            seconds=report.seconds,
            batch_size=report.batch_size,
            best=report.best,
            stop=report.stop,
            checkpoint=report.checkpoint,
            finished_at=clock.now(),
        )
    )
    _update(
        connection,
        run_row_id,
        epochs_done=report.number,
        trained_seconds=trained_seconds,
        metrics=metrics,
        **({"best_epoch": report.number} if report.best else {}),
    )
    facts = {
        "device": report.device,
        "architecture": report.architecture,
        "initialization": report.initialization,
        "parameters": report.parameters,
        "images_per_second": round(report.images_per_second, 1),
        "data_share": round(report.data_share, 3),
        "peak_memory_bytes": report.peak_memory_bytes,
        "batch_size": report.batch_size,
    }
    add_facts(run_row_id, facts, notes, connection)


def add_heads_epoch(
    run_row_id: int,
    report: HeadsReport,
    trained_seconds: float,
    notes: Iterable[str],
    connection: sa.Connection,
) -> None:
    """Record an epoch of the attribute heads; ``trained_seconds`` are those of all epochs until now."""
    query = sa.select(training_runs.c.metrics).where(training_runs.c.id == run_row_id)
    metrics = finite({_OF_HEADS[name]: value for name, value in report.metrics.items()})
    kept = {**connection.execute(query).scalar_one(), **metrics}
    _update(connection, run_row_id, trained_seconds=trained_seconds, metrics=kept)
    heads = {"epochs": report.number, "stop": report.stop, "epoch_seconds": report.seconds}
    add_facts(run_row_id, {HEADS: heads}, notes, connection)


_OF_HEADS = {
    "train_loss": "train_attribute_loss",
    "val_loss": "val_attribute_loss",
    "val_accuracy": "val_attribute_accuracy",
}


def finite(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Those that are numbers: JSON has no word for the others."""
    return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}


@dataclass(frozen=True, slots=True)
class Registration:
    """A finished model on its way into the registry; all its files are stored."""

    finished: Finished
    card: dict[str, Any]
    pictures: dict[str, str]
    """Digests by name."""
    images: int
    """That it was evaluated on."""
    notes: tuple[str, ...]


def register(
    studio: Studio,
    principal: Principal,
    run_row_id: int,
    registration: Registration,
    connection: sa.Connection,
) -> None:
    """Make the run's model ready: all its files, its metrics and its first evaluation at once."""
    finished = registration.finished
    files = {finished.onnx.sha256, finished.checkpoint.sha256, finished.evaluation.sha256}
    heads = finished.heads
    if heads is not None:
        files.add(heads.sha256)
    if not keep_blobs(connection, files | set(registration.pictures.values()), studio.blobs.exists):
        raise Unavailable("A purge removed the model's bytes.", code="model_raced")
    now, metrics = clock.now(), finite(finished.metrics)
    row = (
        connection.execute(
            sa.update(models)
            .where(models.c.run_id == run_row_id)
            .values(
                signature=finished.signature,
                architecture=finished.architecture[:120],
                initialization=finished.initialization[:300],
                metrics=metrics,
                card=registration.card,
                onnx_sha256=finished.onnx.sha256,
                onnx_size=finished.onnx.size,
                checkpoint_sha256=finished.checkpoint.sha256,
                checkpoint_size=finished.checkpoint.size,
                heads_sha256=None if heads is None else heads.sha256,
                heads_size=None if heads is None else heads.size,
                attributes=finished.attributes,
                ready_at=now,
                updated_at=now,
            )
            .returning(models)
        )
        .mappings()
        .one()
    )
    insert_evaluation(
        connection,
        organization_id=row["organization_id"],
        model_id=row["id"],
        dataset_id=row["dataset_id"],
        dataset_name=row["dataset_name"],
        split=finished.evaluated_on,
        sha256=finished.evaluation.sha256,
        metrics=metrics,
        images=registration.images,
        pictures=registration.pictures,
        call_id=principal.call_id,
    )
    _update(connection, run_row_id, metrics=metrics, best_epoch=finished.best_epoch)
    add_facts(run_row_id, {"onnx_check": finished.onnx_check}, registration.notes, connection)
    log_change(
        connection,
        principal,
        Kind.MODEL_TRAINED,
        row["dataset_id"],
        subject=row["uuid"],
        label=f"{row['name']} {row['version']}.0.0",
    )


def end(studio: Studio, connection: sa.Connection, job_end: End) -> None:
    """Write the end of a run into it, give back what a failed one was charged, and let go of its data."""
    row = (
        connection.execute(
            sa.select(training_runs, models.c.ready_at)
            .outerjoin(models, models.c.run_id == training_runs.c.id)
            .where(training_runs.c.job_id == job_end.job_row_id)
        )
        .mappings()
        .first()
    )
    if row is None or row["outcome"] is not None:
        return
    status = job_end.status
    if row["ready_at"] is not None:
        # Cancelled, or taken from its worker, in the moment after the model was registered.
        status = JobStatus.COMPLETED
    refunded = 0
    if status is JobStatus.FAILED and job_end.credits_charged and job_end.call_id is not None:
        refunded = studio.ledger.refund_in(
            connection,
            job_end.organization_id,
            job_end.call_id,
            description=f"The training run {row['name']} failed.",
        )
    error = job_end.error if status is JobStatus.FAILED and job_end.error is not None else {}
    _update(
        connection,
        row["id"],
        outcome=status.value,
        data_sha256=None,
        credits_held=job_end.credits_held,
        credits_charged=job_end.credits_charged,
        credits_refunded=refunded,
        error_code=error.get("code"),
        error_message=error.get("message"),
        error_fix=error.get("fix"),
        started_at=job_end.started_at,
        finished_at=clock.now(),
    )
    # Of a model that does not become ready, the end of its run is what happens to it.
    connection.execute(
        sa.update(models)
        .where(models.c.run_id == row["id"], models.c.ready_at.is_(None))
        .values(updated_at=clock.now())
    )
    if row["data_sha256"] is not None:
        mark_unused(studio.database, connection, [row["data_sha256"]])


def _update(connection: sa.Connection, run_row_id: int, **values: Any) -> None:
    connection.execute(sa.update(training_runs).where(training_runs.c.id == run_row_id).values(**values))


def _export_gone() -> Conflict:
    return Conflict(
        "The export went with its dataset, which was purged.",
        code="export_gone",
        fix="Start the training again on a dataset that is there.",
    )
