"""How the making of experiments and sessions, and the deletion of sessions, are taken back."""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict
from tintype_studio.history.changes import Kind
from tintype_studio.history.step import Step
from tintype_studio.storage.session_tables import experiments, training_sessions, validation_sessions

_TABLES = {"training": training_sessions, "validation": validation_sessions}


def delete_experiment(step: Step, row: sa.RowMapping) -> int:
    """Take an experiment away; ``Conflict`` (``experiment_in_use``) while there are sessions in it."""
    mine = sa.select(experiments.c.id).where(experiments.c.uuid == row["subject"]).scalar_subquery()
    used = sa.select(training_sessions.c.id).where(
        training_sessions.c.experiment_id == mine, training_sessions.c.deleted_at.is_(None)
    )
    if step.connection.execute(used.limit(1)).first() is not None:
        raise Conflict(
            f"The experiment {row['label']!r} has sessions.",
            code="experiment_in_use",
            fix="Undo the calls that made its sessions first; list_changes shows them.",
        )
    count = _mark(step, experiments, row, deleted=True)
    step.log(row, Kind.EXPERIMENT_DELETED, count=count)
    return count


def restore_experiment(step: Step, row: sa.RowMapping) -> int:
    """Bring an experiment back."""
    count = _mark(step, experiments, row, deleted=False)
    step.log(row, Kind.EXPERIMENT_CREATED, count=count)
    return count


def delete_session(step: Step, row: sa.RowMapping) -> int:
    """Delete a session."""
    count = _mark(step, _TABLES[row["detail"]["session"]], row, deleted=True)
    step.log(row, Kind.SESSION_DELETED, count=count, detail=dict(row["detail"]))
    return count


def restore_session(step: Step, row: sa.RowMapping) -> int:
    """Bring a deleted session back."""
    count = _mark(step, _TABLES[row["detail"]["session"]], row, deleted=False)
    step.log(row, Kind.SESSION_CREATED, count=count, detail=dict(row["detail"]))
    return count


def _mark(step: Step, table: sa.Table, row: sa.RowMapping, *, deleted: bool) -> int:
    before = table.c.deleted_at.is_(None) if deleted else table.c.deleted_at.is_not(None)
    now = clock.now()
    return step.connection.execute(
        sa.update(table)
        .where(table.c.uuid == row["subject"], before)
        .values(deleted_at=now if deleted else None, updated_at=now)
    ).rowcount
