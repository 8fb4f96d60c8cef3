"""Undo: put back what a call, or a whole session, changed.

Nothing is copied beforehand and nothing is erased afterwards: deleted rows lie in the recycle bin, every
save is a revision, so undoing writes what was there before as a new change. An undo can itself be undone.
Where later changes build on what would be undone, nothing happens and the error names them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.annotations.classes import forget_unused_classes
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound
from tintype_studio.history import dependents
from tintype_studio.history.changes import OF_MODELS, OF_ORGANIZATION, PURGED, Kind
from tintype_studio.history.dependents import batches
from tintype_studio.history.inverse_annotations import revisions_of
from tintype_studio.history.inverses import INVERSES
from tintype_studio.history.step import Step
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.names import printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.tables import api_keys, changes, restore_points

if TYPE_CHECKING:
    from tintype_studio.versions.restorer import Restorer

MAX_CALLS = 1000
"""Calls that one undo takes back: others that want to write wait for it."""

Rows = Sequence[sa.RowMapping]


def _go_on() -> None:
    """Nothing stops the undo."""


@dataclass(slots=True)
class Undone:
    """What an undo took back: the calls, newest first, and how many things of each kind."""

    calls: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class Undo:
    """Takes back changes of every organization; each principal only its own organization's.

    A member takes back its own calls, an admin all. One undo is one transaction.
    """

    def __init__(self, database: Database, restorer: Restorer) -> None:
        self._db = database
        self._restorer = restorer

    def call(self, principal: Principal, call_id: str, *, check: Callable[[], None] = _go_on) -> Undone:
        """Take back one call, or what of it was not purged.

        ``check`` is called now and then, at least once for each call; when it raises, nothing is undone.
        ``NotFound`` when the call changed nothing, ``Conflict`` (``already_undone``, ``purged``) when it is
        undone or gone for good or its job is not over (``job_running``), and ``UndoConflict`` when later
        changes build on it.
        """
        with self._db.write() as connection:
            rows = _rows(connection, principal, changes.c.call_id == call_id)
            if not rows:
                raise NotFound(
                    f"No call {printable(call_id[:40])!r} of this organization has changed anything.",
                    code="nothing_to_undo",
                    fix="Call list_changes to see what was changed, by which calls.",
                )
            return _take_back(connection, principal, rows, self._restorer, check)

    def session(
        self,
        principal: Principal,
        session: str | None = None,
        *,
        restore_point: str | None = None,
        check: Callable[[], None] = _go_on,
    ) -> Undone:
        """Take back all calls of a session that are not undone yet, newest first, or none of them.

        A session has the name that its callers gave it, so calls of several keys can bear one name. With a
        name, an admin takes back all of them, and others their own calls; without one, everybody its own
        calls of its session. ``restore_point`` narrows it to calls that changed something after that mark,
        each of them whole; without a session, an admin takes back everybody's, and others their own.
        ``check`` and errors as for ``call``; ``InvalidInput`` (``too_many_calls``) over ``MAX_CALLS``.
        """
        only_own = not principal.role.covers(Role.ADMIN)
        if session is None and restore_point is None:
            session, only_own = principal.session, True
            if session is None:
                raise _nothing_of_session()
        conditions: list[sa.ColumnElement[bool]] = [
            changes.c.undone_by.is_(None),
            changes.c.undo_of.is_(None),
        ]
        if session is not None:
            conditions.append(changes.c.session == session)
        if only_own:
            conditions.append(_own(principal))
        with self._db.write() as connection:
            after = [] if restore_point is None else [_mark(connection, principal, restore_point)]
            calls = (
                _of_organization(sa.select(changes.c.call_id).distinct(), principal)
                .where(*conditions, *(changes.c.id > mark for mark in after))
                .subquery()
            )
            count = connection.execute(sa.select(sa.func.count()).select_from(calls)).scalar_one()
            if count == 0:
                raise _nothing_of_session()
            if count > MAX_CALLS:
                raise _too_many(count)
            # A call is taken back as a whole, also when the mark was set in the middle of it.
            rows = _rows(
                connection, principal, *conditions, changes.c.call_id.in_(sa.select(calls.c.call_id))
            )
            return _take_back(connection, principal, rows, self._restorer, check)


def _of_organization(query: sa.Select[Any], principal: Principal) -> sa.Select[Any]:
    return query.outerjoin(api_keys, api_keys.c.id == changes.c.api_key_id).where(
        changes.c.organization_id == principal.organization_id
    )


def _own(principal: Principal) -> sa.ColumnElement[bool]:
    """Changes made with the principal's key, or another one of the same member."""
    mine = changes.c.api_key_id == principal.key_id
    return mine if principal.user_id is None else sa.or_(mine, api_keys.c.user_id == principal.user_id)


def _rows(connection: sa.Connection, principal: Principal, *conditions: sa.ColumnElement[bool]) -> Rows:
    """The matching changes, newest first."""
    return (
        connection.execute(
            _of_organization(sa.select(changes, api_keys.c.user_id), principal)
            .where(*conditions)
            .order_by(changes.c.id.desc())
        )
        .mappings()
        .all()
    )


def _require_over(connection: sa.Connection, calls: Collection[str]) -> None:
    """A job that still runs would go on to change what is being put back."""
    for some in batches(list(calls)):
        job = connection.execute(
            sa.select(jobs.c.uuid, jobs.c.title).where(jobs.c.call_id.in_(some), jobs.c.finished_at.is_(None))
        ).first()
        if job is not None:
            raise Conflict(
                f"The job {job.title!r} of this call is not over.",
                code="job_running",
                fix=f"Wait for it, or stop it with cancel_job ({job.uuid}), then undo.",
                details={"job_id": job.uuid},
            )


def _take_back(
    connection: sa.Connection,
    principal: Principal,
    rows: Rows,
    restorer: Restorer,
    check: Callable[[], None],
) -> Undone:
    by_call: dict[str, list[sa.RowMapping]] = {}
    for row in rows:
        _require_own(principal, row)
        by_call.setdefault(row["call_id"], []).append(row)
    by_call = {call_id: _undoable(own) for call_id, own in by_call.items()}
    _require_over(connection, by_call)
    # First of all: of two undos of a call at once, the second waits here, and then finds it undone.
    _mark_undone(connection, principal, [row for own in by_call.values() for row in own])
    _require_unused(connection, principal, by_call, check)
    undone = Undone(calls=list(by_call))
    learned: dict[int, set[str]] = {}
    for group in _steps(by_call):
        step = Step(connection, principal, group, check, restorer)
        count = INVERSES[step.kind](step)
        undone.counts[step.kind.value] = undone.counts.get(step.kind.value, 0) + count
    for own in by_call.values():
        for row in own:
            names = (row["detail"] or {}).get("classes_added", ())
            if row["dataset_id"] is not None:
                learned.setdefault(row["dataset_id"], set()).update(names)
    _mark_effective(connection, principal, by_call)
    for dataset_row_id, names in learned.items():
        forget_unused_classes(connection, dataset_row_id, names)
    return undone


def _steps(by_call: dict[str, list[sa.RowMapping]]) -> Iterator[Rows]:
    """The changes in the order in which they are taken back: neighbours of one kind and dataset together."""
    group: list[sa.RowMapping] = []
    seen: set[tuple[str, int]] = set()
    for call_id, own in by_call.items():
        for row in own:
            if row["kind"] == Kind.ANNOTATIONS_SAVED and revisions_of(row) is None:
                # All such saves of a call in a dataset are taken back at once.
                if (call_id, row["dataset_id"]) in seen:
                    continue
                seen.add((call_id, row["dataset_id"]))
            if group and any(group[0][key] != row[key] for key in ("kind", "dataset_id")):
                yield group
                group = []
            group.append(row)
    if group:
        yield group


def _require_unused(
    connection: sa.Connection,
    principal: Principal,
    by_call: dict[str, list[sa.RowMapping]],
    check: Callable[[], None],
) -> None:
    """``UndoConflict`` when an effective later change builds on what is to be taken back."""
    rows = [row for own in by_call.values() for row in own]
    since = min(row["id"] for row in rows)
    blocking = dependents.effective(
        connection, principal.organization_id, dependents.find(connection, rows), since=since
    )
    anew = _undone_anew(connection, by_call)
    # An earlier undo that stands again blocks by the later call that made it so; that one is named.
    blocking |= _later(connection, anew, since) if blocking else anew
    # Calls that ran side by side are taken back one after the other, so one of them can build on another
    # that is taken back before it. A call that ended before the next one began cannot.
    order = {call_id: place for place, call_id in enumerate(by_call)}
    for call_id in _side_by_side(by_call):
        check()
        found = dependents.find(connection, by_call[call_id])
        blocking |= {other for other in found if order.get(other, -1) > order[call_id]}
    if blocking:
        raise dependents.conflict(connection, blocking)


def _undone_anew(connection: sa.Connection, by_call: dict[str, list[sa.RowMapping]]) -> set[str]:
    """For undos of undos: later undos of what would be undone again, so that never two of one call stand."""
    found: set[str] = set()
    first, again = changes.alias(), changes.alias()
    undone = {row["undo_of"] for own in by_call.values() for row in own if row["undo_of"] is not None}
    for part in batches(sorted(undone)):
        found |= set(
            connection.execute(
                sa.select(first.c.undone_by)
                .join(
                    again,
                    sa.and_(
                        first.c.call_id == again.c.undo_of,
                        first.c.dataset_id.is_not_distinct_from(again.c.dataset_id),
                    ),
                )
                .where(again.c.call_id.in_(part), first.c.undone_by.is_not(None), first.c.undone_by != PURGED)
            ).scalars()
        )
    return found - by_call.keys()


def _later(connection: sa.Connection, calls: Collection[str], since: int) -> set[str]:
    """Those of the calls that changed something after change ``since``."""
    found: set[str] = set()
    for part in batches(sorted(calls)):
        query = sa.select(changes.c.call_id).where(changes.c.call_id.in_(part), changes.c.id > since)
        found |= set(connection.execute(query.distinct()).scalars())
    return found


def _side_by_side(by_call: dict[str, list[sa.RowMapping]]) -> list[str]:
    """Calls that made changes while another of them did."""
    spans = sorted((own[-1]["id"], own[0]["id"], call_id) for call_id, own in by_call.items())
    found: dict[str, None] = {}
    latest, latest_call = -1, ""
    for first, last, call_id in spans:
        if first < latest:
            found |= {latest_call: None, call_id: None}
        if last > latest:
            latest, latest_call = last, call_id
    return list(found)


def _mark_undone(connection: sa.Connection, principal: Principal, rows: Rows) -> None:
    """Claim the rows; ``Conflict`` when another undo has one of them already."""
    ids = sorted(row["id"] for row in rows)
    for part in batches(ids):
        claimed = connection.execute(
            sa.update(changes)
            .where(changes.c.id.in_(part), changes.c.undone_by.is_(None))
            .values(undone_by=principal.call_id or "undone")
        ).rowcount
        if claimed != len(part):
            lost = connection.execute(
                sa.select(changes.c.call_id, changes.c.undone_by)
                .where(changes.c.id.in_(part), changes.c.undone_by != (principal.call_id or "undone"))
                .limit(1)
            ).one()
            raise _already_undone(lost.call_id, lost.undone_by)


def _mark_effective(
    connection: sa.Connection, principal: Principal, by_call: dict[str, list[sa.RowMapping]]
) -> None:
    """Make the marks what they were before the undos that are taken back, as far as they are.

    What such an undo had taken back stands again. If that is an undo, too, what it took back is undone by
    it again, and so on.
    """
    undos = {
        (call_id, row["dataset_id"], row["undo_of"])
        for call_id, own in by_call.items()
        for row in own
        if row["undo_of"] is not None
    }
    stands = True
    while undos:
        of_undo: dict[tuple[str, int], set[str]] = {}
        for undo, dataset_row_id, call_id in undos:
            of_undo.setdefault((undo, dataset_row_id), set()).add(call_id)
        undos = set()
        for (undo, dataset_row_id), calls in of_undo.items():
            for part in batches(sorted(calls)):
                mine = (
                    changes.c.organization_id == principal.organization_id,
                    changes.c.dataset_id == dataset_row_id,
                    changes.c.call_id.in_(part),
                )
                marked, mark = (
                    (changes.c.undone_by == undo, None) if stands else (changes.c.undone_by.is_(None), undo)
                )
                connection.execute(sa.update(changes).where(*mine, marked).values(undone_by=mark))
                undos |= {
                    (row.call_id, dataset_row_id, row.undo_of)
                    for row in connection.execute(
                        sa.select(changes.c.call_id, changes.c.undo_of).where(
                            *mine, changes.c.undo_of.is_not(None)
                        )
                    )
                }
        stands = not stands


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


def _undoable(own: list[sa.RowMapping]) -> list[sa.RowMapping]:
    """Those changes of a call that stand; an error that tells why when there are none."""
    standing = [
        row
        for row in own
        if row["undone_by"] is None
        and (row["dataset_id"] is not None or row["kind"] in OF_MODELS | OF_ORGANIZATION)
    ]
    if standing:
        return standing
    undone = [row for row in own if row["undone_by"] not in {None, PURGED}]
    if undone:
        raise _already_undone(undone[0]["call_id"], undone[0]["undone_by"])
    raise Conflict(
        f"Call {own[0]['call_id']} cannot be undone: what it changed was purged.",
        code="purged",
        fix="Nothing can bring it back here; restore a backup.",
    )


def _already_undone(call_id: str, undone_by: str) -> Conflict:
    return Conflict(
        f"Call {call_id} is undone already, by call {undone_by}.",
        code="already_undone",
        fix="Undo the undoing call to bring the changes back.",
        details={"undone_by": undone_by},
    )


def _nothing_of_session() -> NotFound:
    return NotFound(
        "There is nothing of this session to undo.",
        code="nothing_to_undo",
        fix="Call list_changes to see the sessions of what was changed, and by whose key.",
    )


def _too_many(count: int) -> InvalidInput:
    return InvalidInput(
        f"An undo takes back at most {MAX_CALLS} calls; these are {count}.",
        code="too_many_calls",
        fix="Undo in parts: first all since a late restore point (list_changes shows them), then the rest; "
        "or single calls with undo_call.",
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
