"""The recycle bin by the piece: projects, datasets, annotation sets, experiments and sessions by their ids.

Deleted images are in it by the call that deleted them (``catalog/bin.py``); these have ids of their own, such
as ``ds-1a``, and each can be removed for good alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from tintype_studio.catalog.bin import Purged, RecycleBin, digest_of_purge
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.experiments.files import Owner
from tintype_studio.experiments.sweep import remove_sessions
from tintype_studio.history.changes import PURGED, Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.session_tables import experiments, training_sessions, validation_sessions
from tintype_studio.storage.tables import annotation_sets, changes, datasets, projects

MOST_LISTED = 1000
"""Of each sort, the latest."""
MOST_PURGED = 1000
"""Items of one purge."""
_ID = re.compile(r"([a-z]{1,3})-([0-9a-f]{1,15})", re.ASCII)


class Sort(StrEnum):
    """What lies in the bin, by the prefix of its ids."""

    PROJECT = "p"
    DATASET = "ds"
    ANNOTATION_SET = "as"
    EXPERIMENT = "exp"
    TRAINING_SESSION = "t"
    VALIDATION_SESSION = "v"


_TABLES = {
    Sort.PROJECT: projects,
    Sort.DATASET: datasets,
    Sort.ANNOTATION_SET: annotation_sets,
    Sort.EXPERIMENT: experiments,
    Sort.TRAINING_SESSION: training_sessions,
    Sort.VALIDATION_SESSION: validation_sessions,
}


@dataclass(frozen=True, slots=True)
class BinItem:
    """Something deleted that has an id of its own."""

    sort: Sort
    row_id: int
    name: str
    description: str | None
    deleted_at: datetime

    @property
    def id(self) -> str:
        """As ``purge`` takes it."""
        return f"{self.sort.value}-{self.row_id:x}"


class BinItems:
    """Deleted things of every organization; each principal sees its own organization's."""

    def __init__(self, database: Database, recycle_bin: RecycleBin) -> None:
        self._db = database
        self._bin = recycle_bin

    def list(
        self,
        principal: Principal,
        *,
        sorts: Iterable[Sort] = tuple(Sort),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Sequence[BinItem]:
        """What was deleted between two times, latest first; at most ``MOST_LISTED`` of each sort."""
        found: list[BinItem] = []
        with self._db.read() as connection:
            for sort in sorts:
                query = _deleted(principal, sort)
                if since is not None:
                    query = query.where(_TABLES[sort].c.deleted_at >= since)
                if until is not None:
                    query = query.where(_TABLES[sort].c.deleted_at <= until)
                newest = query.order_by(_TABLES[sort].c.deleted_at.desc()).limit(MOST_LISTED)
                found += (
                    BinItem(sort, row.id, row.name, row.description, row.deleted_at)
                    for row in connection.execute(newest)
                )
        return sorted(found, key=lambda item: (item.deleted_at, item.row_id), reverse=True)

    def purge(self, principal: Principal, ids: Sequence[str]) -> Purged:
        """Remove items for good, all of them or none; ``NotFound`` (``not_in_bin``) names what is not there.

        A project goes with its deleted datasets and experiments, an experiment with its deleted sessions.
        """
        wanted = _parsed(ids)
        with self._db.write() as connection:
            doomed = {sort: _rows_in_bin(connection, principal, sort, wanted[sort]) for sort in wanted}
            uuids = [row.uuid for rows in doomed.values() for row in rows.values()]
            for row_id in doomed.get(Sort.PROJECT, {}):
                _add_of(connection, principal, Sort.DATASET, "project_id", row_id, doomed)
                _add_of(connection, principal, Sort.EXPERIMENT, "project_id", row_id, doomed)
                _add_of(connection, principal, Sort.VALIDATION_SESSION, "project_id", row_id, doomed)
            for row_id in doomed.get(Sort.EXPERIMENT, {}):
                _add_of(connection, principal, Sort.TRAINING_SESSION, "experiment_id", row_id, doomed)
            for sort, owner in (
                (Sort.VALIDATION_SESSION, Owner.VALIDATION),
                (Sort.TRAINING_SESSION, Owner.TRAINING),
            ):
                remove_sessions(self._db, connection, owner, list(doomed.get(sort, {})))
            purged = Purged(0, 0, 0)
            if rows := doomed.get(Sort.DATASET):
                purged = self._bin.purge_datasets(connection, principal, list(rows))
            for sort in (Sort.ANNOTATION_SET, Sort.EXPERIMENT, Sort.PROJECT):
                table = _TABLES[sort]
                connection.execute(sa.delete(table).where(table.c.id.in_(list(doomed.get(sort, {})))))
            others = sum(len(rows) for sort, rows in doomed.items() if sort is not Sort.DATASET)
            connection.execute(
                sa.update(changes)
                .where(
                    changes.c.organization_id == principal.organization_id,
                    changes.c.subject.in_(uuids),
                    changes.c.kind.in_(_DELETIONS),
                    changes.c.undone_by.is_(None),
                )
                .values(undone_by=PURGED)
            )
            if others:
                log_change(
                    connection,
                    principal,
                    Kind.PURGED,
                    None,
                    count=others,
                    detail={"items": others, "digest": digest_of_purge([], uuids)},
                )
        return Purged(purged.datasets, purged.images, purged.size, others)


_DELETIONS = [
    kind.value
    for kind in (Kind.SET_DELETED, Kind.PROJECT_DELETED, Kind.EXPERIMENT_DELETED, Kind.SESSION_DELETED)
]


def _parsed(ids: Sequence[str]) -> dict[Sort, set[int]]:
    if len(ids) > MOST_PURGED:
        raise InvalidInput(f"At most {MOST_PURGED} items at a time.", fix="Send them in parts.")
    found: dict[Sort, set[int]] = {}
    for each in ids:
        match = _ID.fullmatch(each)
        if match is None or match[1] not in set(Sort):
            raise InvalidInput(
                f"{printable(each[:40])!r} is no id of a deleted thing.",
                fix="Ids are such as ds-1a (dataset), p- (project), as- (annotation set), exp- (experiment), "
                "t- and v- (sessions of training and validation).",
            )
        found.setdefault(Sort(match[1]), set()).add(int(match[2], 16))
    return found


def _deleted(principal: Principal, sort: Sort) -> sa.Select[tuple[int, str, str, str | None, datetime]]:
    table = _TABLES[sort]
    name = table.c.deleted_name if sort is Sort.ANNOTATION_SET else table.c.name
    query = sa.select(
        table.c.id, table.c.uuid, name.label("name"), table.c.description, table.c.deleted_at
    ).where(table.c.deleted_at.is_not(None))
    if sort is Sort.ANNOTATION_SET:
        # Those of a deleted dataset go with it.
        query = query.join(datasets, datasets.c.id == table.c.dataset_id).where(
            datasets.c.deleted_at.is_(None)
        )
        table = datasets
    return query.where(table.c.organization_id == principal.organization_id)


def _rows_in_bin(
    connection: sa.Connection, principal: Principal, sort: Sort, row_ids: set[int]
) -> dict[int, sa.Row[tuple[int, str, str, str | None, datetime]]]:
    query = _deleted(principal, sort).where(_TABLES[sort].c.id.in_(sorted(row_ids)))
    found = {row.id: row for row in connection.execute(query)}
    if missing := sorted(row_ids - found.keys()):
        names = ", ".join(f"{sort.value}-{row_id:x}" for row_id in missing[:10])
        raise NotFound(
            f"Not in the recycle bin: {names}. Nothing was removed.",
            code="not_in_bin",
            fix="Delete it first; only what lies in the recycle bin can be removed for good.",
        )
    return found


def _add_of(
    connection: sa.Connection,
    principal: Principal,
    sort: Sort,
    column: str,
    row_id: int,
    doomed: dict[Sort, dict[int, sa.Row[tuple[int, str, str, str | None, datetime]]]],
) -> None:
    query = _deleted(principal, sort).where(_TABLES[sort].c[column] == row_id)
    doomed.setdefault(sort, {}).update({row.id: row for row in connection.execute(query)})
