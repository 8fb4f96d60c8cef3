"""Many images of a dataset at once: move, copy, delete, update. One transaction for all of them.

What cannot be done to one image is a failure of that image; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.copying import Duplicates, copy_images
from tintype_studio.catalog.datasets import Dataset, Datasets
from tintype_studio.catalog.picking import (
    Batched,
    Picked,
    chunks,
    deletable,
    in_places,
    living,
    pick,
    pick_one,
    pictures,
)
from tintype_studio.catalog.removal import put_images_into_bin, remove_for_good, restore_images
from tintype_studio.catalog.samples import Status, add_to_counters, no_image, not_your_own
from tintype_studio.errors import Forbidden, InvalidInput
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.history.image_ids import pack
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.names import clean_folder, clean_text
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import samples


class Batch:
    """Works on many images of one dataset; each call sees only the principal's own."""

    def __init__(
        self,
        database: Database,
        catalog: Datasets,
        uploading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """``uploading`` as in ``Ingest``."""
        self._db = database
        self._datasets = catalog
        self._uploading = uploading

    def move(self, principal: Principal, name: str, image_ids: Sequence[str], folder: str) -> Batched:
        """Move images into a virtual folder; one whose file name is taken there stays where it is."""
        folder, done = clean_folder(folder), Batched()
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, name)
            picked = living(pick(connection, dataset, image_ids, done), done)
            done.processed = sum(p.folder == folder for p in picked)
            moving = [p for p in picked if p.folder != folder]
            taken = set(in_places(connection, dataset, folder, [p.filename for p in moving]))
            moved: list[Picked] = []
            for p in moving:
                if p.filename in taken:
                    done.fail(p, f"another image is named {p.filename!r} in {folder!r}")
                else:
                    taken.add(p.filename)
                    moved.append(p)
            if moved:
                _set(connection, dataset, moved, {"folder": folder})
                detail = {"folder": _changed(moved, lambda p: p.folder, folder)}
                _log(connection, principal, Kind.IMAGES_MOVED, dataset, len(moved), detail)
            done.processed += len(moved)
            done.folders = {p.folder for p in moved} | ({folder} if moved else set())
        return done

    def copy(
        self,
        principal: Principal,
        name: str,
        image_ids: Sequence[str],
        folder: str,
        *,
        duplicates: Duplicates = Duplicates.RENAME,
        annotations: bool = False,
    ) -> Batched:
        """Copy images into a virtual folder; the bytes are shared."""
        folder, done = clean_folder(folder), Batched()
        with self._uploading(), self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, name)
            picked = pictures(living(pick(connection, dataset, image_ids, done), done), done)
            copy_images(
                connection,
                principal,
                dataset,
                picked,
                folder,
                done,
                duplicates=duplicates,
                annotations=annotations,
            )
        return done

    def delete(
        self, principal: Principal, name: str, image_ids: Sequence[str], *, permanent: bool = False
    ) -> Batched:
        """Put images into the recycle bin, or remove them for good, from the bin or past it (admin)."""
        done = Batched()
        if permanent and not principal.role.covers(Role.ADMIN):
            raise Forbidden(
                f"Removing images for good needs the role admin; this key has {principal.role.value}.",
                code="insufficient_role",
                fix="Use a key with the role admin, or leave permanent out.",
                details={"required_role": Role.ADMIN.value, "role": principal.role.value},
            )
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, name)
            picked = pick(connection, dataset, image_ids, done)
            if permanent:
                remove_for_good(self._db, connection, principal, dataset.row_id, picked, label=dataset.name)
                gone = picked
            else:
                gone = deletable(connection, principal, living(picked, done), done)
                put_images_into_bin(connection, principal, dataset, gone)
            done.processed = len(gone)
            done.folders = {p.folder for p in gone}
        return done

    def remove(self, principal: Principal, image_id: str) -> Picked:
        """Remove one image for good, from the bin or past it: an admin any, a member what it uploaded."""
        with self._db.write() as connection:
            found = pick_one(connection, principal, image_id)
            if found is None:
                raise no_image(image_id)
            dataset_row_id, picked = found
            done = Batched()
            if not deletable(connection, principal, [picked], done):
                raise not_your_own(picked.filename, principal)
            remove_for_good(
                self._db,
                connection,
                principal,
                dataset_row_id,
                [picked],
                label=f"{picked.folder.rstrip('/')}/{picked.filename}",
            )
        return picked

    def update(
        self,
        principal: Principal,
        name: str,
        image_ids: Sequence[str],
        *,
        status: Status | None = None,
        display_name: str | None = None,
        archived: bool | None = None,
    ) -> Batched:
        """Set what is not None. ``archived`` moves images into the recycle bin or back from it.

        An empty ``display_name`` takes it away. Images are restored before the rest, and archived after it.
        """
        if status is None and display_name is None and archived is None:
            raise InvalidInput(
                "The update changes nothing.",
                code="empty_update",
                fix="Send status, display_name or is_archived.",
            )
        values: dict[str, Any] = {}
        if status is not None:
            values["status"] = status.value
        if display_name is not None:
            values["display_name"] = clean_text(display_name, "Display name", max_length=255) or None
        done = Batched()
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, name)
            picked = pick(connection, dataset, image_ids, done)
            binned = [p for p in picked if p.in_bin]
            if archived is False:
                allowed = deletable(connection, principal, binned, done)
                back = restore_images(connection, principal, dataset, allowed, done)
                done.folders |= {p.folder for p in back}
                kept = {p.id for p in back}
                picked = [p for p in picked if not p.in_bin or p.id in kept]
            elif archived and not values:
                done.processed += len(binned)
                picked = [p for p in picked if not p.in_bin]
            else:
                picked = living(picked, done)
            if archived:
                picked = deletable(connection, principal, picked, done)
            if values:
                _update(connection, principal, dataset, picked, values)
            if archived:
                after = [_with_status(p, values.get("status")) for p in picked]
                put_images_into_bin(connection, principal, dataset, after)
            if values or archived:
                done.folders |= {p.folder for p in picked}
            done.processed += len(picked)
        return done


def _update(
    connection: sa.Connection,
    principal: Principal,
    dataset: Dataset,
    picked: Sequence[Picked],
    values: dict[str, Any],
) -> None:
    detail: dict[str, Any] = {}
    changed: dict[int, Picked] = {}
    for column, value in values.items():
        others = [p for p in picked if getattr(p, column) != value]
        if others:
            changed |= {p.id: p for p in others}
            detail[column] = _changed(others, attrgetter(column), value)
    if not changed:
        return
    those = list(changed.values())
    _set(connection, dataset, those, values)
    if status := values.get("status"):
        seen = [p for p in those if p.has_picture]
        before = sum(p.status == Status.COMPLETE for p in seen)
        after = len(seen) if status == Status.COMPLETE else 0
        add_to_counters(connection, dataset.row_id, completed=after - before)
    _log(connection, principal, Kind.IMAGES_UPDATED, dataset, len(those), detail)


def _set(
    connection: sa.Connection, dataset: Dataset, picked: Sequence[Picked], values: dict[str, Any]
) -> None:
    now = clock.now()
    for part in chunks(picked):
        connection.execute(
            sa.update(samples).where(samples.c.id.in_([p.id for p in part])).values(**values, updated_at=now)
        )
    add_to_counters(connection, dataset.row_id)  # for the dataset's own time


def _changed(picked: Sequence[Picked], before: Callable[[Picked], Any], after: Any) -> list[list[Any]]:
    """``[value before, value after, images]`` of each value before: what an undo puts back."""
    groups: dict[Any, list[int]] = {}
    for p in picked:
        groups.setdefault(before(p), []).append(p.id)
    return [[value, after, pack(ids)] for value, ids in groups.items()]


def _with_status(picked: Picked, status: str | None) -> Picked:
    return picked if status is None else replace(picked, status=status)


def _log(
    connection: sa.Connection,
    principal: Principal,
    kind: Kind,
    dataset: Dataset,
    count: int,
    detail: dict[str, Any],
) -> None:
    log_change(connection, principal, kind, dataset.row_id, count=count, detail=detail)
