"""How samples come in: what is known of them at once, their files with it or afterwards.

A sample is known by its UUID, so that sending it again changes nothing. One that is not known by its UUID,
and whose place (folder and file name) has a sample that says the same or has no file yet, is that sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.classes import admit_classes
from tintype_studio.annotations.documents import set_row_id
from tintype_studio.annotations.options import declared_in, require_options
from tintype_studio.catalog.datasets import DEFAULT_SET, Dataset
from tintype_studio.catalog.groups import ensure_groups
from tintype_studio.catalog.ingest import Ingest, require_room
from tintype_studio.errors import InvalidInput, TintypeError
from tintype_studio.history.changes import Kind, add_to_change
from tintype_studio.history.dependents import batches
from tintype_studio.history.image_ids import SIZE
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.attaching import Attach
from tintype_studio.multisensor.file_types import IMAGE
from tintype_studio.multisensor.known import Known, find_known
from tintype_studio.multisensor.labels import learn_labels
from tintype_studio.multisensor.new_rows import insert_samples, sequence_rows
from tintype_studio.multisensor.new_sample import (
    Arrival,
    NewSample,
    Populated,
    read_arrivals,
    require_side,
)
from tintype_studio.multisensor.staging import Staged, stage
from tintype_studio.multisensor.updating import ColumnChanges, set_size, update_samples
from tintype_studio.names import printable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import sample_files, samples

__all__ = ["MAX_SAMPLES", "NewSample", "Populated", "Population", "Staged"]

MAX_SAMPLES = 10_000
"""Of one call."""


class Population:
    """Takes samples into datasets. Inside a unit of work, its transactions are parts of that."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        ingest: Ingest,
        uploading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._db = database
        self._blobs = blobs
        self._ingest = ingest
        self.uploading = uploading
        """Entered while pictures come in, for those who look at them afterwards."""

    def stage(self, data: bytes, type: str, filename: str) -> Staged:
        """Check a file and store its bytes; nothing names them until ``populate`` or ``attach`` does.

        Raises ``InvalidInput`` for a file that is not what its type says, ``TooLarge`` over the type's limit.
        """
        return stage(self._ingest, self._blobs, data, type, filename)

    def populate(
        self,
        principal: Principal,
        dataset: Dataset,
        news: Sequence[NewSample],
        *,
        annotation_set: str = DEFAULT_SET,
        learn: bool = False,
    ) -> list[Populated]:
        """Take samples, with what comes along, in one transaction: all of them or none.

        Class names that the dataset lacks are learned where its classes are not declared, and with ``learn``
        in any case. Logged as one line of the call for each kind of change.

        Raises:
            InvalidInput: a name, number or annotation is wrong (which sample is told), or a class is unknown.
            Conflict: a place is taken by another sample (``sample_exists``), the dataset is gone, or the tier
                is full.
        """
        if not 1 <= len(news) <= MAX_SAMPLES:
            raise InvalidInput(
                f"A call takes 1 to {MAX_SAMPLES:,} samples, not {len(news):,}.",
                code="invalid_batch",
                fix="Send the samples in several calls.",
            )
        arrivals = read_arrivals(news)
        with self.uploading(), self._db.write() as connection:
            self._ingest.require_alive(connection, dataset)
            set_id = set_row_id(connection, dataset.row_id, annotation_set)
            known, taken = find_known(connection, dataset, arrivals, set_id)
            fresh = {
                clock.new_id() if a.uuid in taken else a.uuid: a for a in arrivals if a.uuid not in known
            }
            again = [(known[a.uuid], a) for a in arrivals if a.uuid in known]
            self._require_room(connection, principal, list(fresh.values()))
            learned = self._admit(connection, dataset, arrivals, learn=learn)
            ensure_groups(connection, dataset.row_id, [a.group for a in arrivals if a.group is not None])
            counts = annotation_set == DEFAULT_SET
            ids = insert_samples(
                self._db, connection, principal, dataset, fresh, set_id=set_id, counts=counts
            )
            if ids:
                add_to_change(connection, principal, Kind.SAMPLES_ADDED, dataset.row_id, len(ids))
            rows_of_sequences = sequence_rows(self._db, connection, dataset, [a for _, a in again])
            changed, saved = update_samples(
                connection, principal, dataset, again, rows_of_sequences, set_id=set_id
            )
            saved += sum(bool(a.document) for a in fresh.values())
            if saved:
                add_to_change(
                    connection,
                    principal,
                    Kind.ANNOTATIONS_SAVED,
                    dataset.row_id,
                    saved,
                    classes_added=learned,
                )
            for found, arrival in again:
                for staged in arrival.files.values():
                    if self._attach(principal, found.row["id"], found.row["uuid"], staged)(connection):
                        changed.add(found.row["id"])
            self._ingest.keep_bytes(
                connection, {s.file.sha256 for a in fresh.values() for s in a.files.values()}
            )
        new_uuids = {arrival.uuid: uuid for uuid, arrival in fresh.items()}
        return [_populated(a, known.get(a.uuid), new_uuids, ids, changed) for a in arrivals]

    def attach(self, principal: Principal, sample_row_id: int, sample_id: str, staged: Staged) -> bool:
        """Give a living sample, by its row and its UUID, a file; False when it has these bytes already.

        Another file of a type that it has is a ``Conflict`` (``file_exists``).
        """
        with self.uploading():
            return self._db.together(self._attach(principal, sample_row_id, sample_id, staged))

    def attach_many(self, wanted: Sequence[tuple[Principal, int, str, Staged]]) -> list[bool | TintypeError]:
        """As ``attach``, of many in one transaction; what cannot be done is left out and told."""
        pieces = [self._attach(*each) for each in wanted]
        with self.uploading():
            try:
                with self._db.write() as connection:
                    return list(Attach.many(connection, pieces))
            except TintypeError:
                return [self._try_attach(piece) for piece in pieces]

    def _try_attach(self, piece: Attach) -> bool | TintypeError:
        try:
            return self._db.together(piece)
        except TintypeError as error:
            return error

    def set_sizes(self, principal: Principal, dataset: Dataset, sizes: Sequence[tuple[str, int, int]]) -> int:
        """Set ``(sample id, width, height)`` in pixels; returns how many samples have changed.

        What a picture tells of its size is not overwritten; ids of other datasets are left alone.
        """
        wanted = {printable(uuid): (width, height) for uuid, width, height in sizes}
        for sides in wanted.values():
            for side in sides:
                require_side(side)
        changes = ColumnChanges()
        changed = 0
        with self._db.write() as connection:
            self._ingest.require_alive(connection, dataset)
            for part in batches(sorted(wanted)):
                rows = connection.execute(
                    sa.select(
                        samples.c.id,
                        samples.c.uuid,
                        samples.c.width,
                        samples.c.height,
                        sample_files.c.sha256,
                    )
                    .outerjoin(
                        sample_files,
                        sa.and_(sample_files.c.sample_id == samples.c.id, sample_files.c.type == IMAGE),
                    )
                    .where(
                        samples.c.uuid.in_(part),
                        samples.c.dataset_id == dataset.row_id,
                        samples.c.deleted_at.is_(None),
                    )
                    .with_for_update(of=samples)
                ).all()
                for row in rows:
                    before, after = (row.width, row.height), wanted[row.uuid]
                    if before == after or (row.sha256 is not None and row.width is not None):
                        continue
                    set_size(connection, row.id, before, after)
                    changes.add(row.id, SIZE, list(before), list(after))
                    changed += 1
            changes.log(connection, principal, dataset.row_id)
        return changed

    def _attach(self, principal: Principal, row_id: int, sample_id: str, staged: Staged) -> Attach:
        return Attach(principal, row_id, sample_id, staged, self._ingest.keep_bytes)

    @staticmethod
    def _require_room(connection: sa.Connection, principal: Principal, fresh: Sequence[Arrival]) -> None:
        size = sum(staged.file.size for a in fresh for staged in a.files.values())
        require_room(connection, principal, sum(a.has_picture for a in fresh), size)

    @staticmethod
    def _admit(
        connection: sa.Connection, dataset: Dataset, arrivals: Sequence[Arrival], *, learn: bool
    ) -> list[str]:
        """Teach the dataset the class names and return the new ones, or refuse them; and judge options."""
        names = list(dict.fromkeys(name for a in arrivals for name in a.classes))
        if not names:
            return []
        indices: dict[str, int] = {}
        for arrival in arrivals:
            for name, index in arrival.new.label_indices.items():
                indices.setdefault(name, index)
        if learn or (indices and not dataset.classes_declared):
            learned = learn_labels(connection, dataset.row_id, names, indices)
        else:
            learned = admit_classes(connection, dataset.row_id, names)
        if declared := declared_in(connection, dataset.row_id):
            require_options(((e.name, e.attributes) for a in arrivals for e in a.new.annotations), declared)
        return learned


def _populated(
    arrival: Arrival,
    known: Known | None,
    new_uuids: Mapping[str, str],
    ids: Mapping[str, int],
    changed: set[int],
) -> Populated:
    if known is not None:
        row_id, uuid = known.row["id"], known.row["uuid"]
        return Populated(row_id, uuid, arrival.uuid, False, row_id in changed, arrival.expected)
    uuid = new_uuids[arrival.uuid]
    return Populated(ids[uuid], uuid, arrival.uuid, True, False, arrival.expected)
