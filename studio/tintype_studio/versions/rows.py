"""Versions as rows: found, listed, deleted, brought back; in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, NotFound
from tintype_studio.names import lookup_name, printable
from tintype_studio.storage.login_tables import logins
from tintype_studio.storage.sensor_tables import dataset_versions
from tintype_studio.storage.tables import api_keys
from tintype_studio.versions.counting import Summary

ALIVE = sa.and_(dataset_versions.c.deleted_at.is_(None), dataset_versions.c.hidden.is_(False))


@dataclass(frozen=True, slots=True)
class Version:
    """A named state of a dataset."""

    row_id: int
    id: str
    dataset_row_id: int
    name: str
    description: str | None
    serial: int
    """The newest change that it holds: see ``versions/changelog.py``."""
    manifest: str
    """SHA-256 of its stored state."""
    summary: Summary
    created_by: str
    """Login or name of the key that made it; empty where that is gone."""
    created_at: datetime
    current: bool
    """Whether it is the one that was made or restored last, of those that are there."""


def listed(connection: sa.Connection, dataset_row_ids: Sequence[int]) -> list[Version]:
    """The versions of some datasets in the order of their serials."""
    rows = (
        connection.execute(
            sa.select(
                dataset_versions, sa.func.coalesce(logins.c.username, api_keys.c.name, "").label("made_by")
            )
            .outerjoin(api_keys, api_keys.c.id == dataset_versions.c.created_by)
            .outerjoin(logins, logins.c.api_key_id == api_keys.c.id)
            .where(dataset_versions.c.dataset_id.in_(dataset_row_ids), ALIVE)
            .order_by(dataset_versions.c.last_change, dataset_versions.c.id)
        )
        .mappings()
        .all()
    )
    latest: dict[int, sa.RowMapping] = {}
    for row in rows:
        seen = latest.get(row["dataset_id"])
        if row["current_at"] is not None and (seen is None or row["current_at"] >= seen["current_at"]):
            latest[row["dataset_id"]] = row
    current = {row["id"] for row in latest.values()}
    return [_version(row, row["id"] in current) for row in rows]


def named(connection: sa.Connection, dataset_row_id: int, name: str) -> Version:
    """One by name; ``NotFound`` (``version_not_found``)."""
    versions = listed(connection, [dataset_row_id])
    for version in versions:
        if version.name == lookup_name(name):
            return version
    names = ", ".join(repr(version.name) for version in versions[-20:])
    raise NotFound(
        f"The dataset has no version named {printable(name[:120])!r}.",
        code="version_not_found",
        fix=f"It has: {names}." if names else "It has none yet: create_version makes one.",
    )


def put_away(connection: sa.Connection, uuid: str, call_id: str | None) -> int:
    """Mark a version as deleted by a call; its name is free again."""
    return connection.execute(
        sa.update(dataset_versions)
        .where(dataset_versions.c.uuid == uuid, dataset_versions.c.deleted_at.is_(None))
        .values(deleted_at=clock.now(), deleted_call=call_id)
    ).rowcount


def bring_back(connection: sa.Connection, uuid: str) -> int:
    """Take a deletion back; ``Conflict`` (``name_taken``) when another version has the name now."""
    other = dataset_versions.alias()
    taken = connection.execute(
        sa.select(other.c.name)
        .join(
            dataset_versions,
            sa.and_(
                dataset_versions.c.dataset_id == other.c.dataset_id, dataset_versions.c.name == other.c.name
            ),
        )
        .where(dataset_versions.c.uuid == uuid, other.c.uuid != uuid, other.c.deleted_at.is_(None))
    ).scalar()
    if taken is not None:
        raise Conflict(
            f"Another version is named {taken!r} now.",
            code="name_taken",
            fix="Delete that version first.",
        )
    return connection.execute(
        sa.update(dataset_versions)
        .where(dataset_versions.c.uuid == uuid, dataset_versions.c.deleted_at.is_not(None))
        .values(deleted_at=None)
    ).rowcount


def set_current(connection: sa.Connection, dataset_row_id: int, uuid: str | None) -> str | None:
    """Say which version a dataset is in the state of; returns the one before. None for none of them."""
    before = next((v.id for v in listed(connection, [dataset_row_id]) if v.current), None)
    if before != uuid:
        mine = dataset_versions.c.dataset_id == dataset_row_id
        if uuid is None:
            connection.execute(sa.update(dataset_versions).where(mine).values(current_at=None))
        else:
            connection.execute(
                sa.update(dataset_versions)
                .where(mine, dataset_versions.c.uuid == uuid)
                .values(current_at=clock.now())
            )
    return before


def _version(row: sa.RowMapping, current: bool) -> Version:
    kept: dict[str, Any] = row["summary"]
    return Version(
        row_id=row["id"],
        id=row["uuid"],
        dataset_row_id=row["dataset_id"],
        name=row["name"],
        description=row["description"],
        serial=row["last_change"],
        manifest=row["manifest_sha256"],
        summary=Summary.from_json(kept),
        created_by=row["made_by"],
        created_at=row["created_at"],
        current=current,
    )
