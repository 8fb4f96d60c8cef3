"""Training sessions: those of this server's trainings, and those that outside trainers fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.experiments.files import Incoming, Owner, SessionFiles, StoredFile, clean_path
from tintype_studio.experiments.own_results import (
    ARTIFACTS,
    CHECKPOINTS,
    METRICS,
    files_of_run,
    metrics_of_run,
)
from tintype_studio.experiments.parameters import checked_object
from tintype_studio.experiments.session import (
    TRAINING,
    Experiment,
    TrainingSession,
    training_listed,
    training_of,
)
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_text, printable
from tintype_studio.storage.session_tables import experiments, tasks, training_sessions, validation_sessions
from tintype_studio.tasks.service import insert_told
from tintype_studio.wire_ids import named_by

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.studio import Studio

MAX_PAGE = 500
MAX_NAME = 120
FOLDERS = (ARTIFACTS, CHECKPOINTS, METRICS)
"""Where the files of a training session lie."""


class TrainingSessions:
    """Training sessions of every organization; each call sees only the principal's own."""

    def __init__(self, studio: Studio, files: SessionFiles) -> None:
        self._studio = studio
        self._db = studio.database
        self._files = files

    def get(self, principal: Principal, ref: str) -> TrainingSession:
        """A session by its UUID or its id on the wire (``t-1a``)."""
        return self._one(principal, named_by(training_sessions, TRAINING, ref), ref)

    def of_run(self, principal: Principal, run_row_id: int) -> TrainingSession:
        """The session of a run of this server."""
        return self._one(principal, training_sessions.c.run_id == run_row_id, str(run_row_id))

    def list(
        self,
        principal: Principal,
        *,
        experiment: Experiment | None = None,
        project_row_id: int | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> list[TrainingSession]:
        """Sessions, newest first; ``before`` is the id of the last one of the page before."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}.")
        query = training_listed().where(training_sessions.c.organization_id == principal.organization_id)
        if experiment is not None:
            query = query.where(training_sessions.c.experiment_id == experiment.row_id)
        if project_row_id is not None:
            query = query.where(experiments.c.project_id == project_row_id)
        if before is not None:
            query = query.where(training_sessions.c.id < self.get(principal, before).row_id)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(training_sessions.c.id.desc()).limit(limit)).mappings()
            return [training_of(row) for row in rows]

    def create(
        self,
        principal: Principal,
        *,
        experiment: Experiment,
        name: str,
        model: str,
        params: dict[str, Any] | None = None,
        dataset: Dataset | None = None,
        annotation_set_row_id: int | None = None,
        train_group: str = "train",
        val_group: str = "val",
        description: str | None = None,
    ) -> TrainingSession:
        """A session that an outside trainer fills, with its task (status ``created``)."""
        now, uuid = clock.now(), clock.new_id()
        values: dict[str, Any] = {
            "name": named(name, "session"),
            "model": named(model, "model"),
            "train_group": named(train_group, "group"),
            "val_group": named(val_group, "group"),
            "params": checked_object(params or {}, "params"),
            "description": described(description),
        }
        with self._db.write() as connection:
            task = insert_told(
                connection,
                principal,
                type="trainer",
                name=values["name"],
                project_row_id=experiment.project_row_id,
            )
            connection.execute(
                sa.insert(training_sessions).values(
                    uuid=uuid,
                    organization_id=principal.organization_id,
                    experiment_id=experiment.row_id,
                    task_id=sa.select(tasks.c.id).where(tasks.c.uuid == task).scalar_subquery(),
                    dataset_id=None if dataset is None else dataset.row_id,
                    annotation_set_id=annotation_set_row_id,
                    metrics={},
                    created_by=principal.key_id,
                    created_at=now,
                    updated_at=now,
                    **values,
                )
            )
            log_change(
                connection,
                principal,
                Kind.SESSION_CREATED,
                None,
                subject=uuid,
                label=values["name"],
                detail={"session": "training"},
            )
        return self.get(principal, uuid)

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
        experiment: Experiment | None = None,
    ) -> TrainingSession:
        """Change what is told of a session; ``params`` and ``metrics`` replace those before, or join them.

        ``experiment`` moves it there, with its validations.

        Of a training of this server, ``Conflict``: ``own_session`` for params, ``own_metric`` for what was
        measured; other metrics stand beside.
        """
        session = self.get(principal, ref)
        if session.run_row_id is not None:
            require_untold("trained", params, metrics, metrics_of_run(self._studio, session.run_row_id))
        told = told_values(name=name, description=description)
        told |= {} if experiment is None else {"experiment_id": experiment.row_id}
        changes = {"params": params, "metrics": metrics}
        with self._db.write() as connection:
            update_told(connection, training_sessions, session.row_id, told, changes, merge=merge)
            if experiment is not None:
                connection.execute(
                    sa.update(validation_sessions)
                    .where(validation_sessions.c.training_session_id == session.row_id)
                    .values(experiment_id=experiment.row_id)
                )
        return self.get(principal, ref)

    def metrics(self, session: TrainingSession) -> dict[str, Any]:
        """What is known of it: told from outside, and measured here."""
        own = {} if session.run_row_id is None else metrics_of_run(self._studio, session.run_row_id)
        return {**session.metrics, **own}

    def files(self, session: TrainingSession) -> Sequence[StoredFile]:
        """All its files, by path."""
        own = [] if session.run_row_id is None else files_of_run(self._studio, session.run_row_id)
        return sorted([*own, *self._files.list(Owner.TRAINING, session.row_id)], key=lambda file: file.path)

    def file(self, session: TrainingSession, path: str) -> StoredFile:
        """The file at a path; ``NotFound`` (``file_not_found``)."""
        found = self._files.find(Owner.TRAINING, session.row_id, path)
        if found is None and session.run_row_id is not None:
            own = files_of_run(self._studio, session.run_row_id)
            found = next((file for file in own if file.path == path), None)
        if found is None:
            raise no_such_file(path)
        return found

    def add_files(
        self, principal: Principal, session: TrainingSession, incoming: Sequence[Incoming]
    ) -> Sequence[StoredFile]:
        """Keep files under artifacts/, checkpoints/ and metrics/; see ``SessionFiles.put``.

        ``Conflict`` (``own_file``) for a path where this server's own training keeps something.
        """
        for each in incoming:
            path = clean_path(each.path)
            if not path.startswith(FOLDERS):
                raise InvalidInput(
                    f"{printable(path[:100])!r} lies in no folder of a training session.",
                    code="invalid_file_path",
                    fix="Begin the path with artifacts/, checkpoints/ or metrics/.",
                )
        if session.run_row_id is not None:
            taken = {file.path for file in files_of_run(self._studio, session.run_row_id)}
            for each in incoming:
                if clean_path(each.path) in taken:
                    raise Conflict(
                        f"{printable(each.path[:100])!r} came of the training itself.",
                        code="own_file",
                        fix="Choose another path for your file.",
                    )
        return self._files.put(principal, Owner.TRAINING, session.row_id, incoming)

    def _one(self, principal: Principal, which: sa.ColumnElement[bool], called: str) -> TrainingSession:
        mine = training_sessions.c.organization_id == principal.organization_id
        with self._db.read() as connection:
            row = connection.execute(training_listed().where(which, mine)).mappings().first()
        if row is None:
            raise NotFound(
                f"No training session has the id {printable(called[:80])!r}.",
                code="session_not_found",
                fix="Call list_sessions to see the ids.",
            )
        return training_of(row)


def named(text: str, what: str) -> str:
    """A name of up to 120 characters; ``InvalidInput`` (``invalid_name``) for an empty one."""
    wanted = clean_text(text, f"The {what}'s name", max_length=MAX_NAME)
    if not wanted:
        raise InvalidInput(
            f"The {what}'s name is empty.", code="invalid_name", fix=f"Give the {what} a name."
        )
    return wanted


def described(text: str | None, *, most: int = 2000) -> str | None:
    """A description of up to 2,000 characters."""
    if text is None:
        return None
    if len(text) > most:
        raise InvalidInput(
            f"The description is longer than {most} characters.",
            code="description_too_long",
            fix="Shorten it.",
        )
    return printable(text.replace("\0", ""))


def told_values(*, name: str | None, description: str | None) -> dict[str, Any]:
    """The columns that change."""
    told: dict[str, Any] = {} if name is None else {"name": named(name, "session")}
    return told | ({} if description is None else {"description": described(description)})


def update_told(
    connection: sa.Connection,
    table: sa.Table,
    row_id: int,
    told: dict[str, Any],
    objects: dict[str, dict[str, Any] | None],
    *,
    merge: bool,
) -> None:
    """Change the row of a session that may have been deleted meanwhile; ``objects`` are JSON columns."""
    alive = sa.and_(table.c.id == row_id, table.c.deleted_at.is_(None))
    before = (
        connection.execute(sa.select(table.c.params, table.c.metrics).where(alive).with_for_update())
        .mappings()
        .first()
    )
    if before is None:
        raise NotFound(
            "The session was deleted meanwhile.",
            code="session_not_found",
            fix="Call list_sessions to see what is there.",
        )
    values = dict(told)
    for column, new in objects.items():
        if new is not None:
            checked_object(new, column)
            values[column] = checked_object({**before[column], **new}, column) if merge else new
    connection.execute(sa.update(table).where(alive).values(**values, updated_at=clock.now()))


def require_untold(
    done: str,
    params: dict[str, Any] | None,
    metrics: dict[str, Any] | None,
    measured: dict[str, Any],
) -> None:
    """Refuse to tell of this server's own work what it knows better."""
    if params is not None:
        raise Conflict(
            f"The session was {done} here: its parameters are what they are.",
            code="own_session",
            fix="Change its name or description, or make a session of your own with create_session.",
        )
    if metrics is not None and (clash := sorted(measured.keys() & metrics.keys())):
        raise Conflict(
            f"These figures were measured here: {', '.join(clash[:10])}.",
            code="own_metric",
            fix="Tell yours under other names.",
        )


def no_such_file(path: str) -> NotFound:
    """No file is there."""
    return NotFound(
        f"The session has no file {printable(path[:120])!r}.",
        code="file_not_found",
        fix="get_session_metrics lists its files.",
    )
