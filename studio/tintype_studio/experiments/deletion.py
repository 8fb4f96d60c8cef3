"""Deletes sessions: they are hidden, and can be brought back for a month."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, NotFound
from tintype_studio.experiments.session import TRAINING, VALIDATION, TrainingSession, ValidationSession
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.session_tables import training_sessions, validation_sessions
from tintype_studio.wire_ids import named_by, row_of

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

Session = TrainingSession | ValidationSession


def find_session(studio: Studio, principal: Principal, ref: str) -> Session:
    """The training or validation session of a UUID or an id on the wire."""
    experiments = studio.experiments
    if row_of(VALIDATION, ref) is not None:
        return experiments.validation.get(principal, ref)
    try:
        return experiments.training.get(principal, ref)
    except NotFound:
        if row_of(TRAINING, ref) is not None:
            raise
    return experiments.validation.get(principal, ref)


def delete_sessions(studio: Studio, principal: Principal, refs: Sequence[str]) -> Sequence[Session]:
    """Delete sessions, all or none; those that were deleted already are passed over. Returns what went.

    A training session takes its validation sessions along; evaluations that still run are stopped. Raises
    NotFound for an id that never was one of the organization, and Conflict (``own_session``) for a training
    of this server.
    """
    doomed: dict[str, Session] = {}
    for ref in refs:
        session = _living(studio, principal, ref)
        if isinstance(session, TrainingSession):
            if session.own:
                raise Conflict(
                    f"{session.name!r} was trained here: its session stays with its run.",
                    code="own_session",
                    fix="delete_model deletes the model that came of it.",
                )
            of_it = studio.experiments.validation.every(principal, session)
            doomed |= {each.id: each for each in of_it}
        if session is not None:
            doomed[session.id] = session
    for session in doomed.values():
        if session.task is not None and session.task.job_id is not None and not session.task.ended:
            with suppress(Conflict):  # it ended just now
                studio.jobs.cancel(principal, session.task.job_id)
    with studio.database.write() as connection:
        for session in doomed.values():
            _mark(connection, principal, session)
    return list(doomed.values())


def _mark(connection: sa.Connection, principal: Principal, session: Session) -> None:
    trained = isinstance(session, TrainingSession)
    table, now = training_sessions if trained else validation_sessions, clock.now()
    alive = sa.and_(table.c.id == session.row_id, table.c.deleted_at.is_(None))
    if connection.execute(sa.update(table).where(alive).values(deleted_at=now, updated_at=now)).rowcount:
        log_change(
            connection,
            principal,
            Kind.SESSION_DELETED,
            None,
            subject=session.id,
            label=session.name,
            detail={"session": "training" if trained else "validation"},
        )


def _living(studio: Studio, principal: Principal, ref: str) -> Session | None:
    """The session; None when it was deleted. ``NotFound`` when there never was one."""
    try:
        return find_session(studio, principal, ref)
    except NotFound:
        with studio.database.read() as connection:
            for table, prefix in ((training_sessions, TRAINING), (validation_sessions, VALIDATION)):
                was_there = sa.select(table.c.id).where(
                    named_by(table, prefix, ref), table.c.organization_id == principal.organization_id
                )
                if connection.execute(was_there).first() is not None:
                    return None
        raise
