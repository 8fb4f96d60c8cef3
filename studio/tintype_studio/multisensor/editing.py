"""Annotations added to samples, or taken from them, in any set, while the others stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio.annotations.classes import admit_classes
from tintype_studio.annotations.documents import as_text, replace_document, set_row_id
from tintype_studio.annotations.geometry import ANNOTATIONS, Annotation, with_box
from tintype_studio.annotations.options import declared_in, require_options
from tintype_studio.catalog.datasets import DEFAULT_SET, Dataset
from tintype_studio.catalog.ingest import Ingest
from tintype_studio.catalog.samples import Samples
from tintype_studio.errors import InvalidInput
from tintype_studio.history.changes import Kind, add_to_change
from tintype_studio.history.dependents import batches
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.samples import documents_of, no_sample
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import samples

MAX_SAMPLES = 10_000
"""Of one call."""

PLACES = {"box": ("bounding_box",), "seg": ("polygon", "mask"), "box3d": ("box3d",)}
"""Members that say where, by what callers name them."""

_KINDS = {
    "polygon": "polygon",
    "polyline": "polyline",
    "keypoint": "keypoint",
    "mask": "mask",
    "bounding_box": "bbox",
    "box3d": "box3d",
}


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to become of the annotations of one sample: first some are taken, then some added."""

    add: Sequence[Annotation] = ()
    remove: Collection[str] = ()
    """Keys of ``PLACES``: an annotation that has no other place goes, another loses this one."""


@dataclass(frozen=True, slots=True)
class Edited:
    """How many samples have other annotations now, and how many annotations came and went."""

    samples: int
    added: int
    removed: int


class Editing:
    """Edits of every organization; each call changes only the principal's own samples."""

    def __init__(self, database: Database, ingest: Ingest) -> None:
        self._db = database
        self._ingest = ingest

    def edit(
        self,
        principal: Principal,
        dataset: Dataset,
        edits: Mapping[str, Edit],
        *,
        annotation_set: str = DEFAULT_SET,
    ) -> Edited:
        """Edit samples by their UUIDs, in one transaction: all of them or none.

        Raises:
            NotFound: a sample is not in the dataset (``sample_not_found``), or there is no such set.
            InvalidInput: there are too many samples, an id occurs twice, or a class is unknown.
        """
        if not 1 <= len(edits) <= MAX_SAMPLES:
            raise InvalidInput(
                f"A call takes 1 to {MAX_SAMPLES:,} samples, not {len(edits):,}.",
                code="invalid_batch",
                fix="Send them in several calls.",
            )
        changed = added = removed = 0
        with self._db.write() as connection:
            self._ingest.require_alive(connection, dataset)
            set_id = set_row_id(connection, dataset.row_id, annotation_set)
            rows = _rows(connection, dataset, list(edits))
            names = list(dict.fromkeys(a.name for edit in edits.values() for a in edit.add))
            learned = admit_classes(connection, dataset.row_id, names) if names else []
            if declared := declared_in(connection, dataset.row_id):
                require_options(((a.name, a.attributes) for e in edits.values() for a in e.add), declared)
            documents: dict[int, str] = {}
            for some in batches(list(rows.values())):
                documents |= documents_of(connection, some, set_id)
            for uuid, edit in edits.items():
                text = documents.get(rows[uuid], "")
                entries = orjson.loads(text) if text else []
                kept = [left for entry in entries if (left := _without(entry, edit.remove)) is not None]
                gone = len(entries) - len(kept)
                if not edit.add and kept == entries:
                    continue
                together = [*ANNOTATIONS.validate_python(kept), *(with_box(a) for a in edit.add)]
                if len({a.id for a in together}) < len(together):
                    raise InvalidInput(
                        f"Sample {uuid} would have an annotation id twice.",
                        fix="Give each annotation an id of its own; a UUID is best.",
                    )
                sample = Samples.of_row(connection, rows[uuid])
                replace_document(
                    connection, principal, sample, as_text(together), len(together), set_id=set_id
                )
                changed, added, removed = changed + 1, added + len(edit.add), removed + gone
            if changed:
                add_to_change(
                    connection,
                    principal,
                    Kind.ANNOTATIONS_SAVED,
                    dataset.row_id,
                    changed,
                    classes_added=learned,
                )
        return Edited(changed, added, removed)


def _rows(connection: sa.Connection, dataset: Dataset, uuids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in batches(uuids):
        rows = connection.execute(
            sa.select(samples.c.uuid, samples.c.id)
            .where(
                samples.c.uuid.in_(part),
                samples.c.dataset_id == dataset.row_id,
                samples.c.deleted_at.is_(None),
            )
            .with_for_update()
        )
        found |= {row.uuid: row.id for row in rows}
    for uuid in uuids:
        if uuid not in found:
            raise no_sample(uuid)
    return found


def _without(entry: dict[str, Any], remove: Collection[str]) -> dict[str, Any] | None:
    """An annotation without some of its places; None when it had only these."""
    gone = {member for name in remove for member in PLACES[name]} & entry.keys()
    if not gone:
        return entry
    left = {member: value for member, value in entry.items() if member not in gone}
    kind = next((kind for member, kind in _KINDS.items() if member in left), None)
    return None if kind is None else left | {"type": kind}
