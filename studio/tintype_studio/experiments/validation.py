"""Validation sessions: measured here by a job, or filled by an outside validator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.experiments.files import Incoming, Owner, SessionFiles, StoredFile, clean_path
from tintype_studio.experiments.own_results import (
    ARTIFACTS,
    MODEL,
    files_of_evaluation,
    metrics_of_evaluation,
)
from tintype_studio.experiments.parameters import checked_object
from tintype_studio.experiments.session import (
    VALIDATION,
    TrainingSession,
    ValidationSession,
    validation_listed,
    validation_of,
)
from tintype_studio.experiments.training import (
    TrainingSessions,
    described,
    named,
    no_such_file,
    require_untold,
    told_values,
    update_told,
)
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import printable
from tintype_studio.storage.session_tables import tasks, validation_sessions
from tintype_studio.tasks.service import insert_told
from tintype_studio.wire_ids import named_by

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.jobs.job import Job
    from tintype_studio.studio import Studio

MAX_PAGE = 500
KIND = "evaluate"
SPLITS = ("train", "val", "test", "all")


class ValidationSessions:
    """Validation sessions of every organization; each call sees only the principal's own."""

    def __init__(self, studio: Studio, files: SessionFiles, training: TrainingSessions) -> None:
        self._studio = studio
        self._db = studio.database
        self._files = files
        self._training = training

    # --- Look -------------------------------------------------------------------------------------------

    def get(self, principal: Principal, ref: str) -> ValidationSession:
        """A session by its UUID or its id on the wire (``v-1a``)."""
        return self._one(principal, named_by(validation_sessions, VALIDATION, ref), ref)

    def of_job(self, principal: Principal, job_id: str) -> ValidationSession:
        """The session of an evaluation's job."""
        task = self._studio.tasks.of_job(principal, job_id)
        return self._one(principal, validation_sessions.c.task_id == task.row_id, job_id)

    def list(
        self,
        principal: Principal,
        *,
        project_row_id: int | None = None,
        training: TrainingSession | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> list[ValidationSession]:
        """Sessions, newest first; ``before`` is the id of the last one of the page before."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}.")
        query = validation_listed().where(validation_sessions.c.organization_id == principal.organization_id)
        if project_row_id is not None:
            query = query.where(validation_sessions.c.project_id == project_row_id)
        if training is not None:
            query = query.where(validation_sessions.c.training_session_id == training.row_id)
        if before is not None:
            query = query.where(validation_sessions.c.id < self.get(principal, before).row_id)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(validation_sessions.c.id.desc()).limit(limit)).mappings()
            return [validation_of(row) for row in rows]

    def every(self, principal: Principal, training: TrainingSession) -> Sequence[ValidationSession]:
        """All validations of a training session."""
        query = validation_listed().where(
            validation_sessions.c.organization_id == principal.organization_id,
            validation_sessions.c.training_session_id == training.row_id,
        )
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(validation_sessions.c.id)).mappings()
            return [validation_of(row) for row in rows]

    def metrics(self, session: ValidationSession) -> dict[str, Any]:
        """What is known of it: told from outside, and measured here."""
        return {**session.metrics, **self._measured(session)}

    def files(self, session: ValidationSession) -> Sequence[StoredFile]:
        """All its data files, by path."""
        own = self._own_files(session)
        return sorted([*own, *self._files.list(Owner.VALIDATION, session.row_id)], key=lambda file: file.path)

    def file(self, session: ValidationSession, path: str) -> StoredFile:
        """The file at a path; ``NotFound`` (``file_not_found``)."""
        found = self._files.find(Owner.VALIDATION, session.row_id, path)
        if found is None:
            found = next((file for file in self._own_files(session) if file.path == path), None)
        if found is None:
            raise no_such_file(path)
        return found

    # --- Begin ------------------------------------------------------------------------------------------

    def create(
        self,
        principal: Principal,
        *,
        training: TrainingSession,
        name: str,
        params: dict[str, Any],
        dataset: Dataset | None = None,
        annotation_set_row_id: int | None = None,
        project_row_id: int | None = None,
        description: str | None = None,
    ) -> ValidationSession:
        """A session that an outside validator fills, with its task (status ``created``)."""
        now, uuid = clock.now(), clock.new_id()
        wanted, told = named(name, "session"), described(description)
        checked_object(params, "params")
        with self._db.write() as connection:
            task = insert_told(
                connection,
                principal,
                type="validation",
                name=wanted,
                project_row_id=project_row_id or training.project_row_id,
            )
            connection.execute(
                sa.insert(validation_sessions).values(
                    uuid=uuid,
                    organization_id=principal.organization_id,
                    project_id=project_row_id or training.project_row_id,
                    experiment_id=training.experiment_row_id,
                    training_session_id=training.row_id,
                    task_id=sa.select(tasks.c.id).where(tasks.c.uuid == task).scalar_subquery(),
                    dataset_id=None if dataset is None else dataset.row_id,
                    annotation_set_id=annotation_set_row_id,
                    name=wanted,
                    description=told,
                    params=params,
                    metrics={},
                    created_by=principal.key_id,
                    created_at=now,
                    updated_at=now,
                )
            )
            log_change(
                connection,
                principal,
                Kind.SESSION_CREATED,
                None,
                subject=uuid,
                label=wanted,
                detail={"session": "validation"},
            )
        return self.get(principal, uuid)

    def job_args(
        self,
        principal: Principal,
        *,
        training: TrainingSession,
        name: str,
        params: dict[str, Any],
        model_file: str = MODEL,
        dataset: str | None = None,
        annotation_set: str | None = None,
        project_row_id: int | None = None,
        description: str | None = None,
    ) -> dict[str, Any]:
        """Arguments of the job that measures the session's model; refuses what cannot be measured here.

        ``params`` may hold ``split`` (train, val, test, all). Raises Conflict (``not_trained_here``,
        ``model_not_ready``) and InvalidInput (``unknown_parameters``, ``invalid_split``,
        ``unknown_model_file``).
        """
        if training.run_id is None:
            raise Conflict(
                f"The model of {training.name!r} was not trained here, and cannot be run here.",
                code="not_trained_here",
                fix="Start a user-managed session (is_local) and tell it what you measured yourself.",
            )
        run = self._studio.training.get(principal, training.run_id)
        if training.model_id is None:
            raise Conflict(
                f"The model of {training.name!r} is not ready: its training is {run.status}.",
                code="model_not_ready",
                fix="Wait for the training, or validate another session.",
                retryable=not run.ended,
            )
        if model_file.removeprefix(ARTIFACTS) != MODEL:
            raise InvalidInput(
                f"{printable(model_file[:80])!r} is no model file that can be measured.",
                code="unknown_model_file",
                fix=f"Name {MODEL}.",
            )
        checked_object(params, "params")
        if unknown := sorted(params.keys() - {"split"}):
            shown = ", ".join(printable(name[:40]) for name in unknown[:10])
            raise InvalidInput(
                f"These parameters are not known here: {shown}.",
                code="unknown_parameters",
                fix="Leave them out; split (train, val, test or all) says which images are measured.",
            )
        split = params.get("split", "test")
        if split not in SPLITS:
            raise InvalidInput(
                "split is train, val, test or all.", code="invalid_split", fix="Send one of these, or none."
            )
        session = {
            "name": named(name, "session"),
            "description": described(description),
            "params": params,
            "project": project_row_id,
        }
        args = {"model_id": training.model_id, "dataset": dataset, "split": split, "session": session}
        return args | ({} if annotation_set in {None, DEFAULT_SET} else {"annotation_set": annotation_set})

    def start(self, principal: Principal, args: dict[str, Any]) -> Job:
        """Start the job of ``job_args``; its session is made in the same transaction."""
        return self._studio.jobs.start(principal, KIND, args)

    # --- Tell -------------------------------------------------------------------------------------------

    def update(
        self,
        principal: Principal,
        ref: str,
        *,
        name: str | None = None,
        description: str | None = None,
        params: dict[str, Any] | None = None,
        metrics: dict[str, Any] | None = None,
        merge: bool = False,
    ) -> ValidationSession:
        """Change what is told of a session; see ``TrainingSessions.update``."""
        session = self.get(principal, ref)
        if session.own:
            require_untold("measured", params, metrics, self._measured(session))
        told = told_values(name=name, description=description)
        changes = {"params": params, "metrics": metrics}
        with self._db.write() as connection:
            update_told(connection, validation_sessions, session.row_id, told, changes, merge=merge)
        return self.get(principal, ref)

    def add_files(
        self, principal: Principal, session: ValidationSession, incoming: Sequence[Incoming]
    ) -> Sequence[StoredFile]:
        """Keep data files; see ``SessionFiles.put``. ``Conflict`` (``own_file``) for the evaluation's own."""
        taken = {file.path for file in self._own_files(session)}
        for each in incoming:
            if clean_path(each.path) in taken:
                raise Conflict(
                    f"{printable(each.path[:100])!r} came of the evaluation itself.",
                    code="own_file",
                    fix="Choose another path for your file.",
                )
        return self._files.put(principal, Owner.VALIDATION, session.row_id, incoming)

    # --- Within -----------------------------------------------------------------------------------------

    def _one(self, principal: Principal, which: sa.ColumnElement[bool], called: str) -> ValidationSession:
        mine = validation_sessions.c.organization_id == principal.organization_id
        with self._db.read() as connection:
            row = connection.execute(validation_listed().where(which, mine)).mappings().first()
        if row is None:
            raise NotFound(
                f"No validation session has the id {printable(called[:80])!r}.",
                code="session_not_found",
                fix="Call list_sessions to see the ids.",
            )
        return validation_of(row)

    def _measured(self, session: ValidationSession) -> dict[str, Any]:
        if session.evaluation_row_id is None:
            return {}
        return metrics_of_evaluation(self._studio, session.evaluation_row_id)

    def _own_files(self, session: ValidationSession) -> Sequence[StoredFile]:
        if session.evaluation_row_id is None:
            return []
        return files_of_evaluation(self._studio, session.evaluation_row_id)
