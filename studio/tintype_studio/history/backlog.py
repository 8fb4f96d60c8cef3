"""For those who run the server: who they are, and what waits in the whole database."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.approvals.approval import Status
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import approvals, holds, organizations


@dataclass(frozen=True, slots=True)
class Waiting:
    """Counts over all organizations."""

    holds: int
    """Calls that have credits set aside."""
    approvals: int
    """Calls that a person has not decided on, and still can."""


def count_waiting(database: Database) -> Waiting:
    """Count it now."""
    open_approvals = sa.and_(approvals.c.status == Status.PENDING, approvals.c.expires_at > clock.now())
    with database.read() as connection:
        return Waiting(
            holds=connection.execute(sa.select(sa.func.count()).select_from(holds)).scalar_one(),
            approvals=connection.execute(
                sa.select(sa.func.count()).select_from(approvals).where(open_approvals)
            ).scalar_one(),
        )


def runs_the_server(database: Database, principal: Principal) -> bool:
    """Whether a key belongs to an admin of the organization that the workspace was made with."""
    if not principal.role.covers(Role.ADMIN):
        return False
    with database.read() as connection:
        first = connection.execute(sa.select(sa.func.min(organizations.c.id))).scalar_one()
    return bool(principal.organization_id == first)
