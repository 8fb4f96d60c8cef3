"""A dataset as it was at a version: its labels, sets, groups, samples and annotations.

Read from the stored state and the revisions that it names; samples that were purged since are left out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import sqlalchemy as sa

from tintype_studio.catalog.datasets import DEFAULT_SET, DatasetClass
from tintype_studio.catalog.samples import Status
from tintype_studio.errors import NotFound
from tintype_studio.multisensor.sample_meta import meta_from_json
from tintype_studio.multisensor.samples import SensorSample, SequenceOf, StoredFile
from tintype_studio.names import lookup_name, printable
from tintype_studio.storage.tables import annotation_sets, samples
from tintype_studio.versions.documents import EMPTY, texts_of
from tintype_studio.versions.manifest import SPAN, Manifest, SampleRow

_STATEMENT = 1000

Read = Callable[[], AbstractContextManager[sa.Connection]]


@dataclass(frozen=True, slots=True)
class SetState:
    """An annotation set at a version."""

    row_id: int
    id: str
    name: str
    description: str | None


class AtVersion:
    """Reads a version. For one thread, and for a short time: it holds a few blocks."""

    def __init__(self, read: Read, dataset_row_id: int, manifest: Manifest) -> None:
        self._read = read
        self._dataset = dataset_row_id
        self._manifest = manifest
        self._firsts = [block.number * SPAN for block in manifest.blocks]
        self._sequences = {each[0]: SequenceOf(*each) for each in manifest.head["sequences"]}

    @property
    def classes(self) -> list[DatasetClass]:
        """The labels, with their indices, in their order."""
        return [DatasetClass.from_json(each) for each in self._manifest.head["classes"]]

    @property
    def groups(self) -> list[str]:
        """Names of the groups."""
        return list(self._manifest.head["groups"])

    @property
    def sets(self) -> list[SetState]:
        """The annotation sets that were there."""
        return [SetState(*each) for each in self._manifest.head["sets"]]

    def set_named(self, name: str) -> SetState:
        """One of them; ``NotFound`` (``annotation_set_not_found``)."""
        for each in self.sets:
            if each.name == lookup_name(name):
                return each
        raise NotFound(
            f"The version has no annotation set named {printable(name[:120])!r}.",
            code="annotation_set_not_found",
            fix=f"It has: {', '.join(each.name for each in self.sets[:20])}.",
        )

    def count(self, *, groups: Sequence[str] | None = None, types: Sequence[str] | None = None) -> int:
        """How many samples ``page`` finds in all; arguments as there."""
        total = 0
        for place in range(len(self._manifest.blocks)):
            columns = self._manifest.columns(place)
            wanted = {
                (row_id, uuid)
                for row_id, uuid, group, files in zip(
                    columns["id"], columns["uuid"], columns["split"], columns["files"], strict=True
                )
                if (not groups or group in groups) and (not types or any(f[0] in types for f in files))
            }
            if wanted:
                total += len(wanted & self._known(min(wanted)[0], max(wanted)[0]))
        return total

    def _known(self, first: int, last: int) -> set[tuple[int, str]]:
        """Samples with row ids in a range, in the recycle bin or not."""
        with self._read() as connection:
            rows = connection.execute(
                sa.select(samples.c.id, samples.c.uuid).where(
                    samples.c.dataset_id == self._dataset, samples.c.id.between(first, last)
                )
            )
            return {(row_id, uuid) for row_id, uuid in rows}

    def page(
        self,
        *,
        annotation_set: int | None = None,
        with_annotations: bool = True,
        groups: Sequence[str] | None = None,
        types: Sequence[str] | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[SensorSample]:
        """Samples by row id, those with ``row_id > after``; each page costs the same.

        ``annotation_set`` is the row of the set whose annotations come along, None for the default one.
        ``groups``: in one of these. ``types``: with a file of one of these types. An empty list is as none.
        """
        found: list[SensorSample] = []
        matching = self._after(after, groups, types)
        while len(found) < limit:
            rows = list(islice(matching, limit - len(found)))
            if not rows:
                break
            found += self._whole(rows, annotation_set, with_annotations)
        return found

    def _after(
        self, after: int, groups: Sequence[str] | None, types: Sequence[str] | None
    ) -> Iterator[SampleRow]:
        first = max(bisect_right(self._firsts, after) - 1, 0)
        for place in range(first, len(self._manifest.blocks)):
            for row in self._manifest.rows(place):
                if (
                    row.id > after
                    and (not groups or row.split in groups)
                    and (not types or any(each[0] in types for each in row.files))
                ):
                    yield row

    def _there(self, wanted: Sequence[tuple[int, str]]) -> dict[int, sa.Row[Any]]:
        """Rows of the samples that were not purged, by id."""
        found: dict[int, sa.Row[Any]] = {}
        columns = ("id", "uuid", "width", "height", "created_at", "updated_at", "deleted_at")
        for start in range(0, len(wanted), _STATEMENT):
            uuids = dict(wanted[start : start + _STATEMENT])
            with self._read() as connection:
                rows = connection.execute(
                    sa.select(*(samples.c[name] for name in columns)).where(
                        samples.c.id.in_(list(uuids)), samples.c.dataset_id == self._dataset
                    )
                ).all()
            found |= {row.id: row for row in rows if uuids[row.id] == row.uuid}
        return found

    def _whole(
        self, rows: Sequence[SampleRow], annotation_set: int | None, with_annotations: bool
    ) -> list[SensorSample]:
        there = self._there([(row.id, row.uuid) for row in rows])
        rows = [row for row in rows if row.id in there]
        documents = self._documents(rows, annotation_set) if with_annotations else {}
        return [self._sample(row, there[row.id], documents.get(row.id, "")) for row in rows]

    def _documents(self, rows: Sequence[SampleRow], annotation_set: int | None) -> dict[int, str]:
        with self._read() as connection:
            if annotation_set is None:
                annotation_set = connection.execute(
                    sa.select(annotation_sets.c.id).where(
                        annotation_sets.c.dataset_id == self._dataset, annotation_sets.c.name == DEFAULT_SET
                    )
                ).scalar()
            revisions = {
                revision: row.id
                for row in rows
                for set_id, revision in row.revisions
                if set_id == annotation_set
            }
            texts = texts_of(connection, revisions)
        return {
            sample: text
            for revision, (sample, text) in texts.items()
            if revisions[revision] == sample and text != EMPTY
        }

    def _sample(self, row: SampleRow, now: sa.Row[Any], document: str) -> SensorSample:
        files = {
            each[0]: StoredFile(
                type=each[0],
                filename=each[4] or row.filename,
                sha256=each[1],
                size=each[2],
                mime_type=each[3],
            )
            for each in row.files
        }
        return SensorSample(
            row_id=row.id,
            dataset_row_id=self._dataset,
            id=row.uuid,
            filename=row.filename,
            folder=row.folder,
            status=Status(row.status),
            group=row.split,
            width=now.width,
            height=now.height,
            annotation_count=row.annotation_count,
            created_at=now.created_at,
            updated_at=now.updated_at,
            display_name=row.display_name,
            sequence=None if row.sequence_id is None else self._sequences.get(row.sequence_id),
            frame_number=row.frame_number,
            meta=meta_from_json(row.meta),
            files=files,
            document=document,
        )
