"""Projects of an organization, which datasets and experiments lie in.

Names are unique within the organization, case-sensitive. Every organization has the project ``default``:
callers that know no projects work in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import default_project
from tintype_studio.errors import Conflict, NotFound
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_name, lookup_name, printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.session_tables import experiments
from tintype_studio.storage.tables import datasets, projects


@dataclass(frozen=True, slots=True)
class Project:
    """A project as it is listed."""

    row_id: int
    id: str
    name: str
    description: str | None
    created_at: datetime
    dataset_count: int


_COUNT = (
    sa.select(sa.func.count())
    .where(datasets.c.project_id == projects.c.id, datasets.c.deleted_at.is_(None))
    .correlate(projects)
    .scalar_subquery()
    .label("dataset_count")
)


class Projects:
    """Projects of every organization; each call sees only the principal's own."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def list(self, principal: Principal, *, limit: int = 1000, offset: int = 0) -> list[Project]:
        """Projects in the order in which they were made; the default one is the first."""
        with self._db.read() as connection:
            rows = connection.execute(
                _mine(principal).order_by(projects.c.id).limit(limit).offset(offset)
            ).mappings()
            return [_project(row) for row in rows]

    def get(self, principal: Principal, name: str) -> Project:
        """A project by name; ``NotFound`` (``project_not_found``)."""
        with self._db.read() as connection:
            return _get(connection, principal, name)

    def of_row(self, principal: Principal, row_id: int) -> Project:
        """A project by its row."""
        with self._db.read() as connection:
            row = connection.execute(_mine(principal).where(projects.c.id == row_id)).mappings().first()
        if row is None:
            raise _missing(f"No project has the id p-{row_id:x}.")
        return _project(row)

    def default(self, principal: Principal) -> Project:
        """The organization's default project."""
        with self._db.read() as connection:
            row_id = default_project(connection, principal)
        return self.of_row(principal, row_id)

    def create(self, principal: Principal, *, name: str, description: str | None = None) -> Project:
        """Make an empty project, or raise ``Conflict`` (``project_exists``)."""
        name = clean_name(name, "Project name")
        uuid = clock.new_id()
        with self._db.write() as connection:
            made = connection.execute(
                self._db.insert_ignore(projects)
                .values(
                    uuid=uuid,
                    organization_id=principal.organization_id,
                    name=name,
                    description=description or None,
                    created_at=clock.now(),
                )
                .returning(projects.c.id)
            ).scalar()
            if made is None:
                raise Conflict(
                    f"A project named {name!r} exists.",
                    code="project_exists",
                    fix="Use the existing project, or choose another name.",
                )
            log_change(connection, principal, Kind.PROJECT_CREATED, None, subject=uuid, label=name)
            return _get(connection, principal, name)


def require_empty(connection: sa.Connection, project_uuid: str) -> None:
    """``Conflict`` (``project_in_use``) while datasets or experiments lie in a project."""
    for table, what in ((datasets, "dataset"), (experiments, "experiment")):
        found = connection.execute(
            sa.select(table.c.name)
            .join(projects, projects.c.id == table.c.project_id)
            .where(projects.c.uuid == project_uuid, table.c.deleted_at.is_(None))
            .order_by(table.c.id)
            .limit(1)
        ).scalar()
        if found is not None:
            raise Conflict(
                f"The {what} {found!r} lies in the project.",
                code="project_in_use",
                fix=f"Delete its {what}s first, or undo the calls that made them.",
            )


def _mine(principal: Principal) -> sa.Select[tuple[object, ...]]:
    return sa.select(*projects.c, _COUNT).where(
        projects.c.organization_id == principal.organization_id, projects.c.deleted_at.is_(None)
    )


def _get(connection: sa.Connection, principal: Principal, name: str) -> Project:
    row = connection.execute(_mine(principal).where(projects.c.name == lookup_name(name))).mappings().first()
    if row is None:
        raise _missing(f"No project is named {printable(name[:120])!r}.")
    return _project(row)


def _missing(message: str) -> NotFound:
    return NotFound(
        message,
        code="project_not_found",
        fix="Call list_projects to see them; names are case-sensitive.",
    )


def _project(row: sa.RowMapping) -> Project:
    return Project(
        row_id=row["id"],
        id=row["uuid"],
        name=row["name"],
        description=row["description"],
        created_at=row["created_at"],
        dataset_count=row["dataset_count"],
    )
