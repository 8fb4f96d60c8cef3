"""Undo: put back what a call, or a whole session, changed.

Nothing is copied beforehand and nothing is erased afterwards: deleted rows lie in the recycle bin, every
save is a revision, so undoing writes what was there before as a new change. An undo can itself be undone.
Where later changes build on what would be undone, nothing happens and the error names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from tintype_studio.annotations.classes import forget_unused_classes
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound
from tintype_studio.history import dependents
from tintype_studio.history.changes import PURGED, Kind
from tintype_studio.history.inverses import INVERSES, Step
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.names import printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import api_keys, changes, restore_points

MAX_CALLS = 10_000
"""Calls that one undo takes back."""


@dataclass(slots=True)
class Undone:
    """What an undo took back: the calls, newest first, and how many things of each kind."""

    calls: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class Undo:
    """Takes back changes of every organization; each principal only its own organization's.

    A member takes back its own calls, an admin all.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def call(self, principal: Principal, call_id: str) -> Undone:
        """Take back one call.

        ``NotFound`` when it changed nothing, ``Conflict`` (``already_undone``) when it is undone, and
        ``UndoConflict`` when later changes build on it.
        """
        with self._db.write() as connection:
            rows = _rows(connection, principal, changes.c.call_id == call_id)
            if not rows:
                raise NotFound(
                    f"No call {printable(call_id[:40])!r} of this organization has changed anything.",
                    code="nothing_to_undo",
                    fix="Call list_changes to see what was changed, by which calls.",
                )
            return _take_back(connection, principal, rows)

    def session(
        self, principal: Principal, session: str | None = None, *, restore_point: str | None = None
    ) -> Undone:
        """Take back all calls of a session that are not undone yet, newest first, or none of them.

        ``restore_point`` narrows it to what came after that mark; without a session, it is what this
        key (for an admin: any key) changed since.
        """
        if session is None and restore_point is None:
            session = principal.session
        conditions: list[sa.ColumnElement[bool]] = [
            changes.c.undone_by.is_(None),
            changes.c.undo_of.is_(None),
        ]
        if session is not None:
            conditions.append(changes.c.session == session)
        with self._db.write() as connection:
            if restore_point is not None:
                conditions.append(changes.c.id > _mark(connection, principal, restore_point))
                if session is None and not principal.role.covers(Role.ADMIN):
                    conditions.append(changes.c.api_key_id == principal.key_id)
            rows = _rows(connection, principal, *conditions)
            if not rows:
                raise NotFound(
                    "There is nothing of this session to undo.",
                    code="nothing_to_undo",
                    fix="Call list_changes to see the sessions of what was changed.",
                )
            return _take_back(connection, principal, rows)


def _rows(
    connection: sa.Connection, principal: Principal, *conditions: sa.ColumnElement[bool]
) -> Sequence[sa.RowMapping]:
    """The matching changes, newest first."""
    return (
        connection.execute(
            sa.select(changes, api_keys.c.user_id)
            .outerjoin(api_keys, api_keys.c.id == changes.c.api_key_id)
            .where(changes.c.organization_id == principal.organization_id, *conditions)
            .order_by(changes.c.id.desc())
        )
        .mappings()
        .all()
    )


def _take_back(connection: sa.Connection, principal: Principal, rows: Sequence[sa.RowMapping]) -> Undone:
    undone = Undone()
    by_call: dict[str, list[sa.RowMapping]] = {}
    for row in rows:
        _require_own(principal, row)
        by_call.setdefault(row["call_id"], []).append(row)
    if len(by_call) > MAX_CALLS:
        raise InvalidInput(
            f"An undo takes back at most {MAX_CALLS} calls; these are {len(by_call)}.",
            fix="Undo a part at a time.",
        )
    learned: dict[int, set[str]] = {}
    for call_id, own in by_call.items():
        _require_undoable(own)
        blocking = dependents.of(connection, principal.organization_id, call_id, own)
        if blocking:
            raise dependents.conflict(connection, blocking)
        saved = False
        for row in own:
            kind = Kind(row["kind"])
            if kind is Kind.ANNOTATIONS_SAVED:
                learned.setdefault(row["dataset_id"], set()).update(
                    (row["detail"] or {}).get("classes_added", ())
                )
                if saved:  # all saves of a call are taken back at once
                    continue
                saved = True
            count = INVERSES[kind](Step(connection, principal, call_id, row))
            undone.counts[kind.value] = undone.counts.get(kind.value, 0) + count
        _mark_undone(connection, principal, call_id, own)
        undone.calls.append(call_id)
    for dataset_row_id, names in learned.items():
        forget_unused_classes(connection, dataset_row_id, names)
    return undone


def _mark_undone(
    connection: sa.Connection, principal: Principal, call_id: str, own: Sequence[sa.RowMapping]
) -> None:
    connection.execute(
        sa.update(changes)
        .where(changes.c.organization_id == principal.organization_id, changes.c.call_id == call_id)
        .values(undone_by=principal.call_id or "undone")
    )
    # Taking back an undo makes what that had taken back effective again.
    again = {row["undo_of"] for row in own if row["undo_of"]}
    if again:
        connection.execute(
            sa.update(changes)
            .where(changes.c.organization_id == principal.organization_id, changes.c.undone_by == call_id)
            .values(undone_by=None)
        )


def _require_own(principal: Principal, row: sa.RowMapping) -> None:
    if principal.role.covers(Role.ADMIN) or row["api_key_id"] == principal.key_id:
        return
    if principal.user_id is not None and row["user_id"] == principal.user_id:
        return
    raise Forbidden(
        f"Call {row['call_id']} was made with another key.",
        code="not_your_own",
        fix="Use a key with the role admin, or the key that made the call.",
    )


def _require_undoable(own: Sequence[sa.RowMapping]) -> None:
    first = own[0]
    if any(r["kind"] == Kind.PURGED or r["dataset_id"] is None or r["undone_by"] == PURGED for r in own):
        raise Conflict(
            f"Call {first['call_id']} cannot be undone: what it changed was purged.",
            code="purged",
            fix="Nothing can bring it back here; restore a backup.",
        )
    if first["undone_by"] is not None:
        raise Conflict(
            f"Call {first['call_id']} is undone already, by call {first['undone_by']}.",
            code="already_undone",
            fix="Undo the undoing call to bring the changes back.",
            details={"undone_by": first["undone_by"]},
        )


def _mark(connection: sa.Connection, principal: Principal, uuid: str) -> int:
    last = connection.execute(
        sa.select(restore_points.c.last_change).where(
            restore_points.c.uuid == uuid, restore_points.c.organization_id == principal.organization_id
        )
    ).scalar()
    if last is None:
        raise NotFound(
            f"There is no restore point {printable(uuid[:40])!r}.",
            code="restore_point_not_found",
            fix="Call list_changes to see the restore points.",
        )
    return int(last)
