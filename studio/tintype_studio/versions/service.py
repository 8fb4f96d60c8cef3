"""Versions of datasets: made, listed, compared, read, restored, deleted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset, Datasets
from tintype_studio.errors import Conflict
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_name
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.sensor_tables import dataset_versions
from tintype_studio.storage.sweep import keep_blobs
from tintype_studio.storage.tables import samples
from tintype_studio.versions import rows
from tintype_studio.versions.changelog import Entry, count_of, page_of
from tintype_studio.versions.counting import Summary, Tally, summary_now
from tintype_studio.versions.difference import Difference, Pair, difference
from tintype_studio.versions.documents import differing
from tintype_studio.versions.manifest import reader_of
from tintype_studio.versions.restorer import Look, Restorer, detail_of, go_on
from tintype_studio.versions.restoring import Restored
from tintype_studio.versions.rows import Version
from tintype_studio.versions.state import newest_change, settle_on_one_moment, write_state

if TYPE_CHECKING:
    from tintype_studio.versions.reading import AtVersion

SMALL = 2_000
"""Samples, in the recycle bin or not, up to which a restore is done within its call."""
KEPT_SUMMARIES = 64
"""Summaries of datasets as they are now that a process remembers."""


@dataclass(frozen=True, slots=True)
class Now:
    """A dataset at this moment, seen as versions are."""

    serial: int
    summary: Summary
    counted_at: datetime


class Versions:
    """Versions of every organization's datasets; each call sees only the principal's own."""

    def __init__(
        self, database: Database, blobs: Blobs, catalog: Datasets, restorer: Restorer, scratch: Path
    ) -> None:
        self._db = database
        self._blobs = blobs
        self._datasets = catalog
        self.restorer = restorer
        """What restores and what reads stored states; a job looks at a dataset through it."""
        self._scratch = scratch
        self._summaries: dict[tuple[int, int, datetime], Now] = {}

    # --- Versions ---------------------------------------------------------------------------------------

    def create(
        self,
        principal: Principal,
        dataset_name: str,
        *,
        name: str,
        description: str | None = None,
        check: Callable[[], None] = go_on,
    ) -> Version:
        """Name the state that a dataset is in; ``Conflict`` (``version_exists``) when the name is taken.

        The state is read in one look, beside whoever writes; nothing waits for it.
        """
        name = clean_name(name, "Version name")
        with tempfile.TemporaryFile(dir=self._scratch) as file:
            with self._db.read() as connection:
                settle_on_one_moment(self._db, connection)
                dataset = self._datasets.get_in(connection, principal, dataset_name)
                _require_free(connection, dataset, name)
                serial, tally = newest_change(connection, dataset.row_id), Tally(connection)
                head = write_state(connection, dataset.row_id, file, check=check, seen=tally.add)
                summary = tally.summary(head)
            sha256, _ = self._blobs.put_file(file)
            with self._db.write() as connection:
                _require_free(connection, dataset, name)
                if not keep_blobs(connection, {sha256}, self._blobs.exists):
                    self._blobs.put_file(file)
                uuid = clock.new_id()
                connection.execute(
                    sa.insert(dataset_versions).values(
                        uuid=uuid,
                        dataset_id=dataset.row_id,
                        name=name,
                        description=description or None,
                        last_change=serial,
                        manifest_sha256=sha256,
                        summary=summary.as_json(),
                        created_by=principal.key_id,
                        created_at=clock.now(),
                        current_at=clock.now(),
                    )
                )
                log_change(
                    connection, principal, Kind.VERSION_CREATED, dataset.row_id, subject=uuid, label=name
                )
                return rows.named(connection, dataset.row_id, name)

    def list(self, principal: Principal, dataset_name: str) -> Sequence[Version]:
        """A dataset's versions, the oldest state first."""
        with self._db.read() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            return rows.listed(connection, [dataset.row_id])

    def get(self, principal: Principal, dataset_name: str, name: str) -> Version:
        """One by name; ``NotFound`` (``version_not_found``)."""
        with self._db.read() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            return rows.named(connection, dataset.row_id, name)

    def current_of(self, dataset_row_ids: Iterable[int]) -> dict[int, Version]:
        """Of each dataset that has one, the version that was made or restored last. The caller has judged
        whose datasets they are.
        """
        with self._db.read() as connection:
            found = rows.listed(connection, sorted(set(dataset_row_ids)))
        return {version.dataset_row_id: version for version in found if version.current}

    def delete(self, principal: Principal, dataset_name: str, name: str) -> Version:
        """Take a version away; the dataset stays as it is, and an undo brings the version back."""
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            version = rows.named(connection, dataset.row_id, name)
            rows.put_away(connection, version.id, principal.call_id)
            log_change(
                connection,
                principal,
                Kind.VERSION_DELETED,
                dataset.row_id,
                subject=version.id,
                label=version.name,
            )
        return version

    # --- What was, and what changed ---------------------------------------------------------------------

    def at(self, principal: Principal, dataset_name: str, name: str) -> AtVersion:
        """A dataset as it was at a version."""
        from tintype_studio.versions.reading import AtVersion

        version = self.get(principal, dataset_name, name)
        return AtVersion(self._db.read, version.dataset_row_id, self.restorer.manifest(version.manifest))

    def compare(
        self,
        principal: Principal,
        dataset_name: str,
        old: str,
        new: str | None = None,
        *,
        check: Callable[[], None] = go_on,
    ) -> Difference:
        """What is other in a version than in an older one, or in the dataset as it is now."""
        version = self.get(principal, dataset_name, old)
        then = self.restorer.manifest(version.manifest)
        sets = {each[0] for each in then.head["sets"]}
        with tempfile.TemporaryFile(dir=self._scratch) as file, self._db.read() as connection:
            if new is None:
                write_state(connection, version.dataset_row_id, file, check=check)
                later = reader_of(file)
            else:
                later = self.restorer.manifest(rows.named(connection, version.dataset_row_id, new).manifest)
            sets |= {each[0] for each in later.head["sets"]}

            def rewritten(pairs: Sequence[Pair]) -> set[int]:
                check()
                before = {pair.old.id: pair.old.revisions for pair in pairs if pair.old}
                after = {pair.new.id: pair.new.revisions for pair in pairs if pair.new}
                return {sample for sample, _ in differing(connection, before, after, sets)}

            return difference(then, later, rewritten)

    def changelog(
        self,
        principal: Principal,
        dataset_name: str,
        *,
        old: str | None = None,
        new: str | None = None,
        entities: Sequence[str] | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[Entry]:
        """Changes between two versions, oldest first: since the beginning, or after ``old``; until now, or
        up to ``new``. ``after`` is the serial of the last one of the page before.
        """
        with self._db.read() as connection:
            row_id, first, last = self._between(connection, principal, dataset_name, old, new)
            return page_of(
                connection, row_id, after=max(after, first), until=last, entities=entities, limit=limit
            )

    def changelog_count(
        self,
        principal: Principal,
        dataset_name: str,
        *,
        old: str | None = None,
        new: str | None = None,
        entities: Sequence[str] | None = None,
    ) -> int:
        """How many changes ``changelog`` has in all."""
        with self._db.read() as connection:
            row_id, first, last = self._between(connection, principal, dataset_name, old, new)
            return count_of(connection, row_id, after=first, until=last, entities=entities)

    def span(
        self, principal: Principal, dataset_name: str, old: str | None = None, new: str | None = None
    ) -> tuple[int, int]:
        """The serials between which a changelog lies; 0 for the beginning."""
        with self._db.read() as connection:
            row_id, first, last = self._between(connection, principal, dataset_name, old, new)
            return first, newest_change(connection, row_id) if last is None else last

    def now(
        self,
        principal: Principal,
        dataset_name: str,
        *,
        anew: bool = False,
        check: Callable[[], None] = go_on,
    ) -> Now:
        """What a dataset holds now; counted when it has changed since the last time, or ``anew``."""
        with self._db.read() as connection:
            settle_on_one_moment(self._db, connection)
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            serial = newest_change(connection, dataset.row_id)
            key = (dataset.row_id, serial, dataset.updated_at)
            known = self._summaries.get(key)
            if known is not None and not anew:
                return known
            summary = summary_now(connection, dataset.row_id, len(dataset.classes), check)
        found = Now(serial, summary, clock.now())
        if not self._db.in_open_work():
            self._summaries[key] = found
            while len(self._summaries) > KEPT_SUMMARIES:
                self._summaries.pop(next(iter(self._summaries)), None)
        return found

    def _between(
        self,
        connection: sa.Connection,
        principal: Principal,
        dataset_name: str,
        old: str | None,
        new: str | None,
    ) -> tuple[int, int, int | None]:
        dataset = self._datasets.get_in(connection, principal, dataset_name)
        first = 0 if old is None else rows.named(connection, dataset.row_id, old).serial
        return (
            dataset.row_id,
            first,
            None if new is None else rows.named(connection, dataset.row_id, new).serial,
        )

    def is_small(self, principal: Principal, dataset_name: str) -> bool:
        """Whether a restore of a dataset is quickly done; a larger one is a job."""
        with self._db.read() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            beyond = (
                sa.select(samples.c.id)
                .where(samples.c.dataset_id == dataset.row_id)
                .order_by(samples.c.id)
                .offset(SMALL)
                .limit(1)
            )
            return connection.execute(beyond).first() is None

    # --- The way back -----------------------------------------------------------------------------------

    def restore(
        self,
        principal: Principal,
        dataset_name: str,
        name: str,
        *,
        look: Look | None = None,
        check: Callable[[], None] = go_on,
    ) -> Restored:
        """Bring a dataset to the state of a version, in one transaction; an undo takes all of it back.

        ``look`` is what ``Restorer.look`` saw before the transaction. What was purged since then stays away:
        it is counted, and named.
        """
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            version = rows.named(connection, dataset.row_id, name)
            done, before = self.restorer.restore(
                connection, principal, dataset.row_id, version.manifest, look=look, check=check
            )
            was = rows.set_current(connection, dataset.row_id, version.id)
            if before is not None:
                log_change(
                    connection,
                    principal,
                    Kind.VERSION_RESTORED,
                    dataset.row_id,
                    subject=version.id,
                    label=version.name,
                    count=done.samples,
                    detail={"before": before, "current_before": was, **detail_of(done)},
                )
        return done


def _require_free(connection: sa.Connection, dataset: Dataset, name: str) -> None:
    taken = sa.select(dataset_versions.c.id).where(
        dataset_versions.c.dataset_id == dataset.row_id, dataset_versions.c.name == name, rows.ALIVE
    )
    if connection.execute(taken).first() is not None:
        raise Conflict(
            f"Dataset {dataset.name!r} has a version named {name!r}.",
            code="version_exists",
            fix="Choose another name, or delete that version first.",
        )
