"""Experiments of a project, and the sessions in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.experiments.files import SessionFiles
from tintype_studio.experiments.session import EXPERIMENT, Experiment, experiment_of, experiments_listed
from tintype_studio.experiments.sweep import sweep_deleted
from tintype_studio.experiments.training import TrainingSessions
from tintype_studio.experiments.validation import ValidationSessions
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_text, printable
from tintype_studio.storage.session_tables import experiments
from tintype_studio.storage.tables import projects
from tintype_studio.wire_ids import named_by

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

MAX_PAGE = 500
MAX_NAME = 120
MAX_DESCRIPTION = 2000


class Experiments:
    """Experiments of every organization; each call sees only the principal's own."""

    def __init__(self, studio: Studio) -> None:
        self._db = studio.database
        self.files = SessionFiles(studio.database, studio.blobs)
        self.training = TrainingSessions(studio, self.files)
        self.validation = ValidationSessions(studio, self.files, self.training)

    def list(
        self,
        principal: Principal,
        *,
        project_row_id: int | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> list[Experiment]:
        """Experiments, newest first; ``before`` is the id of the last one of the page before."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}.")
        query = experiments_listed().where(experiments.c.organization_id == principal.organization_id)
        if project_row_id is not None:
            query = query.where(experiments.c.project_id == project_row_id)
        if before is not None:
            query = query.where(experiments.c.id < self.get(principal, before).row_id)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(experiments.c.id.desc()).limit(limit)).mappings()
            return [experiment_of(row) for row in rows]

    def get(self, principal: Principal, ref: str) -> Experiment:
        """An experiment by its UUID or its id on the wire (``exp-1a``)."""
        query = experiments_listed().where(
            named_by(experiments, EXPERIMENT, ref), experiments.c.organization_id == principal.organization_id
        )
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(
                f"No experiment has the id {printable(ref[:80])!r}.",
                code="experiment_not_found",
                fix="Call list_experiments to see the ids.",
            )
        return experiment_of(row)

    def create(
        self, principal: Principal, *, project_row_id: int, name: str, description: str | None = None
    ) -> Experiment:
        """Make an experiment in a project, which is the caller's to check.

        ``Conflict`` (``experiment_exists``) when one there has the name.
        """
        wanted = clean_text(name, "The name", max_length=MAX_NAME)
        if not wanted:
            raise InvalidInput("The name is empty.", code="invalid_name", fix="Give the experiment a name.")
        if description is not None and len(description) > MAX_DESCRIPTION:
            raise InvalidInput(
                f"The description is longer than {MAX_DESCRIPTION} characters.",
                code="description_too_long",
                fix="Shorten it.",
            )
        now, uuid = clock.now(), clock.new_id()
        with self._db.write() as connection:
            # Of two of one name at once, the second waits here and then finds the first.
            connection.execute(
                sa.select(projects.c.id).where(projects.c.id == project_row_id).with_for_update()
            )
            taken = connection.execute(
                sa.select(experiments.c.id).where(
                    experiments.c.project_id == project_row_id,
                    experiments.c.name == wanted,
                    experiments.c.deleted_at.is_(None),
                )
            ).first()
            if taken is not None:
                raise Conflict(
                    f"The project has an experiment {wanted!r} already.",
                    code="experiment_exists",
                    fix="Use it (list_experiments shows its id), or choose another name.",
                )
            connection.execute(
                sa.insert(experiments).values(
                    uuid=uuid,
                    organization_id=principal.organization_id,
                    project_id=project_row_id,
                    name=wanted,
                    description=description,
                    created_by=principal.key_id,
                    created_at=now,
                    updated_at=now,
                )
            )
            log_change(connection, principal, Kind.EXPERIMENT_CREATED, None, subject=uuid, label=wanted)
        return self.get(principal, uuid)

    def sweep(self) -> int:
        """Remove sessions for good that were deleted long ago, with their files; returns how many."""
        return sweep_deleted(self._db)
