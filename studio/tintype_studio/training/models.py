"""The registry of models: what was trained, how well, and where its files are.

A model's row is made with the run that trains it; it is ``ready`` from the transaction on that sets all its
files at once. Deleting one only archives it: the files stay, and undo brings it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import lookup_name, printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.tables import datasets, organizations
from tintype_studio.storage.training_tables import evaluations, models, training_runs
from tintype_studio.training.status import run_status
from tintype_studio.vision.tasks import Signature, Task

MAX_PAGE = 500


class ModelStatus(StrEnum):
    """Where a model stands."""

    TRAINING = "training"
    READY = "ready"
    FAILED = "failed"
    """Its run failed or was cancelled."""
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Model:
    """A model. Sizes in bytes; the files are there once it was ready."""

    row_id: int
    id: str
    organization_id: str
    name: str
    version: str
    """``n.0.0``: the n-th run of this name on its dataset."""
    status: ModelStatus
    model_type: Task
    pipeline: str
    architecture: str | None
    initialization: str | None
    """``random``, or which weights it began with."""
    signature: Signature | None
    metrics: dict[str, Any]
    """Of the images that were kept back for the test."""
    card: dict[str, Any]
    """How it was made: data, configuration, how its ONNX file was checked, notes."""
    onnx_sha256: str | None
    onnx_size: int | None
    checkpoint_sha256: str | None
    checkpoint_size: int | None
    heads_sha256: str | None
    """The ONNX file that chooses attributes of found objects; None where it learned none."""
    heads_size: int | None
    attributes: dict[str, dict[str, list[str]]]
    """What that may choose: options by class and attribute."""
    dataset_row_id: int | None
    """None when the dataset was purged."""
    dataset_name: str
    run_id: str
    run_name: str
    parent_model_id: str | None
    """The model whose weights it began with."""
    error_message: str | None
    """Why its run failed."""
    visibility: str
    created_at: datetime
    updated_at: datetime
    ready_at: datetime | None
    archived_at: datetime | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of its outputs."""
        return self.signature.classes if self.signature is not None else ()

    @property
    def class_mapping(self) -> dict[str, str]:
        """Class names by index; the index as text, as in JSON."""
        return {str(index): name for index, name in enumerate(self.classes)}


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """What a model was found to be worth on some images."""

    id: str
    model_id: str
    dataset_row_id: int | None
    """None when the dataset was purged."""
    dataset_name: str
    split: str
    """``train``, ``val``, ``test`` or ``all``."""
    sha256: str
    """Of the whole evaluation as JSON, in the blob store."""
    metrics: dict[str, Any]
    images: int
    pictures: dict[str, str]
    """Digests of PNG files by name."""
    created_at: datetime


class Models:
    """Models of every organization; each call sees only the principal's own."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, principal: Principal, model_id: str) -> Model:
        """A model by its UUID, archived or not."""
        with self._db.read() as connection:
            return self.get_in(connection, principal, model_id)

    def get_in(self, connection: sa.Connection, principal: Principal, model_id: str) -> Model:
        """A model by its UUID inside the caller's transaction."""
        query = _listed().where(
            models.c.uuid == model_id, models.c.organization_id == principal.organization_id
        )
        row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(
                f"No model has the id {printable(model_id[:80])!r}.",
                code="model_not_found",
                fix="Call list_models to see the ids.",
            )
        return _model(row)

    def ready(self, principal: Principal, model_id: str) -> Model:
        """A model that can be used; ``Conflict`` (``model_not_ready``) for any other."""
        model = self.get(principal, model_id)
        if model.status is not ModelStatus.READY:
            raise Conflict(
                f"Model {model.name!r} {model.version} is {model.status}, not ready.",
                code="model_not_ready",
                fix=_WHAT_THEN[model.status].format(run=model.run_id),
                retryable=model.status is ModelStatus.TRAINING,
                details={"status": model.status.value},
            )
        return model

    def list(
        self,
        principal: Principal,
        *,
        limit: int = 50,
        offset: int = 0,
        dataset: str | None = None,
        status: ModelStatus | None = None,
        model_type: Task | None = None,
    ) -> Sequence[Model]:
        """Models, newest first; without the archived ones, unless these are asked for."""
        if not 1 <= limit <= MAX_PAGE or offset < 0:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}, offset 0 or more.")
        query = _listed().where(models.c.organization_id == principal.organization_id)
        query = query.where(models.c.archived_at.is_(None) if status is None else _status() == status.value)
        if dataset is not None:
            query = query.where(
                sa.func.coalesce(datasets.c.name, models.c.dataset_name) == lookup_name(dataset)
            )
        if model_type is not None:
            query = query.where(models.c.model_type == model_type.value)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(models.c.id.desc()).limit(limit).offset(offset))
            return [_model(row) for row in rows.mappings()]

    def named(self, principal: Principal, name: str) -> Sequence[Model]:
        """Models of exactly this name in any dataset, without the archived ones: those that are ready first,
        the newest first.
        """
        query = _listed().where(
            models.c.organization_id == principal.organization_id,
            models.c.name == lookup_name(name),
            models.c.archived_at.is_(None),
        )
        query = query.order_by(models.c.ready_at.is_(None), models.c.ready_at.desc(), models.c.id.desc())
        with self._db.read() as connection:
            return [_model(row) for row in connection.execute(query.limit(MAX_PAGE)).mappings()]

    def newest_for(self, dataset: Dataset, *, limit: int = 20) -> Sequence[Model]:
        """Ready models that find objects and were trained on this dataset, newest first."""
        query = _listed().where(
            models.c.dataset_id == dataset.row_id,
            models.c.ready_at.is_not(None),
            models.c.archived_at.is_(None),
            models.c.model_type.in_([Task.DETECTION.value, Task.INSTANCES.value]),
        )
        with self._db.read() as connection:
            rows = connection.execute(
                query.order_by(models.c.ready_at.desc(), models.c.id.desc()).limit(limit)
            )
            return [_model(row) for row in rows.mappings()]

    def newest_in_project(
        self, principal: Principal, project_row_id: int | None, *, limit: int = 20
    ) -> Sequence[Model]:
        """As ``newest_for``, of all living datasets of a project, or of the organization."""
        query = _listed().where(
            models.c.organization_id == principal.organization_id,
            models.c.dataset_id.in_(
                sa.select(datasets.c.id).where(
                    datasets.c.organization_id == principal.organization_id,
                    datasets.c.deleted_at.is_(None),
                    sa.true() if project_row_id is None else datasets.c.project_id == project_row_id,
                )
            ),
            models.c.ready_at.is_not(None),
            models.c.archived_at.is_(None),
            models.c.model_type.in_([Task.DETECTION.value, Task.INSTANCES.value]),
        )
        with self._db.read() as connection:
            rows = connection.execute(
                query.order_by(models.c.ready_at.desc(), models.c.id.desc()).limit(limit)
            )
            return [_model(row) for row in rows.mappings()]

    def archive(self, principal: Principal, model_id: str) -> Model:
        """Hide a model; its files stay. ``restore`` or an undo brings it back; twice does nothing.

        Raises ``Conflict`` (``model_training``) while its run goes on.
        """
        with self._db.write() as connection:
            model = self.get_in(connection, principal, model_id)
            if model.status is ModelStatus.TRAINING:
                raise Conflict(
                    f"Model {model.name!r} {model.version} is being trained.",
                    code="model_training",
                    fix=_WHAT_THEN[model.status].format(run=model.run_id),
                )
            if set_archived(connection, model.id, principal.call_id):
                _log(connection, principal, Kind.MODEL_ARCHIVED, model)
            return self.get_in(connection, principal, model_id)

    def restore(self, principal: Principal, model_id: str) -> Model:
        """Bring an archived model back; nothing when it is none."""
        with self._db.write() as connection:
            model = self.get_in(connection, principal, model_id)
            if set_restored(connection, model.id):
                _log(connection, principal, Kind.MODEL_RESTORED, model)
            return self.get_in(connection, principal, model_id)

    def add_evaluation(
        self,
        connection: sa.Connection,
        model: Model,
        *,
        dataset: Dataset | None,
        split: str,
        sha256: str,
        metrics: Mapping[str, Any],
        images: int,
        pictures: Mapping[str, str] | None = None,
        call_id: str | None = None,
    ) -> str:
        """Keep an evaluation whose bytes are stored, in the caller's transaction; returns its UUID.

        ``dataset`` is None for the one that the model was trained on.
        """
        organization = sa.select(models.c.organization_id).where(models.c.id == model.row_id)
        values = {
            "organization_id": connection.execute(organization).scalar_one(),
            "model_id": model.row_id,
            "dataset_id": model.dataset_row_id if dataset is None else dataset.row_id,
            "dataset_name": model.dataset_name if dataset is None else dataset.name,
        }
        return insert_evaluation(
            connection,
            **values,
            split=split,
            sha256=sha256,
            metrics=dict(metrics),
            images=images,
            pictures=dict(pictures or {}),
            call_id=call_id,
        )

    def evaluations(self, model: Model, *, limit: int = 50, offset: int = 0) -> Sequence[StoredEvaluation]:
        """A model's evaluations, newest first; the oldest is that of its training."""
        query = (
            sa.select(evaluations)
            .where(evaluations.c.model_id == model.row_id)
            .order_by(evaluations.c.id.desc())
            .limit(limit)
            .offset(offset)
        )
        with self._db.read() as connection:
            return [
                StoredEvaluation(
                    id=row["uuid"],
                    model_id=model.id,
                    dataset_row_id=row["dataset_id"],
                    dataset_name=row["dataset_name"],
                    split=row["split"],
                    sha256=row["sha256"],
                    metrics=row["metrics"],
                    images=row["images"],
                    pictures=row["pictures"],
                    created_at=row["created_at"],
                )
                for row in connection.execute(query).mappings()
            ]


_WHAT_THEN = {
    ModelStatus.TRAINING: "Wait for its training (get_training_status {run}), or cancel_training stops it.",
    ModelStatus.FAILED: "get_training_status {run} tells why; train again and use that model.",
    ModelStatus.ARCHIVED: "Undo the call that deleted it (list_changes shows it), or use another model.",
}


def set_archived(connection: sa.Connection, model_id: str, call_id: str | None) -> bool:
    """Mark a model as archived; False when it was so already."""
    return _changed(
        connection,
        sa.and_(models.c.uuid == model_id, models.c.archived_at.is_(None)),
        archived_at=clock.now(),
        archived_call=call_id,
    )


def set_restored(connection: sa.Connection, model_id: str) -> bool:
    """Take that mark away; False when there was none."""
    return _changed(
        connection,
        sa.and_(models.c.uuid == model_id, models.c.archived_at.is_not(None)),
        archived_at=None,
        archived_call=None,
    )


def insert_evaluation(connection: sa.Connection, **values: Any) -> str:
    """Add a row of ``evaluations``; returns its UUID."""
    uuid = clock.new_id()
    connection.execute(sa.insert(evaluations).values(uuid=uuid, created_at=clock.now(), **values))
    return uuid


def _changed(connection: sa.Connection, which: sa.ColumnElement[bool], **values: Any) -> bool:
    query = sa.update(models).where(which).values(**values, updated_at=clock.now())
    return bool(connection.execute(query).rowcount)


def _log(connection: sa.Connection, principal: Principal, kind: Kind, model: Model) -> None:
    label = f"{model.name} {model.version}"
    log_change(connection, principal, kind, model.dataset_row_id, subject=model.id, label=label)


def _status() -> sa.ColumnElement[str]:
    training = run_status().in_(["queued", "running"])
    return sa.case(
        (models.c.archived_at.is_not(None), ModelStatus.ARCHIVED.value),
        (models.c.ready_at.is_not(None), ModelStatus.READY.value),
        (training, ModelStatus.TRAINING.value),
        else_=ModelStatus.FAILED.value,
    )


def _listed() -> sa.Select[Any]:
    return (
        sa.select(
            models,
            _status().label("status"),
            organizations.c.uuid.label("organization_uuid"),
            training_runs.c.uuid.label("run_uuid"),
            training_runs.c.name.label("run_name"),
            training_runs.c.facts.label("run_facts"),
            sa.func.coalesce(training_runs.c.error_message, jobs.c.error_message).label("error_message"),
            datasets.c.name.label("now_named"),
        )
        .join(training_runs, training_runs.c.id == models.c.run_id)
        .join(organizations, organizations.c.id == models.c.organization_id)
        .outerjoin(jobs, jobs.c.id == training_runs.c.job_id)
        .outerjoin(datasets, datasets.c.id == models.c.dataset_id)
    )


def _model(row: sa.RowMapping) -> Model:
    return Model(
        row_id=row["id"],
        id=row["uuid"],
        organization_id=row["organization_uuid"],
        name=row["name"],
        version=f"{row['version']}.0.0",
        status=ModelStatus(row["status"]),
        model_type=Task(row["model_type"]),
        pipeline=row["pipeline"],
        architecture=row["architecture"],
        initialization=row["initialization"],
        signature=None if row["signature"] is None else Signature.from_json(row["signature"]),
        metrics=row["metrics"] or {},
        card=row["card"] or {},
        onnx_sha256=row["onnx_sha256"],
        onnx_size=row["onnx_size"],
        checkpoint_sha256=row["checkpoint_sha256"],
        checkpoint_size=row["checkpoint_size"],
        heads_sha256=row["heads_sha256"],
        heads_size=row["heads_size"],
        attributes=row["attributes"] or {},
        dataset_row_id=row["dataset_id"],
        dataset_name=row["now_named"] or row["dataset_name"],
        run_id=row["run_uuid"],
        run_name=row["run_name"],
        parent_model_id=(row["run_facts"].get("weights") or {}).get("model_id"),
        error_message=row["error_message"],
        visibility="private",
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        ready_at=row["ready_at"],
        archived_at=row["archived_at"],
    )
